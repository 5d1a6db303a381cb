"""The virtual batch against the batch itself, and against micro-batches computed with one tape over everything."""

import os

import keras
import numpy as np
import pytest
from tiny import TINY

from koniq.network import KONCEPT512
from ku.batch_norm import hold, norms
from ku.tensor_ops import plcc_loss
from ku.virtual_batch import VirtualBatch, split

tf = pytest.importorskip("tensorflow")
pytestmark = [
    pytest.mark.numerical,
    pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow only"),
]

ROWS = 8
PICTURES = np.random.default_rng(0).integers(0, 256, (ROWS, 24, 32, 3), np.uint8)
MOS = np.random.default_rng(1).uniform(0, 100, (ROWS, 1)).astype(np.float32)


class Reveal(keras.optimizers.SGD):
    """Puts the gradient in the place of each weight."""

    def update_step(self, gradient, variable, learning_rate):
        variable.assign(gradient)


def small(**dense):
    """A network with chance in its body, and with two ways from there to its head's output."""
    x = pictures = keras.Input((24, 32, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(4, 3, strides=4, use_bias=False, **dense)(x)
    x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.Conv2D(6, 3, activation="relu", name="last")(x)
    x = keras.layers.Flatten(name="features")(x)
    return keras.Model(pictures, keras.layers.Dense(1, **dense)(x) + keras.layers.Dense(1)(x))


def build(builder=TINY.build, seed=3):
    """A network, the same every time, whose moving statistics and scales are not where they start."""
    keras.utils.set_random_seed(seed)
    model = builder()
    rng = np.random.default_rng(seed)
    for layer in norms(model):
        layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return model


def virtual(model, micro_batch, cut="gap", **more):
    return VirtualBatch(model.input, model.output, cut=cut, micro_batch=micro_batch, name=model.name, **more)


def state(model):
    """All that is in each layer, weights, statistics and seeds, in one vector.

    Not each by itself: the gradient of a bias before a batch normalisation is nought but for rounding.
    """
    layers = [[v.numpy().ravel().astype(float) for v in layer.variables] for layer in model.layers]
    return [np.concatenate([[0.0], *arrays]) for arrays in layers]


def after_one_step(model, loss=plcc_loss, optimizer=None, **batch):
    model.compile(optimizer or Reveal(1.0), loss, metrics=["MAE"], jit_compile=False)
    logs = model.train_on_batch(PICTURES, MOS, return_dict=True, **batch)
    return logs, state(model)


def assert_same(ours, theirs, tolerance=1e-4):
    (our_logs, our_state), (their_logs, their_state) = ours, theirs
    assert our_logs == pytest.approx(their_logs, rel=tolerance)
    for place, (got, expected) in enumerate(zip(our_state, their_state, strict=True)):
        assert np.linalg.norm(got - expected) <= tolerance * np.linalg.norm(expected), place


def by_hand(model, micro_batch, loss=plcc_loss, cut="gap"):
    """One step with all micro-batches under one tape, each normalised by itself."""
    parts = split(model, cut)
    starts = range(0, ROWS, micro_batch)
    with tf.GradientTape() as tape:
        features = []
        for start in starts:
            rows = PICTURES[start : start + micro_batch]
            share = len(rows) / ROWS
            for layer in norms(parts.body):
                layer.momentum **= share
            features.append(parts.body(rows, training=True))
            for layer in norms(parts.body):
                layer.momentum **= 1 / share
        predicted = parts.head(tf.concat(features, 0), training=True)
        value = tf.reduce_mean(loss(MOS, predicted))
    weights = model.trainable_weights
    for weight, gradient in zip(weights, tape.gradient(value, weights), strict=True):
        weight.assign(gradient)
    logs = {"loss": float(value), "MAE": float(tf.reduce_mean(abs(MOS - predicted)))}
    return logs, state(model)


@pytest.mark.parametrize("micro_batch", [1, 2, 3, ROWS - 1, ROWS, ROWS + 1])
def test_with_the_body_held_it_is_the_batch(micro_batch):
    plain, ours = build(), build()
    for model in (plain, ours):
        hold(split(model, "gap").body)
    assert_same(after_one_step(virtual(ours, micro_batch)), after_one_step(plain))


@pytest.mark.parametrize("micro_batch", [1, 2, 3, None])
def test_trailing_it_is_the_batch_and_statistics_move_towards_those_of_the_batch(micro_batch):
    plain, ours = build(), build()
    hold(split(plain, "gap").body)
    expected = []
    for norm in norms(plain)[:2]:
        seen = keras.Model(plain.input, norm.input)(PICTURES).numpy().reshape(-1, norm.moving_mean.shape[0])
        mean, variance = norm.get_weights()[2:]
        about = ((seen - mean) ** 2).mean(0)
        expected += [0.9 * mean + 0.1 * seen.mean(0), 0.9 * variance + 0.1 * about]
    ours = virtual(ours, micro_batch, trailing=True)
    our_logs, their_logs = (after_one_step(model)[0] for model in (ours, plain))
    for norm, other in zip(norms(ours)[:2], norms(plain)[:2], strict=True):
        for moving in (norm.moving_mean, norm.moving_variance):
            np.testing.assert_allclose(moving.numpy(), expected.pop(0), rtol=1e-3, atol=1e-5)
        norm.set_weights([*norm.get_weights()[:2], *other.get_weights()[2:]])
    assert_same((our_logs, state(ours)), (their_logs, state(plain)))


@pytest.mark.parametrize("micro_batch", [2, 3, 4])
@pytest.mark.parametrize("loss", [plcc_loss, keras.losses.mean_squared_error])
def test_live_it_is_the_micro_batches_under_one_tape(micro_batch, loss):
    """Gradients, the moving statistics of body and head, and what the head's dropout draws: once for the batch."""
    assert_same(after_one_step(virtual(build(), micro_batch), loss=loss), by_hand(build(), micro_batch, loss))


def test_chance_in_the_body_is_the_same_in_both_passes_and_drawn_once():
    assert_same(after_one_step(virtual(build(small), 2, "features")), by_hand(build(small), 2, cut="features"))


def test_moving_statistics_move_once_a_row():
    """Of the first normalisation, by the formula; four micro-batches keep .9 of what was there, as one batch does."""
    model = build()
    convolution, norm = model.layers[2], norms(model)[0]
    before = norm.moving_mean.numpy()
    means = keras.ops.mean(convolution(PICTURES / 127.5 - 1), (1, 2)).numpy().reshape(4, 2, -1).mean(1)
    kept = 0.9**0.25
    expected = before * 0.9 + sum(mean * (1 - kept) * kept ** (3 - n) for n, mean in enumerate(means))
    after_one_step(virtual(model, 2))
    np.testing.assert_allclose(norm.moving_mean.numpy(), expected, rtol=1e-3, atol=1e-5)


def test_in_one_micro_batch_it_trains_as_the_plain_model_does():
    results = []
    for model in (build(), virtual(build(), ROWS)):
        model.compile(keras.optimizers.SGD(1e-4, momentum=0.9), "mse", metrics=["MAE"], jit_compile=False)
        history = model.fit(PICTURES, MOS, batch_size=ROWS, epochs=4, shuffle=False, verbose=0).history
        results.append(({name: values[-1] for name, values in history.items()}, state(model)))
    assert_same(*results)


def test_sample_weights_and_the_losses_of_weights_count():
    plain, ours = (build(lambda: small(kernel_regularizer="l2")) for _ in range(2))
    for model in (plain, ours):
        hold(model)
        model.layers[4].rate = 0
    weights = {"sample_weight": np.arange(ROWS, dtype=np.float32), "loss": "mse"}
    assert_same(after_one_step(virtual(ours, 2, "features"), **weights), after_one_step(plain, **weights))


@pytest.mark.skipif("ONEDNN_MAX_CPU_ISA" in os.environ, reason="TensorFlow asks the processor for it, not the limit")
def test_half_precision_scales_its_loss():
    """Gradients of 1e-9 are zeros in float16, unless the loss is scaled, and scaled back."""

    def tiny_loss(y, predicted):
        return 1e-7 * keras.ops.mean(keras.ops.square(y - predicted))

    keras.mixed_precision.set_dtype_policy("mixed_float16")
    try:
        results = []
        for model in (build(), virtual(build(), ROWS)):
            optimizer = keras.optimizers.LossScaleOptimizer(Reveal(1.0), initial_scale=2.0**20)
            results.append(after_one_step(model, tiny_loss, optimizer))
        assert_same(*results, tolerance=1e-2)
        assert np.linalg.norm(results[0][1][2]) > 0  # of the first convolution
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def test_layers_names_and_files_are_those_of_the_plain_model(tmp_path):
    plain = build()
    ours = virtual(build(seed=4), 2)
    assert [layer.name.rsplit("_", 1)[0] for layer in ours.layers][2:4] == ["conv2d", "batch_normalization"]
    assert (ours.name, len(ours.weights)) == (plain.name, len(plain.weights))
    ours.save_weights(tmp_path / "ours.weights.h5")
    plain.load_weights(tmp_path / "ours.weights.h5")
    np.testing.assert_array_equal(plain.predict(PICTURES, verbose=0), ours.predict(PICTURES, verbose=0))
    ours.save(tmp_path / "ours.keras")
    loaded = keras.models.load_model(tmp_path / "ours.keras")
    assert not isinstance(loaded, VirtualBatch)
    np.testing.assert_array_equal(loaded.predict(PICTURES, verbose=0), ours.predict(PICTURES, verbose=0))


def test_momentum_is_what_it_was_whatever_happens():
    def broken(y, predicted):
        raise RuntimeError("broken")

    model = virtual(build(), 2)
    with pytest.raises(RuntimeError, match="broken"):
        after_one_step(model, loss=broken)
    assert [layer.momentum for layer in norms(model)] == [0.9, 0.9, 0.99, 0.99]
    after_one_step(model)
    assert [layer.momentum for layer in norms(model)] == [0.9, 0.9, 0.99, 0.99]


def test_bad_arguments():
    model = build(small)
    with pytest.raises(ValueError, match=r"cut should be the name of a layer of 'functional.*'. Received: cut='pool'"):
        virtual(model, 2, "pool")
    with pytest.raises(ValueError, match=r"micro_batch should be positive. Received: micro_batch=0"):
        virtual(model, 0, "features")
    pictures = keras.Input((4,))
    x = keras.layers.Dense(4, name="cut")(pictures)
    both = keras.Model(pictures, keras.layers.Add()([x, pictures]))
    with pytest.raises(ValueError, match=r"cut should be all that the outputs depend on. Received: cut='cut'"):
        virtual(both, 2, "cut")


@pytest.mark.long
def test_the_gradient_of_the_whole_network_is_that_of_the_batch():
    """KonCept512 at 76x100, four pictures by two, to a tenth of the length of the gradient.

    Two pictures are rounded otherwise than four, by which a ReLU may close: 4 % on a processor without AVX-512, where
    TensorFlow does without oneDNN, and below .1 % with it. Small networks are held to more above.
    """
    keras.utils.set_random_seed(1)
    plain = KONCEPT512.at((76, 100)).build(output_bias=50)
    ours = virtual(plain, 2, KONCEPT512.features)
    rng = np.random.default_rng(2)
    pictures, mos = rng.integers(0, 256, (4, 76, 100, 3), np.uint8), rng.uniform(0, 100, (4, 1)).astype(np.float32)
    body = split(plain, KONCEPT512.features).body
    for layer in norms(body):
        layer.momentum = 0
    body(pictures, training=True)  # statistics that suit the weights
    hold(body)
    for layer in plain.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    start, gradients = plain.get_weights(), []
    for model in (plain, ours):
        plain.set_weights(start)
        model.compile(Reveal(1.0), plcc_loss, jit_compile=False)
        model.train_on_batch(pictures, mos)
        gradients.append(np.concatenate([weight.numpy().ravel() for weight in plain.trainable_weights]).astype(float))
    expected, got = gradients
    assert np.linalg.norm(expected) > 0
    assert np.linalg.norm(got - expected) < 0.1 * np.linalg.norm(expected)
