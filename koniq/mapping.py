"""One set of weights by two names: PyTorch's, as a `state_dict` of arrays, and Keras's, as layers in order.

Nothing of a framework is needed for it; `Network.layers` says which layer is which.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from koniq.errors import InputError

State = dict[str, np.ndarray]  # by PyTorch's names, in its layouts: convolutions OIHW, matrices OI
Layers = list[tuple[str, list[np.ndarray]]]  # in Keras's order and layouts: HWIO, IO
Table = Sequence[tuple[str, str]]  # as in Network.layers: Keras's class and PyTorch's name

PARTS = {
    "Conv2D": ("weight", "bias"),
    "Dense": ("weight", "bias"),
    "BatchNormalization": ("weight", "bias", "running_mean", "running_var"),
}
# The children of InceptionResNetV2 as its public ports to PyTorch call them; `base.<i>` is the i-th of them.
CHILDREN = (
    *("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "maxpool_5a", "mixed_5b"),
    *("repeat", "mixed_6a", "repeat_1", "mixed_7a", "repeat_2", "block8", "conv2d_7b"),
)
CLASSIFIERS = ("classif", "last_linear")  # what those ports end in, which a rating network does not have


def to_torch(layers: Layers, table: Table) -> State:
    """The `state_dict` of Keras's layers. Batch normalisation without a scale gets a scale of 1."""
    state = {}
    for (kind, name), (_, arrays) in zip(table, layers, strict=True):
        parts = PARTS[kind]
        if kind == "BatchNormalization":
            arrays = [np.ones_like(arrays[0])] * (len(parts) - len(arrays)) + list(arrays)
        else:
            arrays = [np.moveaxis(arrays[0], (-1, -2), (0, 1)), *arrays[1:]]
        state |= {f"{name}.{part}": np.ascontiguousarray(array) for part, array in zip(parts, arrays, strict=False)}
    return state


def to_keras(state: State, table: Table) -> Layers:
    """Keras's layers of a `state_dict`.

    The body's batch normalisation (`x.bn`, after `x.conv`) has no scale in Keras: one other than 1 goes into the
    filters and the moving mean, which gives the same scores, though not the same training from there.
    """
    layers = []
    for kind, name in table:
        arrays = [state[key] for part in PARTS[kind] if (key := f"{name}.{part}") in state]
        if kind != "BatchNormalization":
            arrays[0] = np.moveaxis(arrays[0], (0, 1), (-1, -2))
            scale = state.get(f"{name.removesuffix('.conv')}.bn.weight") if name.endswith(".conv") else None
            if scale is not None and (scale != 1).any():
                arrays[0] = arrays[0] * scale
        elif name.endswith(".bn"):
            scale, shift, mean, variance = arrays
            arrays = [shift, mean * scale, variance]
        layers.append((name, arrays))
    return layers


def renamed(state: State) -> State:
    """A `state_dict` by the names used here: what a wrapper put before them is taken off, a classifier left out."""
    places = {child: f"base.{number}" for number, child in enumerate(CHILDREN)}
    found = {}
    for key, array in state.items():
        key = key.removeprefix("_orig_mod.").removeprefix("module.")
        first, _, rest = key.partition(".")
        if first not in CLASSIFIERS and not key.endswith("num_batches_tracked"):
            found[f"{places.get(first, first)}.{rest}"] = array
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
