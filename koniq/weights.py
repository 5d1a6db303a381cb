"""Weights files: found by name, read whoever wrote them, and fitted to a network entirely or not at all."""

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from koniq.errors import InputError
from koniq.mapping import Layers, State, Table, check_fit, grouped, renamed, to_keras, to_torch
from koniq.network import KONCEPT512, NETWORKS, Network
from koniq.paths import MODELS, TRAINED_MODELS
from ku.files import atomic_path, shown

if TYPE_CHECKING:
    import keras
    import torch

KERAS = (".weights.h5", ".h5", ".keras")
TORCH = (".safetensors", ".pth", ".pt")
SUFFIXES = (*KERAS, *TORCH)
ORIGINAL = "koncep512-trained-model.h5"  # as its authors released it; the missing "t" is theirs
BEST = ("*_best.weights.h5", "*_best.safetensors")  # in the folder of a training run


def find(name: str) -> Path:
    """The weights file meant by a path, a training run's folder, or a bare name: a file in `trained_models/` or a run.

    Raises InputError, saying where was looked, if there is none.
    """
    for place in (Path(name), *(TRAINED_MODELS / f"{name}{suffix}" for suffix in ("", *SUFFIXES)), MODELS / name):
        if place.is_file():
            return place
        if best := [path for pattern in BEST for path in sorted(place.glob(pattern))]:
            return best[0]
    hint = " `python -m koniq.fetch koncept512/original` gets the original's." if name == ORIGINAL else ""
    raise InputError(
        f"weights should be a file, the folder of a training run, or the name of a file in {TRAINED_MODELS}.{hint} "
        f"Received: weights={name!r}"
    )


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
        read = _read_keras(path, [type(layer).__name__ for layer in model.layers])
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
        found = renamed(_read_torch(path))
    else:
        found = _read_keras(path, [kind for kind, _ in network.layers])
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
    with _opened(path) as file:
        check_fit(list(_layers(file, [kind for kind, _ in network.layers], path)), expected, path, network.name)


def check_torch(path: Path, network: Network) -> None:
    """Raise InputError unless a file of PyTorch holds the weights of `network`, as `read_state` takes them."""
    needs_torch()
    _check_state(renamed(_read_torch(path)), network.layers, _shapes(network), path, network)


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
            _write_h5(to_keras(state, table), [kind for kind, _ in table], temporary, path.name.endswith(KERAS[0]))
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


def _read_torch(path: Path) -> State:
    import torch
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)  # nothing in the file is executed
            found = next((found[key] for key in ("state_dict", "model") if key in found), found)
        return {key: tensor.float().numpy() for key, tensor in found.items()}
    except Exception as error:  # PyTorch raises a dozen kinds for a file that is none of its own
        reason = (str(error).strip() or "an empty file").splitlines()[0]
        raise InputError(
            f"{path} should be a weights file of PyTorch ({', '.join(TORCH)}): a state_dict. Received: {reason}"
        ) from error


def _read_keras(path: Path, classes: Sequence[str]) -> Layers:
    """The layers of a Keras file. classes: of the network's layers in order."""
    with _opened(path) as file:
        return [(name, [np.asarray(array) for array in arrays]) for name, arrays in _layers(file, classes, path)]


