"""Networks for rating pictures: ImageNet bodies, and the heads and pooled features put on them.

The architectures are exposed by name, as is `Model`, and with them what rates and divides: `ku.rating`, `ku.sets`.
Importing the module builds nothing.
"""

import re
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType

import keras
from keras import KerasTensor, Model
from keras.applications import (
    densenet,
    inception_resnet_v2,
    inception_v3,
    nasnet,
    resnet50,
    vgg16,
)
from keras.applications.densenet import DenseNet201
from keras.applications.inception_resnet_v2 import InceptionResNetV2
from keras.applications.inception_v3 import InceptionV3
from keras.applications.nasnet import NASNetMobile
from keras.applications.resnet50 import ResNet50
from keras.applications.vgg16 import VGG16
from keras.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    Resizing,
    UnitNormalization,
)
from keras.src.backend.config import keras_home

from ku.rating import rating_metrics, test_rating_model
from ku.sets import get_train_test_sets

__all__ = [
    "VGG16",
    "DenseNet201",
    "InceptionResNetV2",
    "InceptionV3",
    "Model",
    "NASNetMobile",
    "ResNet50",
    "conv2d_bn",
    "fc_layers",
    "get_model_imagenet",
    "get_train_test_sets",
    "inception_block",
    "model_inception_multigap",
    "model_inception_pooled",
    "model_inceptionresnet_multigap",
    "model_inceptionresnet_pooled",
    "process_input",
    "rating_metrics",
    "source_module",
    "test_rating_model",
]

