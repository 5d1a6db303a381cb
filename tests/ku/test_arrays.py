"""Correlations against SciPy's, ranges, mean ratings and common values."""

import warnings

import numpy as np
import pytest
from scipy import stats

from ku import arrays

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("n", [2, 3, 50])
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_correlations_agree_with_scipy(n, scale):
    rng = np.random.default_rng(n)
    x = rng.integers(0, 9, n) + np.arange(n) / n
    y = x.round() + rng.integers(0, 4, n)  # with ties
    assert arrays.plcc(x * scale, y[:, None]) == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-12)
    assert arrays.srocc(x * scale, y) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    assert arrays.srcc is arrays.srocc


@pytest.mark.parametrize("metric", [arrays.plcc, arrays.srocc])
def test_correlations_of_nothing_are_nan_without_a_warning(metric):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in ([0.1, 0.1, 0.1], [1, 2, np.nan]):
            assert np.isnan(metric(x, [1, 2, 4]))
            assert np.isnan(metric([1, 2, 4], x))
        assert np.isnan(metric([1], [2]))
        assert np.isnan(metric([], []))
    with pytest.raises(ValueError, match="Received: sizes 3 and 2"):
        metric([1, 2, 3], [1, 2])


def test_ranges():
    assert arrays.minmax(np.array([[3, 1], [2, 9]])) == (1, 9)
    mapped = arrays.mapmm(np.array([0, 51, 255], np.uint8), (-1, 1))
    np.testing.assert_allclose(mapped, [-1, -0.6, 1], atol=1e-6)
    assert mapped.dtype == np.float32
    assert arrays.mapmm([7, 7]).tolist() == [0, 0]


def test_dist2mos():
    assert arrays.dist2mos([0, 0, 0, 1, 1]) == 4.5
    np.testing.assert_allclose(arrays.dist2mos([[1, 0, 1], [0, 0, 8]], scale=(0, 50, 100)), [50, 100])
    with pytest.raises(ValueError, match=r"5 columns.*Received: x.shape=\(2,\)"):
        arrays.dist2mos([1, 0])


def test_array_overlap_gives_places_of_common_values():
    a, b = np.array(["d", "a", "c", "a"]), np.array(["x", "c", "a"])
    in_a, in_b = arrays.array_overlap(a, b)
    assert a[in_a].tolist() == b[in_b].tolist() == ["a", "c"]
