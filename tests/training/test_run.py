"""A run's folder: what it says of itself, where its files lie, and the names that settings give."""

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from koniq import training
from koniq.ground import InputError
from koniq.study.recipes import Row
from koniq.training import run


def test_a_run_says_what_it_is_and_an_older_one_what_it_did(tmp_path):
    assert not training.begun(tmp_path)
    with pytest.raises(FileNotFoundError):
        training.about(tmp_path)
    facts = {"settings": {"seed": 3, "statistics": "frozen"}, "device": "cpu", "of_a_later_version": 1}
    (tmp_path / "settings.json").write_text(json.dumps(facts))
    about = training.about(tmp_path)
    assert training.begun(tmp_path)
    assert (about.device, about.finished, about.commit) == ("cpu", None, "")
    assert [about.setting(name) for name in ("seed", "statistics", "micro_batch", "unheard")] == [3, "frozen", 0, None]
    (tmp_path / "settings.json").write_text(json.dumps(facts | {"finished": {"epochs": 2}}))
    assert training.about(tmp_path).finished == {"epochs": 2}


def test_its_test_lies_in_it():
    tested = training.tested(Path("some"))
    assert (tested.metrics, tested.predictions) == (Path("some/test/metrics.csv"), Path("some/test/predictions.csv"))


def test_a_run_of_before_there_were_rules_of_decoding_goes_on_by_the_first(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"settings": {"seed": 3}}))
    now = {"seed": 3, "rules": "1", "fit": "squash"}
    assert not training.Run(str(tmp_path), now, resume=True).finished
    with pytest.raises(InputError, match=r"that it began with: rules='1'\. Received: rules='2'"):
        training.Run(str(tmp_path), now | {"rules": "2"}, resume=True)


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ((2, 0, "moving"), "b2"),
        ((16, 2, "moving"), "b16m2"),
        ((16, 2, "reestimated"), "b16m2-reestimated"),
        ((8, 0, "frozen"), "b8-frozen"),
    ],
)
def test_an_arm_has_one_name_in_runs_and_in_the_matrix(how, name):
    assert run.arm(*how) == name
    assert Row("pytorch", "mse", *how).arm == name


class TextRun(run.Run):
    """A run whose state is a text, written as slowly as the test wants."""

    STATE = "state.txt"

    def write_state(self, path, progress, before):
        before()
        path.write_text(progress)

    def read_progress(self):
        return self.state_path.read_text()


def row(epoch):
    return {"epoch": epoch, "loss": 1.0, "val_loss": 2.0, "stage": 1, "seconds": 1.0}


def test_an_epoch_does_not_wait_for_its_state(tmp_path):
    written, go_on = threading.Event(), threading.Event()
    this = TextRun(str(tmp_path / "run"), {"loss": "mse"})
    this.begin_stage(0, lambda: None)
    assert this.has_state
    this.end_epoch(row(1), False, lambda: (written.set(), go_on.wait(30)))
    assert written.wait(30)
    assert this.read().epoch == 0  # the state before, whole, while the other is written
    assert pd.read_csv(tmp_path / "run/log.csv").epoch.tolist() == [1]
    this.progress.wait = 5  # what comes later is not in it
    go_on.set()
    this.wait()
    assert (this.read().epoch, this.read().wait) == (1, 0)
    assert (tmp_path / "run/curves.png").is_file()


def test_a_state_that_cannot_be_written_ends_the_run_at_the_next_one(tmp_path):
    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    this = TextRun(str(tmp_path / "run"), {"loss": "mse"})
    this.begin_stage(0, lambda: None)
    this.end_epoch(row(1), False, full)
    this.end_epoch(row(2), False, lambda: None)  # not written, for it comes after
    with pytest.raises(OSError, match="No space left"):
        this.wait()
    assert this.read().epoch == 0
    this.save(full)
    with pytest.raises(OSError, match="No space left"):
        this.finish()
    assert this.has_state


def test_a_process_that_ends_writes_its_state_first(tmp_path):
    code = (
        "import sys, time; sys.path.insert(0, 'tests/training'); from test_run import TextRun\n"
        f"training = TextRun({str(tmp_path / 'run')!r}, {{'loss': 'mse'}})\n"
        "training.progress.epoch = 3\n"
        "training.save(lambda: time.sleep(1))\n"
        "sys.exit('stopped')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "stopped\n")
    assert json.loads((tmp_path / "run/state.txt").read_text())["epoch"] == 3


@pytest.mark.parametrize(
    ("batch", "micro", "less"), [(8, 0, 4), (16, 2, 1), (12, 0, 4), (7, 0, 1), (24, 6, 4), (10, 5, 2), (2, 0, 1)]
)
def test_memory_that_does_not_suffice_is_a_sentence_with_the_micro_batch_that_may(batch, micro, less):
    said = str(run.out_of_memory(batch, micro))
    assert said.startswith(f"The memory of the device does not suffice for {micro or batch} pictures at a time.")
    assert f"--micro-batch {less}, with --overwrite or another --run" in said
    assert batch % less == 0


def test_of_one_picture_there_is_no_less():
    assert "suffice for 1 picture at a time. Try a smaller --input-size" in str(run.out_of_memory(8, 1))


def test_a_run_of_before_there_was_a_choice_to_compile_goes_on_with_any(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"settings": {"seed": 3}}))
    assert not training.Run(str(tmp_path), {"seed": 3, "jit_compile": "yes"}, resume=True).finished
