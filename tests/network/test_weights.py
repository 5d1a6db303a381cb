import h5py
import keras
import numpy as np
import pytest
from tiny import TINY

from koniq.ground import InputError
from koniq.network import KONCEPT512, weights

PICTURES = np.random.default_rng(5).integers(0, 256, (3, 24, 32, 3), np.uint8)


def shaken(model, seed=1):
    """The model with every weight drawn anew, moving statistics too, so that nothing agrees by its initial value."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        values = rng.normal(0, 0.05, variable.shape)
        variable.assign(values + 1 if "variance" in variable.path or "gamma" in variable.path else values)
    return model


def scores(model, pictures=PICTURES):
    return np.asarray(model(pictures, training=False))


def saved(model, path):
    if path.suffixes[0] == ".weights":
        model.save_weights(path)
    else:
        model.save(path)
    return path


@pytest.mark.parametrize("name", ["m.weights.h5", "m.keras", "m.h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.numerical
def test_what_keras_3_writes_loads(tmp_path, name):
    model = shaken(TINY.build())
    path = saved(model, tmp_path / name)
    other = TINY.build()
    assert not np.allclose(scores(other), scores(model))
    weights.load(other, path)
    np.testing.assert_array_equal(scores(other), scores(model))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.numerical
def test_what_keras_2_writes_loads(tmp_path, whole):
    """The Keras 2 model has no layer for scaling, as the study's have none."""
    keras2 = pytest.importorskip("tf_keras")
    layers = keras2.layers
    x = inputs = keras2.Input((24, 32, 3))
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
        x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    for number, size in enumerate((32, 16)):
        x = layers.Dense(size, activation="relu", name=f"fc_fc{number}")(x)
        x = layers.BatchNormalization(name=f"fc_bn{number}")(x)
        x = layers.Dropout(0.25)(x)
    old = keras2.Model(inputs, layers.Dense(1, name="fc_out")(x))
    rng = np.random.default_rng(2)
    old.set_weights([rng.uniform(0.1, 0.9, array.shape) for array in old.get_weights()])
    path = tmp_path / "old.h5"
    (old.save if whole else old.save_weights)(path)
    model = TINY.build()
    weights.load(model, path)
    np.testing.assert_allclose(scores(model), old(PICTURES / 127.5 - 1, training=False), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.numerical
def test_koncept512_of_keras_2_predicts_the_same(tmp_path):
    """The whole network at a small input size, its statistics no longer those of a new one."""
    keras2 = pytest.importorskip("tf_keras")
    layers = keras2.layers
    body = keras2.applications.InceptionResNetV2(include_top=False, weights=None, input_shape=(76, 100, 3))
    x = layers.GlobalAveragePooling2D()(body.output)
    for size in (2048, 1024, 256):
        x = layers.BatchNormalization()(layers.Dense(size, activation="relu")(x))
    old = keras2.Model(body.input, layers.Dense(1)(x))
    rng = np.random.default_rng(2)
    for layer in old.layers:
        if isinstance(layer, layers.BatchNormalization):
            *shift, mean, variance = layer.get_weights()
            values = [
                rng.normal(0, 0.1, mean.shape),
                rng.normal(0, 0.1, mean.shape),
                rng.uniform(0.5, 2, variance.shape),
            ]
            layer.set_weights([np.ones_like(mean)] * (len(shift) - 1) + values)
    path = tmp_path / "old.h5"
    old.save_weights(path)
    weights.check_keras(path, KONCEPT512)
    model = KONCEPT512.at((76, 100)).build()
    assert model.count_params() == 59_858_657
    weights.load(model, path)
    pictures = rng.integers(0, 256, (2, 76, 100, 3), np.uint8)
    expected = old(pictures / np.float32(127.5) - 1, training=False)
    np.testing.assert_allclose(scores(model, pictures), expected, rtol=1e-4, atol=1e-4)


def test_a_file_that_does_not_fit_names_the_first_layer_that_differs_and_loads_nothing(tmp_path):
    inputs = keras.Input((24, 32, 3))
    x = keras.layers.Conv2D(8, 3, name="first")(inputs)
    other = keras.Model(inputs, keras.layers.Conv2D(5, 3, name="second")(x))
    for name in ("o.weights.h5", "o.keras"):
        path = saved(other, tmp_path / name)
        model = TINY.build()
        before = model.get_weights()
        with pytest.raises(
            InputError, match=r"layer 2 .* expected 'batch_normalization\w*' \(8,\).*'conv2d_1' \(3, 3, 8, 5\)"
        ):
            weights.load(model, path)
        for array, kept in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(array, kept)


def test_a_file_with_a_layer_more_or_less_does_not_fit(tmp_path):
    model = TINY.build()
    longer = keras.Model(model.input, keras.layers.Dense(2, name="extra")(model.output))
    with pytest.raises(InputError, match=r"expected nothing \(no more layers\). Received: 'dense_3' \(1, 2\) \(2,\)"):
        weights.load(TINY.build(), saved(longer, tmp_path / "l.weights.h5"))
    with pytest.raises(InputError, match=r"expected 'extra' .* Received: nothing"):
        weights.load(longer, saved(TINY.build(), tmp_path / "s.weights.h5"))


def test_files_that_are_no_weights_are_refused(tmp_path):
    text = tmp_path / "text.h5"
    text.write_text("<!DOCTYPE html>")
    empty = tmp_path / "empty.h5"
    h5py.File(empty, "w").close()
    with pytest.raises(InputError, match=r"a weights file of Keras \(\.weights\.h5, \.h5, \.keras\)\. Received: "):
        weights.load(TINY.build(), text)
    for path in (text, empty):
        with pytest.raises(InputError, match=str(path)):
            weights.load(TINY.build(), path)
