"""koncept_lite in OpenVINO, from its arrays alone: no framework that trains is imported, and nothing is exported."""

import math

import numpy as np
import openvino
from openvino import opset13 as ops

from koniq.network import koncept_lite as lite
from koniq.network.layers import State

Folded = dict[str, tuple[np.ndarray, np.ndarray]]  # kernel and bias of each convolution, called as in a `State`


def koncept_lite(state: State, input_size: tuple[int, int], bfloat16: bool = False) -> openvino.Model:
    """koncept_lite with the weights of `state`: uint8 pictures (batch, height, width, 3), RGB, to scores (batch, 1).

    The batch is dynamic. Every batch normalisation is folded into what it stands beside, so that what computes in 8
    bits is a convolution with a bias. bfloat16: the kernels are those of a network that computes in it, see `rounded`.
    """
    folded = {name: _fold(state, name) for name in means(state)}
    if bfloat16:
        folded = rounded(folded, means(state))
    pictures = ops.parameter([-1, *input_size, 3], np.uint8, name="pictures")
    x = ops.transpose(ops.convert(pictures, np.float32), [0, 3, 1, 2])
    # Of a byte less 127 and a power of 2 nothing is rounded, in bf16 either.
    x = ops.multiply(ops.subtract(x, np.float32(lite.OFFSET)), np.float32(1 / lite.DIVISOR))
    x, pooled = _relu6(_convolution(x, folded, "base.stem", 2)), []
    for number, block in enumerate(lite.BLOCKS):
        x = _residual(x, folded, f"base.blocks.{number}", block)
        if number in lite.LEVELS:
            pooled += mean_and_spread(x)
    pooled += mean_and_spread(_relu6(_convolution(x, folded, "base.top")))
    features = ops.squeeze(ops.concat(pooled, 1), [2, 3], name="features")  # by which koniq.engines.features finds them
    scale, offset = _norm(state, "fc.0")
    weight, bias = state["fc.2.weight"], state["fc.2.bias"]
    hidden = ops.relu(_linear(features, weight * scale, bias + weight @ offset, "fc.2"))
    score = _linear(hidden, state["fc.5.weight"], state["fc.5.bias"], "fc.5")
    return openvino.Model([score], [pictures], "koncept_lite")


def means(state: State) -> dict[str, np.ndarray]:
    """The mean of each channel that each convolution takes, by the statistics of batch normalisation.

    What is normalised is taken to be normally distributed. Pictures are taken to be grey in the mean.
    """

    def after(name: str) -> np.ndarray:
        return _mean_of_relu6(state[f"{name}.bn.bias"], np.abs(state[f"{name}.bn.weight"]))

    found = {"base.stem": np.zeros(3, np.float32)}
    x = after("base.stem")
    for number, block in enumerate(lite.BLOCKS):
        name, wide = f"base.blocks.{number}", x
        if block.expands:
            found[f"{name}.expand"] = x
            wide = after(f"{name}.expand")
        found[f"{name}.depth"] = wide
        found[f"{name}.project"] = after(f"{name}.depth")
        y = state[f"{name}.project.bn.bias"]
        x = x + y if block.skips else y
    return found | {"base.top": x}


def _mean_of_relu6(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The mean of min(max(x, 0), 6) for normally distributed x."""
    error_function = np.vectorize(math.erf, [np.float64])

    def of_relu(mean: np.ndarray) -> np.ndarray:
        z = mean / np.maximum(deviation, 1e-6)
        density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return deviation * density + mean * (1 + error_function(z / math.sqrt(2))) / 2

    return (of_relu(mean) - of_relu(mean - 6)).astype(np.float32)


def rounded(folded: Folded, means: dict[str, np.ndarray]) -> Folded:
    """The kernels in bf16, as float32, and biases that make up for it: each channel's mean is what it was.

    Else the error of a kernel, the same at every place, adds up over the picture. Source: Nagel et al., Data-free
    quantization through weight equalization and bias correction, arXiv 1906.04721, section 4.2.
    """
    found = {}
    for name, (kernel, bias) in folded.items():
        near = _to_bfloat16(kernel)
        error = (kernel - near).sum((2, 3))  # (filters, channels), or (filters, 1) of a depthwise one
        by_channel = means[name][:, None] if name.endswith(".depth") else means[name]
        found[name] = near, bias + (error * by_channel).sum(1)
    return found


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    """float32 numbers rounded to those that have 8 bits of mantissa, the nearest, of two the even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


def _residual(x: openvino.Output, folded: Folded, name: str, block: lite.Block) -> openvino.Output:
    wide = _relu6(_convolution(x, folded, f"{name}.expand")) if block.expands else x
    wide = _relu6(_convolution(wide, folded, f"{name}.depth", block.stride))
    y = _convolution(wide, folded, f"{name}.project")
    return ops.add(x, y) if block.skips else y


def _convolution(x: openvino.Output, folded: Folded, name: str, stride: int = 1) -> openvino.Output:
    """OpenVINO's "same_upper" pads as TensorFlow's "same" does."""
    kernel, bias = folded[name]
    how = {"pads_begin": [0, 0], "pads_end": [0, 0], "dilations": [1, 1], "auto_pad": "same_upper", "name": name}
    if name.endswith(".depth"):
        y = ops.group_convolution(x, kernel[:, None], strides=[stride] * 2, **how)
    else:
        y = ops.convolution(x, kernel, strides=[stride] * 2, **how)
    return ops.add(y, bias[None, :, None, None])  # as NNCF wants it


def _fold(state: State, name: str) -> tuple[np.ndarray, np.ndarray]:
    scale, offset = _norm(state, f"{name}.bn")
    return state[f"{name}.conv.weight"] * scale[:, None, None, None], offset


def _relu6(x: openvino.Output) -> openvino.Output:
    return ops.clamp(x, 0.0, 6.0)


def _linear(x: openvino.Output, weight: np.ndarray, bias: np.ndarray, name: str) -> openvino.Output:
    return ops.add(ops.matmul(x, weight, False, True, name=name), bias)


def _norm(state: State, name: str) -> tuple[np.ndarray, np.ndarray]:
    """What a batch normalisation multiplies by, and what it then adds; float32."""
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + np.float32(lite.EPSILON))
    return scale, state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale


def mean_and_spread(x: openvino.Output) -> tuple[openvino.Output, openvino.Output]:
    """The mean and the population's standard deviation over height and width: two of (batch, channels, 1, 1)."""
    mean = ops.reduce_mean(x, [2, 3], True)
    apart = ops.subtract(x, mean)
    variance = ops.reduce_mean(ops.multiply(apart, apart), [2, 3], True)
    return mean, ops.sqrt(ops.add(variance, np.float32(lite.VARIANCE)))
