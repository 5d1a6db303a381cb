"""The matrix: its rows and their settings, what is there and what is missing, what is measured, tables and figures."""

import json
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image
from tiny import small

import replicate
from koniq.data.datasets import DataSet
from koniq.data.published import PICTURES, PUBLISHED
from koniq.evaluation import testing
from koniq.ground import InputError, files
from koniq.ground.paths import RESULTS, ROOT
from koniq.scoring.score import Score
from koniq.study import matrix, recipes, results
from koniq.study import report as study_report
from koniq.study.recipes import Row
from koniq.training.run import LATER
from ku.files import lock_file

TINY = ROOT / "tests/helpers/tiny.py"
needs_torch = pytest.mark.skipif(
    not matrix.importlib.util.find_spec("torch"), reason="PyTorch is optional: requirements-torch.txt"
)


# Rows, recipes, runs


def test_every_row_of_the_study_is_in_the_matrix():
    asked = {Row(row.framework, row.loss, row.batch_size, study=row.framework == "pytorch") for row in PUBLISHED}
    assert asked <= set(replicate.MATRIX)
    assert Row("pytorch", "mse", 8) in replicate.MATRIX  # ours beside the study's
    assert len({row.name for row in replicate.MATRIX}) == len(set(replicate.MATRIX))


def settings_line(row, **given):
    return " ".join(recipes.arguments(recipes.settings_of(row, 2, replicate.Settings(**given))))


def test_a_row_becomes_a_command_of_its_frameworks_script():
    study = "--weights imagenet --input-size 384 512 --seed 2"
    stages = "--epochs 40 20 --learning-rates 0.0001 2e-05"
    assert settings_line(Row("kuti", "mse", 8)) == f"--dataset koniq10k --batch-size 8 --loss mse {stages} {study}"
    assert "--epochs 40 20 10 --learning-rates 0.0001 2e-05 1e-05" in settings_line(Row("tensorflow", "mse", 8))
    line = settings_line(Row("pytorch", "plcc", 16, 2, "reestimated"), recipe="small", skip_missing=True, device="cpu")
    assert line == (
        "--dataset koniq10k --skip-missing --batch-size 16 --micro-batch 2 --statistics reestimated --loss plcc "
        "--epochs 2 1 --learning-rates 0.0005 0.0001 --momentum 0.9 --weights none --input-size 76 100 --seed 2 "
        "--select-by loss --reload-best --precision float32 --device cpu"
    )
    given = {"epochs": (7,), "learning_rates": (0.5,), "momentum": 0.8, "weights": "mine", "input_size": (76, 99)}
    line = settings_line(Row("tensorflow", "mse", 2), recipe="small", device="cpu", **given)
    assert line.endswith(
        "--epochs 7 --learning-rates 0.5 --momentum 0.8 --weights mine --input-size 76 99 --seed 2 --device cpu"
    )


def test_the_studys_pytorch_row_is_its_network_and_its_training(tmp_path):
    row = Row("pytorch", "mse", 8, study=True)
    assert settings_line(row) == (
        "--dataset koniq10k --batch-size 8 --loss mse --epochs 40 20 --learning-rates 0.0001 2e-05 --weights imagenet "
        "--input-size 384 512 --seed 2 --precision float32 --pooling 8x8 --head-epsilon 1e-05 --body-scale "
        "--no-whole-batches --validation-batch 8 --select-by plcc --reload-best --patience 0 --no-start-at-mean"
    )
    assert settings_line(Row("pytorch", "mse", 8)).endswith("--seed 2 --precision float32")
    assert plan(tmp_path, row).state == "missing"
    assert plan(tmp_path, row, recipe="small").state.startswith("needs a larger input_size, of which")
    assert plan(tmp_path, row, network="koncept_lite").state.startswith("needs --network koncept512")


@pytest.mark.parametrize(
    ("row", "dataset", "name"),
    [
        (Row("pytorch", "mse", 8, study=True), "koniq10k", "koniq10k-pytorch-mse-b8-study-s3"),
        (Row("pytorch", "plcc", 16, 2, "reestimated"), "/x/My set.csv", "my-set-pytorch-plcc-b16m2-reestimated-s3"),
        (Row("tensorflow", "mse", 2), "koniq10k", "koniq10k-tensorflow-mse-b2-s3"),
    ],
)
def test_a_run_is_named_by_data_row_and_seed(row, dataset, name):
    assert recipes.run_name(row, 3, dataset) == name


