"""Losses and metrics: known answers, gradients, use in a compiled model; the GPU functions without a GPU."""

import keras
import numpy as np
import pytest
from keras import ops

from ku import generic, tensor_ops

pytestmark = pytest.mark.numerical

RATINGS = np.arange(1, 6)
any_backend = pytest.mark.any_backend
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow only")


def numpy_emd(p: np.ndarray, q: np.ndarray) -> float:
    return np.mean(np.sqrt(np.mean((np.cumsum(p, 1) - np.cumsum(q, 1)) ** 2, axis=1)))


LOSSES = {  # name: (loss, the same in NumPy), all of them of N x 5 distributions
    "plcc_loss": (tensor_ops.plcc_loss, lambda p, q: (1 - generic.plcc(p, q)) / 2),
    "earth_mover_loss": (tensor_ops.earth_mover_loss, numpy_emd),
    "plcc_dist_loss": (
        tensor_ops.get_plcc_dist_loss(),
        lambda p, q: (1 - generic.plcc(p @ RATINGS, q @ RATINGS)) / 2,
    ),
}


def distributions(rows: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(5), rows)


def value_and_gradient(loss, y_true: np.ndarray, y_pred: np.ndarray) -> tuple[float, np.ndarray]:
    """The loss and its gradient by y_pred, under whichever backend is in use."""
    if keras.backend.backend() == "torch":
        import torch

        y_pred = torch.tensor(y_pred, requires_grad=True)
        value = loss(torch.tensor(y_true), y_pred)
        value.backward()
        return value.item(), y_pred.grad.numpy()
    import tensorflow as tf

    y_pred = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(tf.constant(y_true), y_pred)
    return float(value), tape.gradient(value, y_pred).numpy()


def finite_differences(function, x: np.ndarray, step: float = 1e-6) -> np.ndarray:
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        change = np.zeros_like(x)
        change[index] = step
        gradient[index] = (function(x + change) - function(x - change)) / (2 * step)
    return gradient


@any_backend
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rows", [2, 3, 9])
def test_value_and_gradient_agree_with_numpy(name, rows):
    loss, reference = LOSSES[name]
    y_true, y_pred = distributions(rows, seed=1), distributions(rows, seed=2)
    value, gradient = value_and_gradient(loss, y_true, y_pred)
    assert value == pytest.approx(reference(y_true, y_pred), abs=1e-6)
    np.testing.assert_allclose(gradient, finite_differences(lambda q: reference(y_true, q), y_pred), atol=1e-5)


@any_backend
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rows", [1, 2, 8])
def test_constant_and_equal_batches_have_finite_gradients(name, rows):
    loss, _ = LOSSES[name]
    constant = np.full((rows, 5), 0.2, np.float32)
    varied = distributions(rows).astype(np.float32)
    for y_true, y_pred in [(varied, constant), (constant, varied), (constant, constant), (varied, varied)]:
        value, gradient = value_and_gradient(loss, y_true, y_pred)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@any_backend
@pytest.mark.parametrize("level", [0.0, 0.1, 1e-20, 73.1, 1e6])
@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
def test_a_constant_batch_counts_as_uncorrelated_and_pulls_nowhere(level, rows):
    y_true = np.random.default_rng(0).uniform(0, 100, (rows, 1)).astype(np.float32)
    value, gradient = value_and_gradient(tensor_ops.plcc_loss, y_true, np.full_like(y_true, level))
    assert value == 0.5
    assert not gradient.any()


@any_backend
def test_a_diverged_batch_shows():
    assert np.isnan(value_and_gradient(tensor_ops.plcc_loss, np.arange(3.0), np.array([1, 2, np.nan]))[0])


@any_backend
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_plcc_is_flat_and_blind_to_scale_and_offset(scale):
    x = np.random.default_rng(0).uniform(0, 100, 16).astype(np.float32)
    y = (x + np.arange(16) ** 2).astype(np.float32)
    expected = generic.plcc(x, y)
    assert float(tensor_ops.plcc(x, y[:, None] * np.float32(scale))) == pytest.approx(expected, abs=1e-6)
    assert float(tensor_ops.plcc_tf(x + 5, -y)) == pytest.approx(-expected, abs=1e-6)


@any_backend
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_narrow_types_are_computed_in_float32(dtype):
    x = ops.cast(np.arange(2000), dtype)
    y = ops.cast(np.arange(2000) ** 2 % 251, dtype)
    value = tensor_ops.plcc(x, y)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    wide = (ops.convert_to_numpy(ops.cast(values, "float32")) for values in (x, y))
    assert float(value) == pytest.approx(generic.plcc(*wide), abs=1e-5)


