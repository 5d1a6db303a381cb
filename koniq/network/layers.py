"""The layers of the networks, and one set of weights by two names.

PyTorch's, as a `state_dict` of arrays, and Keras's, as layers in order; nothing of a framework is needed for it.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from koniq.ground import InputError

State = dict[str, np.ndarray]  # by PyTorch's names, in its layouts: convolutions OIHW, matrices OI
Layers = list[tuple[str, list[np.ndarray]]]  # in Keras's order and layouts: HWIO, IO
Table = Sequence[tuple[str, str]]  # as in Network.layers: Keras's class and PyTorch's name
Shapes = tuple[tuple[int, ...], ...]  # of the arrays of a layer, in Keras's layouts
Layer = tuple[str, str, Shapes]  # Keras's class, PyTorch's name

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


def koncept512_layers() -> Iterator[Layer]:
    """The layers of KonCept512 with weights, in the order of Keras's files.

    Keras lists layers by their distance to the output, the farthest first, and those at one distance by their branch.
    A step of a branch is written as its name, then height x width x filters of its convolution: "1.0:1x1x32".
    """

    def conv(name: str, inputs: int, kernel: str) -> tuple[Layer, Layer]:
        """A convolution, and the normalisation after it, which has no scale."""
        height, width, count = map(int, kernel.split("x"))
        norm = ("BatchNormalization", f"base.{name}.bn", ((count,),) * 3)
        return ("Conv2D", f"base.{name}.conv", ((height, width, inputs, count),)), norm

    def filters(kernel: str) -> int:
        return int(kernel.rpartition("x")[2])

    def side_by_side(place: str, inputs: int, *branches: str) -> Iterator[Layer]:
        steps = []
        for branch in ([step.split(":") for step in branch.split()] for branch in branches):
            widths = [inputs, *(filters(kernel) for _, kernel in branch)]
            named = zip(branch, widths, strict=False)
            steps.append([conv(f"{place}{name}", width, kernel) for (name, kernel), width in named])
        for left in range(max(map(len, steps)), 0, -1):
            level = [branch[-left] for branch in steps if len(branch) >= left]
            yield from (convolution for convolution, _ in level)
            yield from (norm for _, norm in level)

    def residual(place: str, inputs: int, joined: int, *branches: str) -> Iterator[Layer]:
        """Branches of an Inception-ResNet block, `joined` channels in all, and what brings them back to its inputs."""
        yield from side_by_side(f"{place}.branch", inputs, *branches)
        yield "Conv2D", f"base.{place}.conv2d", ((1, 1, joined, inputs), (inputs,))

    inputs = 3
    for place, kernel in zip("01245", ("3x3x32", "3x3x32", "3x3x64", "1x1x80", "3x3x192"), strict=True):  # the stem
        yield from side_by_side(place, inputs, f":{kernel}")
        inputs = filters(kernel)
    yield from side_by_side(  # mixed_5b
        "7.branch", 192, "0:1x1x96", "1.0:1x1x48 1.1:5x5x64", "2.0:1x1x64 2.1:3x3x96 2.2:3x3x96", "3.1:1x1x64"
    )
    for number in range(10):  # block35
        branches = "0:1x1x32", "1.0:1x1x32 1.1:3x3x32", "2.0:1x1x32 2.1:3x3x48 2.2:3x3x64"
        yield from residual(f"8.{number}", 320, 128, *branches)
    yield from side_by_side("9.branch", 320, "0:3x3x384", "1.0:1x1x256 1.1:3x3x256 1.2:3x3x384")  # mixed_6a
    for number in range(20):  # block17
        yield from residual(f"10.{number}", 1088, 384, "0:1x1x192", "1.0:1x1x128 1.1:1x7x160 1.2:7x1x192")
    branches = "0.0:1x1x256 0.1:3x3x384", "1.0:1x1x256 1.1:3x3x288", "2.0:1x1x256 2.1:3x3x288 2.2:3x3x320"
    yield from side_by_side("11.branch", 1088, *branches)  # mixed_7a
    for place in (*(f"12.{number}" for number in range(9)), "13"):  # block8
        yield from residual(place, 2080, 448, "0:1x1x192", "1.0:1x1x192 1.1:1x3x224 1.2:3x1x256")
    yield from side_by_side("14", 2080, ":1x1x1536")  # conv2d_7b
    inputs = 1536
    for linear, norm, size in ((0, 2, 2048), (4, 6, 1024), (8, 10, 256)):
        yield "Dense", f"fc.{linear}", ((inputs, size), (size,))
        yield "BatchNormalization", f"fc.{norm}", ((size,),) * 4
        inputs = size
    yield "Dense", "fc.12", ((inputs, 1), (1,))


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
