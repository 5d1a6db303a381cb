"""Pictures mirrored by the step, and taken out of a set on the device: the same as NumPy's, the same training."""

import keras
import numpy as np
import pytest
from tiny import TINY

from ku import on_device
from ku.virtual_batch import VirtualBatch

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow only")

RNG = np.random.default_rng(0)
FLIPS = np.array([True, False, False, True])
MOS = np.float32([[10], [70], [30], [50]])


@pytest.mark.parametrize("shape", [(24, 32, 3), (5, 7, 3)])
@pytest.mark.parametrize("compiled", [False, True])
def test_what_the_device_gives_is_numpys(shape, compiled):
    """Also where a picture is no whole number of 8 bytes, and the set no whole number of pieces."""
    pictures = RNG.integers(0, 256, (on_device.Held.AT_ONCE * 2 + 3, *shape), np.uint8)
    held = on_device.Held(iter(pictures), len(pictures), shape)
    rows = np.int32([130, 0, 64, 63])
    function = tf.function(lambda rows, flips: on_device.mirrored(held(rows), flips), jit_compile=compiled)
    expected = [pictures[row][:, ::-1] if flip else pictures[row] for row, flip in zip(rows, FLIPS, strict=True)]
    np.testing.assert_array_equal(function(rows, FLIPS).numpy(), expected)


def trained(x, micro_batch=None, held=None):
    """The weights after a step, and the loss of a validation, of the same small network every time."""
    keras.utils.set_random_seed(1)
    built = TINY.build()
    for layer in built.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    if micro_batch is None:
        model = on_device.OnDevice(built.input, built.output)
    else:
        model = VirtualBatch(built.input, built.output, cut="gap", micro_batch=micro_batch)
    model.held = held
    model.compile("sgd", "mse", run_eagerly=False, jit_compile=False)
    dataset = tf.data.Dataset.from_tensors((x, MOS))
    model.fit(dataset, verbose=0)
    straight = x[0] if isinstance(x, tuple) else x
    return [weight.numpy() for weight in model.weights], model.evaluate(straight, MOS, verbose=0)


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_a_step_sees_the_pictures_that_are_meant(micro_batch):
    pictures = RNG.integers(0, 256, (4, 24, 32, 3), np.uint8)
    rows = np.int32([2, 0, 3, 1])
    meant = np.where(FLIPS[:, None, None, None], pictures[rows][:, :, ::-1], pictures[rows])
    weights, _ = trained(meant, micro_batch)
    by_flips, straight = trained((pictures[rows], FLIPS), micro_batch)
    from_set, of_rows = trained((rows, FLIPS), micro_batch, on_device.Held(pictures, 4, (24, 32, 3)))
    for expected, ours, others in zip(weights, by_flips, from_set, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(others, expected, rtol=1e-4, atol=1e-5)
    assert straight == pytest.approx(of_rows, rel=1e-4)
    unflipped, _ = trained(pictures[rows], micro_batch)
    assert not np.allclose(weights[0], unflipped[0], rtol=1e-4, atol=1e-5)


def test_what_is_saved_opens_with_keras_alone(tmp_path):
    built = TINY.build(output_bias=50.0)
    model = on_device.OnDevice(built.input, built.output, name="tiny")
    model.held = on_device.Held(np.zeros((2, 24, 32, 3), np.uint8), 2, (24, 32, 3))
    model.save(tmp_path / "tiny.keras")
    opened = keras.models.load_model(tmp_path / "tiny.keras", custom_objects={}, compile=False)
    assert type(opened).__module__.startswith("keras.")
    assert len(opened.weights) == len(built.weights)
    pictures = RNG.integers(0, 256, (3, 24, 32, 3), np.uint8)
    np.testing.assert_allclose(opened.predict_on_batch(pictures), model.predict_on_batch(pictures), atol=1e-4)


def test_without_a_gpu_nothing_is_free_on_it(monkeypatch):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    assert on_device.free_on_gpu() == 0


def test_what_is_free_on_a_gpu_is_the_limit_less_what_is_taken(monkeypatch):
    from types import SimpleNamespace

    from tensorflow.python.client import device_lib

    devices = [SimpleNamespace(device_type=kind, memory_limit=limit) for kind, limit in (("CPU", 1), ("GPU", 100))]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU:0"])
    monkeypatch.setattr(device_lib, "list_local_devices", lambda: devices)
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda device: {"current": 30, "peak": 40})
    assert on_device.free_on_gpu() == 70
