"""The weights of a network, out of files and into them: fitted to a network entirely or not at all."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from koniq.ground import InputError
from koniq.network.koncept512 import AS_KERAS, Topology
from koniq.network.layers import (
    PARTS,
    Layers,
    State,
    Table,
    check_fit,
    grouped,
    renamed,
    shapes_in_keras,
    shapes_in_torch,
    to_keras,
    to_torch,
)
from koniq.network.sidecar import network_of, record, record_path
from koniq.network.spec import Network
from koniq.network.weight_files import KERAS, TORCH, layers_of, needs_torch, opened, read_keras, read_torch, write_h5
from ku.files import atomic_path

if TYPE_CHECKING:
    import keras
    import torch


def load(model: "keras.Model", path: Path, network: Network | None = None, body: bool = False) -> bool:
    """Put the weights of a file into a Keras model, all of them or, when anything does not fit, none.

    network: of the model; by default the one that the file is for. body: take a file of the body alone, too. Returns
    whether it was the whole network. Reads Keras 2's `.h5` (weights, or a whole model), Keras 3's `.weights.h5`,
    `.keras` and `.h5`, and what PyTorch reads, through the converter. Layers are matched in order, because their names
    differ between Keras versions. Raises InputError naming the first layer that differs and both shapes, or if the
    record beside the file names another network.
    """
    network = _named(path, network)
    if path.suffix in TORCH or _scaled(network):
        state = read_state(path, network, body)
        read = to_keras(state, _table_of(state, network, body))
    else:
        read = read_keras(path, [type(layer).__name__ for layer in model.layers])
    own = _layers_of(model)
    part = len(network.body_layers)
    if whole := not (body and len(read) == part):
        part = len(own)
    check_fit(read, [(layer.name, layer.weights) for layer in own[:part]], path, model.name)
    _assign(own[:part], read)
    return whole


def _layers_of(model: "keras.Model") -> list["keras.Layer"]:
    return [layer for layer in model.layers if layer.weights]


def _assign(layers: Sequence["keras.Layer"], read: Layers) -> None:
    for layer, (_, arrays) in zip(layers, read, strict=True):
        for variable, array in zip(layer.weights, arrays, strict=True):
            variable.assign(array)


def load_module(module: "torch.nn.Module", path: Path, network: Network, body: bool = False) -> bool:
    """Put the weights of a file, whoever wrote it, into the PyTorch module of `network`: all of them or none.

    body: take a file of the body alone (`base`), too. Returns whether it was the whole network. Raises InputError as
    `load` does.
    """
    needs_torch()
    import torch

    state = read_state(path, network, body)
    module.load_state_dict(module.state_dict() | {key: torch.from_numpy(array) for key, array in state.items()})
    return _is_whole(state)


def read_state(path: Path, network: Network, body: bool = False) -> State:
    """The weights of a file, whoever wrote it, as the `state_dict` of `network` in NumPy; float32.

    body: whether a file of the body alone will do. Only `.pth` and `.pt` need a framework, PyTorch. Raises InputError
    if anything does not fit, or if the record beside the file names another network.
    """
    network = _named(path, network)
    if path.suffix in TORCH:
        state = renamed(read_torch(path), network.own_name)
        _check_state(state, path, network, body)
    else:
        layers = read_keras(path, [layer.kind for layer in network.layers])
        theirs = network
        if _scaled(network) and not _has_scale(layers):  # Keras's own, whose scale is 1
            theirs = network.built_as(replace(network.topology, body_scale=False))
        table = theirs.body_layers if body and len(layers) == len(theirs.body_layers) else theirs.layers
        check_fit(layers, shapes_in_keras(table), path, network.name)
        state = to_torch(layers, table)
    if network.topology and _is_whole(state):
        _check_topology(state, path, network)
    return state


def _scaled(network: Network) -> bool:
    return bool(network.topology and network.topology.body_scale)


def _has_scale(layers: Layers) -> bool:
    """Whether the first batch normalisation among Keras's layers of KonCept512 has a scale."""
    return len(layers) > 1 and len(layers[1][1]) == len(PARTS["BatchNormalization"])


