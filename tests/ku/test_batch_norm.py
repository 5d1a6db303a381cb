"""Moving statistics: held, and re-estimated before validation."""

import keras
import numpy as np
import pytest

from ku.batch_norm import Reestimate, hold, norms, replaced
from ku.virtual_batch import split

tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow only")

ROWS = np.random.default_rng(0).normal(3, 2, (12, 5)).astype(np.float32)
TARGETS = ROWS[:, :1]


def network():
    """A body that ends with the layer "features", and a head with dropout before its normalisation."""
    keras.utils.set_random_seed(1)
    x = rows = keras.Input((5,))
    x = keras.layers.BatchNormalization(name="first")(x)
    x = keras.layers.Dense(4, name="features")(x)
    x = keras.layers.Dropout(0.5)(x)
    x = keras.layers.BatchNormalization(name="second")(x)
    return keras.Model(rows, keras.layers.Dense(1)(x))


def batches(size):
    return [([ROWS[start : start + size]], [TARGETS[start : start + size]]) for start in range(0, len(ROWS), size)]


def by_hand(model, size, micro_batch):
    """Mean and variance of both normalisations, averaged over (micro-)batches, in NumPy."""
    dense, found = model.get_layer("features"), {"first": [], "second": []}
    first = model.get_layer("first")
    for (rows,), _ in batches(size):
        features = []
        for start in range(0, size, micro_batch):
            part = rows[start : start + micro_batch].astype(float)
            found["first"].append((part.mean(0), part.var(0)))
            gamma, beta = (np.asarray(weight) for weight in (first.gamma, first.beta))
            part = (part - part.mean(0)) / np.sqrt(part.var(0) + first.epsilon) * gamma + beta
            features.append(part @ np.asarray(dense.kernel) + np.asarray(dense.bias))
        features = np.concatenate(features)
        found["second"].append((features.mean(0), features.var(0)))
    return {name: np.mean(each, 0) for name, each in found.items()}


@tensorflow_only
@pytest.mark.parametrize("micro_batch", [2, 3, 6])
@pytest.mark.numerical
def test_reestimated_once_an_epoch_before_validation(micro_batch):
    model, size = network(), 6
    parts = split(model, "features")

    class Look(keras.callbacks.Callback):
        """Compares as validation begins, and again as it ends; the log is what validation saw."""

        times = 0

        def on_test_batch_begin(self, batch, logs=None):
            Look.times += batch == 0
            for name, expected in by_hand(model, size, micro_batch).items():
                layer = model.get_layer(name)
                np.testing.assert_allclose(np.asarray(layer.moving_mean), expected[0], rtol=1e-4, atol=1e-5)
                np.testing.assert_allclose(np.asarray(layer.moving_variance), expected[1], rtol=1e-4, atol=1e-5)

    model.compile(keras.optimizers.SGD(1e-2), "mse")
    reestimate = Reestimate(parts.body, parts.head, batches(size), micro_batch)
    history = model.fit(
        ROWS,
        TARGETS,
        batch_size=size,
        epochs=3,
        validation_data=(ROWS, TARGETS),
        verbose=0,
        callbacks=[reestimate, Look()],
    ).history
    assert Look.times == 3
    assert history["val_loss"][-1] == pytest.approx(model.evaluate(ROWS, TARGETS, verbose=0), rel=1e-3)


@tensorflow_only
@pytest.mark.parametrize("held", [False, True])
def test_reestimating_leaves_no_other_trace(held):
    model = network()
    parts = split(model, "features")
    if held:
        hold(parts.body)
    learned = [weight.path for weight in model.trainable_weights]
    before = {v.path: np.asarray(v) for layer in model.layers for v in layer.variables}
    Reestimate(parts.body, parts.head, batches(4), 2).on_test_begin()
    after = {v.path: np.asarray(v) for layer in model.layers for v in layer.variables}
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {f"{norm}/moving_{what}" for norm in ("first", "second") for what in ("mean", "variance")}
    assert [layer.momentum for layer in norms(model)] == [0.99, 0.99]
    assert model.layers[3].rate == 0.5
    assert [layer.trainable for layer in norms(model)] == [not held, True]
    assert [weight.path for weight in model.trainable_weights] == learned


@pytest.mark.any_backend
@pytest.mark.numerical
def test_held_statistics_stay_and_are_used_while_scale_and_offset_learn():
    model = network()
    hold(split(model, "features").body)
    first, second = model.get_layer("first"), model.get_layer("second")
    first.set_weights([np.ones(5), np.zeros(5), np.full(5, 7.0), np.full(5, 4.0)])
    normalised = first(ROWS, training=True)
    expected = (ROWS - 7) / np.sqrt(4 + first.epsilon)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(normalised), expected, rtol=1e-4, atol=1e-4)
    moving = second.get_weights()[2:]
    model.compile(keras.optimizers.SGD(1e-2), "mse")
    model.fit(ROWS, TARGETS, batch_size=4, epochs=1, verbose=0)
    gamma, beta, mean, variance = first.get_weights()
    assert (mean == 7).all()
    assert (variance == 4).all()
    assert (gamma != 1).all()
    assert (beta != 0).all()
    assert not np.array_equal(second.get_weights()[2:], moving)


@pytest.mark.any_backend
def test_the_batch_normalisation_of_models_within_is_found():
    inner = network()
    rows = keras.Input((5,))
    assert len(norms(keras.Model(rows, inner(rows)))) == 2


@pytest.mark.any_backend
def test_replaced_puts_back_after_an_error():
    layers = norms(network())

    def broken():
        with replaced(layers, "momentum", lambda momentum: momentum / 3):
            assert [layer.momentum for layer in layers] == pytest.approx([0.33, 0.33])
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert [layer.momentum for layer in layers] == [0.99, 0.99]


@pytest.mark.any_backend
@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="other backends only")
def test_other_backends_are_told():
    parts = split(network(), "features")
    with pytest.raises(ValueError, match=r"Reestimate needs TensorFlow. Received: backend="):
        Reestimate(parts.body, parts.head, batches(4), 2)
