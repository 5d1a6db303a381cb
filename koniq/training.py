"""A training run: its folder, its state at every epoch, its progress, and the stages that make it up."""

import json
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pandas as pd
from tqdm import tqdm

from koniq import devices, report, weights
from koniq.datasets import DataSet
from koniq.errors import InputError, RunStopped
from koniq.network import Network
from koniq.paths import MODELS
from koniq.pictures import Pictures
from ku import tensor_ops as ops
from ku.generic import atomic_path
from ku.model_helper import ModelHelper

LOSSES = {
    "mse": "MSE",
    "plcc": ops.plcc_loss,  # the study's "PLCC-induced" loss, (1 - PLCC of the batch) / 2; its output is not in MOS
    "mae": "MAE",
    "huber": keras.losses.Huber(delta=10.0, name="huber"),  # quadratic up to an error of 10 MOS
}


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
        self.settings = json.loads(json.dumps(settings, default=str))
        self.state_path = self.folder / "state.weights.h5"
        self.finished = False
        about = self.folder / "settings.json"
        if about.is_file() and overwrite:
            shutil.rmtree(self.folder)
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
        self.progress = self._read_progress()

    def _read_progress(self) -> Progress:
        if not self.state_path.is_file():
            return Progress()
        with h5py.File(self.state_path, "r") as file:
            return Progress(**json.loads(file.attrs["progress"]))

    def begin(self, data: DataSet, network: Network, device: str, best: Path) -> None:
        """Write settings.json, and beside where the best weights will lie the record of their network."""
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

    def save(self, model: keras.Model) -> None:
        """Keep the state after an epoch: log.csv first, then everything else in one rename."""
        with atomic_path(self.folder / "log.csv") as path:
            pd.DataFrame(self.progress.log).to_csv(path, index=False)
        with atomic_path(self.state_path) as path:
            model.save_weights(path)
            with h5py.File(path, "a") as file:
                file.attrs["progress"] = json.dumps(asdict(self.progress))

    def finish(self) -> None:
        """Note in settings.json that the run has come to its end; its state is needed no more."""
        seconds = round(sum(row["seconds"] for row in self.progress.log), 1)
        self.facts["finished"] = {"epochs": len(self.progress.log), "seconds": seconds, "best": self.progress.best}
        self._write_facts()
        self.state_path.unlink(missing_ok=True)


class EpochPlan:
    """The rows of each epoch in their order, with the column `flip`: all that chance decides about the pictures.

    It follows from the seed, the stage and the number of the epoch, so a resumed run sees what the other one saw.
    Called at the end of an epoch, it gives the rows of the next, as the generators of `ku` want it.
    """

    def __init__(self, ids: pd.DataFrame, seed: int, stage: int, epoch: int):
        self.ids, self.key, self.epoch = ids, (seed, stage), epoch

    def rows(self) -> pd.DataFrame:
        rng = np.random.default_rng([*self.key, self.epoch])
        rows = self.ids.iloc[rng.permutation(len(self.ids))]
        return rows.assign(flip=rng.random(len(rows)) < 0.5)

    def __call__(self) -> pd.DataFrame:
        self.epoch += 1
        return self.rows()


def flipped(picture: np.ndarray, flip: bool) -> np.ndarray:
    """The picture (height, width, 3), mirrored left to right if `flip`."""
    return picture[:, ::-1] if flip else picture


class Recorder(keras.callbacks.Callback):
    """Keeps a run's Progress, log and state at the end of each epoch. It stands after the helper's own callbacks."""

    def __init__(self, run: Run, helper: ModelHelper, stage: int, epochs: int, lr: float):
        super().__init__()
        self.run, self.helper, self.stage, self.epochs, self.lr = run, helper, stage, epochs, lr

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        progress = self.run.progress
        if (progress.stage, progress.stage_done) == (self.stage, False) and progress.epoch:
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
        self.run.save(self.model)


class StopWhenNotFinite(keras.callbacks.Callback):
    """Ends the run with RunStopped as soon as a loss is not a finite number, before anything of it is saved."""

    EVERY = 10  # batches; reading the loss makes a GPU wait

    def __init__(self, helper: ModelHelper):
        super().__init__()
        self.best = helper.checkpoint.path

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if batch % self.EVERY == 0:
            self._check(logs, f"after {batch + 1} batches of the epoch")

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._check(logs, f"in epoch {epoch + 1}")

    def _check(self, logs: Mapping[str, float] | None, when: str) -> None:
        for name, value in (logs or {}).items():
            if name.endswith("loss") and not math.isfinite(value):
                kept = (
                    f"the best weights so far are kept in {self.best}"
                    if self.best.is_file()
                    else "no weights were kept"
                )
                raise RunStopped(
                    f"The {name} should be finite. Received: {value} {when}. Try a lower learning rate; {kept}."
                )


