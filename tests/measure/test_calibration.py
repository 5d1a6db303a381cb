"""Maps to MOS: strictly increasing whatever the data, chosen without leakage, kept with the weights, and used."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY

from koniq.evaluation import calibrating
from koniq.ground import InputError
from koniq.measure import calibration, keeping
from koniq.measure.calibration import MAPS, Affine, Calibration, Isotonic
from koniq.measure.metrics import krcc, rmse
from koniq.network import sidecar
from ku.generic import srocc

ROOT = Path(__file__).resolve().parents[2]


def rated(kind, count=200):
    """Scores of a network, float32 as they are, and their MOS."""
    rng = np.random.default_rng(3)
    known = rng.normal(0, 1, count)
    mos = 50 + 15 * known + rng.normal(0, 6, count)
    predicted = {
        "near": mos + rng.normal(0, 8, count),
        "no scale": 50 + 0.003 * known,  # as after the PLCC loss: a few hundred steps of float32 in all
        "ties": 50 + 10 * np.round(known),
        "outliers": np.where(np.arange(count) < 3, 1e4 * known, known),
        "two clusters": np.where(known > 0, 80, 20) + 1e-3 * known,
        "saturated": 60 / (1 + np.exp(-4 * known)),
        "heavy tail": np.exp(3 * known),
    }[kind]
    return predicted.astype(np.float32).astype(float), mos


KINDS = ("near", "no scale", "ties", "outliers", "two clusters", "saturated", "heavy tail")


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_map_increases_strictly_between_neighbours_in_float32(kind, name):
    predicted, mos = rated(kind)
    found = MAPS[name].fit(predicted, mos)
    low, high = predicted.min(), predicted.max()
    far = np.linspace(low - 3 * (high - low), high + 3 * (high - low), 1001)
    knots = found.scores if name == "isotonic" else ()
    places = np.concatenate([predicted, far, knots]).astype(np.float32)
    assert (np.diff(found(np.unique(places).astype(float))) > 0).all()
    places = places[np.abs(places) >= 1]  # nearer to 0, neighbours are nearer to one another than any MOS are
    places = np.unique([np.nextafter(places, np.float32(-np.inf)), places, np.nextafter(places, np.float32(np.inf))])
    assert (np.diff(found(places.astype(float))) > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_and_so_srcc_and_krcc_stay_the_same(kind):
    predicted, mos = rated(kind)
    calibrated = calibration.fit(predicted, mos, "x")(predicted)
    assert srocc(mos, calibrated) == srocc(mos, predicted)
    assert krcc(mos, calibrated) == krcc(mos, predicted)


def test_of_what_a_logistic_made_the_logistic_is_found():
    predicted = rated("near")[0]
    mos = 20 + 60 / (1 + np.exp(-(predicted - 52) / 8))
    found = calibration.fit(predicted, mos, "x")
    assert found.name == "logistic"
    values = [found.map.bottom, found.map.top, found.map.middle, found.map.scale]
    np.testing.assert_allclose(values, [20, 80, 52, 8], rtol=1e-5)
    outside = found(np.array([found.map.high, found.map.high + 10.0]))
    share = (outside[0] - 20) / 60
    assert outside[1] - outside[0] == pytest.approx(10 * 60 / 8 * share * (1 - share), rel=1e-4)  # its tangent


def test_of_what_a_line_made_the_line_is_found():
    predicted, _ = rated("near")
    mos = 3 * predicted - 40 + np.random.default_rng(1).normal(0, 9, len(predicted))
    found = calibration.fit(predicted, mos, "x")
    assert found.name == "affine"
    assert (found.map.slope, found.map.offset) == (pytest.approx(3, rel=0.03), pytest.approx(-40, rel=0.1))
    assert found.race["identity"] == rmse(mos, predicted)
    assert found.race["affine"] == pytest.approx(9, rel=0.1)


def test_scores_that_are_mos_stay_as_they_are():
    predicted, _ = rated("near")
    mos = predicted + np.random.default_rng(0).normal(0, 5, len(predicted))
    found = calibration.fit(predicted, mos, "x")
    assert found.name == "identity"
    assert np.array_equal(found(predicted), predicted)


def test_what_neither_line_nor_logistic_fits_is_isotonic():
    predicted, _ = rated("near")
    steps = 30 * np.floor(predicted / 20) + 0.1 * predicted
    assert calibration.fit(predicted, steps, "x").name == "isotonic"


def test_isotonic_goes_through_the_centres_of_pooled_levels():
    found = Isotonic.fit(np.array([1.0, 2, 3, 4, 4]), np.array([10.0, 30, 20, 50, 70]))
    np.testing.assert_allclose(found.scores, [1, 2.5, 4])
    np.testing.assert_allclose(found.mos, [10, 25, 60], atol=0.05)
    np.testing.assert_allclose(found(np.array([0.0, 5])), [10 - 50 / 3, 60 + 50 / 3], atol=0.1)


def test_values_are_not_cut_off_at_0_and_100():
    found = Calibration(Affine(2.0, 0.0), {}, 20, "x")
    assert found(np.array([-10, 80], np.float32)).tolist() == [-20, 160]
    assert found(np.float32(1)).dtype == np.float64


@pytest.mark.parametrize("count", [20, 24, 25, 26, 101])
def test_neighbours_are_in_different_folds_and_folds_are_alike(count):
    predicted = np.random.default_rng(count).normal(size=count)
    parts = calibration.folds_of(predicted)
    sizes = np.bincount(parts, minlength=5)
    assert sizes.max() - sizes.min() <= 1
    in_order = parts[np.argsort(predicted)]
    assert all(len(set(in_order[start : start + 5])) == 5 for start in range(0, count - 4, 5))
    assert np.array_equal(parts, calibration.folds_of(predicted))
    assert not np.array_equal(parts, calibration.folds_of(predicted, seed=1))


@pytest.mark.parametrize("name", ["affine", "logistic", "isotonic"])
def test_cross_validation_maps_no_picture_by_a_map_that_saw_its_mos(name):
    predicted, mos = rated("near", 60)
    parts = calibration.folds_of(predicted)
    before = calibration.cross_validated(MAPS[name], predicted, mos, parts)
    for picture in range(0, 60, 12):
        changed = mos.copy()
        changed[picture] += 20
        after = calibration.cross_validated(MAPS[name], predicted, changed, parts)
        own = parts == parts[picture]
        assert np.array_equal(after[own], before[own])
        assert not np.allclose(after[~own], before[~own])
    for part in range(5):
        alone = MAPS[name].fit(predicted[parts != part], mos[parts != part])(predicted[parts == part])
        assert np.array_equal(before[parts == part], alone)


@pytest.mark.parametrize("kind", ["near", "saturated", "two clusters"])
def test_through_a_file_and_back_it_is_the_same(kind):
    predicted, mos = rated(kind)
    found = calibration.fit(predicted, mos, "KonIQ-10k, validation")
    for one in (found, *(replace(found, map=each.fit(predicted, mos)) for each in MAPS.values())):
        again = Calibration.from_json(json.loads(json.dumps(one.to_json())))
        assert again == one
        assert np.array_equal(again(predicted), one(predicted))
    assert str(found).startswith(f"{found.name}, fitted on KonIQ-10k, validation, 200 pictures (")
    one, other = (replace(found, map=Affine(1.0, offset)) for offset in (0.0, 1e-9))
    assert str(one) != str(other)


def test_a_map_that_cannot_be_fitted_is_out_of_the_race_and_says_why():
    """Without one of its pictures the scores fall where the MOS rises."""
    rng = np.random.default_rng(0)
    predicted = np.append(rng.normal(0, 1, 39), 100)
    mos = np.append(50 - 5 * predicted[:-1] + rng.normal(0, 1, 39), 90)
    found = calibration.fit(predicted, mos, "x")
    assert found.race["affine"].startswith("its slope should be positive, and is -")
    assert "| affine | its slope should be positive, and is -" in calibrating.table(found)


def test_of_one_score_that_differs_no_map_is_made():
    one = (np.arange(30) == 7).astype(float)
    found = calibration.fit(one, 50 + one, "x")
    assert found.name == "identity"
    assert {found.race[name] for name in ("affine", "logistic", "isotonic")} == {
        "without one fold, all scores are the same"
    }


def scenes(count, of_each=24, seed=0):
    """Scores and MOS of a few scenes: within each they agree up to a shift and a slope that are the scene's own."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(count), of_each)
    known = rng.normal(0, 12, len(groups))
    shift, slope = rng.normal(0, 12, count)[groups], rng.uniform(0.2, 1.8, count)[groups]
    return 50 + slope * known + shift, 50 + known, groups


