"""What KonCept512 consists of, whatever builds it: InceptionResNetV2 and a head of 4 layers."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

from koniq.network.layers import Layer

# The children of InceptionResNetV2 as its public ports to PyTorch call them; `base.<i>` is the i-th of them.
CHILDREN = (
    *("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "maxpool_5a", "mixed_5b"),
    *("repeat", "mixed_6a", "repeat_1", "mixed_7a", "repeat_2", "block8", "conv2d_7b"),
)
CLASSIFIERS = ("classif", "last_linear")  # what those ports end in, which a rating network does not have

# The blocks, by their branches. A step of a branch is a convolution, its name, then height x width x filters, then "/2"
# where it takes every second place and "-" where it takes every place without padding; the others pad. Or it is a pool
# of 3x3: "max" of every second place without padding, "mean" of every place, padded, what it is padded with left out.
STEM = ("0:3x3x32/2 1:3x3x32- 2:3x3x64 max 4:1x1x80 5:3x3x192- max",)
MIXED_5B = "0:1x1x96", "1.0:1x1x48 1.1:5x5x64", "2.0:1x1x64 2.1:3x3x96 2.2:3x3x96", "mean 3.1:1x1x64"
BLOCK35 = "0:1x1x32", "1.0:1x1x32 1.1:3x3x32", "2.0:1x1x32 2.1:3x3x48 2.2:3x3x64"
MIXED_6A = "0:3x3x384/2", "1.0:1x1x256 1.1:3x3x256 1.2:3x3x384/2", "max"
BLOCK17 = "0:1x1x192", "1.0:1x1x128 1.1:1x7x160 1.2:7x1x192"
MIXED_7A = "0.0:1x1x256 0.1:3x3x384/2", "1.0:1x1x256 1.1:3x3x288/2", "2.0:1x1x256 2.1:3x3x288 2.2:3x3x320/2", "max"
BLOCK8 = "0:1x1x192", "1.0:1x1x192 1.1:1x3x224 1.2:3x1x256"
TOP = ("14:1x1x1536",)
HEAD = ("fc.0", "fc.2", 2048), ("fc.4", "fc.6", 1024), ("fc.8", "fc.10", 256)  # layer, its normalisation, its width
EPSILON = 1e-3  # of every batch normalisation, as in Keras

Pooling = Literal["mean", "8x8"]
SIDE = 8  # places of the last map that "8x8" averages, along each side


@dataclass(frozen=True)
class Topology:
    """In what networks of these layers differ; the names and shapes of their weights do not tell. Else Keras's."""

    pooling: Pooling = "mean"  # what ends the body: the mean of all places of the last map, or of its upper left 8x8
    head_epsilon: float = EPSILON  # of the batch normalisation of the head
    body_scale: bool = False  # whether the batch normalisation of the body learns a scale

    def record(self) -> dict:
        """What of it is not Keras's, for what is written beside weights."""
        return {name: value for name, value in asdict(self).items() if value != getattr(AS_KERAS, name)}

    @staticmethod
    def of(record: Mapping[str, object]) -> "Topology":
        """The topology that a record says, or the settings of a training."""
        return Topology(**{name: record.get(name, value) for name, value in asdict(AS_KERAS).items()})

    def __str__(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in asdict(self).items())


AS_KERAS = Topology()
# A port to PyTorch that leaves epsilon and scale at PyTorch's own; so does the study's, whose body ends in
# AvgPool2d(8), which at 384x512 leaves out the rest of a map of 10x14.
PORT = Topology(head_epsilon=1e-5, body_scale=True)
STUDY_PORT = Topology("8x8", PORT.head_epsilon, PORT.body_scale)


class Step(NamedTuple):
    """A step of a branch."""

    name: str  # of a convolution; or max, mean
    kernel: tuple[int, int, int] | None  # of a convolution: height, width, filters
    stride: int
    padded: bool


def steps(branch: str) -> list[Step]:
    """The steps of a branch as it is written above."""
    found = []
    for step in branch.split():
        name, _, size = step.partition(":")
        kernel = tuple(map(int, size.removesuffix("/2").removesuffix("-").split("x"))) if size else None
        strided = step == "max" or step.endswith("/2")
        found.append(Step(name, kernel, 1 + strided, not (strided or step.endswith("-"))))
    return found


def places(size: int) -> int:
    """How many places the last map has along a side of a picture: 10 of 384, 14 of 512."""
    for step in steps(f"{STEM[0]} {MIXED_6A[0]} {MIXED_7A[0]}"):
        size = size if step.padded else (size - (step.kernel or (3,))[0]) // step.stride + 1
    return size


def koncept512_name(key: str) -> str:
    """The name here of an array in a public port; "" of what is not here."""
    first, _, rest = key.partition(".")
    if first in CLASSIFIERS:
        return ""
    return f"base.{CHILDREN.index(first)}.{rest}" if first in CHILDREN else key


def koncept512_layers(topology: Topology = AS_KERAS) -> Iterator[Layer]:
    """The layers of KonCept512 with weights, in the order of Keras's files.

    Keras lists layers by their distance to the output, the farthest first, and those at one distance by their branch.
    """

    def conv(name: str, inputs: int, kernel: tuple[int, int, int]) -> tuple[Layer, Layer]:
        """A convolution, and the normalisation after it."""
        *size, count = kernel
        norm = Layer("BatchNormalization", f"base.{name}.bn", ((count,),) * (3 + topology.body_scale))
        return Layer("Conv2D", f"base.{name}.conv", ((*size, inputs, count),)), norm

    def side_by_side(place: str, inputs: int, branches: tuple[str, ...]) -> Iterator[Layer]:
        """The layers of branches, all of them from `inputs` channels."""
        built = []
        for branch in ([step for step in steps(branch) if step.kernel] for branch in branches):
            widths = [inputs, *(step.kernel[-1] for step in branch)]
            built.append(
                [conv(place + step.name, width, step.kernel) for step, width in zip(branch, widths, strict=False)]
            )
        for left in range(max(map(len, built)), 0, -1):
            level = [branch[-left] for branch in built if len(branch) >= left]
            yield from (convolution for convolution, _ in level)
            yield from (norm for _, norm in level)

    def residual(place: str, inputs: int, branches: tuple[str, ...]) -> Iterator[Layer]:
        """Branches of an Inception-ResNet block, and what brings them back to its inputs."""
        yield from side_by_side(f"{place}.branch", inputs, branches)
        joined = sum(steps(branch)[-1].kernel[-1] for branch in branches)
        yield Layer("Conv2D", f"base.{place}.conv2d", ((1, 1, joined, inputs), (inputs,)))

    yield from side_by_side("", 3, STEM)
    yield from side_by_side("7.branch", 192, MIXED_5B)
    for number in range(10):
        yield from residual(f"8.{number}", 320, BLOCK35)
    yield from side_by_side("9.branch", 320, MIXED_6A)
    for number in range(20):
        yield from residual(f"10.{number}", 1088, BLOCK17)
    yield from side_by_side("11.branch", 1088, MIXED_7A)
    for place in (*(f"12.{number}" for number in range(9)), "13"):
        yield from residual(place, 2080, BLOCK8)
    yield from side_by_side("", 2080, TOP)
    inputs = 1536
    for linear, norm, size in HEAD:
        yield Layer("Dense", linear, ((inputs, size), (size,)))
        yield Layer("BatchNormalization", norm, ((size,),) * 4)
        inputs = size
    yield Layer("Dense", "fc.12", ((inputs, 1), (1,)))