class ProgressBar(keras.callbacks.Callback):
    """A bar over the pictures of a stage, with their rate and the time left, and a line an epoch."""

    def __init__(self, title: str, epochs: int, done: int, pictures: int, batch_size: int):
        super().__init__()
        self.title, self.epochs, self.pictures, self.batch_size = title, epochs, pictures, batch_size
        self.bar = tqdm(
            total=epochs * pictures, initial=done * pictures, desc=title, unit="pic", smoothing=0.02, disable=None
        )

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.bar.update(self.batch_size)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.bar.update((epoch + 1) * self.pictures - self.bar.n)
        values = ", ".join(f"{name} {value:.4g}" for name, value in (logs or {}).items())
        rate = self.pictures / (time.perf_counter() - self.began)
        tqdm.write(f"{self.title}, epoch {epoch + 1}/{self.epochs}: {values} ({rate:.1f} pictures/s)")

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self.bar.close()


def start(network: Network, initial: str, data: DataSet, start_at_mean: bool = True) -> keras.Model:
    """The network before training.

    initial: "imagenet" (the body's weights, fetched by Keras), "try-imagenet" (the same, but at random if they cannot
    be fetched), "none" (at random), or a weights file of the whole network. start_at_mean: the first score is the mean
    MOS of the training set and not 0, which spares a training from random weights its first epochs.
    """
    bias = float(data.part("training").MOS.mean()) if start_at_mean else 0.0
    if initial == "none":
        print("Initial weights: random.")
        return network.build(output_bias=bias)
    if initial not in ("imagenet", "try-imagenet"):
        path = weights.find(initial)
        model = network.build()
        weights.load(model, path)
        print(f"Initial weights: {path}.")
        return model
    try:
        model = network.build("imagenet", bias)
    except ConnectionError as error:
        if initial == "imagenet":
            raise InputError(f"{error} Or train from random weights with --weights none.") from error
        print(f"ImageNet weights could NOT be fetched; training starts from RANDOM weights. {error}")
        return network.build(output_bias=bias)
    print("Initial weights: ImageNet for the body, random for the head.")
    return model


def run_name(data: DataSet, settings: Mapping[str, Any]) -> str:
    """The name of a run by its settings, such as koniq-10k-mse-b8-384x512-s1."""
    size = "x".join(map(str, settings["input_size"]))
    return f"{report.slug(data.name)}-{settings['loss']}-b{settings['batch_size']}-{size}-s{settings['seed']}"


def helper(
    run: Run,
    model: keras.Model,
    network: Network,
    data: DataSet,
    loss: str,
    batch_size: int,
    patience: int,
    workers: int,
) -> ModelHelper:
    """The ModelHelper that trains `model` on `data`, with the pictures decoded and every file in the run's folder."""
    rows = pd.concat([data.part("training"), data.part("validation")], ignore_index=True)
    pictures = Pictures(rows, network, run.folder, workers)
    return ModelHelper(
        model,
        network.name,
        rows,
        loss=LOSSES[loss],
        metrics=["MAE", ops.plcc_tf],
        early_stop_patience=patience,
        workers=workers,
        models_root=run.folder,
        logs_root=run.folder / "tensorboard",
        save_final=False,
        gen_params={
            "batch_size": batch_size,
            "data_path": str(run.folder),
            "inputs": ["image_name"],
            "outputs": ["MOS"],
            "read_fn": lambda name, _: pictures[name],
        },
    )


def train(
    run: Run,
    helper: ModelHelper,
    data: DataSet,
    epochs: tuple[int, ...],
    learning_rates: tuple[float, ...],
    seed: int,
) -> Path:
    """Train by stages, each from the best weights of those before it, and return the best weights' file.

    helper: the ModelHelper with the network and the parameters of its generators. A run that has a state goes on from
    it, and sees the same pictures in the same order as if it had never stopped.
    """
    training, validation = data.part("training"), data.part("validation")
    batch_size = helper.gen_params["batch_size"]
    valid_gen = helper.make_generator(validation, shuffle=False, batch_size=max(batch_size, 32))
    progress = run.progress
    helper.checkpoint.best = progress.best
    for stage, (last, lr) in enumerate(zip(epochs, learning_rates, strict=True)):
        if run.finished or stage < progress.stage or (stage == progress.stage and progress.stage_done):
            continue
        first = progress.epoch if stage == progress.stage else 0
        if first:
            helper.compile(lr)
            helper.model.load_weights(run.state_path)
        elif stage:
            helper.load_model(verbose=0)
        plan = EpochPlan(training, seed, stage, first)
        train_gen = helper.make_generator(
            plan.rows(),
            shuffle=False,
            ids_fn=plan,
            process_fn=flipped,
            process_args="flip",
            # A rest of one or two pictures would be normalised by statistics of one or two.
            fixed_batches=len(training) >= batch_size,
        )
        title = f"stage {stage + 1}/{len(epochs)}"
        helper.params.callbacks = [
            StopWhenNotFinite(helper),
            Recorder(run, helper, stage, last, lr),
            ProgressBar(title, last, first, len(train_gen) * batch_size, batch_size),
        ]
        helper.train(train_gen, valid_gen, lr=lr, epochs=last, recompile=not first, initial_epoch=first, verbose=False)
        report.draw_curves(pd.DataFrame(progress.log), run.folder / "curves.png")
    run.finish()
    helper.load_model(verbose=0)
    return helper.checkpoint.path
