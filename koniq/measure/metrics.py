"""How well predicted scores agree with MOS, and two models with one another, at full precision, with 95 % intervals."""

import warnings
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from scipy import stats

from koniq.ground.bars import tqdm
from ku.generic import plcc, srocc


def krcc(mos: np.ndarray, predicted: np.ndarray) -> float:
    """Kendall's rank correlation, tau-b; nan if either is constant."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(stats.kendalltau(mos, predicted).statistic)


def mae(mos: np.ndarray, predicted: np.ndarray) -> float:
    """Mean absolute error, in MOS."""
    return float(np.mean(np.abs(np.asarray(mos) - np.asarray(predicted))))


def rmse(mos: np.ndarray, predicted: np.ndarray) -> float:
    """Root of the mean squared error, in MOS."""
    return float(np.sqrt(np.mean((np.asarray(mos) - np.asarray(predicted)) ** 2)))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "srcc": srocc,
    "plcc": plcc,
    "krcc": krcc,
    "mae": mae,
    "rmse": rmse,
}


def measure(
    mos: np.ndarray,
    predicted: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
    metrics: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = METRICS,
    groups: np.ndarray | None = None,
) -> pd.DataFrame:
    """The metrics of `predicted` against `mos` (both of shape (pictures,)), one row each: metric, value, low, high, n.

    low and high bound the 95 % percentile interval of a bootstrap over pictures (Efron, 1979), the same pictures for
    every metric and, through the seed, in every run. Resamples in which a metric has no value are left out. groups: of
    shape (pictures,), what each belongs to: then whole groups are drawn, for pictures of one go up and down together.
    """
    mos, predicted = np.asarray(mos, np.float64), np.asarray(predicted, np.float64)
    if mos.shape != predicted.shape or mos.ndim != 1 or mos.size < 2:
        raise ValueError(
            "mos and predicted should be as many numbers each, at least 2. "
            f"Received: shapes {mos.shape} and {predicted.shape}"
        )
    draw = _draw(mos.size, groups, seed)
    drawn = np.empty((resamples, len(metrics)))
    for row in tqdm(drawn, desc="bootstrap", unit="draw", disable=None, leave=False):
        chosen = draw()
        row[:] = [metric(mos[chosen], predicted[chosen]) for metric in metrics.values()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanpercentile(drawn, (2.5, 97.5), axis=0)
    values = [metric(mos, predicted) for metric in metrics.values()]
    return pd.DataFrame({"metric": list(metrics), "value": values, "low": low, "high": high, "n": mos.size})


def _draw(count: int, groups: np.ndarray | None, seed: int) -> Callable[[], np.ndarray]:
    """What draws `count` rows with replacement; or as many groups of rows as there are, each with all its rows."""
    rng = np.random.default_rng(seed)
    if groups is None:
        return lambda: rng.integers(0, count, count)
    which = np.unique(groups, return_inverse=True)[1]
    rows = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1])
    return lambda: np.concatenate([rows[group] for group in rng.integers(0, len(rows), len(rows))])


def difference(
    mos: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    metric: str = "srcc",
    samples: int = 2000,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> tuple[float, float, float, float]:
    """How two models differ in a metric on the same pictures (all of shape (pictures,)): value, low, high, p.

    value is metric(mos, first) - metric(mos, second); of mae and rmse the smaller is the better. low and high bound the
    95 % percentile interval of a paired bootstrap: a resample draws pictures, each with its MOS and both its scores.
    p is two-sided: twice the share of resamples on the rarer side of 0, at most 1, one counted on each side beforehand,
    so that it is never 0. Resamples without a value are left out; all is nan if the pictures themselves have none.
    groups: as of `measure`. Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 13 and 15.
    """
    columns = [np.asarray(column, np.float64) for column in (mos, first, second)]
    if len({column.shape for column in columns}) > 1 or columns[0].ndim != 1 or columns[0].size < 2:
        raise ValueError(
            "mos, first and second should be as many numbers each, at least 2. "
            f"Received: shapes {', '.join(str(column.shape) for column in columns)}"
        )
    if metric not in METRICS:
        raise ValueError(f"metric should be one of {', '.join(METRICS)}. Received: metric={metric!r}")
    function, n = METRICS[metric], columns[0].size
    value = function(columns[0], columns[1]) - function(columns[0], columns[2])
    if np.isnan(value):
        return np.nan, np.nan, np.nan, np.nan
    if metric == "srcc":  # its resamples are ranked by counting, which takes a fraction of the time of sorting them
        columns, function = [np.unique(column, return_inverse=True)[1] for column in columns], _srcc_of_levels
    draw = _draw(n, groups, seed)
    drawn = np.empty(samples)
    for number in range(samples):
        chosen = draw()
        mos, first, second = (column[chosen] for column in columns)
        drawn[number] = function(mos, first) - function(mos, second)
    drawn = drawn[np.isfinite(drawn)]
    if not drawn.size:
        return value, np.nan, np.nan, np.nan
    low, high = np.percentile(drawn, (2.5, 97.5))
    rarer = min(np.sum(drawn <= 0), np.sum(drawn >= 0))
    return value, float(low), float(high), float(min(1, 2 * (rarer + 1) / (drawn.size + 1)))


def _srcc_of_levels(mos: np.ndarray, predicted: np.ndarray) -> float:
    """SRCC of numbers that stand for their order: small whole ones, from 0, equal where what they stand for is."""
    return plcc(_ranks(mos), _ranks(predicted))


def _ranks(levels: np.ndarray) -> np.ndarray:
    """Ranks of small whole numbers, equal ones at their mean rank."""
    counts = np.bincount(levels)
    return (np.cumsum(counts) - (counts - 1) / 2)[levels]


def agreement(first: np.ndarray, second: np.ndarray) -> pd.DataFrame:
    """How well two models agree on the same pictures (shape (pictures,) each): metric, value, low, high, n.

    srcc, plcc, krcc; of the differences second - first, the mean, the standard deviation, and the limits of agreement,
    mean - 1.96 sd and mean + 1.96 sd, between which 95 % of normally distributed differences lie. low and high bound
    95 % intervals by Student's t, that of a limit with standard error sqrt(3 / n) sd; nan where there is none.
    Source: Bland and Altman, Lancet 1986, 327, 307-310.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape or first.ndim != 1 or first.size < 2:
        raise ValueError(
            "first and second should be as many numbers each, at least 2. "
            f"Received: shapes {first.shape} and {second.shape}"
        )
    difference = second - first
    n, mean, sd = first.size, difference.mean(), difference.std(ddof=1)
    error = _half_width(sd, n)
    rows = [
        *((name, METRICS[name](first, second), np.nan) for name in ("srcc", "plcc", "krcc")),
        ("mean_difference", mean, error),
        ("sd_difference", sd, np.nan),
        ("lower_limit", mean - 1.96 * sd, np.sqrt(3) * error),
        ("upper_limit", mean + 1.96 * sd, np.sqrt(3) * error),
    ]
    table = pd.DataFrame(rows, columns=["metric", "value", "half"])
    table = table.assign(low=table.value - table.half, high=table.value + table.half, n=n)
    return table[["metric", "value", "low", "high", "n"]]


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """The mean of some numbers and its 95 % interval by Student's t: value, low, high; nan for one number."""
    values = np.asarray(values, np.float64)
    mean = float(values.mean())
    if values.size < 2:
        return mean, np.nan, np.nan
    half = _half_width(values.std(ddof=1), values.size)
    return mean, float(mean - half), float(mean + half)


