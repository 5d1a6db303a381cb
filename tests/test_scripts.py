"""What a user meets: help, one sentence and exit code 2 for bad input, and scoring with a small network."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import TINY

from koniq import weights

ROOT = Path(__file__).resolve().parent.parent
TRAIN, TEST, LIFELOG = "koncept512_train", "koncept512_test", "lifelog_predict"


def call(script, *arguments, cwd=ROOT, tiny=False):
    command = [ROOT / "tests/tiny.py", script] if tiny else [ROOT / f"{script}.py"]
    command = [sys.executable, *command, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights of the small network with the record beside them."""
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    TINY.build(output_bias=50).save_weights(path)
    weights.write_record(path, TINY)
    return path


@pytest.fixture
def rated(tmp_path):
    """A table of seven test pictures, one of which does not open and one of which is not there."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    names = [f"{n}.png" for n in range(7)]
    for name in names[:5]:
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(tmp_path / "images" / name)
    (tmp_path / "images" / names[5]).write_text("not a picture")
    pd.DataFrame({"image_name": names, "MOS": range(7), "set": "test"}).to_csv(tmp_path / "rated.csv", index=False)
    return tmp_path / "rated.csv"


@pytest.mark.parametrize("script", [TRAIN, TEST, LIFELOG])
def test_help_explains_every_setting(script):
    done = call(script, "--help")
    assert done.returncode == 0
    assert "--batch-size INT" in done.stdout
    assert "--weights STR" in done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (TRAIN, ["--batch-size", 0], "batch_size should be positive. Received: batch_size=0"),
        (TRAIN, ["--loss", "mape"], "invalid choice 'mape' for argument '--loss'"),
        (TRAIN, ["--epochs", 3, 2, "--learning-rates", "1e-4"], "one a stage. Received: 2 and 1"),
        (TRAIN, ["--input-size", 0, 0], "input_size should be positive"),
        (TRAIN, [], "The table of KonIQ-10k should be"),
        (TRAIN, ["--dataset", "nowhere.csv"], "nowhere.csv, which is not there"),
        (TRAIN, ["--dataset", "flickr"], "one of koniq10k, live_itw, sample or a .csv table"),
        (TEST, ["--weights", "absent"], "Received: weights='absent'"),
        (LIFELOG, ["none.jpg", "--weights", "absent"], "Received: weights='absent'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(script, arguments, message, tmp_path):
    done = call(script, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_pictures_missing_in_training_are_counted_and_named(rated):
    done = call(TRAIN, "--dataset", rated)
    assert done.returncode == 2
    assert "1 of them are not there (6.png). Give --skip-missing" in done.stderr


def test_an_empty_training_set_is_named(rated):
    done = call(TRAIN, "--dataset", rated, "--skip-missing", "--weights", "none", "--run", rated.parent / "run")
    assert done.returncode == 2
    assert "should have pictures in its set 'training'. Received: {'test': 6}" in done.stderr


def test_a_table_is_tested_and_two_tests_give_the_same_bytes(rated, trained, tmp_path):
    for out, size in (("a", 2), ("b", 2), ("c", 5)):
        arguments = ["--dataset", rated, "--weights", trained, "--out", tmp_path / out, "--batch-size", size]
        done = call(TEST, *arguments, tiny=True)
        assert done.returncode == 0, done.stderr
    assert "**1 of the 7 pictures of the table were not there** (6.png)" in done.stdout
    assert "1 pictures could not be scored" in done.stdout
    names = ["metrics.csv", "predictions.csv", "report.md", "scatter.png"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    a, c = (pd.read_csv(tmp_path / out / "predictions.csv") for out in "ac")
    np.testing.assert_allclose(a.predicted, c.predicted, atol=1e-4)
    assert a.status.tolist() == ["ok"] * 5 + ["unreadable"]
    assert pd.read_csv(tmp_path / "a/metrics.csv").metric.tolist() == ["srcc", "plcc", "krcc", "mae", "rmse"]


def test_a_folder_is_scored_with_a_row_for_every_picture(rated, trained, tmp_path):
    out = tmp_path / "scores.csv"
    done = call(LIFELOG, rated.parent / "images", "--weights", trained, "--out", out, tiny=True)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(out)
    assert table.columns.tolist() == ["image_path", "MOS", "status", "width", "height", "error"]
    assert table.image_path.tolist() == [f"{n}.png" for n in range(6)]
    assert table.MOS.notna().tolist() == [True] * 5 + [False]
    assert table.error[5] == "not a picture in a format that Pillow reads"
    assert "5 ok, 1 unreadable" in done.stdout


def test_live_itw_over_exactly_the_pictures_that_are_there(test_data, trained, tmp_path):
    folder = test_data / "live_itw"
    arguments = ["--dataset", "live_itw", "--table", folder / "Data", "--images", folder / "Images"]
    done = call(TEST, *arguments, "--weights", trained, "--out", tmp_path / "out", tiny=True)
    assert done.returncode == 0, done.stderr
    there = [path for path in (folder / "Images").iterdir() if path.name not in {f"t{n}.bmp" for n in range(1, 8)}]
    assert len(pd.read_csv(tmp_path / "out/predictions.csv")) == len(there)
    assert f"**{1162 - len(there)} of the 1,162 pictures of the table were not there**" in done.stdout
    assert "| original, batch 16 | 0.825 | 0.848 |" in done.stdout