def _check_topology(state: State, path: Path, network: Network) -> None:
    """Raise InputError unless whole weights are of the topology that they are read for.

    The record beside them says of which they are. Without one the scale of their body tells: Keras's has none, and one
    that was learnt is of a port to PyTorch, which does not tell how its body ends.
    """
    known = record(path)
    scales = (array for key, array in state.items() if key.startswith("base.") and key.endswith(".bn.weight"))
    learnt = any((scale != 1).any() for scale in scales)
    if known and Topology.of(known) != network.topology:
        raise InputError(
            f"{path} should have weights of {network.name} with {network.topology}. Received: {Topology.of(known)}, by "
            f"{record_path(path)}"
        )
    if not known and learnt and not network.topology.body_scale:
        raise InputError(
            f"{path} has no record ({record_path(path).name} beside it), and its body learnt a scale, which Keras's "
            "KonCept512 has not: how it pools cannot be told. Say --pooling 8x8 if it is the study's PyTorch network "
            "(the upper left 8x8 places of the last map), or --pooling mean if it takes all of the map."
        )
    if not known and not learnt and network.topology != AS_KERAS:
        raise InputError(
            f"{path} has no record ({record_path(path).name} beside it), and its body learnt no scale: it is Keras's "
            f"KonCept512, of {AS_KERAS}. Received: {network.topology}. Leave --pooling out"
        )


def _named(path: Path, network: Network | None) -> Network:
    """The network that the file is read for. Raises InputError if the record beside it names another."""
    if network is None:
        return network_of(path)
    found = record(path).get("network", network.name)
    if found != network.name:
        raise InputError(
            f"{path} should have weights of {network.name}. Received: weights of {found}, by {record_path(path)}"
        )
    return network


def _is_whole(state: State) -> bool:
    """Whether it is of more than the body."""
    return any(key.startswith("fc.") for key in state)


def _table_of(state: State, network: Network, body: bool) -> Table:
    """The layers that a `state_dict` should have."""
    return network.body_layers if body and not _is_whole(state) else network.layers


def check_keras(path: Path, network: Network) -> None:
    """Raise InputError unless a file of Keras holds the weights of `network`, layer by layer, as `load` takes them.

    By the shapes only: nothing but the file's own table of them is read.
    """
    with opened(path) as file:
        found = list(layers_of(file, [layer.kind for layer in network.layers], path))
        check_fit(found, shapes_in_keras(network.layers), path, network.name)


def check_torch(path: Path, network: Network) -> None:
    """Raise InputError unless a file of PyTorch holds the weights of `network`, as `read_state` takes them."""
    _check_state(renamed(read_torch(path), network.own_name), path, network)


def _check_state(found: State, path: Path, network: Network, body: bool = False) -> None:
    expected = grouped(shapes_in_torch(_table_of(found, network, body)), ())
    check_fit(grouped(found, [name for name, _ in expected]), expected, path, network.name)


def halved(state: State) -> State:
    """The numbers of a `state_dict` in half precision (float16), which has 3 digits: half the size of its file.

    Raises InputError if one is beyond 65504, the largest there is.
    """
    half = {}
    for key, array in state.items():
        with np.errstate(over="ignore"):
            half[key] = array.astype(np.float16) if array.dtype.kind == "f" else array
        if not np.isfinite(half[key]).all():
            raise InputError(f"{key} should have numbers up to 65504 for half precision. Received: {abs(array).max()}")
    return half


def write_state(state: State, path: Path, network: Network) -> None:
    """Write a `state_dict` as whatever the ending of `path` says, whole or not at all. `.keras` needs Keras for it."""
    with atomic_path(path) as temporary:
        if path.suffix == ".safetensors":
            from safetensors.numpy import save_file

            save_file(state, temporary, {"format": "pt"})
        elif path.suffix in TORCH:
            needs_torch()
            import torch

            torch.save({key: torch.from_numpy(array) for key, array in state.items()}, temporary)
        elif path.name.endswith(KERAS[:2]):
            table = [layer for layer in network.layers if f"{layer.name}.weight" in state]
            kinds = [layer.kind for layer in table]
            write_h5(to_keras(state, table), kinds, temporary, keras3=path.name.endswith(KERAS[0]))
        else:
            model = network.build()
            _assign(_layers_of(model), to_keras(state, network.layers))
            model.save(temporary)