def test_the_other_network_is_in_settings_names_and_states_and_kuti_has_none(tmp_path):
    row = Row("pytorch", "mse", 8)
    assert recipes.run_name(row, 3, "mine.csv", "koncept_lite") == "mine-koncept-lite-pytorch-mse-b8-s3"
    assert "--network koncept_lite --batch-size 8" in settings_line(row, network="koncept_lite")
    assert "--network" not in settings_line(row)
    run, other = plan(tmp_path, row), plan(tmp_path, row, network="koncept_lite")
    assert run.folder != other.folder
    other.folder.mkdir()
    (other.folder / "settings.json").write_text(json.dumps({"settings": json.loads(json.dumps(run.settings))}))
    assert other.state == "trained with network='koncept512' and not 'koncept_lite'"
    kuti = plan(tmp_path, Row("kuti", "mse", 8), network="koncept_lite")
    assert kuti.state == "needs --network koncept512, which is what kuti builds"


def plan(tmp_path, row, **given):
    (only,) = matrix.planned(replicate.Settings(seeds=(1,), rows=(row.name,), runs=str(tmp_path), **given), [row])
    return only


def test_what_is_done_is_known_by_its_settings(tmp_path):
    row = Row("tensorflow", "plcc", 16)
    run = plan(tmp_path, row, recipe="small")
    assert run.state == "missing"
    assert run.command[2:4] == ["--dataset", "koniq10k"]
    assert "--resume" in run.command
    run.folder.mkdir()
    before = json.loads(json.dumps(run.settings)) | {"patience": 20}
    del before["micro_batch"], before["statistics"]  # of a run from before these settings
    about = run.folder / "settings.json"
    about.write_text(json.dumps({"settings": before}))
    assert run.state == "interrupted"
    about.write_text(json.dumps({"settings": before, "finished": {}}))
    assert run.state == "interrupted"  # it was killed before its test
    (run.folder / "test").mkdir()
    (run.folder / "test/metrics.csv").touch()
    assert run.state == plan(tmp_path, row, recipe="small", device="cpu").state == "done"  # wherever it was trained
    other = plan(tmp_path, row, recipe="small", epochs=(3, 1), learning_rates=(5e-4, 1e-4))
    assert other.state == "trained with epochs=[2, 1] and not [3, 1]"
    micro = Row("tensorflow", "plcc", 16, 2)
    about.rename(tmp_path / "settings.json")
    run.folder.rename(plan(tmp_path, micro).folder)
    (tmp_path / "settings.json").rename(plan(tmp_path, micro).folder / "settings.json")
    assert plan(tmp_path, micro, recipe="small").state == "trained with micro_batch=0 and not 2"


def test_what_is_not_installed_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(matrix.TRAIN, "kuti", (str(tmp_path / "python"), "script"))
    assert plan(tmp_path, Row("kuti", "mse", 8)).state == "needs make kuti"
    monkeypatch.setattr(matrix.importlib.util, "find_spec", lambda name: None)
    assert plan(tmp_path, Row("pytorch", "mse", 8)).state == "needs pip install -r requirements-torch.txt"


def test_a_pattern_without_rows_is_an_error():
    with pytest.raises(InputError, match=r"rows should match tensorflow-mse-b16, .*\. Received: rows=torch\*$"):
        matrix.planned(replicate.Settings(rows=("*-b8", "torch*")), replicate.MATRIX)


# Measurements


@pytest.fixture
def pair(tmp_path):
    """Two finished runs on 60 pictures: batch 16 is right up to noise, batch 2 has picture 0 unscored and is noise."""
    rng = np.random.default_rng(0)
    mos = rng.uniform(0, 100, 60)
    ids = pd.DataFrame({"image_name": [f"{n}.png" for n in range(60)], "MOS": mos, "set": "test"})
    for batch, noise in ((16, 10), (2, 300)):
        folder = tmp_path / f"mine-pytorch-plcc-b{batch}-s1"
        predicted = mos + rng.normal(0, noise, 60)
        scores = [Score(name, value) for name, value in zip(ids.image_name, predicted, strict=True)]
        if batch == 2:
            scores[0] = Score("0.png", status="missing", error="no such file")
        testing.test_report(folder / "test", DataSet("mine", ids), "test", scores, folder.name)
        settings = recipes.settings_of(Row("pytorch", "plcc", batch), 1, replicate.Settings(recipe="small"))
        facts = {
            "settings": settings,
            "device": "cpu, PyTorch 2, float32",
            "versions": {"python": "3"},
            "commit": "abc",
            "finished": {"epochs": 3, "seconds": 1.5, "best": 2.0},
        }
        (folder / "settings.json").write_text(json.dumps(facts))
    return [tmp_path / f"mine-pytorch-plcc-b{batch}-s1" for batch in (16, 2)]


