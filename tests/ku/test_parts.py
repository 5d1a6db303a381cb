"""A model in part: its layers, what ends in one of them, what is saved of it."""

import h5py
import keras
import numpy as np
import pytest
from small_helper import net

from ku.parts import cut_model, find_layer, get_activations, get_layer_index, save_weights

pytestmark = pytest.mark.any_backend


def test_layers_and_activations():
    model = net()
    assert get_layer_index(model, "gap") == 3
    with pytest.raises(ValueError, match="Received: name='nap'"):
        get_layer_index(model, "nap")
    im = np.full((8, 8, 3), 7, np.uint8)
    single = get_activations(im, model, "gap")
    np.testing.assert_allclose(get_activations(im[None], model, 3), single[None])
    assert single.shape == (4,)


def test_a_part_shares_its_layers():
    model = net()
    part = cut_model(model, "gap")
    assert part.output_shape == (None, 4)
    assert part.layers == model.layers[:4]
    assert find_layer(model, "gap") is find_layer(model, 3) is find_layer(model, -2)


def test_weights_are_saved_without_the_optimiser(tmp_path):
    model = net()
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    save_weights(model, tmp_path / "new" / "net.weights.h5")
    names = []
    with h5py.File(tmp_path / "new" / "net.weights.h5") as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    assert len(names) == len(model.weights)