def test_a_gain_within_its_standard_error_keeps_no_map():
    """Scores that are MOS but for noise: whatever the seed, a map is of little use, and mostly refused."""
    refused = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        mos = rng.normal(50, 15, 60)
        found = calibration.fit(mos + rng.normal(0, 2, 60), mos, "x")
        gain, error = max(found.gains.values())
        assert (found.name == "identity") == (found.worthy == [])
        assert found.name == "identity" or gain > error > 0
        refused += found.name == "identity"
    assert refused >= 14


def test_a_map_that_only_fits_the_scenes_of_its_own_pictures_is_not_kept():
    """Checked on pictures of the same two scenes a map looks good; on the other scene it is seen to be bad."""
    misled = 0
    for seed in range(12):
        predicted, mos, groups = scenes(2, seed=seed)
        predicted += 25 * (groups - 0.5)  # the scenes differ in their mean score, and not in their mean MOS
        by_picture, by_scene = (calibration.fit(predicted, mos, "x", each) for each in (None, groups))
        assert by_scene.gains["affine"][1] > by_picture.gains["affine"][1]
        misled += by_picture.name != "identity" and by_scene.name == "identity"
    assert misled >= 6


def test_a_map_that_is_right_for_every_scene_is_kept():
    _, mos, groups = scenes(8)
    found = calibration.fit(0.01 * mos + np.random.default_rng(1).normal(0, 0.02, len(mos)), mos, "x", groups)
    assert found.name == "affine"
    assert found.race["affine"] < 3 < found.race["identity"]


