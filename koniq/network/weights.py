"""The weights of a network, out of files and into them: fitted to a network entirely or not at all."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from koniq.ground import InputError
from koniq.network.layers import Layers, State, Table, check_fit, grouped, renamed, to_keras, to_torch
from koniq.network.sidecar import network_of
from koniq.network.spec import Network
from koniq.network.weight_files import KERAS, TORCH, layers_of, opened, read_keras, read_torch, write_h5
from ku.files import atomic_path

if TYPE_CHECKING:
    import keras
    import torch


def load(model: "keras.Model", path: Path) -> None:
    """Put the weights of a file into a Keras model, all of them or, when anything does not fit, none.

    Reads Keras 2's `.h5` (weights, or a whole model), Keras 3's `.weights.h5`, `.keras` and `.h5`, and what PyTorch
    reads, through the converter. Layers are matched in order, because their names differ between Keras versions.
    Raises InputError naming the first layer that differs and both shapes.
    """
    if path.suffix in TORCH:
        network = network_of(path)
        read = to_keras(read_state(path, network), network.layers)
    else:
        read = read_keras(path, [type(layer).__name__ for layer in model.layers])
    check_fit(read, _layers_of(model), path, model.name)
    _assign(model, read)


def _layers_of(model: "keras.Model") -> list[tuple[str, list["keras.Variable"]]]:
    return [(layer.name, layer.weights) for layer in model.layers if layer.weights]


def _assign(model: "keras.Model", layers: Layers) -> None:
    for (_, variables), (_, arrays) in zip(_layers_of(model), layers, strict=True):
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)


def load_module(module: "torch.nn.Module", path: Path, network: Network, body: bool = False) -> bool:
    """Put the weights of a file, whoever wrote it, into the PyTorch module of `network`: all of them or none.

    body: take a file of the body alone (`base`), too. Returns whether it was the whole network. Raises InputError as
    `load` does.
    """
    import torch

    state = read_state(path, network, body)
    whole = any(key.startswith("fc.") for key in state)
    module.load_state_dict(module.state_dict() | {key: torch.from_numpy(array) for key, array in state.items()})
    return whole


def read_state(path: Path, network: Network, body: bool = False) -> State:
    """The weights of a file, whoever wrote it, as the `state_dict` of `network` in NumPy; float32.

    body: whether a file of the body alone will do. Raises InputError if anything does not fit.
    """
    needs_torch()
    shapes = _shapes(network)
    if path.suffix in TORCH:
        found = renamed(read_torch(path))
    else:
        found = read_keras(path, [kind for kind, _ in network.layers])
    table = network.layers
    base = [entry for entry in table if entry[1].startswith("base.")]
    if path.suffix not in TORCH:
        table = base if body and len(found) == len(base) else table
        check_fit(found, to_keras(shapes, table), path, network.name)
        return to_torch(found, table)
    if body and not any(key.startswith("fc.") for key in found):
        table = base
    _check_state(found, table, shapes, path, network)
    return found


def check_keras(path: Path, network: Network) -> None:
    """Raise InputError unless a file of Keras holds the weights of `network`, layer by layer, as `load` takes them.

    By the shapes only: no framework is needed, and nothing but the file's own table of them is read.
    """
    expected = [
        (name, [np.broadcast_to(np.float32(0), shape) for shape in shapes])
        for (_, name), shapes in zip(network.layers, network.shapes, strict=True)
    ]
    with opened(path) as file:
        check_fit(list(layers_of(file, [kind for kind, _ in network.layers], path)), expected, path, network.name)


def check_torch(path: Path, network: Network) -> None:
    """Raise InputError unless a file of PyTorch holds the weights of `network`, as `read_state` takes them."""
    needs_torch()
    _check_state(renamed(read_torch(path)), network.layers, _shapes(network), path, network)


def _check_state(found: State, table: Table, shapes: State, path: Path, network: Network) -> None:
    names = {name for _, name in table}
    expected = grouped({key: array for key, array in shapes.items() if key.rpartition(".")[0] in names}, ())
    check_fit(grouped(found, [name for name, _ in expected]), expected, path, network.name)


def write_state(state: State, path: Path, network: Network) -> None:
    """Write a `state_dict` as whatever the ending of `path` says, whole or not at all. `.keras` needs Keras for it."""
    with atomic_path(path) as temporary:
        if path.suffix == ".safetensors":
            from safetensors.numpy import save_file

            save_file(state, temporary, {"format": "pt"})
        elif path.suffix in TORCH:
            import torch

            torch.save({key: torch.from_numpy(array) for key, array in state.items()}, temporary)
        elif path.name.endswith(KERAS[:2]):
            table = [entry for entry in network.layers if f"{entry[1]}.weight" in state]
            write_h5(to_keras(state, table), [kind for kind, _ in table], temporary, path.name.endswith(KERAS[0]))
        else:
            model = network.build()
            _assign(model, to_keras(state, network.layers))
            model.save(temporary)


def has_torch() -> bool:
    """Whether PyTorch is installed, with what reads its files."""
    return bool(find_spec("torch") and find_spec("safetensors"))


def needs_torch() -> None:
    """Raise InputError where PyTorch is not installed."""
    if not has_torch():
        raise InputError("PyTorch should be installed for this: pip install -r requirements-torch.txt")


def _shapes(network: Network) -> State:
    """The `state_dict` of a network, all ones that take no memory: for its shapes."""
    import torch

    with torch.device("meta"):
        module = network.build_torch()
    return {
        key: np.broadcast_to(np.float32(1), tuple(tensor.shape))
        for key, tensor in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
