"""The networks in Keras. Preprocessing is their first layer, so that pictures travel as bytes.

Nothing here has a class of its own, so that a saved model opens with Keras alone.
"""

import keras
from keras import KerasTensor, layers

from koniq.network import koncept_lite as lite
from koniq.network.koncept512 import AS_KERAS, SIDE, Topology
from ku import applications as apps


def koncept512(input_size: tuple[int, int], output_bias: float, topology: Topology = AS_KERAS) -> keras.Model:
    """KonCept512 (Hosu et al., arXiv 1910.06180, section V): InceptionResNetV2, pooled to 1536, and a head of 4 layers.

    From random weights, the head's by he_normal; the score starts at output_bias. Pictures are taken from [0, 255] to
    [-1, 1]. 59,858,657 parameters, and the scales of the body if it learns them.
    """
    pictures = keras.Input((*input_size, 3), dtype="uint8", name="pictures")
    scaled = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(pictures)
    body, _ = apps.get_model_imagenet("InceptionResNetV2", weights=None, input_tensor=scaled)  # ... x 1536
    features = body.output
    if topology.pooling == "8x8":
        places = body.get_layer("final_gap").input  # 10 x 14 x 1536 for 384x512
        beyond = tuple((0, size - SIDE) for size in places.shape[1:3])
        features = layers.GlobalAveragePooling2D(name="final_gap")(layers.Cropping2D(beyond, name="upper_left")(places))
    score = apps.fc_layers(
        features, name="fc", fc_sizes=[2048, 1024, 256, 1], dropout_rates=[0.25, 0.25, 0.5, 0], batch_norm=2
    )
    model = keras.Model(pictures, score, name="koncept512")
    return _starting_at(output_bias, model if topology == AS_KERAS else _renormalised(model, topology))


def _renormalised(model: keras.Model, topology: Topology) -> keras.Model:
    """The model, from random weights anew, with the batch normalisation of a topology."""

    def alike(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        if isinstance(layer, layers.BatchNormalization) and layer.name.startswith("fc_"):
            config["epsilon"] = topology.head_epsilon
        elif isinstance(layer, layers.BatchNormalization):
            config["scale"] = topology.body_scale
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=alike)


def koncept_lite(input_size: tuple[int, int], output_bias: float) -> keras.Model:
    """koncept_lite: EfficientNet-lite0, mean and spread of seven of its levels, 4096 in all, and a head of 2 layers.

    From random weights, the head's by he_normal; the score starts at output_bias. 4,478,497 parameters, with the
    statistics.
    """
    pictures = keras.Input((*input_size, 3), dtype="uint8", name="pictures")
    x = layers.Rescaling(1 / lite.DIVISOR, offset=-lite.OFFSET / lite.DIVISOR, name="scale")(pictures)
    x = _convolved(x, "stem", lite.STEM, 3, 2)
    pooled = []
    for number, block in enumerate(lite.BLOCKS):
        x = _inverted_residual(x, f"block{number}", block)
        if number in lite.LEVELS:
            pooled += _mean_and_spread(x)
    pooled += _mean_and_spread(_convolved(x, "top", lite.TOP))
    x = layers.Concatenate(name="features", dtype="float32")(pooled)
    x = layers.BatchNormalization(epsilon=lite.EPSILON, name="fc_bn", dtype="float32")(x)
    for number, (size, activation) in enumerate(((lite.HEAD, "relu"), (1, None))):
        x = layers.Dropout(lite.DROPOUT, name=f"fc_do{number}", dtype="float32")(x)
        x = layers.Dense(
            size,
            activation,
            kernel_initializer="he_normal",
            name="fc_out" if size == 1 else f"fc_fc{number}",
            dtype="float32",
        )(x)
    return _starting_at(output_bias, keras.Model(pictures, x, name="koncept_lite"))


def _starting_at(bias: float, model: keras.Model) -> keras.Model:
    model.layers[-1].bias.assign([bias])
    return model


def _convolved(
    x: KerasTensor, name: str, filters: int = 0, kernel: int = 1, stride: int = 1, linear: bool = False
) -> KerasTensor:
    """Convolution without bias, batch normalisation, and ReLU6 unless linear; depthwise where there are no filters."""
    how = {"strides": stride, "padding": "same", "use_bias": False, "name": f"{name}_conv"}
    x = layers.Conv2D(filters, kernel, **how)(x) if filters else layers.DepthwiseConv2D(kernel, **how)(x)
    x = layers.BatchNormalization(epsilon=lite.EPSILON, name=f"{name}_bn")(x)
    return x if linear else layers.ReLU(6.0, name=f"{name}_relu6")(x)


def _inverted_residual(x: KerasTensor, name: str, block: lite.Block) -> KerasTensor:
    wide = _convolved(x, f"{name}_expand", block.width) if block.expands else x
    y = _convolved(wide, f"{name}_depth", 0, block.kernel, block.stride)
    y = _convolved(y, f"{name}_project", block.filters, linear=True)
    return layers.Add(name=f"{name}_add")([x, y]) if block.skips else y


def _mean_and_spread(x: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """The mean and the standard deviation of each channel over height and width, in float32: two of (batch, channels).

    The deviation is the population's, and kept from 0, where its gradient would be infinite.
    """
    x = keras.ops.cast(x, "float32")
    return keras.ops.mean(x, (1, 2)), keras.ops.sqrt(keras.ops.var(x, (1, 2)) + lite.VARIANCE)
