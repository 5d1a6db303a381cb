import numpy as np
import pandas as pd
import pytest
from scipy import stats

from koniq.measure.metrics import METRICS, difference, mean_interval, measure, over_seeds


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


@pytest.mark.parametrize("metric", METRICS)
def test_a_difference_is_that_of_the_metric_on_the_same_resamples(pair, metric):
    mos, predicted = pair
    other = predicted.round(-1)  # so that there are ties among the scores
    value, low, high, p = difference(mos, predicted, other, metric, samples=40, seed=5)
    assert value == METRICS[metric](mos, predicted) - METRICS[metric](mos, other)
    rng, drawn = np.random.default_rng(5), []
    for _ in range(40):
        chosen = rng.integers(0, 200, 200)
        drawn.append(METRICS[metric](mos[chosen], predicted[chosen]) - METRICS[metric](mos[chosen], other[chosen]))
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, (2.5, 97.5))), abs=1e-12)
    assert p == pytest.approx(
        min(1, 2 * (1 + min(np.less_equal(drawn, 0).sum(), np.greater_equal(drawn, 0).sum())) / 41)
    )


def test_a_difference_has_the_sign_of_the_better_and_swaps_with_its_sides(pair):
    mos, predicted = pair
    worse = predicted + np.random.default_rng(4).normal(0, 30, 200)
    value, low, high, p = difference(mos, predicted, worse)
    assert 0 < low < value < high
    assert p == pytest.approx(2 / 2001)  # no resample of 2,000 is on the other side of 0
    assert difference(mos, worse, predicted) == pytest.approx((-value, -high, -low, p), abs=1e-12)


def test_intervals_by_group_are_those_of_as_few_pictures_as_there_are_groups(pair):
    """Four copies of each picture tell no more than one does; a group of one each is no group."""
    mos, predicted = (column[:50] for column in pair)
    again, groups = [np.repeat(column, 4) for column in (mos, predicted)], np.repeat(np.arange(50), 4)[::-1]
    alone, copies, held = measure(mos, predicted), measure(*again), measure(*again, groups=groups)
    width = [float((found.high - found.low)[0]) for found in (alone, copies, held)]
    assert width[2] == pytest.approx(width[0], rel=0.15)
    assert width[1] < 0.6 * width[0]
    _, low, high, _ = difference(mos, mos, predicted)
    _, held_low, held_high, _ = difference(again[0], *again, groups=groups)
    assert (held_low, held_high) == pytest.approx((low, high), rel=0.15)
    single = measure(mos, predicted, groups=np.arange(50))
    pd.testing.assert_frame_equal(single, alone)


def test_a_model_does_not_differ_from_itself(pair):
    mos, predicted = pair
    assert difference(mos, predicted, 2 * predicted + 1) == (0, 0, 0, 1)


def test_p_is_as_often_below_5_percent_as_it_says():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(100):
        mos = rng.normal(size=50)
        first, second = mos + rng.normal(size=(2, 50))
        found.append(difference(mos, first, second, samples=200)[3])
    assert 0 < np.mean(np.array(found) < 0.05) < 0.12


def test_a_constant_model_has_no_difference(pair):
    mos, predicted = pair
    assert np.isnan(difference(mos, predicted, np.full(200, 5.0), samples=5)).all()
    predicted[7] = np.nan
    assert np.isnan(difference(mos, mos, predicted, samples=5)).all()


def test_a_difference_of_different_lengths_or_of_no_metric_is_refused(pair):
    mos, predicted = pair
    with pytest.raises(ValueError, match=r"as many numbers each, at least 2.*\(200,\), \(200,\), \(199,\)"):
        difference(mos, predicted, predicted[1:])
    with pytest.raises(ValueError, match=r"one of srcc, plcc, krcc, mae, rmse\. Received: metric='r2'"):
        difference(mos, predicted, predicted, "r2")


def test_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"as many numbers each.*Received: shapes \(3,\) and \(4,\)"):
        measure(np.zeros(3), np.zeros(4))


def test_the_interval_of_a_mean_is_students_and_one_number_has_none():
    values = np.random.default_rng(5).normal(3, 2, 12)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((values.mean(), expected.low, expected.high))
    assert mean_interval([7]) == pytest.approx((7, np.nan, np.nan), nan_ok=True)


def test_the_interval_over_seeds_of_known_answers():
    assert over_seeds([0.9], [0.87], [0.92]) == pytest.approx((0.9, 0.87, 0.92))  # its own, however uneven
    half = 0.02
    values = np.full(3, 0.9)  # seeds that agree: what is left is of the pictures, and no smaller for three of them
    assert over_seeds(values, values - half, values + half) == pytest.approx((0.9, 0.9 - half, 0.9 + half))
    values = np.array([0.88, 0.90, 0.95])  # pictures without number: what is left is Student's, of the seeds
    assert over_seeds(values, values, values) == pytest.approx(mean_interval(values))
    value, low, high = over_seeds(values, values - half, values + half)
    _, narrow_low, narrow_high = mean_interval(values)
    assert low < narrow_low < value < narrow_high < high
    assert np.isnan(over_seeds([0.9, 0.8], [np.nan, 0.7], [np.nan, 0.9])[1:]).all()
    with pytest.raises(ValueError, match=r"at least 1\. Received: shapes \(2,\), \(2,\) and \(1,\)"):
        over_seeds([1, 2], [0, 1], [3])


@pytest.mark.parametrize("n", [2, 3, 5])
@pytest.mark.parametrize(("pictures", "seeds", "together"), [(1, 0.3, 0), (1, 1, 0), (0.3, 1, 0), (1, 1, 0.5)])
def test_the_interval_over_seeds_covers_the_truth_as_often_as_it_says(n, pictures, seeds, together):
    """A made-up truth: a metric off by what the pictures do to every run, each seed, and the two together."""
    rng, times = np.random.default_rng(n), 2000
    values = (
        rng.normal(0, pictures, (times, 1)) + rng.normal(0, seeds, (times, n)) + rng.normal(0, together, (times, n))
    )
    half = stats.norm.ppf(0.975) * np.hypot(pictures, together)  # as a bootstrap over pictures finds it, of each run
    found = np.array([over_seeds(each, each - half, each + half) for each in values])
    covered = np.mean((found[:, 1] <= 0) & (found[:, 2] >= 0))
    assert 0.94 < covered < 0.995
    alone = np.mean(np.abs(values.mean(axis=1)) <= half)  # the mean of the ends, which leaves out the seeds
    assert alone < covered
