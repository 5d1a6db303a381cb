"""A network as one record: what builds it, its layers by name, its input size and its resize policy."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from koniq.ground import InputError
from koniq.network.koncept512 import AS_KERAS, SIDE, Topology, koncept512_layers, koncept512_name, places
from koniq.network.koncept_lite import koncept_lite_layers, koncept_lite_name
from koniq.network.layers import Layer, State

if TYPE_CHECKING:
    import keras
    import openvino
    import torch

Resize = Literal["lanczos", "bicubic", "bilinear", "box", "nearest"]  # names of ku.image_utils.RESAMPLE
# By which a picture is decoded, see koniq.pictures.decoding: 1 were those before there were others; the study's own.
Rules = Literal["2", "1", "study"]
NEWEST, FIRST, STUDY = "2", "1", "study"
Fit = Literal["squash", "crop", "pad"]  # how a picture of other proportions gets to those that the network sees

# In float32 two scores of a picture by the same weights are at most so far apart, in MOS, whatever computes them: the
# size of the batch, the engine, the framework, the number of threads and the processor decide how sums are rounded.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Network:
    """A rating network, from uint8 pictures to one score in MOS: `build` gives it in Keras, `build_torch` in PyTorch.

    In OpenVINO, which does not train, `build_openvino` gives it with its weights.

    output_bias: where the score starts.
    """

    name: str
    builder: Callable[..., "keras.Model"]
    input_size: tuple[int, int]  # (height, width) of a picture as the network sees it
    resize: Resize = "lanczos"  # the filter by which pictures get there
    torch_builder: Callable[..., "torch.nn.Module"] | None = None
    features: str = ""  # the layer of Keras's that ends the body: the features of a picture, pooled
    layers: tuple[Layer, ...] = ()  # those with weights, in Keras's order, by which a file is known without a framework
    own_name: Callable[[str], str] = str  # the name in `layers` of an array in a public port of the body; "" if none
    openvino_builder: Callable[..., "openvino.Model"] | None = None
    body: str = "InceptionResNetV2"  # whose weights of ImageNet a training may start from: see koniq.fetch.bodies
    rules: Rules = NEWEST  # by which pictures are decoded
    fit: Fit = "squash"
    dct_scaling: bool = False  # large JPEGs decoded at a half of their sides or less, see koniq.pictures.decoding
    topology: Topology | None = None  # of a network that there are several of; builders then take it last

    def __post_init__(self) -> None:
        if self.topology and self.topology.pooling == "8x8":
            height, width = map(places, self.input_size)
            if not (SIDE <= height < 2 * SIDE and SIDE <= width < 2 * SIDE):
                raise InputError(
                    f"input_size should be such that the last map has {SIDE} to {2 * SIDE - 1} places along each side, "
                    f"for pooling=8x8. Received: {height}x{width} places, by input_size={self.input_size}"
                )

    @property
    def body_layers(self) -> tuple[Layer, ...]:
        """The layers of the body alone."""
        return tuple(layer for layer in self.layers if layer.name.startswith("base."))

    def build(self, output_bias: float = 0.0) -> "keras.Model":
        """The model, from random weights: uint8 pictures (batch, height, width, 3), RGB, to scores (batch, 1)."""
        return self.builder(self.input_size, output_bias, *self._topologies())

    def build_torch(self, output_bias: float = 0.0) -> "torch.nn.Module":
        """The module, from random weights: uint8 pictures (batch, height, width, 3), RGB, to scores (batch, 1)."""
        return self.torch_builder(output_bias, *self._topologies())

    def build_openvino(self, state: State, bfloat16: bool = False) -> "openvino.Model":
        """The model with the weights of `state`, as `build` has it.

        bfloat16: whether it is to compute in that.
        """
        return self.openvino_builder(state, self.input_size, bfloat16, *self._topologies())

    def _topologies(self) -> tuple[Topology, ...]:
        return (self.topology,) if self.topology else ()

    def built_as(self, topology: Topology) -> "Network":
        """The network of another topology. Raises InputError if there is but one of this network, or not at its size.

        The layers are those of KonCept512, of which alone there are several.
        """
        if not self.topology and topology != AS_KERAS:
            raise InputError(
                f"pooling, head_epsilon and body_scale are of {KONCEPT512.name}. Received: {self.name}, {topology}"
            )
        if not self.topology or topology == self.topology:
            return self
        return replace(self, topology=topology, layers=tuple(koncept512_layers(topology)))

    def at(
        self,
        input_size: tuple[int, int] | None = None,
        resize: Resize | None = None,
        rules: Rules | None = None,
        fit: Fit | None = None,
        dct_scaling: bool | None = None,
    ) -> "Network":
        """The same network for pictures that get to it in another way.

        The study's rules take the nearest pixel, if no other resize is told; DCT scaling goes with the newest alone.
        """
        ours = "nearest" if rules == STUDY else self.resize
        scaling = self.dct_scaling if dct_scaling is None else dct_scaling
        rules = rules or self.rules
        return replace(
            self,
            input_size=tuple(input_size or self.input_size),
            resize=resize or ours,
            rules=rules,
            fit=fit or self.fit,
            dct_scaling=scaling and rules == NEWEST,
        )

    def way(self) -> dict:
        """How pictures get to the network, as `at` takes it."""
        return {name: getattr(self, name) for name in ("input_size", "resize", "rules", "fit", "dct_scaling")}

    def record(self) -> dict:
        """What a score depends on besides the weights, for the files written beside them; see `seen`."""
        topology = self.topology.record() if self.topology else {}
        return {"network": self.name, **topology, **self.seen(), **({"dct_scaling": True} if self.dct_scaling else {})}

    def seen(self) -> dict:
        """How pictures get to the network. What a record lacks that was written before there was a choice is FORMER."""
        said = {"input_size": list(self.input_size), "resize": self.resize, "rules": self.rules}
        return said if self.fit == FORMER["fit"] else {**said, "fit": self.fit}


FORMER = {"rules": FIRST, "fit": "squash"}  # what was done where a record, or facts beside scores, do not say


@dataclass(frozen=True)
class BuiltIn:
    """The builder `name` of a file of this room, whose framework takes seconds to import: when it is first called."""

    file: str
    name: str

    def __call__(self, *arguments: object) -> Any:
        return getattr(import_module(f"koniq.network.{self.file}"), self.name)(*arguments)


KONCEPT512 = Network(
    "koncept512",
    BuiltIn("in_keras", "koncept512"),
    input_size=(384, 512),
    torch_builder=BuiltIn("in_torch", "koncept512"),
    openvino_builder=BuiltIn("in_openvino_koncept512", "koncept512"),
    features="final_gap",
    layers=tuple(koncept512_layers()),
    own_name=koncept512_name,
    topology=AS_KERAS,
)
KONCEPT_LITE = Network(
    "koncept_lite",
    BuiltIn("in_keras", "koncept_lite"),
    input_size=(384, 512),
    torch_builder=BuiltIn("in_torch", "koncept_lite"),
    openvino_builder=BuiltIn("in_openvino_koncept_lite", "koncept_lite"),
    features="features",
    layers=tuple(koncept_lite_layers()),
    own_name=koncept_lite_name,
    body="EfficientNet-lite0",
)
NETWORKS = {network.name: network for network in (KONCEPT512, KONCEPT_LITE)}