def test_a_difference_is_of_the_pictures_that_both_scored(pair, tmp_path):
    reference, run = pair
    rows = results.measurements(run, reference=reference).set_index("metric")
    ours, theirs = (pd.read_csv(folder / "test/predictions.csv")[1:] for folder in (run, reference))
    expected = ours.MOS.corr(ours.predicted, "spearman") - theirs.MOS.corr(theirs.predicted, "spearman")
    found = rows.loc["srcc_difference"]
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high < 0
    assert 0 < found.p < 0.01
    assert (found.n, found.compared_to, found.dataset) == (59, reference.name, "mine")
    assert rows.framework.unique().tolist() == ["pytorch"]
    assert set(rows.index) == {"srcc", "plcc", "krcc", "mae", "rmse", "srcc_difference", "plcc_difference"}


def test_measurements_are_read_as_they_were_written_and_old_ones_are_completed(pair, tmp_path):
    path = tmp_path / "metrics.csv"
    old = results.measurements(pair[0]).drop(columns=[*LATER, "framework", "trained_on"])
    files.write_csv(old.assign(model="old"), path)
    for _ in range(2):
        table = results.record(results.measurements(pair[1], reference=pair[0]), path)
    assert table.groupby("model").size().to_dict() == {pair[1].name: 7, "old": 5}
    again = results.read(path)
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    completed = again[again.model == "old"].iloc[0]
    assert completed[["framework", *LATER, "trained_on", "compared_to"]].to_dict() == {
        **{"framework": "tensorflow", "trained_on": "mine", "compared_to": ""},
        **{name: str(value) for name, value in LATER.items()},
    }


def test_the_two_networks_stand_apart_in_the_tables():
    here = {"weights": "none", "trained_on": "mine", "dataset": "mine"}
    table = both(measured(0.5, 0.1, **here), measured(0.7, 0.1, network="koncept_lite", **here))
    first, _, second, _ = study_report.blocks(table)["measured"].split("\n\n")
    assert first.endswith("pictures, 384x512, from random weights; a GPU")
    assert second.endswith("pictures, 384x512, koncept_lite from random weights; a GPU")


# Tables and figures


def measured(value, half, **other):
    """One measurement of the study's first row, but for what is given."""
    facts = {
        **{name: str(value) for name, value in LATER.items()},
        **{"metric": "srcc", "value": value, "low": value - half, "high": value + half, "n": PICTURES["koniq10k"]},
        **{"dataset": "KonIQ-10k", "trained_on": "KonIQ-10k", "label": "MOS", "set": "test", "device": "a GPU, Keras"},
        **{"framework": "tensorflow", "loss": "mse", "batch_size": "8", "micro_batch": "0", "statistics": "moving"},
        "network": "koncept512",
        **{"epochs": "[40, 20, 10]", "learning_rates": "[0.0001, 2e-05, 1e-05]", "weights": "imagenet", "seed": "1"},
        **{"network": "koncept512", "input_size": "[384, 512]", "p": np.nan, "compared_to": "", "model": "m"},
    }
    return facts | other


def both(*rows):
    return pd.DataFrame([row | {"metric": metric} for row in rows for metric in ("srcc", "plcc")])


def line(text, begin):
    (found,) = [line for line in text.splitlines() if line.startswith(f"| {begin}")]
    return found