def test_the_error_of_a_gain_is_that_of_paired_differences():
    rng = np.random.default_rng(0)
    before, after = rng.uniform(50, 90, 400), rng.uniform(40, 80, 400)
    gain, error = calibration.gain(before, after, np.arange(400))
    assert gain == pytest.approx(np.sqrt(before.mean()) - np.sqrt(after.mean()))
    drawn = (rng.integers(0, 400, 400) for _ in range(2000))
    assert error == pytest.approx(
        np.std([np.sqrt(before[d].mean()) - np.sqrt(after[d].mean()) for d in drawn]), rel=0.1
    )
    twice = [np.repeat(each, 2) for each in (before, after)]  # the same pictures again say nothing new
    assert calibration.gain(*twice, np.repeat(np.arange(400), 2)) == pytest.approx((gain, error))
    few = calibration.gain(before, after, np.arange(400) // 200)
    assert few[0] == gain
    assert calibration.gain(before, before, np.arange(400)) == (0, 0)
    assert calibration.gain(0 * before, 0 * before, np.arange(400)) == (0, 0)


def test_pictures_of_one_group_are_in_one_fold():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 7, 100)
    parts = calibration.folds_of(rng.normal(size=100), groups)
    assert all(len(set(parts[groups == group])) == 1 for group in range(7))
    assert set(parts) == set(range(5))
    assert set(calibration.folds_of(rng.normal(size=100), groups % 2)) == {0, 1}


def test_of_one_group_nothing_can_be_checked_and_so_nothing_is_kept(tmp_path):
    predicted, mos = rated("no scale", 40)
    found = calibration.fit(predicted, mos, "x", ["moon"] * 40)
    assert found.name == "identity"
    assert found.race["affine"] == "all pictures are of one group, and there are no others to check it on"
    assert "| affine | all pictures are of one group" in calibrating.table(found)
    found = calibration.fit(predicted, mos, "x", ["moon"] * 40, "affine")
    assert found.name == "affine"
    assert "than none (all pictures are of one group, and" in calibrating.verdict(found, tmp_path / "m.h5")
    calibrating.draw(predicted, mos, found, "MOS", tmp_path / "m.png")