def over_seeds(values: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> tuple[float, float, float]:
    """The mean of a metric over runs that differ by seed, and its 95 % interval: value, low, high.

    values, of shape (seeds,): the metric of each run on the same pictures; lows, highs: the ends of its own 95 %
    interval over pictures. The variance of the mean has two parts, by the law of total variance: that of the pictures,
    which are the same for every seed, so that more seeds make it no smaller, and that of the seeds, s**2 / n. Their
    intervals are put together as their variances add up:

        low = mean - sqrt(p**2 + (t s)**2 / n),    p**2 = mean of (value - low)**2,    and high alike,

    with t the quantile of Student's distribution with n - 1 degrees of freedom, s the standard deviation of the values
    by n - 1. Of one seed there is the first part alone: its own interval. How pictures and seeds work together (a seed
    that is luckier with these pictures) is in both parts, so that the interval is too wide, if anything. nan where an
    end is. Source: Zou and Donner, Statistics in Medicine 2008, 27, 1693-1702 (variance estimates recovered from
    limits); Searle, Casella and McCulloch, Variance Components, 1992.
    """
    values, lows, highs = (np.asarray(column, np.float64) for column in (values, lows, highs))
    if not values.shape == lows.shape == highs.shape or values.ndim != 1 or not values.size:
        raise ValueError(
            "values, lows and highs should be as many numbers each, at least 1. "
            f"Received: shapes {values.shape}, {lows.shape} and {highs.shape}"
        )
    mean = float(values.mean())
    seeds = _half_width(values.std(ddof=1), values.size) if values.size > 1 else 0.0
    below, above = (np.hypot(np.sqrt(np.mean((values - ends) ** 2)), seeds) for ends in (lows, highs))
    return mean, float(mean - below), float(mean + above)


def _half_width(sd: float, n: int) -> float:
    """Half the 95 % interval, by Student's t, of the mean of `n` numbers with the standard deviation `sd`."""
    return stats.t.ppf(0.975, n - 1) * sd / np.sqrt(n)
