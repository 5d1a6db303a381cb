import keras
import numpy as np
import pytest

from ku.optimizers import FusedAdam

pytestmark = [pytest.mark.any_backend, pytest.mark.numerical]


def trained(optimizer, steps=20):
    """The weights of a small network after some steps from one start, on one set of data."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, "relu"), keras.layers.Dense(1)])
    model.compile(optimizer, "mse")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(steps * 4, 6)).astype("float32"), rng.normal(size=(steps * 4, 1)).astype("float32")
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.mark.parametrize("arguments", [{}, {"beta_1": 0.7, "epsilon": 1e-3}, {"amsgrad": True}, {"weight_decay": 0.01}])
def test_fused_adam_is_adam(arguments):
    for ours, theirs in zip(
        trained(FusedAdam(1e-2, **arguments)), trained(keras.optimizers.Adam(1e-2, **arguments)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_fused_adam_follows_the_learning_rate_and_is_restored_from_its_config():
    optimizer = FusedAdam.from_config(FusedAdam(1e-2, beta_2=0.9).get_config())
    start = trained(FusedAdam(0.0))
    moved = trained(optimizer)
    assert optimizer.beta_2 == 0.9
    assert not np.allclose(start[0], moved[0])