def test_ours_beside_the_published_rows():
    seeds = [measured(value, 0.005, seed=str(n)) for n, value in enumerate((0.899, 0.901, 0.900))]
    text = study_report.blocks(both(*seeds, measured(0.8, 0.01, batch_size="4")))["study"]
    # .0055 = (.005**2 + (4.303 * .001)**2 / 3)**.5
    assert line(text.split("\n\n")[0], "TensorFlow, MSE, batch 8") == (
        "| TensorFlow, MSE, batch 8 | .889 | .900 [.894, .906] (.899, .901, .900) | .011 [.005, .017], significant "
        "| .903 | .900 [.894, .906] (.899, .901, .900) | -.003 [-.009, .003], not significant |"
    )
    assert "| .793 | .800 [.790, .810] | .007 [-.003, .017], one seed |" in text
    assert "| PyTorch, MSE, batch 8 | .892 | not yet run |  | .913 | not yet run |  |" in text


def test_seeds_that_differ_leave_nothing_significant_that_pictures_alone_would():
    seeds = [measured(value, 0.005, seed=str(n)) for n, value in enumerate((0.890, 0.910, 0.900))]
    found = line(study_report.blocks(both(*seeds))["study"].split("\n\n")[0], "TensorFlow, MSE, batch 8")
    assert "| .900 [.875, .925] (.890, .910, .900) | .011 [-.014, .036], not significant |" in found


@pytest.mark.parametrize(
    "other",
    [
        {"n": 2014},
        {"input_size": "[76, 100]"},
        {"weights": "none"},
        {"epochs": "[2, 1, 1]"},
        {"micro_batch": "2"},
        {"trained_on": "mine"},
        {"network": "koncept_lite"},
    ],
)
def test_what_is_not_the_studys_own_stands_in_none_of_its_rows(other):
    text = study_report.blocks(both(measured(0.9, 0.01, **other)))["study"]
    assert text.count("not yet run") == 4 * (len(PUBLISHED) + 1)  # one of them has ours beside it


def test_the_studys_network_in_pytorch_and_ours_stand_in_rows_of_their_own():
    here = {"framework": "pytorch", "epochs": "[40, 20]", "learning_rates": "[0.0001, 2e-05]"}
    studied = {"pooling": "8x8", "head_epsilon": "1e-05", "body_scale": "True"}
    table = both(measured(0.9, 0.01, **here), measured(0.88, 0.01, **here, **studied))
    text = study_report.blocks(table)["study"].split("\n\n")[0]
    assert line(text, "PyTorch, MSE, batch 8 |").startswith("| PyTorch, MSE, batch 8 | .892 | .880 [")
    assert line(text, "PyTorch, MSE, batch 8: our").startswith(
        "| PyTorch, MSE, batch 8: our network beside it | .892 | .900"
    )
    assert (
        line(study_report.first_screen(table), "PyTorch, MSE")
        == "| PyTorch, MSE, batch 8 | .892 | .880 | .913 | .880 |"
    )
    measured_ = study_report.blocks(table)["measured"]
    assert line(measured_, "PyTorch, MSE, batch 8, the study's network (pooling 8x8)")


