"""The stages of a training by a learner of one number: what is best, when a stage ends, and what a killed run does."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from koniq.ground import RunStopped
from koniq.ground.files import write_csv
from koniq.training import stages
from koniq.training.run import Progress, Run
from koniq.training.stages import Learner, Monitor, Stage

STAGES = Stage.all((5, 4), (0.3, -0.2))
KILLED = ("save_best", "load_best", "begin", "noted")


class NumberRun(Run):
    """A run whose network is a number, its optimiser another."""

    STATE = "state.json"

    def write_state(self, path, progress, number, steps):
        path.write_text(json.dumps({"progress": progress, "number": number, "steps": steps}))

    def read_progress(self):
        return json.loads(self.state_path.read_text())["progress"]

    def show(self):  # without curves, which take their time
        write_csv(pd.DataFrame(self.progress.log), self.folder / "log.csv")

    def finish(self):
        self.facts = {"settings": self.settings}
        super().finish()


class Number(Learner):
    """Walks from 0 by the rate of the stage, faster at each step. It breaks off where `kill` says, `after` so many."""

    def __init__(self, run, kill="", after=0):
        self.run, self.kill, self.after = run, kill, after
        self.number, self.best = 0.0, run.folder / "best.json"

    def at(self, place):
        if place == self.kill:
            self.after -= 1
            if self.after < 0:
                raise KeyboardInterrupt

    def begin(self, stage, resumed):
        self.at("begin")
        self.steps = 0
        if resumed:
            state = json.loads(self.run.state_path.read_text())
            self.number, self.steps = state["number"], state["steps"]

    def fit(self, stage, first, note):
        epoch, over = first, False
        while not over:
            self.steps += 1
            self.number += stage.lr * self.steps
            over = note(epoch, {"loss": self.number, "val_loss": (self.number - 1) ** 2}, 1.0)
            self.at("noted")
            epoch += 1

    def save_best(self):
        self.best.write_text(json.dumps(self.number))
        self.at("save_best")

    def load_best(self):
        self.at("load_best")
        self.number = json.loads(self.best.read_text())

    def state(self):
        return self.number, self.steps


def train(folder, monitor, kill="", after=0, kind=NumberRun, **more):
    folder.mkdir(exist_ok=True)
    run = kind(str(folder), {"loss": "mse"}, resume=True)
    if not run.finished:
        (folder / "settings.json").write_text(json.dumps({"settings": run.settings}))
    learner = Number(run, kill, after)
    stages.train(run, learner, STAGES, monitor, **more)
    return learner.number


def log(folder):
    return pd.read_csv(folder / "log.csv")


def test_each_stage_starts_from_the_best_weights_or_from_the_last(tmp_path):
    """In stage 1 the number is .3, .9, 1.8, 3, 4.5, of which .9 is nearest to 1."""
    patient = Monitor("val_loss", -1, 20)
    assert train(tmp_path / "best", patient) == pytest.approx(0.9)
    assert train(tmp_path / "last", patient, reload_best=False) == pytest.approx(0.9)
    best, last = log(tmp_path / "best"), log(tmp_path / "last")
    assert best.stage.tolist() == [1] * 5 + [2] * 4
    assert best.epoch.tolist() == [1, 2, 3, 4, 5, 1, 2, 3, 4]
    np.testing.assert_allclose(best.loss, [0.3, 0.9, 1.8, 3, 4.5, 0.7, 0.3, -0.3, -1.1])
    np.testing.assert_allclose(last.loss[5:], [4.3, 3.9, 3.3, 2.5])


def test_a_patience_of_0_ends_no_stage():
    monitor, progress = Monitor("val_loss", -1, 0), Progress()
    for value in (1.0, *[2.0] * 50):
        _, over = monitor.judge(progress, {"val_loss": value})
        assert not over
    assert progress.wait == 50


def test_a_stage_ends_when_patience_does_whatever_the_best_of_all_is(tmp_path):
    train(tmp_path / "run", Monitor("val_loss", -1, 2))
    assert log(tmp_path / "run").stage.tolist() == [1] * 4 + [2] * 3


@pytest.mark.parametrize("kill", KILLED)
def test_a_run_killed_anywhere_goes_on_as_if_never_stopped(tmp_path, kill):
    monitor = Monitor("val_loss", -1, 3)
    whole = train(tmp_path / "whole", monitor)
    after, killed = 0, True
    while killed:
        folder = tmp_path / f"{kill}-{after}"
        try:
            train(folder, monitor, kill, after)
            killed = False
        except KeyboardInterrupt:
            after += 1
        assert train(folder, monitor) == whole
        for name in ("log.csv", "settings.json"):
            assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert not (folder / "state.json").exists()
    assert after >= 2


class LateRun(NumberRun):
    """States come late, so that what kills the process may come before them."""

    def write_state(self, path, progress, *of):
        time.sleep(0.02)
        super().write_state(path, progress, *of)


def killed_anywhere(folder):
    """Processes that end at once, wherever a run may be, with nothing waited for; each run is then gone on with."""
    monitor = Monitor("val_loss", -1, 3)
    train(folder / "whole", monitor)
    for kill in KILLED:
        after, code = 0, 9
        while code == 9:
            run = folder / f"{kill}-{after}"
            if not os.fork():
                Number.at = lambda self, place: _die_at(self, place)
                train(run, monitor, kill, after, LateRun)
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.wait()[1])
            assert code in (0, 9)
            train(run, monitor)
            for name in ("log.csv", "settings.json", "best.json"):
                assert (run / name).read_bytes() == (folder / "whole" / name).read_bytes(), (kill, after, name)
            after += 1
        assert after >= 3


def _die_at(number, place):
    number.after -= place == number.kill
    if number.after < 0:
        os._exit(9)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_killed_before_its_state_is_written_does_that_epoch_again(tmp_path):
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    code += f"from pathlib import Path; import test_stages; test_stages.killed_anywhere(Path({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_finished_run_only_gives_its_best_weights(tmp_path):
    monitor = Monitor("val_loss", -1, 20)
    train(tmp_path / "run", monitor)
    run = NumberRun(str(tmp_path / "run"), {"loss": "mse"}, resume=True)
    learner = Number(run, "begin")
    stages.train(run, learner, STAGES, monitor)
    assert learner.number == pytest.approx(0.9)


def test_a_loss_that_is_not_finite_is_neither_kept_nor_noted(tmp_path):
    class Breaking(Number):
        def fit(self, stage, first, note):
            note(first, {"loss": 1.0, "val_loss": 2.0}, 1.0)
            note(first + 1, {"loss": 1.0, "val_loss": math.nan}, 1.0)

    run = NumberRun(str(tmp_path / "run"), {"loss": "mse"})
    with pytest.raises(RunStopped, match=r"val_loss should be finite\. Received: nan in epoch 2.*kept in .*best\.json"):
        stages.train(run, Breaking(run), STAGES, Monitor("val_loss", -1, 20))
    assert len(log(tmp_path / "run")) == 1
    assert run.progress.best == 2


@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_monitor_judges_as_the_callbacks_of_ku_do(tmp_path, patience, mode):
    keras = pytest.importorskip("keras")
    from ku.model_helper import ModelHelper

    inputs = keras.Input((1,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs), name="one")
    how = {
        "monitor_mode": mode,
        "early_stop_patience": patience,
        "models_root": tmp_path,
        "gen_params": {"data_path": ""},
    }
    helper = ModelHelper(model, "one", pd.DataFrame({"set": ["training"]}), **how)
    rng = np.random.default_rng(patience)
    monitor, progress = Monitor("val_loss", 1 if mode == "max" else -1, patience), Progress()
    best, early = helper.checkpoint, helper.early_stop
    for callback in (best, early):
        callback.set_model(model)
    for _ in range(2):  # stages
        progress.wait, progress.wait_best = 0, None
        model.stop_training = False
        early.on_train_begin()
        for epoch, value in enumerate(np.round(rng.uniform(0, 1, 40), 1)):  # some of them alike
            before = best.best
            for callback in (best, early):
                callback.on_epoch_end(epoch, {"val_loss": value})
            assert monitor.judge(progress, {"val_loss": value}) == (best.best != before, model.stop_training)
            assert (progress.best, progress.wait_best, progress.wait) == (best.best, early.best, early.wait)
            if model.stop_training:
                break
