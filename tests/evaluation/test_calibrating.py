"""A network calibrated: the map kept beside its weights, and heeded by whatever scores with them."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image
from tiny import TINY

import koncept512_test
import koncept512_train
import lifelog_predict
from koniq import engines
from koniq.data import datasets, sample
from koniq.engines.engine import Engine
from koniq.evaluation import calibrating, ending
from koniq.ground import InputError, facts, files
from koniq.measure import calibration, conformal
from koniq.measure.calibration import MAPS
from koniq.measure.metrics import rmse
from koniq.network import NETWORKS, TOLERANCE, finding, sidecar
from koniq.reports import comparison, distribution
from koniq.scoring import score_file
from koniq.scoring.facts import Facts
from koniq.scoring.scorer import Scorer
from koniq.study import results
from ku.generic import srocc

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("folder", [".", pytest.param("other", marks=pytest.mark.long)])
@pytest.mark.long
def test_after_a_conversion_both_files_score_in_mos(run, tmp_path, folder):
    convert = pytest.importorskip("koniq.engines.conversion")
    pytest.importorskip("torch")
    path, target = tmp_path / "my.weights.h5", tmp_path / folder / "my.pth"
    shutil.copyfile(finding.find(str(run[0])), path)
    shutil.copyfile(sidecar.record_path(finding.find(str(run[0]))), tmp_path / "my.json")
    convert.convert(path, target)
    for each in (path, target):
        assert calibration.kept(each, TINY, files.file_hash(each)) is not None


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of 80 grey pictures whose MOS is their brightness: 24 to validate and 24 to test on."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    rng = np.random.default_rng(4)
    rows = []
    for number, grey in enumerate(rng.integers(0, 255, 80)):
        pixels = np.clip(rng.normal(grey, 10, (48, 64, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        part = "training" if number < 32 else "validation" if number < 56 else "test"
        rows.append((f"{number}.png", grey / 2.55, part))
    pd.DataFrame(rows, columns=["image_name", "MOS", "set"]).to_csv(folder / "grey.csv", index=False)
    return folder / "grey.csv"


def engine_of(slope):
    """An engine whose scores are `slope` times the MOS of the pictures of `table`, but for noise."""

    def score(pixels):
        bright = pixels.astype(float).mean((1, 2, 3))
        return (slope * (bright / 2.55 + 4 * np.sin(1e4 * bright))).astype(np.float32)

    return Engine("brightness", TINY, 8, score)


def beside_of(tmp_path):
    path = tmp_path / "m_best.weights.h5"
    path.write_bytes(b"weights")
    sidecar.write_record(path, TINY, label="MOS")
    return path


def test_where_no_map_is_better_none_is_kept_and_the_one_before_is_gone(table, tmp_path, capsys):
    path, data = beside_of(tmp_path), datasets.load(str(table))
    assert calibrating.calibrate(path, engine_of(0.1), data, "validation", 1).name == "affine"
    assert f"Kept in {sidecar.record_path(path)}. The figure is" in capsys.readouterr().out
    assert calibrating.calibrate(path, engine_of(1), data, "validation", 1) is None
    said = capsys.readouterr().out
    assert re.search(r"\| affine \| \d+\.\d\d \| -?\d\.\d\d ± \d\.\d\d \|", said)
    assert "| **identity** | " in said
    assert "No map is kept: none lowers the RMSE by more than the standard error of that" in said
    assert "The one that was kept beside the weights is gone." in said
    record = sidecar.record(path)
    assert record.pop("intervals")["of"] == ""
    assert record == TINY.record() | {"label": "MOS"}
    assert calibrating.calibrate(path, engine_of(1), data, "validation", 1, "affine").name == "affine"
    assert "Nothing shows that the affine map is better than none" in capsys.readouterr().out
    assert calibration.kept(path, TINY, files.file_hash(path)).name == "affine"


def test_intervals_are_kept_of_the_scores_as_they_then_are(table, tmp_path, capsys):
    path, data = beside_of(tmp_path), datasets.load(str(table))
    to_mos = calibrating.calibrate(path, engine_of(0.1), data, "validation", 1)
    said = capsys.readouterr().out
    found = conformal.kept(path, TINY, files.file_hash(path), to_mos)
    assert (found.made_on, found.pictures, found.of) == ("grey, validation", 24, str(to_mos))
    assert f"Kept as well: {found}: ± {found.halves[0]:.2f} MOS. lifelog_predict.py --intervals writes them." in said
    assert 2 < found.halves[0] < 10  # the noise of the scores is 4 MOS at most, and they stand for less than their line
    calibrating.calibrate(path, engine_of(0.1), data, "test", 1, "kept", 0.5)  # the map stays
    again = conformal.kept(path, TINY, files.file_hash(path), to_mos)
    assert (again.made_on, again.level, again.of) == ("grey, test", 0.5, str(to_mos))
    assert again.halves[0] < found.halves[0]
    calibrating.calibrate(path, engine_of(0.1), data, "test", 1, "kept", 0)
    assert conformal.kept(path, TINY, files.file_hash(path), to_mos) is None
    with pytest.raises(InputError, match=r"level should be above 0 and below 1. Received: level=90"):
        calibrating.calibrate(path, engine_of(0.1), data, "test", 1, "kept", 90)


def test_of_pictures_that_training_saw_no_intervals_are_made(table, tmp_path, capsys):
    path, data = beside_of(tmp_path), datasets.load(str(table))
    sidecar.write_record(path, TINY, trained_on="grey")
    for part, made, words in (
        ("training", False, "No intervals: the weights were trained on the training set of grey"),
        ("validation", True, "The validation set of grey chose these weights: intervals by it may be a little too"),
        ("test", True, "Kept as well: 90 % intervals, made on grey, test"),
    ):
        calibrating.calibrate(path, engine_of(0.1), data, part, 1)
        assert words in capsys.readouterr().out
        assert ("intervals" in sidecar.record(path)) == made


def test_a_run_that_no_map_helps_ends_with_its_own_scores(table, tmp_path, capsys):
    path = beside_of(tmp_path)
    ending.conclude(tmp_path, engine_of(1), datasets.load(str(table)), 1)
    assert "No map is kept" in capsys.readouterr().out
    assert "calibrated" not in sidecar.record(path)
    assert "raw" not in pd.read_csv(tmp_path / "test/predictions.csv")
    assert metrics(tmp_path / "test").index.tolist()[-2:] == ["coverage", "interval_width"]
    ending.conclude(tmp_path, engine_of(0.1), datasets.load(str(table)), 1)
    assert sidecar.record(path)["calibrated"]["map"]["name"] == "affine"
    assert "raw" in pd.read_csv(tmp_path / "test/predictions.csv")


def test_pictures_of_a_group_are_checked_on_others(table, tmp_path, capsys):
    data = datasets.load(str(table))
    scene = np.where(data.ids.MOS > 50, "bright", "dark")
    calibrating.calibrate(
        beside_of(tmp_path), engine_of(0.1), replace(data, ids=data.ids.assign(group=scene)), "test", 1
    )
    assert "Calibration on grey, test set, 24 pictures of 2 groups" in capsys.readouterr().out


def test_the_sample_is_checked_by_its_scenes():
    assert sample.scene_of("training_0006_stereo_motorcycle_wash_out.jpg") == "stereo_motorcycle"
    assert sample.scene_of("validation_0001_rocket_pristine.jpg") == "rocket"
    assert sample.scene_of("mine.jpg") is None


def test_of_synthetic_labels_nothing_says_mos(table, tmp_path, capsys, monkeypatch):
    path, data = beside_of(tmp_path), replace(datasets.load(str(table)), label="synthetic MOS")
    calibrating.calibrate(path, engine_of(0.1), data, "validation", 1)
    said = capsys.readouterr().out
    assert "| map | RMSE in synthetic MOS, cross-validated |" in said
    plan = engines.Plan(path, TINY, "keras", "float32", 8)
    scorer = Scorer(plan, calibration.kept(path, TINY, files.file_hash(path)))
    assert scorer.facts["record"]["label"] == "synthetic MOS"  # the training's was MOS
    about = json.loads(json.dumps(scorer.facts))
    known = Facts(about)
    assert not known.on_mos_scale
    assert known.scale().startswith("The scores are synthetic MOS: the model learnt labels that follow from known")
    (warning,) = comparison.warnings([about, {"record": {"calibrated": "x"}}])
    assert warning.startswith("The labels that the model of A learnt are synthetic: ")
    assert calibration.kept(path, TINY.at((30, 30)), files.file_hash(path)) is None
    assert capsys.readouterr().out.startswith("Not in synthetic MOS: ")
    assert "MOS scale" not in said + known.scale() + warning
    assert (known.label, Facts({}).label) == ("synthetic MOS", "MOS")
    drawn = []
    monkeypatch.setattr(distribution.figures, "png", lambda figure: drawn.append(figure) or b"")
    distribution.draw_histogram({"these": np.array([20.0, 40])}, label=known.label)
    assert drawn[0].axes[0].get_xlabel() == "synthetic MOS"


def settings(table, run, *more):
    fixed = ["--dataset", table, "--weights", "none", "--run", run, "--input-size", 24, 32, "--batch-size", 8]
    return [*map(str, (*fixed, "--loss", "plcc", "--epochs", 6, "--learning-rates", 1e-2, *more))]


@pytest.fixture(scope="module")
def run(table):
    """A run of the training script, and what it printed."""
    folder = table.parent / "run"
    command = [sys.executable, ROOT / "tests/helpers/tiny.py", "koncept512_train", *settings(table, folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def metrics(folder):
    return pd.read_csv(folder / "metrics.csv").set_index("metric").value


def test_a_training_ends_calibrated_and_its_test_says_before_and_after(run, table):
    folder, printed = run
    path = finding.find(str(folder))
    assert "Calibration on grey, validation set, 24 pictures" in printed
    found = sidecar.record(path)["calibrated"]
    assert (found["pictures"], found["for"]["input_size"], found["for"]["resize"]) == (24, [24, 32], "lanczos")
    assert Image.open(calibrating.figure_path(path)).size == (840, 600)
    predictions = pd.read_csv(folder / "test/predictions.csv")
    assert predictions.columns.tolist() == [
        *("image_name", "MOS", "predicted", "MOS_low", "MOS_high", "raw", "status", "error")
    ]
    values = metrics(folder / "test")
    assert values.index.tolist() == [
        *("srcc", "plcc", "krcc", "mae", "rmse", "mae_raw", "rmse_raw"),
        *("coverage", "interval_width"),
    ]
    assert values.rmse == pytest.approx(rmse(predictions.MOS, predictions.predicted))
    assert values.rmse_raw == pytest.approx(rmse(predictions.MOS, predictions.raw))
    assert values.rmse < values.rmse_raw
    assert values.srcc == srocc(predictions.MOS, predictions.raw)
    text = (folder / "test/report.md").read_text()
    assert f"The scores are calibrated; the network's own have MAE {values.mae_raw:.2f} [" in text
    assert text.count("**run** (measured)") == 1
    measured = results.measurements(folder)
    assert measured.set_index("metric").value.rmse == values.rmse


def train_here(script, table, run, monkeypatch, capsys, *more):
    """The same in this process, which has its framework already: what it printed."""
    monkeypatch.setitem(NETWORKS, "koncept512", TINY)
    code = ended(script, *settings(table, run, *more))
    printed, errors = capsys.readouterr()
    assert code == 0, errors
    return printed


@pytest.mark.long
def test_a_finished_run_gone_on_with_keeps_its_calibration(run, table, monkeypatch, capsys):
    folder, _ = run
    before = sidecar.record_path(finding.find(str(folder))).read_bytes()
    printed = train_here(koncept512_train, table, folder, monkeypatch, capsys, "--resume")
    assert "Calibration on" not in printed
    assert "The scores are calibrated" in printed
    assert sidecar.record_path(finding.find(str(folder))).read_bytes() == before


def predictions_of(table, run, out, **more):
    koncept512_test.main(koncept512_test.Settings(weights=str(run), dataset=str(table), out=str(out), **more))
    return pd.read_csv(out / "predictions.csv")


@pytest.mark.numerical
def test_the_test_script_heeds_it_or_not_and_says_which(run, table, tmp_path, capsys):
    folder, _ = run
    after = predictions_of(table, folder, tmp_path / "a")
    assert "In MOS: " in capsys.readouterr().out
    assert np.ptp(after.predicted) > 20  # a map or a layer that is not the run's is far from it
    trained = pd.read_csv(folder / "test/predictions.csv").predicted
    np.testing.assert_allclose(after.predicted, trained, rtol=0, atol=TOLERANCE)
    before = predictions_of(table, folder, tmp_path / "b", calibrate=False)
    assert "raw" not in before
    assert metrics(tmp_path / "b").index.tolist() == ["srcc", "plcc", "krcc", "mae", "rmse"]
    assert before.predicted.tolist() == after.raw.tolist()
    a, b = metrics(tmp_path / "a"), metrics(tmp_path / "b")
    assert (a.srcc, a.krcc, a.mae_raw, a.rmse_raw) == (b.srcc, b.krcc, b.mae, b.rmse)
    assert "In MOS" not in capsys.readouterr().out
    other = predictions_of(table, folder, tmp_path / "c", resize="nearest")
    assert "raw" not in other
    assert "made for pictures of 24x32 (lanczos), not of 24x32 (nearest)" in capsys.readouterr().out


@pytest.mark.numerical
def test_the_scores_of_a_lifelog_are_in_mos_and_not_mixed_with_others(run, table, tmp_path, capsys):
    folder, _ = run
    out = tmp_path / "scores.csv"
    chosen = {"pictures": (str(table.parent / "images"),), "weights": str(folder), "out": str(out), "engine": "keras"}
    lifelog_predict.main(lifelog_predict.Settings(**chosen))
    about = facts.facts(out)
    assert Facts(about).on_mos_scale
    assert Facts(about).scale() == "The scores are calibrated to the MOS scale."
    assert about["record"]["calibrated"] in capsys.readouterr().out
    with pytest.raises(InputError, match=r'was begun with record=\{"calibrated": .*Give another --out'):
        lifelog_predict.main(lifelog_predict.Settings(**chosen, calibrate=False))
    whole = out.read_bytes()
    lifelog_predict.main(lifelog_predict.Settings(**chosen, overwrite=True))
    assert out.read_bytes() == whole  # of one command on one machine
    raw, threes = tmp_path / "raw.csv", tmp_path / "threes.csv"
    lifelog_predict.main(lifelog_predict.Settings(**chosen | {"out": str(raw)}, calibrate=False))
    # Of the network's own scores: where a map from few pictures is steep, it makes much of how a batch rounds.
    lifelog_predict.main(lifelog_predict.Settings(**chosen | {"out": str(threes)}, calibrate=False, batch_size=3))
    np.testing.assert_allclose(score_file.read(threes).MOS, score_file.read(raw).MOS, rtol=0, atol=TOLERANCE)
    assert not Facts(facts.facts(raw)).on_mos_scale
    a, b = score_file.read(out).MOS.dropna(), score_file.read(raw).MOS.dropna()
    assert len(a) == 80
    assert (a.rank() == b.rank()).all()
    path = finding.find(str(folder))
    np.testing.assert_array_equal(calibration.kept(path, TINY, about["weights"])(b.astype(np.float32)), a)


def test_the_command_calibrates_and_removes(run, table, tmp_path, capsys):
    path = tmp_path / "copy_best.weights.h5"
    path.write_bytes(finding.find(str(run[0])).read_bytes())
    sidecar.write_record(path, TINY, loss="plcc")
    images = shutil.copytree(table.parent / "images", tmp_path / "images")
    (images / "40.png").write_bytes(b"broken")  # a validation picture: it has no say
    words = "--weights", path, "--dataset", table, "--images", images
    assert ended("calibrate", *words) == 0
    printed = capsys.readouterr().out
    assert "Calibration on grey, validation set, 23 pictures" in printed
    assert printed.count("| **") == 1
    record = sidecar.record(path)
    assert record["loss"] == "plcc"
    assert set(record["calibrated"]["race"]) == set(MAPS)
    first = asdict(calibration.kept(path, TINY, files.file_hash(path)))
    assert ended("calibrate", *words) == 0  # again, of raw scores
    again = asdict(calibration.kept(path, TINY, files.file_hash(path)))
    assert again == first
    assert ended("calibrate", "--weights", path, "--remove") == 0
    assert sidecar.record(path) == TINY.record() | {"loss": "plcc"}
    assert not calibrating.figure_path(path).exists()
    assert ended("calibrate", "--weights", path, "--remove") == 0
    assert "No calibration is kept" in capsys.readouterr().out


def test_too_few_validation_pictures_are_no_reason_not_to_test(table, tmp_path, monkeypatch, capsys):
    script = pytest.importorskip("pytorch_train_koncept512")
    few = pd.read_csv(table).drop(index=range(35, 56))
    few.to_csv(table.parent / "few.csv", index=False)
    printed = train_here(script, table.parent / "few.csv", tmp_path / "few", monkeypatch, capsys)
    assert "Not calibrated: A calibration should have 20 rated pictures at least. Received: 3" in printed
    assert "calibrated" not in sidecar.record(finding.find(str(tmp_path / "few")))
    assert "raw" not in pd.read_csv(tmp_path / "few/test/predictions.csv")
