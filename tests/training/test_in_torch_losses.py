"""The losses of PyTorch against NumPy, against Keras's, and where they have no gradient to give."""

import numpy as np
import pytest
import torch

from koniq.training.in_torch_losses import LOSSES, nin_loss, plcc, plcc_loss, plcc_mse_loss

pytestmark = pytest.mark.numerical


def pair():
    return torch.from_numpy(np.random.default_rng(0).normal(50, 10, (2, 7)).astype(np.float32))


def test_plcc_is_numpys_and_its_gradient_is_finite_where_there_is_none():
    x, y = pair()
    assert float(plcc(x, y)) == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
    constant = torch.full((7,), 50.0, requires_grad=True)
    loss = plcc_loss(constant, y)
    loss.backward()
    assert loss.item() == 0.5
    assert torch.isfinite(constant.grad).all()


def test_norm_in_norm_is_the_mean_difference_of_unit_vectors_whatever_the_scale():
    x, y = pair()
    unit = [(v - v.mean()) / np.linalg.norm(v - v.mean()) for v in (x.numpy(), y.numpy())]
    assert float(nin_loss(x, y)) == pytest.approx(np.abs(unit[0] - unit[1]).sum() / (2 * 7**0.5), abs=1e-6)
    assert float(nin_loss(3 * x - 20, y)) == pytest.approx(float(nin_loss(x, y)), abs=1e-5)
    assert float(nin_loss(2 * y + 1, y)) == pytest.approx(0, abs=1e-6)
    constant = torch.full((7,), 50.0, requires_grad=True)
    nin_loss(constant, y).backward()
    assert torch.isfinite(constant.grad).all()


def test_plcc_with_mse_is_held_to_the_scale():
    _, y = pair()
    assert float(plcc_mse_loss(y, y)) == pytest.approx(0, abs=1e-6)
    assert float(plcc_mse_loss(y + 20, y)) == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("name", ["plcc", "plcc_mse", "nin"])
def test_keras_has_the_same(name):
    from koniq.training import in_keras

    x, y = pair()
    expected = float(LOSSES[name](x, y))
    assert float(in_keras.LOSSES[name](y.numpy()[:, None], x.numpy()[:, None])) == pytest.approx(expected, abs=1e-5)
