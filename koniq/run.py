"""The folder of a training run, and its state at every epoch."""

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras
import pandas as pd

from koniq import devices, weights
from koniq.datasets import DataSet
from koniq.errors import InputError
from koniq.network import Network
from koniq.paths import MODELS
from koniq.report import draw_curves, slug, write_csv
from ku.generic import atomic_path, lock_file
from ku.model_helper import ModelHelper

FREE = ("run", "resume", "overwrite", "workers")  # settings that may differ when a run is resumed


@dataclass
class Progress:
    """Where a run stands after an epoch: all that its next epoch depends on besides the network and the optimiser."""

    stage: int = 0
    epoch: int = 0  # epochs of this stage that are done
    stage_done: bool = False
    best: float | None = None  # monitored value of the best weights
    wait: int = 0  # epochs of this stage without improvement
    wait_best: float | None = None  # what the early stop compares with
    log: list[dict[str, float]] = field(default_factory=list)  # one row an epoch


class Run:
    """The folder of one training run.

    It holds settings.json (settings, data, device, versions, commit), log.csv (one row an epoch), curves.png,
    tensorboard/, the best weights with the record of their network, and, until the run has come to its end,
    state.weights.h5: network, optimiser and Progress after the last whole epoch, in one file, so that a run killed at
    any moment goes on from there.
    """

    def __init__(self, name: str, settings: Mapping[str, Any], resume: bool = False, overwrite: bool = False):
        self.folder = MODELS / name if Path(name).name == name else Path(name)
        self.settings = json.loads(json.dumps({key: settings[key] for key in settings if key not in FREE}))
        self.state_path = self.folder / "state.weights.h5"
        self.finished = False
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = lock_file(self.folder / ".lock")
        except BlockingIOError as error:
            raise InputError(
                f"Another process is training in {self.folder}; wait for it, or give another --run."
            ) from error
        about = self.folder / "settings.json"
        if about.is_file() and overwrite:
            for path in self.folder.iterdir():
                if path.name != ".lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif about.is_file() and not resume:
            raise InputError(
                f"{self.folder} holds a run. Give --resume to go on with it, --overwrite, or another --run."
            )
        elif about.is_file():
            facts = json.loads(about.read_text())
            self.finished, before = "finished" in facts, facts["settings"]
            changed = [key for key in self.settings if before.get(key) != self.settings[key]]
            if changed:
                was = ", ".join(f"{key}={before.get(key)!r}" for key in changed)
                now = ", ".join(f"{key}={self.settings[key]!r}" for key in changed)
                raise InputError(f"A run is resumed with the settings that it began with: {was}. Received: {now}")
            for path in self.folder.glob(".*.tmp*"):  # of a process that was killed while it wrote
                path.unlink()
        self.progress = self._read_progress()

    def _read_progress(self) -> Progress:
        if not self.has_state:
            return Progress()
        with h5py.File(self.state_path, "r") as file:
            return Progress(**json.loads(file.attrs["progress"]))

    def begin(self, data: DataSet, network: Network, device: str, best: Path) -> None:
        """Write settings.json, and beside where the best weights will lie the record of their network."""
        if self.finished:
            return
        self.facts = {
            "settings": self.settings,
            "data": data.summary(),
            "label": data.label,
            "network": network.record(),
            "device": device,
            "versions": devices.versions(),
            "commit": devices.commit(),
        }
        self._write_facts()
        weights.write_record(best, network, trained_on=data.name, label=data.label, loss=self.settings["loss"])

    def _write_facts(self) -> None:
        with atomic_path(self.folder / "settings.json") as path:
            path.write_text(json.dumps(self.facts, indent=2) + "\n")

    @property
    def has_state(self) -> bool:
        return self.state_path.is_file()

    def save(self, model: keras.Model) -> None:
        """Keep the state, in one rename: the weights, the optimiser, and the progress."""
        with atomic_path(self.state_path) as path:
            model.save_weights(path)
            with h5py.File(path, "a") as file:
                file.attrs["progress"] = json.dumps(asdict(self.progress))

    def show(self) -> None:
        """Write log.csv and draw curves.png."""
        log = pd.DataFrame(self.progress.log)
        write_csv(log, self.folder / "log.csv")
        draw_curves(log, self.folder / "curves.png")

    def begin_stage(self, stage: int, model: keras.Model) -> None:
        """Keep the state that a stage starts from; the best weights, which it came from, may soon be others."""
        self.progress.stage, self.progress.epoch, self.progress.stage_done = stage, 0, False
        self.progress.wait, self.progress.wait_best = 0, None
        self.save(model)

    def finish(self) -> None:
        """Note in settings.json that the run has come to its end, and give its state up."""
        seconds = round(sum(row["seconds"] for row in self.progress.log), 1)
        self.facts["finished"] = {"epochs": len(self.progress.log), "seconds": seconds, "best": self.progress.best}
        self._write_facts()
        self.state_path.unlink(missing_ok=True)


class Recorder(keras.callbacks.Callback):
    """Keeps a run's Progress, log and state at the end of each epoch. It stands after the helper's own callbacks."""

    def __init__(self, run: Run, helper: ModelHelper, stage: int, epochs: int, lr: float):
        super().__init__()
        self.run, self.helper, self.stage, self.epochs, self.lr = run, helper, stage, epochs, lr

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        progress = self.run.progress
        if progress.wait_best is not None:  # a stage that is gone on with, not begun
            self.helper.early_stop.wait, self.helper.early_stop.best = progress.wait, progress.wait_best

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        progress, early_stop = self.run.progress, self.helper.early_stop
        seconds = time.perf_counter() - self.began
        row = {"stage": self.stage + 1, "epoch": epoch + 1, "lr": self.lr, **(logs or {}), "seconds": round(seconds, 2)}
        progress.log.append(row)
        progress.stage, progress.epoch = self.stage, epoch + 1
        progress.stage_done = self.model.stop_training or epoch + 1 == self.epochs
        progress.best = self.helper.checkpoint.best
        progress.wait, progress.wait_best = early_stop.wait, early_stop.best
        # The log before the state: killed in between, the epoch is run again and so is its row; the other way round
        # the last row of a run could be lost.
        self.run.show()
        self.run.save(self.model)


def run_name(data: DataSet, settings: Mapping[str, Any]) -> str:
    """The name of a run by its settings, such as koniq-10k-mse-b8-384x512-s1."""
    size = "x".join(map(str, settings["input_size"]))
    return f"{slug(data.name)}-{settings['loss']}-b{settings['batch_size']}-{size}-s{settings['seed']}"
