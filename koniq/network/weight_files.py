"""The formats of weights files: Keras's, of its versions 2 and 3, and PyTorch's, as arrays of NumPy."""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import safetensors

from koniq.ground import InputError
from koniq.ground.built import install
from koniq.network.layers import Layers, State

KERAS = (".weights.h5", ".h5", ".keras")
TORCH = (".safetensors", ".pth", ".pt")
SUFFIXES = (*KERAS, *TORCH)


# The types of numbers in .safetensors, in NumPy's letters; BF16 are the upper halves of float32.
NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


def has_torch() -> bool:
    """Whether PyTorch is installed."""
    return bool(find_spec("torch"))


def needs_torch() -> None:
    """Raise InputError where PyTorch is not installed."""
    if not has_torch():
        raise InputError(f"PyTorch should be installed for this: {install('torch')}")


def needs_reader(path: Path) -> None:
    """Raise InputError where PyTorch, which alone reads `.pth` and `.pt`, is needed for a file and not installed."""
    if path.suffix in TORCH[1:] and not has_torch():
        raise InputError(f"PyTorch should be installed to read {path}: {install('torch')}")


def read_torch(path: Path) -> State:
    """The arrays of a file of PyTorch by the names in it, as float32; only `.pth` and `.pt` need PyTorch for it."""
    needs_reader(path)
    try:
        return _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    except Exception as error:  # PyTorch raises a dozen kinds for a file that is none of its own
        reason = (str(error).strip() or "an empty file").splitlines()[0]
        raise InputError(
            f"{path} should be a weights file of PyTorch ({', '.join(TORCH)}): a state_dict. Received: {reason}"
        ) from error


def _safetensors(path: Path) -> State:
    state = {}
    for name, found in safetensors.deserialize(path.read_bytes()):
        if found["dtype"] not in NUMBERS:
            raise ValueError(f"{name} of type {found['dtype']}")
        array = np.frombuffer(found["data"], NUMBERS[found["dtype"]])
        if found["dtype"] == "BF16":
            array = (array.astype("<u4") << 16).view("<f4")
        state[name] = array.astype(np.float32, copy=False).reshape(found["shape"])
    return state


def _pickled(path: Path) -> State:
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True)  # nothing in the file is executed
    found = next((found[key] for key in ("state_dict", "model") if key in found), found)
    return {key: tensor.float().numpy() for key, tensor in found.items()}


def read_keras(path: Path, classes: Sequence[str]) -> Layers:
    """The layers of a Keras file, as float32. classes: of the network's layers in order."""
    with opened(path) as file:
        return [
            (name, [np.asarray(array, np.float32) for array in arrays])
            for name, arrays in layers_of(file, classes, path)
        ]


def write_h5(layers: Layers, classes: Sequence[str], path: Path, keras3: bool) -> None:
    """Write layers as Keras 3 does in `.weights.h5`, else as Keras 2 does in `.h5`."""
    with h5py.File(path, "w") as file:
        if keras3:
            for name, (_, arrays) in zip(keras3_names(classes), layers, strict=True):
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
def opened(path: Path) -> Iterator[h5py.File]:
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


def layers_of(file: h5py.File, classes: Sequence[str], path: Path) -> Iterator[tuple[str, list[h5py.Dataset]]]:
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
    for name in keras3_names(classes):
        if name in left:
            left.remove(name)
            yield name, _variables(group[name])
    for name in sorted(left):
        yield name, _variables(group[name])


def keras3_names(classes: Sequence[str]) -> Iterator[str]:
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
