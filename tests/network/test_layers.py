"""What is said of the networks' layers without a framework is what PyTorch builds."""

import numpy as np
import pytest

from koniq.network import KONCEPT512, KONCEPT_LITE
from koniq.network.layers import shapes_in_keras, shapes_in_torch, to_keras, to_torch

RNG = np.random.default_rng(7)
both = pytest.mark.parametrize("network", [KONCEPT512, KONCEPT_LITE], ids=lambda network: network.name)


@both
def test_the_layers_are_those_of_pytorch(network):
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        module = network.build_torch()
    built = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items() if "tracked" not in key}
    assert {key: array.shape for key, array in shapes_in_torch(network.layers).items()} == built
    assert {layer.name for layer in network.body_layers} == {
        layer.name for layer in network.layers if not layer.name.startswith("fc.")
    }


@both
def test_by_either_name_the_weights_are_the_same(network):
    layers = [(name, [RNG.random(array.shape, np.float32) for array in arrays]) for name, arrays in few(network)]
    table = [layer for layer in network.layers if layer.name in dict(layers)]
    back = to_keras(to_torch(layers, table), table)
    for (name, arrays), (_, again) in zip(layers, back, strict=True):
        assert len(arrays) == len(again), name
        assert all(map(np.array_equal, arrays, again)), name


def few(network):
    """The first layers of the body, among which all its kinds are, and the head's last."""
    layers = shapes_in_keras(network.layers)
    return [*layers[:8], layers[-1]]


def test_a_scale_is_folded_where_keras_has_none_and_kept_where_it_has_one():
    for network, folded in ((KONCEPT512, True), (KONCEPT_LITE, False)):
        convolution, norm = network.layers[:2]
        state = {key: np.ones(array.shape, np.float32) for key, array in shapes_in_torch((convolution, norm)).items()}
        state[f"{norm.name}.weight"] *= 3
        (_, (kernel,)), (_, of_norm) = to_keras(state, (convolution, norm))
        assert float(kernel.max()) == (3 if folded else 1)
        assert [float(array.max()) for array in of_norm] == ([1, 3, 1] if folded else [3, 1, 1, 1])
