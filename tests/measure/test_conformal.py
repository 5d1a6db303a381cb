"""Intervals: the k-th smallest residual, never a clipped k; as promised over many halves; kept with the weights."""

import json
import math

import numpy as np
import pytest
from scipy import stats
from tiny import TINY

from koniq.ground import InputError, files
from koniq.measure import calibration, conformal, keeping
from koniq.measure.conformal import Intervals, bound, made, rank
from koniq.network import sidecar
from koniq.scoring.scorer import load


def scored(count, seed=0):
    """Scores and MOS whose errors are wider below: a population of its own."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(10, 90, count)
    return scores, scores + rng.normal(0, 1, count) * (16 - 0.12 * scores)


@pytest.mark.parametrize(
    ("count", "level", "k"), [(9, 0.9, 9), (10, 0.9, 10), (19, 0.9, 18), (99, 0.9, 90), (20, 0.9, 19), (29, 0.1, 3)]
)
def test_the_bound_is_the_kth_smallest_residual(count, level, k):
    residuals = np.random.default_rng(1).permutation(np.arange(1.0, count + 1))
    assert rank(count, level) == k
    assert bound(residuals, level) == k


@pytest.mark.parametrize("count", [0, 1, 8])
def test_of_too_few_pictures_the_interval_is_infinite(count):
    assert bound(np.arange(float(count)), 0.9) == math.inf
    found = made(np.arange(float(count)), np.ones(count), "few")
    assert found(50.0) == (-math.inf, math.inf)
    assert found.promised == 1
    again = Intervals.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again == found


def test_a_range_has_its_own_width_and_the_pictures_between_count_in_neither():
    scores = np.arange(21.0)
    residuals = np.where(scores < 10, 1, 5) * (1 + scores / 1000)
    residuals[10] = 1e6  # at the edge
    found = made(scores, -residuals, "x", level=0.5, ranges=2)
    assert (found.edges, found.counts, found.pictures) == ((10.0,), (10, 10), 21)
    assert found.halves == (residuals[5], residuals[16])
    low, high = found(np.array([9.9, 10.0]))
    assert (high - low).tolist() == pytest.approx([2 * residuals[5], 2 * residuals[16]])
    assert found.promised == (6 + 6) / 22


@pytest.mark.parametrize("ranges", [1, 2, 5])
def test_it_agrees_with_crepes(ranges):
    crepes = pytest.importorskip("crepes")
    scores, mos = scored(487)  # in no range is n + 1 a multiple of 10: there, crepes is one further by rounding 1 - 0.9
    found = made(scores, mos - scores, "x", ranges=ranges)
    inside = ~np.isin(scores, found.edges)
    new = np.linspace(0, 100, 301)
    bins = [np.searchsorted(found.edges, each, side="right") for each in (scores[inside], new)]
    theirs = crepes.ConformalRegressor().fit(residuals=(mos - scores)[inside], bins=bins[0])
    expected = theirs.predict_int(new, bins=bins[1], confidence=0.9)
    np.testing.assert_allclose(np.stack(found(new), 1), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("ranges", [1, 2, 5])
def test_over_many_random_halves_coverage_is_as_promised(ranges):
    """Within three standard errors; a residual further, or a k that is not of n + 1, would be seen."""
    scores, mos = scored(200)
    coverage, promised = [], set()
    for seed in range(1000):
        order = np.random.default_rng(seed).permutation(200)
        some, others = order[:100], order[100:]
        found = made(scores[some], (mos - scores)[some], "half", ranges=ranges)
        low, high = found(scores[others])
        coverage.append(np.mean((low <= mos[others]) & (mos[others] <= high)))
        promised.add(found.promised)
    (promised,) = promised
    assert 0.9 <= promised < 0.94
    assert abs(np.mean(coverage) - promised) < 3 * np.std(coverage) / math.sqrt(1000)


def test_one_split_lies_within_the_band_of_the_beta_binomial_distribution():
    scores, mos = scored(2000)
    found = made(scores[:1000], (mos - scores)[:1000], "half", ranges=1)
    low, high = found(scores[1000:])
    k = rank(1000, 0.9)
    band = stats.betabinom(1000, k, 1001 - k).ppf([0.0005, 0.9995])
    assert band[0] <= np.sum((low <= mos[1000:]) & (mos[1000:] <= high)) <= band[1]


def test_on_shifted_pictures_the_promise_is_seen_to_break():
    scores, mos = scored(2000)
    found = made(scores, mos - scores, "these")
    others, theirs = scored(2000, seed=1)
    for shift, least, most in ((0, 0.87, 0.93), (25, 0, 0.5)):
        low, high = found(others + shift)
        assert least < np.mean((low <= theirs) & (theirs <= high)) < most


def test_widths_follow_the_errors_where_there_are_pictures_enough():
    scores, mos = scored(1200)
    found = made(scores, mos - scores, "x")
    assert len(found.halves) == 5
    assert found.halves[0] > 1.5 * found.halves[-1]
    assert [len(made(scores[:n], scores[:n], "x").halves) for n in (99, 100, 999, 1000)] == [1, 2, 2, 5]


@pytest.mark.parametrize(
    ("residuals", "level", "message"),
    [
        ([1.0, 2], 1.0, "level should be above 0 and below 1. Received: level=1"),
        ([1.0, 2], 0.0, "level should be above 0 and below 1. Received: level=0"),
        ([1.0, np.nan], 0.9, "Scores to make intervals of should be finite numbers. Received: some that are not"),
    ],
)
def test_what_no_intervals_can_be_made_of_is_refused(residuals, level, message):
    with pytest.raises(InputError) as error:
        made([1.0, 2], residuals, "x", level)
    assert str(error.value) == message


@pytest.fixture
def beside(tmp_path):
    """A weights file by name only, with a calibration and intervals about its scores beside it."""
    path = tmp_path / "my_best.weights.h5"
    path.write_bytes(b"weights")
    sidecar.write_record(path, TINY, loss="plcc")
    scores, mos = scored(200)
    calibrated = calibration.fit(0.1 * scores, mos, "x")
    calibration.keep(path, TINY, "abc", calibrated)
    conformal.keep(path, TINY, "abc", made(scores, mos - scores, "grey, validation", of=str(calibrated)))
    return path, calibrated


def test_they_are_kept_in_the_record_and_forgotten(beside):
    path, calibrated = beside
    found = conformal.kept(path, TINY, "abc", calibrated)
    assert found == made(scored(200)[0], np.subtract(*scored(200)), "grey, validation", of=str(calibrated))
    assert str(found).startswith("90 % intervals, made on grey, validation, 200 pictures (")
    assert calibration.kept(path, TINY, "abc") == calibrated
    record = keeping.converted(sidecar.record(path), "abc", "new")
    assert record["intervals"]["for"]["weights"] == record["calibrated"]["for"]["weights"] == ["abc", "new"]
    assert conformal.forget(path)
    assert not conformal.forget(path)
    assert list(sidecar.record(path)) == ["network", "input_size", "resize", "rules", "loss", "calibrated"]


def test_where_they_do_not_hold_they_are_not_used_and_why_is_said(beside, capsys):
    path, calibrated = beside
    for network, digest, to_mos, why in (
        (TINY, "abd", calibrated, "made for other weights than my_best.weights.h5 holds now"),
        (TINY.at((30, 30)), "abc", calibrated, "made for pictures of 24x32 (lanczos), not of 30x30 (lanczos)"),
        (TINY, "abc", None, f"made for other scores: those by {calibrated}, not the network's own"),
    ):
        assert conformal.kept(path, network, digest, to_mos) is None
        assert capsys.readouterr().out == f"Without intervals: the intervals beside the weights were {why}.\n"
        with pytest.raises(InputError, match=r"koniq calibrate --weights .* Received: the intervals beside"):
            conformal.kept(path, network, digest, to_mos, needed=True)
    conformal.forget(path)
    assert conformal.kept(path, TINY, "abc") is None
    assert capsys.readouterr().out == ""
    with pytest.raises(InputError, match="Received: no intervals are kept beside the weights"):
        conformal.kept(path, TINY, "abc", needed=True)


def test_they_may_hold_for_several_rules_of_decoding(beside):
    """As where all pictures that they were made on have the same pixels by both: those of koncept_lite."""
    path, calibrated = beside
    record = sidecar.record(path)
    assert conformal.kept(path, TINY.at(rules="1"), "abc", calibrated) is None
    record["intervals"]["for"]["rules"] = ["1", "2"]
    sidecar.write(path, record)
    for rules in ("1", "2"):
        assert conformal.kept(path, TINY.at(rules=rules), "abc", calibrated)
    assert conformal.kept(path, TINY.at(rules="study", resize="lanczos"), "abc", calibrated) is None
    sidecar.write(path, {key: value for key, value in record.items() if key not in ("rules", "calibrated")})
    assert sidecar.network_of(path).rules == "2"


def test_a_plan_has_them_where_they_are_wanted_or_there(beside, tmp_path):
    path, _ = beside
    conformal.keep(path, TINY, files.file_hash(path), made(np.arange(20.0), np.arange(20.0), "x"))
    how = {"engine": "openvino", "precision": "float32"}
    chosen = [load(path, intervals=wanted, **how) for wanted in (True, None, False)]
    kept = conformal.kept(path, TINY, files.file_hash(path))
    assert [scorer.intervals for scorer in chosen] == [kept, kept, None]
    facts = [scorer.facts for scorer in chosen]
    assert [each.get("intervals") for each in facts] == [str(kept), str(kept), None]
    assert "intervals" not in facts[0]["record"]
    none = tmp_path / "none.h5"
    none.write_bytes(b"weights")
    sidecar.write_record(none, TINY)
    assert load(none, intervals=None, **how).intervals is None
    with pytest.raises(InputError, match=r"The weights should have intervals, made by `.*python -m koniq calibrate"):
        load(none, intervals=True, **how)


@pytest.mark.parametrize("broken", [True, {"halves": [1]}, {"for": 3}])
def test_broken_ones_are_named(beside, broken):
    path, _ = beside
    sidecar.write_record(path, TINY, intervals=broken)
    with pytest.raises(InputError, match=r"intervals in .*my_best\.json should be what `.*python -m koniq calibrate`"):
        conformal.kept(path, TINY, "abc")
