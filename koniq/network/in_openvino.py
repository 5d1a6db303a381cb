"""What the networks in OpenVINO are made of, from arrays: no framework that trains is imported.

Pictures enter as bytes. A batch normalisation is no layer of its own: it is folded into what it stands beside, so that
what computes in 8 bits is a convolution with a bias.
"""

import numpy as np
import openvino
from openvino import opset13 as ops

from koniq.network.layers import State

Kernel = tuple[np.ndarray, np.ndarray]  # of a convolution (filters, channels, height, width), and its bias (filters,)


def entry(input_size: tuple[int, int], offset: float) -> tuple[openvino.Node, openvino.Output]:
    """Where pictures enter, uint8 (any batch, height, width, 3), and what the body sees: less offset, channels first.

    Of a byte less 127 nothing is rounded, in bf16 either.
    """
    pictures = ops.parameter([-1, *input_size, 3], np.uint8, name="pictures")
    x = ops.transpose(ops.convert(pictures, np.float32), [0, 3, 1, 2])
    return pictures, ops.subtract(x, np.float32(offset))


def norm(state: State, name: str, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """What a batch normalisation multiplies by, and what it then adds; float32."""
    scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + np.float32(epsilon))
    return scale, state[f"{name}.bias"] - state[f"{name}.running_mean"] * scale


def folded(state: State, name: str, epsilon: float) -> Kernel:
    """The convolution `name`.conv, which has no bias, with the normalisation `name`.bn that follows it."""
    scale, offset = norm(state, f"{name}.bn", epsilon)
    return state[f"{name}.conv.weight"] * scale[:, None, None, None], offset


def constant(array: np.ndarray) -> openvino.Node:
    """An array as a part of a network: handed over whole, for number by number takes seconds."""
    return ops.constant(array, np.float32)


def convolution(
    x: openvino.Output, kernel: Kernel, name: str, stride: int = 1, padded: bool = True, depthwise: bool = False
) -> openvino.Output:
    """A convolution with its bias. OpenVINO's "same_upper" pads as TensorFlow's "same" does."""
    weight, bias = kernel
    weight, bias = constant(weight[:, None] if depthwise else weight), constant(bias[None, :, None, None])
    how = {"pads_begin": [0, 0], "pads_end": [0, 0], "dilations": [1, 1], "name": name}
    how |= {"strides": [stride] * 2, "auto_pad": "same_upper" if padded else "valid"}
    y = ops.group_convolution(x, weight, **how) if depthwise else ops.convolution(x, weight, **how)
    return ops.add(y, bias)  # as NNCF wants it


def linear(
    x: openvino.Output, state: State, name: str, scale: np.ndarray | float = 1.0, offset: np.ndarray | float = 0.0
) -> openvino.Output:
    """The layer `name` of scale * x + offset, which is what a normalisation before it gives: (batch, outputs)."""
    weight = state[f"{name}.weight"]
    bias = state[f"{name}.bias"] + (weight * offset).sum(1)
    return ops.add(ops.matmul(x, constant(weight * scale), False, True, name=name), constant(bias))
