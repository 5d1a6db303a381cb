"""One set of weights by two names: PyTorch's, as a `state_dict` of arrays, and Keras's, as layers in order.

Nothing of a framework is needed for it; `Network.layers` says which layer is which.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from koniq.ground import InputError

State = dict[str, np.ndarray]  # by PyTorch's names, in its layouts: convolutions OIHW, matrices OI
Layers = list[tuple[str, list[np.ndarray]]]  # in Keras's order and layouts: HWIO, IO
Shapes = tuple[tuple[int, ...], ...]


class Layer(NamedTuple):
    """A layer with weights."""

    kind: str  # Keras's class
    name: str  # PyTorch's
    shapes: Shapes  # of its arrays, in Keras's layouts

    @property
    def unscaled(self) -> bool:
        """Whether it is a batch normalisation that has no scale in Keras."""
        return self.kind == "BatchNormalization" and len(self.shapes) == 3


Table = Sequence[Layer]
PARTS = {
    "Conv2D": ("weight", "bias"),
    "DepthwiseConv2D": ("weight", "bias"),
    "Dense": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}
AXES = {"Conv2D": (-1, -2), "DepthwiseConv2D": (-2, -1), "Dense": (-1, -2)}  # of Keras's, that PyTorch has first


def to_torch(layers: Layers, table: Table) -> State:
    """The `state_dict` of Keras's layers. Batch normalisation without a scale gets a scale of 1."""
    return {key: np.ascontiguousarray(array) for key, array in _in_torch(layers, table)}


def _in_torch(layers: Layers, table: Table) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays by PyTorch's names and in its layouts: views."""
    for (kind, name, _), (_, arrays) in zip(table, layers, strict=True):
        parts = PARTS[kind]
        if kind == "BatchNormalization":
            scale = np.broadcast_to(arrays[0].dtype.type(1), arrays[0].shape)
            arrays = [scale] * (len(parts) - len(arrays)) + list(arrays)
        else:
            arrays = [np.moveaxis(arrays[0], AXES[kind], (0, 1)), *arrays[1:]]
        yield from ((f"{name}.{part}", array) for part, array in zip(parts, arrays, strict=False))


def to_keras(state: State, table: Table) -> Layers:
    """Keras's layers of a `state_dict`.

    Where batch normalisation has no scale in Keras (`x.bn`, after `x.conv`), one other than 1 goes into the filters and
    the moving mean, which gives the same scores, though not the same training from there.
    """
    unscaled = {layer.name for layer in table if layer.unscaled}
    layers = []
    for kind, name, _ in table:
        arrays = [state[key] for part in PARTS[kind] if (key := f"{name}.{part}") in state]
        if kind != "BatchNormalization":
            arrays[0] = np.moveaxis(arrays[0], (0, 1), AXES[kind])
            norm = f"{name.removesuffix('.conv')}.bn"
            scale = state.get(f"{norm}.weight") if norm in unscaled else None
            if scale is not None and (scale != 1).any():
                arrays[0] = arrays[0] * scale
        elif name in unscaled:
            scale, shift, mean, variance = arrays
            arrays = [shift, mean * scale, variance]
        layers.append((name, arrays))
    return layers


def shapes_in_keras(table: Table) -> Layers:
    """Keras's layers, of zeros that take no memory: for their shapes."""
    return [(layer.name, [np.broadcast_to(np.float32(0), shape) for shape in layer.shapes]) for layer in table]


def shapes_in_torch(table: Table) -> State:
    """The `state_dict`, of numbers that take no memory: for its shapes."""
    return dict(_in_torch(shapes_in_keras(table), table))


def renamed(state: State, own_name: Callable[[str], str]) -> State:
    """A `state_dict` by the names used here: what a wrapper put before them is taken off, counts of batches left out.

    own_name: the name here of an array in a public port, as in Network; "" leaves it out.
    """
    found = {}
    for key, array in state.items():
        name = own_name(key.removeprefix("_orig_mod.").removeprefix("module."))
        if name and not key.endswith("num_batches_tracked"):
            found[name] = array
    return found


def grouped(state: State, names: Sequence[str]) -> Layers:
    """The arrays of a `state_dict` by layer: the layers of `names` first, then the others."""
    layers = {name: [] for name in names}
    for key, array in state.items():
        layers.setdefault(key.rpartition(".")[0], []).append((key, array))
    order = {part: number for number, part in enumerate(PARTS["BatchNormalization"])}
    return [
        (name, [array for _, array in sorted(arrays, key=lambda item: order.get(item[0].rpartition(".")[2], 9))])
        for name, arrays in layers.items()
    ]


def check_fit(found: Layers, expected: Layers, path: Path, network: str) -> None:
    """Raise InputError, naming the first layer that differs and both shapes, unless all the shapes are as expected."""
    for position in range(max(len(expected), len(found))):
        own_name, own_shapes = _describe(expected, position)
        found_name, found_shapes = _describe(found, position)
        if own_shapes != found_shapes:
            raise InputError(
                f"{path} should fit {network}, and layer {position + 1} of those with weights differs: expected "
                f"{own_name} {own_shapes}. Received: {found_name} {found_shapes}"
            )


def _describe(layers: Layers, position: int) -> tuple[str, str]:
    if position >= len(layers):
        return "nothing", "(no more layers)"
    name, arrays = layers[position]
    return repr(name), " ".join(str(tuple(array.shape)) for array in arrays) or "(not there)"
