"""What an epoch notes on the device: right, and without waiting for it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from waits import Waits

from koniq.training.in_torch_losses import LOSSES
from koniq.training.in_torch_means import Average, Means, averaged

CPU = torch.device("cpu")


def test_the_counter_sees_what_waits():
    with Waits() as waits:
        float(torch.ones(()))
        bool(torch.ones(()) > 0)
        torch.ones(3)[torch.tensor([True, False, True])]
    assert waits.count == 3


@pytest.mark.parametrize("loss", LOSSES)
def test_means_are_over_pictures_and_plcc_is_weighted_by_them(loss):
    rng = np.random.default_rng(2)
    mos, predicted = rng.uniform(0, 100, 20), rng.uniform(0, 100, 20)
    means = Means(LOSSES[loss], CPU)
    parts = [slice(0, 8), slice(8, 16), slice(16, 20)]
    with Waits() as waits:
        for part in parts:
            means.add(torch.tensor(predicted[part]), torch.tensor(mos[part]))
    assert waits.count == 0
    found = means.values()
    assert found["MAE"] == pytest.approx(np.abs(mos - predicted).mean(), rel=1e-5)
    by_hand = sum((p.stop - p.start) * np.corrcoef(mos[p], predicted[p])[0, 1] for p in parts) / 20
    assert found["plcc_tf"] == pytest.approx(by_hand, abs=1e-5)
    if loss == "mse":
        assert found["loss"] == pytest.approx(((mos - predicted) ** 2).mean(), rel=1e-5)
    assert means.not_finite() is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_loss_that_is_not_finite_is_kept(value):
    means = Means(LOSSES["mse"], CPU)
    for scores in ([1.0, 2.0], [value, 2.0], [1.0, 1.0], [float("nan"), 0.0]):
        means.add(torch.tensor(scores), torch.zeros(2))
    found = means.not_finite()
    assert found.batches == 2
    assert np.isnan(found.loss) == np.isnan(value)
    assert not np.isfinite(means.values()["loss"])


def test_averaged_weights_are_pytorchs_own_and_nothing_is_read_of_them():
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    theirs = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    ours = averaged(module, 0.9)
    assert isinstance(ours, Average)
    assert averaged(module, 0.0) is None
    for _ in range(4):
        with torch.no_grad():
            module(torch.randn(2, 3, 8, 8))
            module[0].weight.add_(torch.randn_like(module[0].weight))
        ours.update_parameters(module)
        theirs.update_parameters(module)
    assert ours.n_averaged.device == CPU
    expected, found = theirs.state_dict(), ours.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[key].float(), expected[key].float()) for key in expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
def test_on_a_gpu_nothing_is_waited_for():
    device, means = torch.device("cuda"), Means(LOSSES["plcc_mse"], torch.device("cuda"))
    batches = [(torch.rand(8, device=device), torch.rand(8, device=device)) for _ in range(40)]
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            means.add(*batch)
            means.not_finite()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert means.not_finite() is None