def test_a_map_asked_for_by_its_name_is_kept_and_what_is_not_shown_is_said(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    mos = rng.normal(50, 15, 60)
    predicted = mos + rng.normal(0, 2, 60)
    assert calibration.fit(predicted, mos, "x").name == "identity"
    found = calibration.fit(predicted, mos, "x", kind="affine")
    assert found.name == "affine"
    said = calibrating.verdict(found, tmp_path / "m.h5")
    assert "Nothing shows that the affine map is better than none (its gain of" in said
    assert said.endswith("): it is kept because you ask.")
    assert "Nothing shows" not in calibrating.verdict(calibration.fit(*rated("no scale"), "x"), tmp_path / "m.h5")
    monkeypatch.setattr(calibration.Logistic, "fit", lambda *of: Affine.fit(-of[0], of[1]))
    with pytest.raises(InputError, match=r"kind=logistic should be a map that fits these scores. Received: its slope"):
        calibration.fit(predicted, mos, "x", kind="logistic")


def test_what_was_kept_before_gains_were_noted_is_still_used(beside):
    record = sidecar.record(beside)
    old = {key: value for key, value in record["calibrated"].items() if key not in ("gains", "label")}
    for label in ("MOS", "synthetic MOS"):
        sidecar.write_record(beside, TINY, label=label, calibrated=old)
        found = calibration.kept(beside, TINY, "abc")
        assert (found.label, found.gains, found.map) == (label, {}, calibration.fit(*rated("near"), "x").map)


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        (np.arange(19), "A calibration should have 20 rated pictures at least. Received: 19"),
        (np.full(20, 7.0), "Scores to calibrate should rise with the MOS. Received: a PLCC of nan"),
        (-np.arange(20), "Scores to calibrate should rise with the MOS. Received: a PLCC of -1.000"),
        (np.append(np.arange(19), np.nan), "Scores to calibrate should be finite numbers. Received: some that are not"),
    ],
)
def test_scores_that_no_map_can_be_made_for_are_refused(predicted, message):
    with pytest.raises(InputError) as error:
        calibration.fit(predicted, np.arange(len(predicted)), "x")
    assert str(error.value) == message


def test_twenty_pictures_are_enough():
    assert calibration.fit(np.arange(20), np.arange(20) ** 1.5, "x").pictures == 20


@pytest.fixture
def beside(tmp_path):
    """A weights file of the small network, by name only, with its record and a calibration in it."""
    path = tmp_path / "my_best.weights.h5"
    path.write_bytes(b"weights")
    sidecar.write_record(path, TINY, loss="plcc")
    calibration.keep(path, TINY, "abc", calibration.fit(*rated("near"), "x"))
    return path


def test_it_is_kept_in_the_record_and_forgotten(beside):
    record = sidecar.record(beside)
    assert list(record) == ["network", "input_size", "resize", "rules", "loss", "calibrated"]
    assert calibration.kept(beside, TINY, "abc") == calibration.fit(*rated("near"), "x")
    assert calibration.forget(beside)
    assert not calibration.forget(beside)
    assert sidecar.record(beside) == {key: record[key] for key in record if key != "calibrated"}
    assert calibration.kept(beside, TINY, "abc") is None


@pytest.mark.parametrize(
    ("network", "digest", "why"),
    [
        (TINY, "abd", "made for other weights than my_best.weights.h5 holds now"),
        (TINY.at((30, 30)), "abc", "made for pictures of 24x32 (lanczos), not of 30x30 (lanczos)"),
        (TINY.at(resize="box"), "abc", "made for pictures of 24x32 (lanczos), not of 24x32 (box)"),
        (
            *(TINY.at(rules="1", fit="pad"), "abc"),
            "made for pictures of 24x32 (lanczos, rules 2, fit squash), not of 24x32 (lanczos, rules 1, fit pad)",
        ),
    ],
)
def test_for_other_weights_size_or_resize_it_is_not_used_and_that_is_said(beside, network, digest, why, capsys):
    assert calibration.kept(beside, network, digest) is None
    assert why in capsys.readouterr().out


@pytest.mark.parametrize("broken", [True, {"map": {}}, {"for": 3}, {"map": {"name": "cubic"}}])
def test_a_broken_one_is_named(beside, broken):
    sidecar.write_record(beside, TINY, calibrated=broken)
    with pytest.raises(InputError, match=r"calibrated in .*my_best\.json should be what `.*python -m koniq calibrate`"):
        calibration.kept(beside, TINY, "abc")


def test_a_converted_file_takes_it_along_unless_it_was_for_another(beside):
    record = sidecar.record(beside)
    assert keeping.converted(record, "abc", "new")["calibrated"]["for"]["weights"] == ["abc", "new"]
    assert keeping.converted(record, "abc", "abc") == keeping.converted(record, "abd", "new") == record
    assert keeping.converted({"network": "tiny"}, "abc", "new") == {"network": "tiny"}


def test_where_a_map_was_fitted_to_the_same_pictures_errors_are_of_maps_without_them():
    predicted, mos = rated("near", 60)
    found = calibration.fit(predicted, mos, "x", kind="isotonic")
    own, others = mos - found(predicted), mos - calibration.without_own(found, predicted, mos)
    assert np.abs(own).mean() < 0.9 * np.abs(others).mean()
