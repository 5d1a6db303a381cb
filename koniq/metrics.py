"""How well predicted scores agree with MOS: SRCC, PLCC, KRCC, MAE, RMSE at full precision, with bootstrap intervals."""

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

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


def measure(mos: np.ndarray, predicted: np.ndarray, resamples: int = 1000, seed: int = 0) -> pd.DataFrame:
    """Every metric of `predicted` against `mos` (both of shape (pictures,)), one row each: metric, value, low, high, n.

    low and high bound the 95 % percentile interval of a bootstrap over pictures (Efron, 1979), the same pictures for
    every metric and, through the seed, in every run. Resamples in which a metric has no value are left out.
    """
    mos, predicted = np.asarray(mos, np.float64), np.asarray(predicted, np.float64)
    if mos.shape != predicted.shape or mos.ndim != 1 or mos.size < 2:
        raise ValueError(
            "mos and predicted should be as many numbers each, at least 2. "
            f"Received: shapes {mos.shape} and {predicted.shape}"
        )
    rng = np.random.default_rng(seed)
    drawn = np.empty((resamples, len(METRICS)))
    for row in tqdm(drawn, desc="bootstrap", unit="draw", disable=None, leave=False):
        chosen = rng.integers(0, mos.size, mos.size)
        row[:] = [metric(mos[chosen], predicted[chosen]) for metric in METRICS.values()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanpercentile(drawn, (2.5, 97.5), axis=0)
    values = [metric(mos, predicted) for metric in METRICS.values()]
    return pd.DataFrame({"metric": list(METRICS), "value": values, "low": low, "high": high, "n": mos.size})
