"""KonCept512 as one record: what builds it, its input size, its resize policy and its preprocessing."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Network:
    """A rating network. `build` gives a Keras model from uint8 pictures to one score."""

    name: str
    builder: Callable[..., "keras.Model"]
    input_size: tuple[int, int]  # (height, width) of a picture as the network sees it
    resize: str = "lanczos"  # how pictures get there: a name of ku.image_utils.RESAMPLE

    def build(self, weights: str | None = None, output_bias: float = 0.0) -> "keras.Model":
        """The model: uint8 pictures (batch, height, width, 3), RGB, to scores (batch, 1) in MOS."""
        return self.builder(self.input_size, weights, output_bias)

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


KONCEPT512 = Network("koncept512", koncept512, input_size=(384, 512))
NETWORKS = {network.name: network for network in (KONCEPT512,)}
