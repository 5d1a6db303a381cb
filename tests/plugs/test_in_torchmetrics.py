"""The metric of torchmetrics: over batches, and over processes."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from plugged import photos, tensor_of, tiny_weights

from koniq import plugs
from koniq.ground import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("torchmetrics")

HELPERS = Path(__file__).resolve().parents[1] / "helpers"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return tensor_of(*photos(tmp_path_factory.mktemp("photos") / "photos", (40, 50), 5))


@pytest.fixture(scope="module")
def expected(weights, pictures):
    return plugs.metric(weights)(pictures)[:, 0]


def test_the_mean_is_of_all_pictures_and_not_of_batches(weights, pictures, expected):
    metric = plugs.torchmetric(weights)
    for batch in (pictures[:4], pictures[4:]):
        metric.update(batch)
    torch.testing.assert_close(metric.compute(), expected.mean())
    metric.reset()
    metric.update(pictures[:2])
    torch.testing.assert_close(metric.compute(), expected[:2].mean())


def test_each_picture_has_its_score_in_order(weights, pictures, expected):
    metric = plugs.torchmetric(weights, "none")
    torch.testing.assert_close(metric(pictures[:3]), expected[:3])  # of the batch
    torch.testing.assert_close(metric(pictures[3:]), expected[3:])
    torch.testing.assert_close(metric.compute(), expected)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_a_call_passes_the_network_once_and_its_value_has_gradients(weights, pictures, reduction):
    metric, passes = plugs.torchmetric(weights, reduction), []
    metric.net.register_forward_hook(lambda *_: passes.append(1))
    mine = pictures.clone().requires_grad_()
    metric(mine).sum().backward()
    assert len(passes) == 1
    assert mine.grad.abs().sum() > 0


def test_its_flags_and_that_it_stays_in_evaluation_mode(weights, pictures, expected):
    metric = plugs.torchmetric(weights, "none")
    assert (metric.higher_is_better, metric.is_differentiable, metric.full_state_update) == (True, True, False)
    assert (metric.plot_lower_bound, metric.plot_upper_bound) == (0, 100)
    metric.train()
    assert not metric.net.training
    other = metric.clone()
    other.update(pictures)
    torch.testing.assert_close(other.compute(), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing was seen yet
        assert metric.compute().shape == (0,)
        assert plugs.torchmetric(weights).compute().isnan()


def test_it_is_drawn_between_the_bounds(weights, pictures):
    import matplotlib.pyplot as plt

    metric = plugs.torchmetric(weights)
    metric.update(pictures)
    figure, axes = metric.plot()
    assert axes.get_ylim()[0] <= 0
    assert axes.get_ylim()[1] >= 100
    plt.close(figure)


def test_mistakes_are_named(weights):
    with pytest.raises(InputError, match=r"reduction should be mean or none\. Received: reduction=sum"):
        plugs.torchmetric(weights, "sum")
    metric = plugs.torchmetric(weights)
    with pytest.raises(InputError, match=r"pictures should be in \[0, 1\]\. Received: 2 to 2"):
        metric.update(torch.full((1, 3, 24, 32), 2.0))
    assert metric.count == 0


def test_two_processes_have_the_scores_of_all_pictures(weights, tmp_path):
    """One of them has more, and then the other has none."""
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, HELPERS / "two_processes.py"]
    processes = [
        subprocess.Popen([*command, str(rank), tmp_path, weights], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    for process in processes:
        _, said = process.communicate(timeout=360)
        assert process.returncode == 0, said
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    pictures = torch.rand(4, 3, 30, 40, generator=torch.Generator().manual_seed(1))
    alone = plugs.metric(weights)(pictures)[:, 0].numpy()
    for name, scores in (("shared", alone), ("first alone", alone[:3])):
        np.testing.assert_allclose(first[f"{name}, none"], scores, rtol=0, atol=1e-3)
        np.testing.assert_allclose(first[f"{name}, mean"], scores.mean(), rtol=0, atol=1e-3)