def test_arms_beside_batch_16_and_the_figure_of_them(tmp_path):
    here = {"dataset": "mine", "trained_on": "mine", "n": 300, "input_size": "[76, 100]", "weights": "none"}
    here |= {"framework": "pytorch", "loss": "plcc", "epochs": "[2, 1]", "learning_rates": "[0.0005, 0.0001]"}
    rows = [measured(0.48 + seed / 100, 0.1, batch_size="16", seed=str(seed), **here) for seed in (10, 9)]
    rows += [measured(0.2, 0.1, batch_size="2", **here)]
    rows += [measured(0.4, 0.1, batch_size="16", micro_batch="2", statistics="frozen", **here)]
    less = measured(-0.3, 0.05, **here, batch_size="2") | {"metric": "srcc_difference", "p": 0.012}
    table = pd.concat([both(*rows), pd.DataFrame([less])], ignore_index=True)
    text = study_report.blocks(table, "here/")["measured"]
    assert text.startswith("Trained and tested on **mine**: 300 pictures, 76x100, from random weights; a GPU\n")
    lines = text.split("\n\n")[1].splitlines()[2:]
    epochs, value = "| 2 at 0.0005, 1 at 0.0001 |", ".575 [.457, .693] (.570, .580)"  # of pictures .1, of seeds .064
    assert lines == [
        f"| PyTorch, PLCC loss, batch 16 {epochs} {value} | {value} |  |  |",
        f"| PyTorch, PLCC loss, batch 16 in micro-batches of 2, statistics frozen {epochs} "
        ".400 [.300, .500] | .400 [.300, .500] |  |  |",
        f"| PyTorch, PLCC loss, batch 2 {epochs} .200 [.100, .300] | .200 [.100, .300] | -.300 [-.350, -.250] | .012 |",
    ]
    assert text.endswith("](here/srcc_by_batch.png)")
    study_report.draw_by_batch(table, tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").size == (720, 660)  # one loss, one data set


@pytest.mark.parametrize(
    ("value", "text"), [(0.4996, ".500"), (-0.0004, ".000"), (-0.25, "-.250"), (1, "1.000"), (10.5, "10.500")]
)
def test_numbers_have_three_decimals(value, text):
    assert study_report.number(value) == text


def test_readme_and_page_say_what_was_measured():
    """Else: python replicate.py --render"""
    table = results.read(RESULTS / "metrics.csv")
    for path, blocks in (
        (study_report.README, {"study": study_report.first_screen(table)}),
        (study_report.PAGE, study_report.blocks(table, "../results/")),
    ):
        text = path.read_text(encoding="utf-8")
        assert study_report.filled(text, blocks) == text


def test_the_first_screen_has_eight_rows_and_names_those_that_are_not_run():
    none = study_report.first_screen(both(measured(0.9, 0.01, dataset="mine")))
    assert len(none.split("\n\n")[0].splitlines()) == 2 + len(PUBLISHED) == 10
    assert none.endswith("\n\nNot yet run here, for want of KonIQ-10k: all of the 8 rows.")
    assert line(none, "PyTorch, MSE, batch 8") == "| PyTorch, MSE, batch 8 | .892 |  | .913 |  |"
    two = [measured(0.9, 0.01), measured(0.904, 0.01, seed="2"), measured(0.8, 0.01, batch_size="4")]
    some = study_report.first_screen(both(*two))
    assert line(some, "TensorFlow, MSE, batch 8") == "| TensorFlow, MSE, batch 8 | .889 | .902 | .903 | .902 |"
    said = some.split("\n\n")[1]
    assert said.startswith("Not yet run here, for want of KonIQ-10k: original, batch 16; TensorFlow, MSE, batch 2; ")
    assert "batch 8;" not in said.replace("PLCC loss, batch 8;", "").replace("kuti, MSE, batch 8;", "")


def test_a_block_without_a_place_is_an_error():
    text = "<!-- begin: a -->\nold\n<!-- end: a -->\n"
    assert study_report.filled(text, {"a": r"\1 new"}) == "<!-- begin: a -->\n\\1 new\n<!-- end: a -->\n"
    with pytest.raises(InputError, match=r"hold one block from <!-- begin: b --> to <!-- end: b -->. Received: 0"):
        study_report.filled(text, {"b": ""})


# The command


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """A table of 72 grey pictures whose MOS is their brightness."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    rng = np.random.default_rng(4)
    rows = []
    for number, level in enumerate(rng.integers(0, 255, 72)):
        Image.fromarray(np.full((24, 32, 3), level, np.uint8)).save(folder / "images" / f"{number}.png")
        part = "training" if number < 48 else "validation" if number < 60 else "test"
        rows.append((f"{number}.png", level / 2.55, part))
    pd.DataFrame(rows, columns=["image_name", "MOS", "set"]).to_csv(folder / "grey.csv", index=False)
    return folder / "grey.csv"


def arguments(grey, out, *more):
    fixed = ["--dataset", grey, "--recipe", "small", "--input-size", 24, 32, "--seeds", 1, "--workers", 1, "--out", out]
    return [*map(str, fixed), "--runs", str(out / "runs"), *map(str, more)]


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs replicate.py here, and what it starts in other processes, small: exit code, stdout, stderr."""
    for commands in (matrix.TRAIN, matrix.TEST):
        for name, each in small(commands).items():
            monkeypatch.setitem(commands, name, each)

    def call(*more):
        capsys.readouterr()
        return ended(replicate, *arguments(*more)), *capsys.readouterr()

    return call


@pytest.mark.long
@needs_torch
def test_runs_that_fail_are_named_the_others_go_on_and_nothing_is_trained_twice(grey, tmp_path, call):
    rows = ("--rows", "pytorch-plcc-b16", "pytorch-plcc-b2", "--cross", grey)
    busy = tmp_path / "runs/grey-pytorch-plcc-b16-s1"
    busy.mkdir(parents=True)
    with lock_file(busy / ".lock"):
        code, printed, errors = call(grey, tmp_path, *rows)
    assert code == 1
    assert "1 of 2 runs failed: grey-pytorch-plcc-b16-s1 (Error: Another process is training in" in errors
    assert "Traceback" not in errors
    assert "[2/2] grey-pytorch-plcc-b2-s1: missing\n  stage 1/2, epoch 1/2: loss" in printed
    assert "1 of 2 runs are done" in printed
    code, _, errors = call(grey, tmp_path, *rows)
    assert code == 0, errors
    logs = {path: path.read_bytes() for path in tmp_path.glob("runs/*.log")}
    assert len(logs) == 2
    names = {"metrics.csv", "report.md", "curves.png", "scatter.png", "srcc_by_batch.png", "runs"}
    assert {path.name for path in tmp_path.iterdir()} == names
    table = results.read(tmp_path / "metrics.csv")
    assert table.groupby("model").size().tolist() == [10, 14]  # two tests of 5, of b2 with 2 differences each
    before = {name: (tmp_path / name).read_bytes() for name in names - {"runs"}}
    assert call(grey, tmp_path, *rows)[0] == 0
    assert logs == {path: path.read_bytes() for path in tmp_path.glob("runs/*.log")}
    assert before == {name: (tmp_path / name).read_bytes() for name in names - {"runs"}}
    _, listed, _ = call(grey, tmp_path, *rows, "--list")
    assert [text.split(": ")[1] for text in listed.splitlines()[::2]] == ["done", "done"]
    code, _, errors = call(grey, tmp_path, *rows, "--momentum", 0.5)
    assert code == 1
    assert "b16-s1 (trained with momentum=0.9 and not 0.5; give --runs another folder)" in errors


@pytest.mark.long
@needs_torch
def test_interrupted_it_leaves_a_run_that_is_gone_on_with(grey, tmp_path, call):
    more = ("--rows", "pytorch-plcc-b16", "--cross", "", "--epochs", 12, "--learning-rates", 1e-3)
    interrupted = subprocess.Popen(
        [sys.executable, TINY, "replicate", *arguments(grey, tmp_path, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    for text in interrupted.stdout:
        if "epoch 2/12" in text:
            break
    interrupted.send_signal(signal.SIGINT)  # to this process only
    _, errors = interrupted.communicate()
    assert interrupted.returncode == 130
    assert "the same command" in errors
    folder = tmp_path / "runs/grey-pytorch-plcc-b16-s1"
    lock_file(folder / ".lock").close()  # the script has ended, too
    before = pd.read_csv(folder / "log.csv")
    assert 2 <= len(before) < 12
    code, printed, errors = call(grey, tmp_path, *more)
    assert code == 0, errors
    assert "b16-s1: interrupted" in printed
    log = pd.read_csv(folder / "log.csv")
    assert log.epoch.tolist() == list(range(1, 13))
    # With their seconds: they were not run again, but the last, perhaps, whose state a thread was about to write.
    pd.testing.assert_frame_equal(log[: len(before) - 1], before[:-1])
    pd.testing.assert_series_equal(log.loss[: len(before)], before.loss)


@pytest.mark.long
def test_quick_goes_through_everything_with_the_real_network(tmp_path, capsys):
    began = time.monotonic()
    quick = [sys.executable, ROOT / "replicate.py", "--quick", "--out", tmp_path / "quick"]
    done = subprocess.run(quick, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    took = time.monotonic() - began
    assert took < 180
    table = results.read(tmp_path / "quick/metrics.csv")
    assert set(table.label) == {"synthetic MOS"}
    text = (tmp_path / "quick/report.md").read_text()
    assert "(synthetic MOS): 48 pictures, 76x100, from random weights" in text
    if matrix.importlib.util.find_spec("torch"):
        assert (table.metric == "srcc_difference").sum() == 1
        assert set(table.statistics) == {"moving", "trailing"}
    for name in ("curves.png", "scatter.png"):
        assert Image.open(tmp_path / "quick" / name).size > (300, 300)
    began = time.monotonic()
    assert ended(replicate, *quick[-3:]) == 0
    assert "stage" not in capsys.readouterr().out
    assert time.monotonic() - began < took / 2
    shutil.rmtree(tmp_path / "quick/runs")  # 240 MB a run, which pytest would keep
