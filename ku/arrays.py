"""Arrays of numbers: ranges, correlations, mean ratings, what two have in common."""

import math
from collections.abc import Sequence

import numpy as np


def minmax(x) -> tuple:
    """Return the least and the greatest value of `x`."""
    return np.min(x), np.max(x)


def mapmm(x, new_range: Sequence[float] = (0, 1)) -> np.ndarray:
    """Return `x` as floats, mapped linearly so that its least and greatest value become `new_range`.

    A constant `x` becomes new_range[0] throughout.
    """
    x = np.asarray(x)
    x = x.astype(np.result_type(x, np.float32), copy=False)
    low, high = minmax(x)
    start, end = new_range
    return (x - low) / ((high - low) or 1) * (end - start) + start


def plcc(x, y) -> float:
    """Return Pearson's correlation of two arrays of one size; nan where one is constant or not finite."""
    x, y = _pair(x, y)
    if x.size < 2 or not np.isfinite([x, y]).all() or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of tiny or huge values would leave float64
    return float(np.clip(x / np.linalg.norm(x) @ (y / np.linalg.norm(y)), -1, 1))


def srocc(xs, ys) -> float:
    """Return Spearman's rank correlation of two arrays of one size, ties averaged; nan as in `plcc`."""
    xs, ys = _pair(xs, ys)
    if np.isnan([xs, ys]).any():
        return math.nan
    return plcc(_ranks(xs), _ranks(ys))


srcc = srocc


def _pair(x, y) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(values, np.float64).ravel() for values in (x, y))
    if x.size != y.size:
        raise ValueError(f"x and y should have one size. Received: sizes {x.size} and {y.size}")
    return x, y


def _ranks(x: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def dist2mos(x, scale: Sequence[float] = (1, 2, 3, 4, 5)) -> np.ndarray:
    """Return the mean rating of each distribution (or row of counts) of `x`, ... x len(scale)."""
    x = np.asarray(x, np.float64)
    if x.shape[-1] != len(scale):
        raise ValueError(f"x should have {len(scale)} columns, one a rating. Received: x.shape={x.shape}")
    return x @ np.asarray(scale, np.float64) / x.sum(axis=-1)


def array_overlap(a, b) -> tuple[np.ndarray, np.ndarray]:
    """Return where the values common to `a` and `b` stand first in each: a[i] equals b[j], ascending."""
    return np.intersect1d(a, b, return_indices=True)[1:]