def _write_h5(layers: Layers, classes: Sequence[str], path: Path, keras3: bool) -> None:
    """Write layers as Keras 3 does in `.weights.h5`, else as Keras 2 does in `.h5`."""
    with h5py.File(path, "w") as file:
        if keras3:
            for name, (_, arrays) in zip(_keras3_names(classes), layers, strict=True):
                for number, array in enumerate(arrays):
                    file[f"layers/{name}/vars/{number}"] = array
            return
        file.attrs["layer_names"] = [name.encode() for name, _ in layers]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.15.0"
        for name, arrays in layers:
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{number}".encode() for number in range(len(arrays))]
            for number, array in enumerate(arrays):
                group[f"{name}/{number}"] = array


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file at `path`, or the one inside a `.keras` archive."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                source = io.BytesIO(archive.read("model.weights.h5"))
        else:
            source = path
        with h5py.File(source, "r") as file:
            yield file
    except InputError:
        raise
    except (OSError, KeyError, AttributeError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        # h5py raises any of these for a file whose groups and arrays are not where its attributes say
        raise InputError(f"{path} should be a weights file of Keras ({', '.join(KERAS)}). Received: {error}") from error


def _layers(file: h5py.File, classes: Sequence[str], path: Path) -> Iterator[tuple[str, list[h5py.Dataset]]]:
    """The layers with weights in the order of the network: name and arrays."""
    old = file.get("model_weights", file)
    if "layer_names" in old.attrs:  # Keras 2, or Keras 3's own .h5; a long list of names is split over attributes
        for name in _texts(old.attrs, "layer_names"):
            names = _texts(old[name].attrs, "weight_names")
            if names:
                yield name, [old[name][weight] for weight in names]
        return
    group = file.get("layers", file.get("_layer_checkpoint_dependencies"))
    if group is None:
        raise InputError(f"{path} should hold the weights of a network. Received: {', '.join(file) or 'an empty file'}")
    # Keras 3 stores layers by class and number of appearance, in no order: the network's own give the order, and what
    # is left over comes last.
    left = {name for name in group if len(group[name].get("vars", ()))}
    for name in _keras3_names(classes):
        if name in left:
            left.remove(name)
            yield name, _variables(group[name])
    for name in sorted(left):
        yield name, _variables(group[name])


def _keras3_names(classes: Sequence[str]) -> Iterator[str]:
    """What Keras 3's files call layers of these classes: dense, conv2d, dense_1, ..."""
    seen = Counter()
    for each in classes:
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", each).lower()
        yield f"{kind}_{seen[kind]}" if seen[kind] else kind
        seen[kind] += 1


def _variables(layer: h5py.Group) -> list[h5py.Dataset]:
    return [layer["vars"][str(number)] for number in range(len(layer["vars"]))]


def _texts(attributes: h5py.AttributeManager, name: str) -> list[str]:
    values = list(attributes.get(name, ()))
    chunk = 0
    while f"{name}{chunk}" in attributes:
        values += list(attributes[f"{name}{chunk}"])
        chunk += 1
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def record_path(weights: Path) -> Path:
    """The JSON beside a weights file that says which network it is for."""
    name = weights.name
    for suffix in (*SUFFIXES, ".onnx"):
        name = name.removesuffix(suffix)
    return weights.with_name(f"{name}.json")


def record(weights: Path) -> dict:
    """What the JSON beside a weights file says; {} if there is none."""
    path = record_path(weights)
    return json.loads(path.read_text()) if path.is_file() else {}


def write_record(weights: Path, network: Network, /, **facts: object) -> None:
    """Write beside a weights file what its scores depend on, and any other facts."""
    with atomic_path(record_path(weights)) as path:
        path.write_text(json.dumps(network.record() | facts, indent=2) + "\n")


def network_of(weights: Path, input_size: tuple[int, int] | None = None, resize: str | None = None) -> Network:
    """The network that a weights file is for: by the record beside it, else KonCept512; arguments override it.

    The weights fit pictures of any size, but their scores are right only at the size that they were trained at.
    """
    found = record(weights) or KONCEPT512.record()
    if found.get("network") not in NETWORKS:
        raise InputError(
            f"{record_path(weights)} should name one of {', '.join(NETWORKS)}. Received: {found.get('network')!r}"
        )
    return NETWORKS[found["network"]].at(input_size or found["input_size"], resize or found["resize"])


def title(path: Path) -> str:
    """What reports call a weights file: the name of its run, or its own without the ending."""
    return shown(path.resolve().parent.name if any(map(path.match, BEST)) else record_path(path).stem)
