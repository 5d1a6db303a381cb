"""KonCept512 in OpenVINO, from its arrays: InceptionResNetV2 as Keras has it, and a head of 4 layers."""

from collections.abc import Sequence

import numpy as np
import openvino
from openvino import opset13 as ops

from koniq.network import koncept512 as net
from koniq.network.in_openvino import convolution, entry, folded, linear, norm
from koniq.network.layers import State

OFFSET = 127.0  # taken from bytes; the rest of their way from [0, 255] to [-1, 1] is in the first convolution


def koncept512(
    state: State, input_size: tuple[int, int], bfloat16: bool = False, topology: net.Topology = net.AS_KERAS
) -> openvino.Model:
    """KonCept512 with the weights of `state`: uint8 pictures (batch, height, width, 3), RGB, to scores (batch, 1).

    The batch is dynamic. In comments: channels, height and width for pictures of 384x512. bfloat16: changes nothing.
    """
    state = _from_bytes(state)
    pictures, x = entry(input_size, OFFSET)
    x = _side_by_side(x, state, "", net.STEM)  # 192, 45, 61
    x = _side_by_side(x, state, "7.branch", net.MIXED_5B)  # 320, 45, 61
    for number in range(10):
        x = ops.relu(_residual(x, state, f"8.{number}", net.BLOCK35, 0.17))
    x = _side_by_side(x, state, "9.branch", net.MIXED_6A)  # 1088, 22, 30
    for number in range(20):
        x = ops.relu(_residual(x, state, f"10.{number}", net.BLOCK17, 0.10))
    x = _side_by_side(x, state, "11.branch", net.MIXED_7A)  # 2080, 10, 14
    for number in range(9):
        x = ops.relu(_residual(x, state, f"12.{number}", net.BLOCK8, 0.20))
    x = _residual(x, state, "13", net.BLOCK8, 1.0)
    x = _side_by_side(x, state, "", net.TOP)  # 1536, 10, 14
    if topology.pooling == "8x8":
        x = ops.slice(x, [0, 0], [net.SIDE] * 2, [1, 1], [2, 3])  # the upper left places
    x = ops.reduce_mean(x, [2, 3], False, name="features")  # by which koniq.engines.features finds them
    normalised = ()
    for layer, after, _ in net.HEAD:
        x = ops.relu(linear(x, state, layer, *normalised))
        normalised = norm(state, after, topology.head_epsilon)
    return openvino.Model([linear(x, state, "fc.12", *normalised)], [pictures], "koncept512")


def _from_bytes(state: State) -> State:
    """The weights; the first convolution, which pads with nothing, takes bytes less OFFSET for bytes / 127.5 - 1."""
    weight = state["base.0.conv.weight"] / np.float32(127.5)
    mean = state["base.0.bn.running_mean"] + np.float32(127.5 - OFFSET) * weight.sum((1, 2, 3))
    return state | {"base.0.conv.weight": weight, "base.0.bn.running_mean": mean}


def _residual(x: openvino.Output, state: State, place: str, branches: Sequence[str], scale: float) -> openvino.Output:
    """An Inception-ResNet block up to its ReLU: x, and `scale` times what its branches make of it."""
    mixed = _side_by_side(x, state, f"{place}.branch", branches)
    name = f"base.{place}.conv2d"
    kernel = tuple(state[f"{name}.{part}"] * np.float32(scale) for part in ("weight", "bias"))
    return ops.add(x, convolution(mixed, kernel, name))


def _side_by_side(x: openvino.Output, state: State, place: str, branches: Sequence[str]) -> openvino.Output:
    """Branches from x on, their channels put one after another."""
    ends = [_branch(x, state, place, branch) for branch in branches]
    return ops.concat(ends, 1) if len(ends) > 1 else ends[0]


def _branch(x: openvino.Output, state: State, place: str, branch: str) -> openvino.Output:
    for step in net.steps(branch):
        if step.name == "max":
            x = ops.max_pool(x, [step.stride] * 2, [1, 1], [0, 0], [0, 0], [3, 3], auto_pad="valid").output(0)
        elif step.name == "mean":
            x = ops.avg_pool(x, [1, 1], [0, 0], [0, 0], [3, 3], exclude_pad=True, auto_pad="same_upper")
        else:
            name = f"base.{place}{step.name}"
            x = ops.relu(convolution(x, folded(state, name, net.EPSILON), name, step.stride, step.padded))
    return x
