"""The layers of KonCept512, whatever builds it: InceptionResNetV2 and a head of 4 layers."""

from collections.abc import Iterator

from koniq.network.layers import Layer

# The children of InceptionResNetV2 as its public ports to PyTorch call them; `base.<i>` is the i-th of them.
CHILDREN = (
    *("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "maxpool_5a", "mixed_5b"),
    *("repeat", "mixed_6a", "repeat_1", "mixed_7a", "repeat_2", "block8", "conv2d_7b"),
)
CLASSIFIERS = ("classif", "last_linear")  # what those ports end in, which a rating network does not have


def koncept512_name(key: str) -> str:
    """The name here of an array in a public port; "" of what is not here."""
    first, _, rest = key.partition(".")
    if first in CLASSIFIERS:
        return ""
    return f"base.{CHILDREN.index(first)}.{rest}" if first in CHILDREN else key


def koncept512_layers() -> Iterator[Layer]:
    """The layers of KonCept512 with weights, in the order of Keras's files.

    Keras lists layers by their distance to the output, the farthest first, and those at one distance by their branch.
    A step of a branch is written as its name, then height x width x filters of its convolution: "1.0:1x1x32".
    """

    def conv(name: str, inputs: int, kernel: str) -> tuple[Layer, Layer]:
        """A convolution, and the normalisation after it, which has no scale."""
        height, width, count = map(int, kernel.split("x"))
        norm = Layer("BatchNormalization", f"base.{name}.bn", ((count,),) * 3)
        return Layer("Conv2D", f"base.{name}.conv", ((height, width, inputs, count),)), norm

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
        yield Layer("Conv2D", f"base.{place}.conv2d", ((1, 1, joined, inputs), (inputs,)))

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
        yield Layer("Dense", f"fc.{linear}", ((inputs, size), (size,)))
        yield Layer("BatchNormalization", f"fc.{norm}", ((size,),) * 4)
        inputs = size
    yield Layer("Dense", "fc.12", ((inputs, 1), (1,)))
