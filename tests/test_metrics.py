import numpy as np
import pytest
from scipy import stats

from koniq.metrics import METRICS, measure


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    mos = rng.uniform(0, 100, 200).round(0)  # rounded, so that there are ties
    return mos, mos + rng.normal(0, 20, 200)


def test_metrics_agree_with_scipy(pair):
    mos, predicted = pair
    found = measure(mos, predicted, resamples=20).set_index("metric").value
    assert found.srcc == pytest.approx(stats.spearmanr(mos, predicted).statistic, abs=1e-12)
    assert found.plcc == pytest.approx(stats.pearsonr(mos, predicted).statistic, abs=1e-12)
    assert found.krcc == pytest.approx(stats.kendalltau(mos, predicted).statistic, abs=1e-12)
    assert found.mae == pytest.approx(np.abs(mos - predicted).mean(), abs=1e-12)
    assert found.rmse == pytest.approx(np.sqrt(((mos - predicted) ** 2).mean()), abs=1e-12)


def test_metrics_of_a_known_answer():
    mos, predicted = np.array([10.0, 20, 30, 40]), np.array([20.0, 10, 30, 44])
    assert METRICS["srcc"](mos, predicted) == pytest.approx(0.8)
    assert METRICS["krcc"](mos, predicted) == pytest.approx(4 / 6)
    assert METRICS["mae"](mos, predicted) == 6
    assert METRICS["rmse"](mos, predicted) == pytest.approx(np.sqrt(54))


def test_a_constant_prediction_has_no_correlation():
    found = measure(np.arange(10.0), np.full(10, 5.0), resamples=5).set_index("metric").value
    assert found[["srcc", "plcc", "krcc"]].isna().all()
    assert found.mae == 2.5


def test_intervals_hold_the_value_repeat_and_agree_with_scipy_bootstrap(pair):
    mos, predicted = pair
    found = measure(mos, predicted)
    assert (found.low < found.value).all()
    assert (found.value < found.high).all()
    assert found.equals(measure(mos, predicted))
    plcc = found.set_index("metric").loc["plcc"]
    reference = stats.bootstrap(
        (mos, predicted),
        lambda x, y: stats.pearsonr(x, y).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1000,
        rng=np.random.default_rng(9),
    ).confidence_interval
    assert plcc.low == pytest.approx(reference.low, abs=0.01)
    assert plcc.high == pytest.approx(reference.high, abs=0.01)


def test_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"as many numbers each.*Received: shapes \(3,\) and \(4,\)"):
        measure(np.zeros(3), np.zeros(4))