@any_backend
def test_earth_mover_loss_of_known_distributions():
    first, last = [[1.0, 0, 0, 0, 0]], [[0, 0, 0, 0, 1.0]]
    assert float(tensor_ops.earth_mover_loss(first, last)) == pytest.approx(np.sqrt(4 / 5))
    assert float(tensor_ops.earth_mover_loss(first + last, last + last)) == pytest.approx(np.sqrt(4 / 5) / 2)


@any_backend
def test_distribution_metrics_use_the_scores_given():
    p, q = distributions(6, 1), distributions(6, 2)
    scores = [0, 1, 4, 9, 16]
    expected = generic.plcc(generic.dist2mos(p, scores), generic.dist2mos(q, scores))
    assert float(tensor_ops.get_plcc_dist_tf(scores)(p, q)) == pytest.approx(expected, abs=1e-6)
    assert float(tensor_ops.get_plcc_dist_loss(scores)(p, q)) == pytest.approx((1 - expected) / 2, abs=1e-6)


@any_backend
def test_make_loss_binds_and_keeps_the_name():
    def pinball(y_true, y_pred, quantile=0.5, scale=1.0):
        return scale * ops.mean(ops.maximum(quantile * (y_true - y_pred), (quantile - 1) * (y_true - y_pred)))

    loss = tensor_ops.make_loss(pinball, quantile=0.9)
    assert loss.__name__ == "pinball"
    assert float(loss(np.float32([1.0]), np.float32([0.0]))) == pytest.approx(0.9)
    assert tensor_ops.make_loss("huber", delta=2.0).__name__ == "huber"
    with pytest.raises(ValueError, match=r"quantile, scale\. Received: quantil$"):
        tensor_ops.make_loss(pinball, quantil=0.9)


@any_backend
@pytest.mark.parametrize(
    "loss",
    [*(loss for loss, _ in LOSSES.values()), tensor_ops.make_loss("huber", delta=0.5)],
    ids=[*LOSSES, "make_loss"],
)
def test_losses_train_a_compiled_model(loss):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.1), loss, metrics=[tensor_ops.plcc_tf, tensor_ops.get_plcc_dist_tf()])
    x, y = (
        np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32),
        distributions(7).astype(np.float32),
    )
    before = model.get_weights()[0]
    history = model.fit(x, y, batch_size=4, verbose=0).history  # batches of 4 and 3
    assert set(history) == {"loss", "plcc_tf", "plcc_dist_tf"}
    assert np.isfinite(list(history.values())).all()
    assert np.abs(model.get_weights()[0] - before).max() > 0
    predicted = model.predict(x, verbose=0)
    logs = model.evaluate(x, y, batch_size=7, verbose=0, return_dict=True)
    assert logs["plcc_tf"] == pytest.approx(generic.plcc(y, predicted), abs=1e-5)
    assert logs["loss"] == pytest.approx(float(ops.mean(loss(y, predicted))), abs=1e-5)


@any_backend
def test_gpu_functions_without_a_gpu(monkeypatch):
    monkeypatch.setattr(tensor_ops, "_gpus", list)
    tensor_ops.SetActiveGPU(3)
    tensor_ops.GPUMemoryCap(0.5)
    for fraction in (0, 1.1):
        with pytest.raises(ValueError, match=f"Received: fraction={fraction}$"):
            tensor_ops.GPUMemoryCap(fraction)
    monkeypatch.setattr(tensor_ops, "_gpus", lambda: ["a", "b"])
    with pytest.raises(ValueError, match=r"Received: number=2$"):
        tensor_ops.SetActiveGPU(2)


@tensorflow_only
def test_gpu_memory_cap_reaches_the_visible_gpus(monkeypatch):
    import tensorflow as tf

    calls = []
    monkeypatch.setattr(tensor_ops, "_gpus", lambda: ["a", "b"])
    monkeypatch.setattr(tensor_ops, "_cuda_memory", lambda index: 1000.0 * (index + 1))
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["b"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", lambda *call: calls.append(call))
    monkeypatch.setattr(
        tf.config,
        "set_logical_device_configuration",
        lambda gpu, conf: calls.append((gpu, conf[0].memory_limit)),
    )
    tensor_ops.GPUMemoryCap()
    tensor_ops.GPUMemoryCap(0.25)
    assert calls == [("b", True), ("b", 500.0)]


@tensorflow_only
def test_a_gpu_set_up_too_late_says_so(monkeypatch):
    import tensorflow as tf

    def too_late(*_):
        raise RuntimeError("Visible devices cannot be modified after being initialized")

    monkeypatch.setattr(tensor_ops, "_gpus", lambda: ["a"])
    monkeypatch.setattr(tf.config, "set_visible_devices", too_late)
    with pytest.raises(RuntimeError, match="before TensorFlow first uses them"):
        tensor_ops.SetActiveGPU()
