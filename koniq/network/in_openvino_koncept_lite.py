"""koncept_lite in OpenVINO, from its arrays."""

import math

import numpy as np
import openvino
from openvino import opset13 as ops

from koniq.network import koncept_lite as lite
from koniq.network.in_openvino import Kernel, convolution, entry, folded, linear, norm
from koniq.network.layers import State

Kernels = dict[str, Kernel]  # of each convolution, called as in a `State`


def koncept_lite(state: State, input_size: tuple[int, int], bfloat16: bool = False) -> openvino.Model:
    """koncept_lite with the weights of `state`: uint8 pictures (batch, height, width, 3), RGB, to scores (batch, 1).

    The batch is dynamic. bfloat16: the kernels are those of a network that computes in it, see `rounded`.
    """
    kernels = {name: folded(state, name, lite.EPSILON) for name in means(state)}
    if bfloat16:
        kernels = rounded(kernels, means(state))
    pictures, x = entry(input_size, lite.OFFSET)
    x = ops.multiply(x, np.float32(1 / lite.DIVISOR))  # a power of 2, by which nothing is rounded
    x, pooled = _relu6(_convolution(x, kernels, "base.stem", 2)), []
    for number, block in enumerate(lite.BLOCKS):
        x = _residual(x, kernels, f"base.blocks.{number}", block)
        if number in lite.LEVELS:
            pooled += mean_and_spread(x)
    pooled += mean_and_spread(_relu6(_convolution(x, kernels, "base.top")))
    features = ops.squeeze(ops.concat(pooled, 1), [2, 3], name="features")  # by which koniq.engines.features finds them
    hidden = ops.relu(linear(features, state, "fc.2", *norm(state, "fc.0", lite.EPSILON)))
    return openvino.Model([linear(hidden, state, "fc.5")], [pictures], "koncept_lite")


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


def rounded(kernels: Kernels, means: dict[str, np.ndarray]) -> Kernels:
    """The kernels in bf16, as float32, and biases that make up for it: each channel's mean is what it was.

    Else the error of a kernel, the same at every place, adds up over the picture. Source: Nagel et al., Data-free
    quantization through weight equalization and bias correction, arXiv 1906.04721, section 4.2.
    """
    found = {}
    for name, (kernel, bias) in kernels.items():
        near = _to_bfloat16(kernel)
        error = (kernel - near).sum((2, 3))  # (filters, channels), or (filters, 1) of a depthwise one
        by_channel = means[name][:, None] if name.endswith(".depth") else means[name]
        found[name] = near, bias + (error * by_channel).sum(1)
    return found


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    """float32 numbers rounded to those that have 8 bits of mantissa, the nearest, of two the even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)


def _residual(x: openvino.Output, kernels: Kernels, name: str, block: lite.Block) -> openvino.Output:
    wide = _relu6(_convolution(x, kernels, f"{name}.expand")) if block.expands else x
    wide = _relu6(_convolution(wide, kernels, f"{name}.depth", block.stride))
    y = _convolution(wide, kernels, f"{name}.project")
    return ops.add(x, y) if block.skips else y


def _convolution(x: openvino.Output, kernels: Kernels, name: str, stride: int = 1) -> openvino.Output:
    return convolution(x, kernels[name], name, stride, depthwise=name.endswith(".depth"))


def _relu6(x: openvino.Output) -> openvino.Output:
    return ops.clamp(x, 0.0, 6.0)


def mean_and_spread(x: openvino.Output) -> tuple[openvino.Output, openvino.Output]:
    """The mean and the population's standard deviation over height and width: two of (batch, channels, 1, 1)."""
    mean = ops.reduce_mean(x, [2, 3], True)
    apart = ops.subtract(x, mean)
    variance = ops.reduce_mean(ops.multiply(apart, apart), [2, 3], True)
    return mean, ops.sqrt(ops.add(variance, np.float32(lite.VARIANCE)))