source_module: dict[Callable, ModuleType] = {
    DenseNet201: densenet,
    InceptionResNetV2: inception_resnet_v2,
    InceptionV3: inception_v3,
    NASNetMobile: nasnet,
    ResNet50: resnet50,
    VGG16: vgg16,
}
process_input: dict[Callable, Callable] = {net: module.preprocess_input for net, module in source_module.items()}
WEIGHTS_FILES = {  # as keras.applications names them in its cache
    DenseNet201: "densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5",
    InceptionResNetV2: "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5",
    InceptionV3: "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
    NASNetMobile: "nasnet_mobile_no_top.h5",
    ResNet50: "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    VGG16: "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
FETCH_TIMEOUT = 20  # seconds without an answer


def get_model_imagenet(
    net: Callable | str,
    input_shape: Sequence[int | None] | None = None,
    plot: bool = False,
    *,
    weights: str | Path | None = "imagenet",
    **kw,
) -> tuple[Model, Callable]:
    """The body of `net`, ending in the global average pooling `final_gap`, and its preprocessing function.

    Args:
        net: one of the architectures here, as class or name.
        input_shape: (height, width, 3); None for pictures of any size.
        plot: draw the network to `<net>.png`.
        weights: "imagenet" (fetched once, then cached by Keras), None for random ones, or a file.
        kw: go to the architecture; the network is built on `input_tensor`, where given.

    Raises ConnectionError where the ImageNet weights cannot be fetched.
    """
    net = _architecture(net)
    if weights not in (None, "imagenet") and not Path(weights).is_file():
        raise FileNotFoundError(f"weights should be 'imagenet', None or a file. Received: weights={weights}")
    weights = None if weights is None else str(weights)
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(FETCH_TIMEOUT)
    try:
        body = net(include_top=False, weights=weights, input_shape=input_shape, **kw)
    except Exception as error:
        # Keras raises a bare Exception for a failed fetch.
        if not isinstance(error, (ConnectionError, TimeoutError)) and "URL fetch failure" not in str(error):
            raise
        place = Path(keras_home()) / "models" / WEIGHTS_FILES[net]
        raise ConnectionError(
            f"The ImageNet weights of {net.__name__} should come from the network, lie in {place} (put them "
            f"there by hand), or be done without (weights=None). Received: {error}"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
    output = GlobalAveragePooling2D(name="final_gap")(body.outputs[0])
    model = Model(body.inputs[0], output, name=body.name)
    if plot:
        keras.utils.plot_model(model, f"{net.__name__}.png", show_shapes=True)
    return model, process_input[net]


def fc_layers(
    input_layer: KerasTensor,
    name: str = "pred",
    fc_sizes: Sequence[int] = (2048, 1024, 256, 1),
    dropout_rates: Sequence[float] = (0.25, 0.25, 0.5, 0),
    batch_norm: int = False,
    l2_norm_inputs: bool = False,
    activation: str | Callable = "relu",
    initialization: str | keras.initializers.Initializer = "he_normal",
    out_activation: str | Callable = "linear",
    test_time_dropout: bool = False,
    **fc_params,
) -> KerasTensor:
    """A head of Dense layers on N x features; returns its output, N x fc_sizes[-1], in float32.

    Each Dense, `name_fc0`.. and last `name_out`, is followed by its activation, then batch normalisation
    `name_bn0`.. and dropout `name_do0`..

    Args:
        dropout_rates: one for each of `fc_sizes`; 0 adds no layer.
        batch_norm: 0: none, 1: after every Dense, 2: after all but the last.
        l2_norm_inputs: scale the features of each picture to length 1 first.
        test_time_dropout: drop when predicting, too.
        fc_params: go to every Dense.
    """
    if len(fc_sizes) != len(dropout_rates):
        raise ValueError(
            f"dropout_rates should be one for each of fc_sizes={list(fc_sizes)}. "
            f"Received: dropout_rates={list(dropout_rates)}"
        )
    if batch_norm not in (0, 1, 2):
        raise ValueError(f"batch_norm should be 0, 1 or 2. Received: batch_norm={batch_norm}")
    x = UnitNormalization(name=f"{name}_l2")(input_layer) if l2_norm_inputs else input_layer
    for i, (size, rate) in enumerate(zip(fc_sizes, dropout_rates, strict=True)):
        is_last = i == len(fc_sizes) - 1
        # A score out of 100 needs more digits than a half-precision number has.
        dtype = "float32" if is_last else None
        dense = {
            "activation": out_activation if is_last else activation,
            "kernel_initializer": initialization,
            "dtype": dtype,
            "name": f"{name}_out" if is_last else f"{name}_fc{i}",
        }
        x = Dense(size, **{**dense, **fc_params})(x)
        if batch_norm == 1 or (batch_norm == 2 and not is_last):
            x = BatchNormalization(dtype=dtype, name=f"{name}_bn{i}")(x)
        if rate:
            dropout = TestTimeDropout if test_time_dropout else Dropout
            x = dropout(rate, dtype=dtype, name=f"{name}_do{i}")(x)
    return x


@keras.saving.register_keras_serializable("ku")
class TestTimeDropout(Dropout):
    """Dropout that drops when predicting, too: the `training` of a model's call outdoes that of a layer's."""

    def call(self, inputs, training=False):
        return super().call(inputs, training=True)


def conv2d_bn(
    x: KerasTensor,
    filters: int,
    num_row: int,
    num_col: int,
    padding: str = "same",
    strides: int | tuple[int, int] = (1, 1),
    name: str | None = None,
) -> KerasTensor:
    """Convolution num_row x num_col, batch normalisation, ReLU: `name_conv`, `name_bn`, `name`."""
    names = (None, None) if name is None else (f"{name}_conv", f"{name}_bn")
    x = Conv2D(filters, (num_row, num_col), strides, padding, use_bias=False, name=names[0])(x)
    x = BatchNormalization(scale=False, name=names[1])(x)
    return Activation("relu", name=name)(x)


def inception_block(x: KerasTensor, size: int = 768, name: str = "") -> KerasTensor:
    """Four branches of size / 4 channels (1x1, 3x3, 5x5 as two 3x3, pooled) side by side, as `name_mixed`."""
    if size % 4:
        raise ValueError(f"size should be a multiple of 4. Received: size={size}")

    def conv(x: KerasTensor, kernel: int, part: str) -> KerasTensor:
        return conv2d_bn(x, size // 4, kernel, kernel, name=f"{name}_{part}" if name else None)

    branches = [
        conv(x, 1, "1x1"),
        conv(conv(x, 1, "3x3_reduce"), 3, "3x3"),
        conv(conv(conv(x, 1, "5x5_reduce"), 3, "5x5_first"), 3, "5x5"),
        conv(AveragePooling2D(3, strides=1, padding="same")(x), 1, "pool"),
    ]
    return Concatenate(name=f"{name}_mixed" if name else None)(branches)


# Hosu, Goldluecke and Saupe, Effective Aesthetics Prediction with Multi-level Spatially Pooled Features,
# arXiv 1904.01382: multigap gives its narrow features, pooled its wide ones.
Multilevel = Model | tuple[Model, list[int]]


def model_inception_multigap(
    input_shape: Sequence[int | None] = (None, None, 3),
    indexes: Iterable[int] | None = None,
    name: str = "",
    return_sizes: bool = False,
    *,
    weights: str | Path | None = "imagenet",
) -> Multilevel:
    """InceptionV3 -> the averages of its 11 blocks (or those of `indexes`), concatenated: N x 10048.

    With `return_sizes` also the channels of each block.
    """
    return _multilevel(InceptionV3, input_shape, indexes, None, name, return_sizes, weights)


def model_inceptionresnet_multigap(
    input_shape: Sequence[int | None] = (None, None, 3),
    indexes: Iterable[int] | None = None,
    name: str = "",
    return_sizes: bool = False,
    *,
    weights: str | Path | None = "imagenet",
) -> Multilevel:
    """InceptionResNetV2 -> the averages of its 43 blocks (or those of `indexes`), concatenated: N x 16928.

    With `return_sizes` also the channels of each block.
    """
    return _multilevel(InceptionResNetV2, input_shape, indexes, None, name, return_sizes, weights)


def model_inception_pooled(
    input_shape: Sequence[int | None] = (None, None, 3),
    indexes: Iterable[int] | None = None,
    pool_size: tuple[int, int] = (5, 5),
    name: str = "",
    return_sizes: bool = False,
    *,
    weights: str | Path | None = "imagenet",
) -> Multilevel:
    """InceptionV3 -> its 11 blocks (or those of `indexes`) resized to `pool_size`: N x 5 x 5 x 10048.

    With `return_sizes` also the channels of each block.
    """
    return _multilevel(InceptionV3, input_shape, indexes, pool_size, name, return_sizes, weights)


def model_inceptionresnet_pooled(
    input_shape: Sequence[int | None] = (None, None, 3),
    indexes: Iterable[int] | None = None,
    pool_size: tuple[int, int] = (5, 5),
    name: str = "",
    return_sizes: bool = False,
    *,
    weights: str | Path | None = "imagenet",
) -> Multilevel:
    """InceptionResNetV2 -> its 43 blocks (or those of `indexes`) resized to `pool_size`: N x 5 x 5 x 16928.

    With `return_sizes` also the channels of each block.
    """
    return _multilevel(InceptionResNetV2, input_shape, indexes, pool_size, name, return_sizes, weights)


def _architecture(net: Callable | str) -> Callable:
    known = {architecture.__name__: architecture for architecture in source_module}
    name = net if isinstance(net, str) else getattr(net, "__name__", None)
    if name not in known:
        raise ValueError(f"net should be among {', '.join(known)}. Received: net={net!r}")
    return known[name]


def _multilevel(
    net: Callable,
    input_shape: Sequence[int | None],
    indexes: Iterable[int] | None,
    pool_size: tuple[int, int] | None,
    name: str,
    return_sizes: bool,
    weights: str | Path | None,
) -> Multilevel:
    """`net` up to its pooled and concatenated blocks; pool_size None: averages over all places."""
    body, _ = get_model_imagenet(net, input_shape, weights=weights)
    # mixed0, mixed10 in InceptionV3; mixed_5b, block35_1_mixed in InceptionResNetV2
    is_block = re.compile(r"mixed\d+|mixed_\d\w|block\d+_\d+_mixed").fullmatch
    blocks = [layer.output for layer in body.layers if is_block(layer.name)]
    indexes = list(range(len(blocks)) if indexes is None else indexes)
    if not indexes or not all(0 <= i < len(blocks) for i in indexes):
        raise ValueError(f"indexes should be of the {len(blocks)} blocks, 0 first. Received: indexes={indexes}")
    prefix = f"{name}_" if name else ""
    pooled = []
    for i in indexes:
        if pool_size is None:
            pool = GlobalAveragePooling2D(name=f"{prefix}gap{i}")
        else:
            pool = Resizing(*pool_size, antialias=True, name=f"{prefix}pool{i}")
        pooled.append(pool(blocks[i]))
    output = Concatenate(name=f"{prefix}levels")(pooled) if len(pooled) > 1 else pooled[0]
    model = Model(body.input, output, name=name or None)
    return (model, [blocks[i].shape[-1] for i in indexes]) if return_sizes else model
