"""What a user meets: help, one sentence and exit code 2 for bad input, and scoring with a small network."""

import importlib
import json
import shutil
import subprocess
import sys
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
from benchmarks.processes import measured
from koniq.ground import exits
from koniq.network import TOLERANCE, sidecar
from koniq.scoring import score_file

ROOT = Path(__file__).resolve().parents[2]
TRAIN, TEST, LIFELOG = "koncept512_train", "koncept512_test", "lifelog_predict"


def call(script, *arguments, cwd=ROOT, tiny=False):
    command = [ROOT / "tests/helpers/tiny.py", script] if tiny else [ROOT / f"{script}.py"]
    command = [sys.executable, *command, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights of the small network, whose scores differ by some MOS, with the record beside them."""
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    model = TINY.build(output_bias=50)
    model.layers[-1].kernel.assign(30 * model.layers[-1].kernel)
    model.save_weights(path)
    sidecar.write_record(path, TINY)
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
    assert "--batch-size" in done.stdout
    assert "--weights STR" in done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (TRAIN, ["--batch-size", 0], "batch_size should be positive. Received: batch_size=0"),
        (TRAIN, ["--loss", "mape"], "invalid choice 'mape' for argument '--loss'"),
        (TRAIN, ["--micro-batch", 3], "micro_batch should divide batch_size=8, or be 0. Received: micro_batch=3"),
        (TRAIN, ["--micro-batch", -2], "micro_batch should divide batch_size=8, or be 0. Received: micro_batch=-2"),
        (TRAIN, ["--statistics", "fixed"], "invalid choice 'fixed' for argument '--statistics'"),
        (TRAIN, ["--epochs", 3, 2, "--learning-rates", "1e-4"], "one a stage. Received: 2 and 1"),
        (TRAIN, ["--input-size", 0, 0], "input_size should be positive"),
        (TRAIN, [], "The table of KonIQ-10k should be"),
        (TRAIN, ["--dataset", "nowhere.csv"], "nowhere.csv, which is not there"),
        (TRAIN, ["--dataset", "flickr"], "one of koniq10k, live_itw, biq2021, sample or a .csv table"),
        (TEST, ["--weights", "absent"], "Received: weights='absent'"),
        (LIFELOG, ["none.jpg", "--weights", "absent"], "Received: weights='absent'"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(script, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert ended(importlib.import_module(script), *arguments) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize("script", [TEST, LIFELOG])
def test_so_it_is_in_a_process_of_its_own(script, tmp_path):
    """Of the training script the next test shows it."""
    done = call(script, *(["none.jpg"] if script == LIFELOG else []), "--weights", "absent", cwd=tmp_path)
    assert done.returncode == 2
    assert "Received: weights='absent'" in done.stderr
    assert "Traceback" not in done.stderr


def test_pictures_missing_in_training_are_counted_and_named(rated):
    done = call(TRAIN, "--dataset", rated)
    assert done.returncode == 2
    assert "1 of them are not there (6.png). Give --skip-missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_training_set_is_named(rated, capsys):
    arguments = ["--dataset", rated, "--skip-missing", "--weights", "none", "--run", rated.parent / "run"]
    assert ended(koncept512_train, *arguments) == 2
    assert "should have pictures in its set 'training'. Received: {'test': 6}" in capsys.readouterr().err


@pytest.mark.numerical
def test_a_table_is_tested_and_two_tests_give_the_same_bytes(rated, trained, tmp_path):
    arguments = ["--dataset", rated, "--weights", trained]
    for out in "ab":
        done = call(TEST, *arguments, "--out", tmp_path / out, "--batch-size", 2, "--engine", "openvino", tiny=True)
        assert done.returncode == exits.UNSCORED, done.stderr
    ended(koncept512_test, *arguments, "--out", tmp_path / "c", "--batch-size", 5, "--engine", "keras")
    assert "**1 of the 7 pictures of the table were not there** (6.png)" in done.stdout
    assert "1 pictures could not be scored" in done.stdout
    names = ["metrics.csv", "predictions.csv", "report.md", "scatter.png"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == names
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    a, c = (pd.read_csv(tmp_path / out / "predictions.csv") for out in "ac")
    np.testing.assert_allclose(a.predicted, c.predicted, rtol=0, atol=TOLERANCE)
    assert c.predicted.max() - c.predicted.min() > 100 * TOLERANCE
    assert a.status.tolist() == ["ok"] * 5 + ["unreadable"]
    assert pd.read_csv(tmp_path / "a/metrics.csv").metric.tolist() == ["srcc", "plcc", "krcc", "mae", "rmse"]


def test_a_folder_is_scored_with_a_row_for_every_picture(rated, trained, tmp_path):
    out = tmp_path / "scores.csv"
    done = call(LIFELOG, rated.parent / "images", "--weights", trained, "--out", out, tiny=True)
    assert done.returncode == exits.UNSCORED, done.stderr
    table = pd.read_csv(out)
    assert table.columns.tolist() == ["image_path", "MOS", "status", "width", "height", "error"]
    assert table.image_path.tolist() == [f"{n}.png" for n in range(6)]
    assert table.MOS.notna().tolist() == [True] * 5 + [False]
    assert table.error[5] == "not a picture in a format of photographs"
    assert "5 ok, 1 unreadable" in done.stdout


@pytest.mark.parametrize("engine", [pytest.param("keras", marks=pytest.mark.long), "openvino"])
def test_scripts_that_call_ours_have_exit_codes_and_silence(rated, trained, tmp_path, engine):
    out, pictures = tmp_path / "scores.csv", rated.parent / "images"
    arguments = ["--weights", trained, "--out", out, "--engine", engine, "--quiet"]
    fine = [pictures / f"{n}.png" for n in range(5)]
    done = call(LIFELOG, *fine, *arguments, tiny=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert score_file.read(out).status.tolist() == ["ok"] * 5
    for _ in range(2):  # the second time all of it is there
        done = call(LIFELOG, *fine, pictures / "5.png", *arguments, tiny=True)
        assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    done = call(LIFELOG, tmp_path / "none.csv", *arguments, tiny=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: The list of pictures should be ")


def test_a_changed_model_or_resize_is_not_mixed_in(rated, trained, tmp_path, capsys):
    out, pictures = tmp_path / "scores.csv", rated.parent / "images"
    arguments = ["--weights", trained, "--out", out]
    keras = ["--engine", "keras"]
    assert ended(lifelog_predict, pictures, *arguments, *keras) == exits.UNSCORED
    before = out.read_bytes()
    openvino = ["--precision", "float32", "--engine", "openvino"]
    for change in ([*keras, "--resize", "nearest"], [*keras, "--input-size", 30, 30], openvino):
        assert ended(lifelog_predict, pictures, *arguments, *change) == 2
        assert "scores of two kinds should not stand in one file" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "other/else.png")
    assert ended(lifelog_predict, tmp_path / "other", *arguments, *keras) == 2
    assert "Received: others" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert ended(lifelog_predict, pictures, *arguments, *keras, "--resize", "nearest", "--overwrite") == exits.UNSCORED
    assert out.read_bytes() != before


def test_what_is_added_to_a_folder_is_added_to_the_file(rated, trained, tmp_path, capsys):
    out, pictures = tmp_path / "scores.csv", shutil.copytree(rated.parent / "images", tmp_path / "pictures")
    arguments = [pictures, "--weights", trained, "--out", out]
    assert ended(lifelog_predict, *arguments) == exits.UNSCORED
    before = out.read_text()
    Image.new("RGB", (40, 30)).save(pictures / "1a.png")
    capsys.readouterr()
    assert ended(lifelog_predict, *arguments) == exits.UNSCORED
    printed = capsys.readouterr().out
    assert "6 of them are in" in printed
    assert out.read_text().startswith(before)
    assert out.read_text()[len(before) :].startswith("1a.png,")
    assert "7 rows (6 ok, 1 unreadable)" in printed


def test_int8_of_too_few_pictures_is_refused_before_anything_is_done(rated, trained, tmp_path, capsys):
    arguments = ["--weights", trained, "--precision", "int8", "--out", tmp_path / "scores.csv"]
    assert ended(lifelog_predict, rated.parent / "images", *arguments) == 2
    said = capsys.readouterr().err
    assert "should have 40 pictures at least to calibrate on and be checked on. Received: 6" in said
    assert not (tmp_path / "scores.csv").exists()


@pytest.mark.long
def test_killed_twenty_times_and_gone_on_with_the_file_is_the_same(trained, tmp_path):
    """Killed at random moments, also while it writes (tests/helpers/killed.py); the last run ends by itself."""
    rng = np.random.default_rng(0)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(400):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(pictures / f'{number:03}, "x"\n.png')
    for number in range(0, 400, 7):
        (pictures / f"{number:03}b.jpg").write_bytes(b"broken")
    command = [
        sys.executable,
        ROOT / "tests/helpers/tiny.py",
        LIFELOG,
        pictures,
        "--weights",
        trained,
        "--batch-size",
        "2",
    ]
    whole = subprocess.run([*command, "--out", tmp_path / "whole.csv"], capture_output=True, text=True, check=False)
    assert whole.returncode == exits.UNSCORED, whole.stderr
    expected = (tmp_path / "whole.csv").read_bytes()
    out = tmp_path / "killed.csv"
    killed = [sys.executable, ROOT / "tests/helpers/killed.py", "20", out, *command[3:]]
    sizes = json.loads(subprocess.run(killed, capture_output=True, text=True, check=True).stdout)
    assert len(set(sizes)) > 15
    assert sizes[-1] < len(expected)
    done = subprocess.run([*command, "--out", out], capture_output=True, text=True, check=False)
    assert done.returncode == exits.UNSCORED, done.stderr
    assert "are in" in done.stdout
    assert out.read_bytes() == expected
    assert whole.stdout.splitlines()[-1].split(":")[1] == done.stdout.splitlines()[-1].split(":")[1]


@pytest.fixture(scope="module")
def tortured(test_data, trained, tmp_path_factory):
    """The table of scores of the torture chamber, and the most bytes that the run had in memory."""
    out = tmp_path_factory.mktemp("tortured") / "out.csv"
    used = peak(LIFELOG, test_data / "torture", "--weights", trained, "--precision", "float32", "--out", out)
    return score_file.read(out).set_index("image_path"), used


def test_every_file_of_the_torture_chamber_in_one_run(test_data, trained, tortured, tmp_path):
    """A row for each, the statuses those of the manifest but where we do better, in 2 GiB above an idle run."""
    folder = test_data / "torture"
    listed = pd.read_csv(folder / "manifest.csv", keep_default_na=False)
    idle = peak(LIFELOG, folder / listed.file[0], "--weights", trained, "--out", tmp_path / "one.csv")
    table, used = tortured
    assert sorted(table.index) == sorted(listed.file)
    assert len(table) == 612
    assert used - idle < 2 << 30
    opens = listed.set_index("file").pillow_opens == "ok"
    # Whole but for their end marker; of phones, which Pillow alone does not open.
    opens[["made/truncated_last2.jpg", *listed.file[listed.file.str.lower().str.endswith((".heic", ".heif"))]]] = True
    opens["pillow/broken_data_stream.png"] = False  # which the Pillow that the manifest was made with let pass
    assert ((table.status == "ok") == opens.reindex(table.index)).all()
    assert table.MOS.notna().equals(table.status == "ok")
    bombs = {*listed.file[listed.error.str.contains("DecompressionBomb")]}
    jpeg = "made/bomb_jpeg_header_65500.jpg"  # which is decoded at an eighth of its sides, and has few of its pixels
    assert set(table.index[table.status == "too_large"]) == bombs - {jpeg}
    truncated = {*listed.file[listed.error.str.contains("truncated", case=False)]}
    assert set(table.index[table.status == "truncated"]) == {*truncated, jpeg} - {"made/truncated_last2.jpg"}
    assert table.loc["made/zero_byte.jpg", "error"] == "an empty file"


def test_the_torture_chamber_in_64_files_and_2_gib(test_data, trained, tortured, tmp_path, monkeypatch):
    """A row for each of 612 and one more: what has no room in 2 GiB has that for its reason, the rest what it had."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("what a process has of memory is not to be had here")
    free, _ = tortured
    names = [str(test_data / "torture" / name) for name in free.index]
    deep = tmp_path / "deep.png"
    Image.new("I;16", (12000, 12000)).save(deep, compress_level=1)  # 18 bytes a pixel: 2.4 GiB
    names.insert(300, str(deep))
    pd.DataFrame({"image_path": names}).to_csv(tmp_path / "list.csv", index=False)
    monkeypatch.setenv("TINY_LIMITS", f"64 {2 << 30}")
    arguments = ["--weights", trained, "--workers", 8, "--precision", "float32", "--out", tmp_path / "limited.csv"]
    done = call(LIFELOG, tmp_path / "list.csv", *arguments, tiny=True)
    assert done.returncode == exits.UNSCORED, done.stderr
    limited = score_file.read(tmp_path / "limited.csv").set_index("image_path")
    assert limited.index.tolist() == names
    assert limited.loc[str(deep), ["status", "error"]].tolist() == ["too_large", "not enough memory to decode it"]
    rest = limited.drop(str(deep))
    for column in ("status", "width", "height", "error"):
        assert rest[column].tolist() == free[column].tolist()
    np.testing.assert_allclose(rest.MOS, free.MOS, atol=1e-3)


def peak(script, *arguments):
    """The most bytes that a script had in memory."""
    return measured([sys.executable, ROOT / "tests/helpers/tiny.py", script, *arguments], codes=(0, exits.UNSCORED))[1]


def test_live_itw_over_exactly_the_pictures_that_are_there(test_data, trained, tmp_path):
    folder = test_data / "live_itw"
    arguments = ["--dataset", "live_itw", "--table", folder / "Data", "--images", folder / "Images"]
    done = call(TEST, *arguments, "--weights", trained, "--out", tmp_path / "out", tiny=True)
    assert done.returncode == 0, done.stderr
    there = [path for path in (folder / "Images").iterdir() if path.name not in {f"t{n}.bmp" for n in range(1, 8)}]
    assert len(pd.read_csv(tmp_path / "out/predictions.csv")) == len(there)
    assert f"**{1162 - len(there)} of the 1,162 pictures of the table were not there**" in done.stdout
    assert "| original, batch 16 | 0.825 | 0.848 |" in done.stdout
