"""Weights files: found by name, read whatever Keras wrote them, and fitted to a network entirely or not at all."""

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from koniq.errors import InputError
from koniq.network import KONCEPT512, NETWORKS, Network
from koniq.paths import MODELS, TRAINED_MODELS
from ku.generic import atomic_path

if TYPE_CHECKING:
    import keras

SUFFIXES = (".weights.h5", ".h5", ".keras")
ORIGINAL = "koncep512-trained-model.h5"  # as its authors released it; the missing "t" is theirs
BEST = "*_best.weights.h5"  # in the folder of a training run

Layers = list[tuple[str, list[np.ndarray]]]


def find(name: str) -> Path:
    """The weights file meant by a path, a training run's folder, or a bare name: a file in `trained_models/` or a run.

    Raises InputError, saying where was looked, if there is none.
    """
    for place in (Path(name), *(TRAINED_MODELS / f"{name}{suffix}" for suffix in ("", *SUFFIXES)), MODELS / name):
        if place.is_file():
            return place
        if best := sorted(place.glob(BEST)):
            return best[0]
    hint = " `python -m koniq.fetch koncept512/original` gets the original's." if name == ORIGINAL else ""
    raise InputError(
        f"weights should be a file, the folder of a training run, or the name of a file in {TRAINED_MODELS}.{hint} "
        f"Received: weights={name!r}"
    )


def load(model: "keras.Model", path: Path) -> None:
    """Put the weights of a file into `model`, all of them or, when anything does not fit, none.

    Reads Keras 2's `.h5` (weights, or a whole model), and Keras 3's `.weights.h5`, `.keras` and `.h5`. Layers are
    matched in order, because their names differ between Keras versions. Raises InputError naming the first layer that
    differs and both shapes.
    """
    own = [(layer.name, layer.weights) for layer in model.layers if layer.weights]
    with _opened(path) as file:
        found = list(_layers(file, model, path))
        for position in range(max(len(own), len(found))):
            own_name, own_shapes = _describe(own, position)
            found_name, found_shapes = _describe(found, position)
            if own_shapes != found_shapes:
                raise InputError(
                    f"{path} should fit {model.name}, and layer {position + 1} of those with weights differs: expected "
                    f"{own_name} {own_shapes}. Received: {found_name} {found_shapes}"
                )
        read = [[np.asarray(array) for array in arrays] for _, arrays in found]
    for (_, variables), values in zip(own, read, strict=True):
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


def _describe(layers: Layers, position: int) -> tuple[str, str]:
    if position >= len(layers):
        return "nothing", "(no more layers)"
    name, arrays = layers[position]
    return repr(name), " ".join(str(tuple(array.shape)) for array in arrays)


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
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} should be a weights file of Keras ({', '.join(SUFFIXES)}). Received: {error}"
        ) from error


def _layers(file: h5py.File, model: "keras.Model", path: Path) -> Iterator[tuple[str, list[h5py.Dataset]]]:
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
    seen, left = Counter(), {name for name in group if len(group[name].get("vars", ()))}
    for layer in model.layers:
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", type(layer).__name__).lower()
        name = f"{kind}_{seen[kind]}" if seen[kind] else kind
        seen[kind] += 1
        if name in left:
            left.remove(name)
            yield name, _variables(group[name])
    for name in sorted(left):
        yield name, _variables(group[name])


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
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return weights.with_name(f"{name}.json")


def record(weights: Path) -> dict:
    """What the JSON beside a weights file says; {} if there is none."""
    path = record_path(weights)
    return json.loads(path.read_text()) if path.is_file() else {}


def write_record(weights: Path, network: Network, **facts: object) -> None:
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
    return path.resolve().parent.name if path.match(BEST) else record_path(path).stem
