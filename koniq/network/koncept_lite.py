"""The architecture of koncept_lite, whatever builds it: EfficientNet-lite0's blocks, what is pooled, and its layers.

EfficientNet-lite0 (github.com/tensorflow/tpu, models/official/efficientnet/lite) is EfficientNet-B0 (Tan and Le, arXiv
1905.11946) with ReLU6 and without squeeze-and-excitation, so that it can be computed in 8 bits. Of several of its
stages the mean and the spread over the picture are the features: distortions show at all scales, and not everywhere.
"""

from collections.abc import Iterator
from typing import NamedTuple

from koniq.network.layers import Layer

# Expansion, kernel, stride of the first block, filters, blocks.
STAGES = (
    *((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3)),
    *((6, 5, 1, 112, 3), (6, 5, 2, 192, 4), (6, 3, 1, 320, 1)),
)
STEM, TOP = 32, 1280  # filters before and after the blocks
LEVELS = (2, 4, 7, 10, 14, 15)  # the blocks whose outputs are pooled; the top is, too
EPSILON = 1e-3  # of every batch normalisation
VARIANCE = 1e-5  # added to a variance, lest the gradient of its root be infinite
OFFSET, DIVISOR = 127.0, 128.0  # pictures are (x - OFFSET) / DIVISOR to the body
HEAD, DROPOUT = 256, 0.5
# What the public port of EfficientNet-lite0 to PyTorch calls its parts, and the parts of a block.
PARTS = {"_conv_stem": "stem.conv", "_bn0": "stem.bn", "_conv_head": "top.conv", "_bn1": "top.bn"}
PARTS_OF_BLOCK = {
    **{"_expand_conv": "expand.conv", "_depthwise_conv": "depth.conv", "_project_conv": "project.conv"},
    **{"_bn0": "expand.bn", "_bn1": "depth.bn", "_bn2": "project.bn"},
}


class Block(NamedTuple):
    """An inverted residual: 1 x 1 to `width` channels (unless it has as many), a depthwise kernel, 1 x 1 to filters."""

    inputs: int
    width: int
    filters: int
    kernel: int
    stride: int

    @property
    def expands(self) -> bool:
        """Whether there is a first convolution."""
        return self.width != self.inputs

    @property
    def skips(self) -> bool:
        """Whether the inputs are added to the outputs."""
        return self.stride == 1 and self.inputs == self.filters


def _blocks() -> Iterator[Block]:
    inputs = STEM
    for expansion, kernel, stride, filters, count in STAGES:
        for number in range(count):
            yield Block(inputs, inputs * expansion, filters, kernel, 1 if number else stride)
            inputs = filters


BLOCKS = tuple(_blocks())
FEATURES = 2 * (sum(BLOCKS[number].filters for number in LEVELS) + TOP)  # 4096


def padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """The zeros before and after a side of `size` by which a convolution gives ceil(size / stride): TensorFlow's."""
    zeros = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return zeros // 2, zeros - zeros // 2


def koncept_lite_name(key: str) -> str:
    """The name here of an array in the public port; "" of what is not here."""
    first, *rest = key.split(".")
    if first == "_fc":  # the classifier
        return ""
    if first == "_blocks" and len(rest) == 3:
        number, part, array = rest
        return f"base.blocks.{number}.{PARTS_OF_BLOCK.get(part, part)}.{array}"
    return ".".join((f"base.{PARTS[first]}", *rest)) if first in PARTS else key


def koncept_lite_layers() -> Iterator[Layer]:
    """The layers of koncept_lite with weights, in the order of Keras's files: that of the computation."""

    def step(name: str, kernel: int, inputs: int, filters: int) -> Iterator[Layer]:
        """A convolution, and the normalisation after it, which has a scale. filters 0: depthwise."""
        kind, last = ("Conv2D", filters) if filters else ("DepthwiseConv2D", 1)
        yield Layer(kind, f"base.{name}.conv", ((kernel, kernel, inputs, last),))
        yield Layer("BatchNormalization", f"base.{name}.bn", ((filters or inputs,),) * 4)

    yield from step("stem", 3, 3, STEM)
    for number, block in enumerate(BLOCKS):
        if block.expands:
            yield from step(f"blocks.{number}.expand", 1, block.inputs, block.width)
        yield from step(f"blocks.{number}.depth", block.kernel, block.width, 0)
        yield from step(f"blocks.{number}.project", 1, block.width, block.filters)
    yield from step("top", 1, BLOCKS[-1].filters, TOP)
    yield Layer("BatchNormalization", "fc.0", ((FEATURES,),) * 4)
    yield Layer("Dense", "fc.2", ((FEATURES, HEAD), (HEAD,)))
    yield Layer("Dense", "fc.5", ((HEAD, 1), (1,)))
