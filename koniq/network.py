"""KonCept512 as one record: what builds it, its layers by name, its input size, its resize policy and preprocessing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import torch

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


def koncept512_layers() -> Iterator[tuple[str, str]]:
    """The layers of KonCept512 with weights, in the order of Keras's files: Keras's class and PyTorch's name.

    Keras lists layers by their distance to the output, the farthest first, and those at one distance by their branch.
    """

    def side_by_side(place: str, *branches: str) -> Iterator[tuple[str, str]]:
        steps = [[f"base.{place}{step}" for step in branch.split() or [""]] for branch in branches]
        for left in range(max(map(len, steps)), 0, -1):
            level = [branch[-left] for branch in steps if len(branch) >= left]
            yield from (("Conv2D", f"{name}.conv") for name in level)
            yield from (("BatchNormalization", f"{name}.bn") for name in level)

    def residual(place: str, *branches: str) -> Iterator[tuple[str, str]]:
        yield from side_by_side(f"{place}.branch", *branches)
        yield "Conv2D", f"base.{place}.conv2d"

    for stem in "01245":
        yield from side_by_side(stem, "")
    yield from side_by_side("7.branch", "0", "1.0 1.1", "2.0 2.1 2.2", "3.1")  # mixed_5b
    for number in range(10):
        yield from residual(f"8.{number}", "0", "1.0 1.1", "2.0 2.1 2.2")  # block35
    yield from side_by_side("9.branch", "0", "1.0 1.1 1.2")  # mixed_6a
    for number in range(20):
        yield from residual(f"10.{number}", "0", "1.0 1.1 1.2")  # block17
    yield from side_by_side("11.branch", "0.0 0.1", "1.0 1.1", "2.0 2.1 2.2")  # mixed_7a
    for number in range(9):
        yield from residual(f"12.{number}", "0", "1.0 1.1 1.2")  # block8
    yield from residual("13", "0", "1.0 1.1 1.2")
    yield from side_by_side("14", "")  # conv2d_7b
    for linear, norm in ((0, 2), (4, 6), (8, 10)):
        yield "Dense", f"fc.{linear}"
        yield "BatchNormalization", f"fc.{norm}"
    yield "Dense", "fc.12"


KONCEPT512 = Network(
    "koncept512",
    koncept512,
    input_size=(384, 512),
    torch_builder=koncept512_torch,
    features="final_gap",
    layers=tuple(koncept512_layers()),
)
NETWORKS = {network.name: network for network in (KONCEPT512,)}
