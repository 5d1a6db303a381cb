"""KonCept512 as one record: what builds it, its layers by name, its input size, its resize policy and preprocessing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import torch

Shapes = tuple[tuple[int, ...], ...]  # of the arrays of a layer, in Keras's layouts
Layer = tuple[str, str, Shapes]  # Keras's class, PyTorch's name
# In float32 two scores of a picture by the same weights are at most so far apart, in MOS, whatever computes them: the
# size of the batch, the engine, the framework, the number of threads and the processor decide how sums are rounded.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Network:
    """A rating network, from uint8 pictures to one score: `build` gives it in Keras, `build_torch` in PyTorch."""

    name: str
    builder: Callable[..., "keras.Model"]
    input_size: tuple[int, int]  # (height, width) of a picture as the network sees it
    resize: str = "lanczos"  # how pictures get there: a name of ku.image_utils.RESAMPLE
    torch_builder: Callable[[float], "torch.nn.Module"] | None = None
    features: str = ""  # the layer of Keras's that ends the body: the features of a picture, pooled
    layers: tuple[tuple[str, str], ...] = ()  # those with weights in Keras's order: Keras's class, PyTorch's name
    shapes: tuple[Shapes, ...] = ()  # of the weights of each of them, by which a file is known without a framework

    def build(self, weights: str | None = None, output_bias: float = 0.0) -> "keras.Model":
        """The model: uint8 pictures (batch, height, width, 3), RGB, to scores (batch, 1) in MOS."""
        return self.builder(self.input_size, weights, output_bias)

    def build_torch(self, output_bias: float = 0.0) -> "torch.nn.Module":
        """The module, from random weights: uint8 pictures (batch, height, width, 3), RGB, to scores (batch, 1)."""
        return self.torch_builder(output_bias)

    def at(self, input_size: tuple[int, int] | None = None, resize: str | None = None) -> "Network":
        """The same network for pictures of another size or resized in another way."""
        return replace(self, input_size=tuple(input_size or self.input_size), resize=resize or self.resize)

    def record(self) -> dict:
        """What a score depends on besides the weights, for the files written beside them."""
        return {"network": self.name, "input_size": list(self.input_size), "resize": self.resize}


def koncept512(input_size: tuple[int, int], weights: str | None, output_bias: float) -> "keras.Model":
    """KonCept512 (Hosu et al., arXiv 1910.06180, section V): InceptionResNetV2, pooled to 1536, and a head of 4 layers.

    weights: "imagenet" or None, of the body; the head starts from he_normal. output_bias: where the score starts.
    Preprocessing is the first layer, [0, 255] to [-1, 1], so that pictures travel as bytes. 59,858,657 parameters.
    """
    import keras  # takes seconds, which `--help` and a missing file should not wait for

    from ku import applications as apps

    pictures = keras.Input((*input_size, 3), dtype="uint8", name="pictures")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1, name="scale")(pictures)
    body, _ = apps.get_model_imagenet("InceptionResNetV2", weights=weights, input_tensor=scaled)  # ... x 1536
    score = apps.fc_layers(
        body.output, name="fc", fc_sizes=[2048, 1024, 256, 1], dropout_rates=[0.25, 0.25, 0.5, 0], batch_norm=2
    )
    model = keras.Model(pictures, score, name="koncept512")
    model.layers[-1].bias.assign([output_bias])
    return model


def koncept512_torch(output_bias: float) -> "torch.nn.Module":
    """The same network in PyTorch."""
    from koniq import torch_network

    return torch_network.koncept512(output_bias)


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


KONCEPT512 = Network(
    "koncept512",
    koncept512,
    input_size=(384, 512),
    torch_builder=koncept512_torch,
    features="final_gap",
    layers=tuple((kind, name) for kind, name, _ in koncept512_layers()),
    shapes=tuple(shapes for _, _, shapes in koncept512_layers()),
)
NETWORKS = {network.name: network for network in (KONCEPT512,)}
