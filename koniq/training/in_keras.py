"""Training by stages: how the network starts, what an epoch sees, and what watches over it."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import h5py
import keras
import numpy as np
from tqdm import tqdm

from koniq.data.datasets import DataSet
from koniq.ground import InputError
from koniq.ground.log import LOG
from koniq.network import Network, weights
from koniq.pictures.memory import of_training, rows_of_training
from koniq.pictures.order import EpochPlan, flipped
from koniq.training import start as training_start
from koniq.training.run import Run, check_finite, epoch_line
from ku import tensor_ops as ops
from ku.batch_norm import Reestimate, hold, norms
from ku.model_helper import ModelHelper
from ku.optimizers import FusedAdam
from ku.virtual_batch import VirtualBatch, split


def plcc_mse_loss(mos: ops.Tensor, predicted: ops.Tensor) -> ops.Tensor:
    """The PLCC-induced loss, held to the MOS scale by a tenth of the squared error in units of 20 MOS."""
    return ops.plcc_loss(mos, predicted) + keras.ops.mean(keras.losses.mean_squared_error(mos, predicted)) / 4000


LOSSES = {
    "mse": "MSE",
    "plcc": ops.plcc_loss,  # the study's "PLCC-induced" loss, (1 - PLCC of the batch) / 2; its output is not in MOS
    "plcc_mse": plcc_mse_loss,
    "nin": ops.norm_in_norm_loss,  # as little in MOS
    "mae": "MAE",
    "huber": keras.losses.Huber(delta=10.0, name="huber"),  # quadratic up to an error of 10 MOS
}


class KerasRun(Run):
    """A run whose network is Keras's."""

    STATE = "state.weights.h5"

    def write_state(self, path: Path, progress: str, model: keras.Model) -> None:
        model.save_weights(path)
        with h5py.File(path, "a") as file:
            file.attrs["progress"] = progress

    def read_progress(self) -> str:
        with h5py.File(self.state_path, "r") as file:
            return file.attrs["progress"]


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
        progress.best = self.helper.checkpoint.best
        progress.wait, progress.wait_best = early_stop.wait, early_stop.best
        self.run.end_epoch(row, self.model.stop_training or epoch + 1 == self.epochs, self.model)


class Reseed(keras.callbacks.Callback):
    """Lets what dropout draws in an epoch follow from the seed, the stage and the epoch: Keras saves no such state."""

    def __init__(self, seed: int, stage: int):
        super().__init__()
        self.key = (seed, stage)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        rng = np.random.default_rng([*self.key, epoch, 1])  # the 1 sets it apart from the rows' own
        for layer in self.model.layers:
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                generator.state.assign(rng.integers(0, 1 << 32, generator.state.shape, np.uint32))


class EstimateFirst(keras.callbacks.Callback):
    """Estimates the moving statistics before the first epoch of a run; killed in between, the run does so again."""

    def __init__(self, run: Run, estimate: Callable[[], None]):
        super().__init__()
        self.run, self.estimate = run, estimate

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        if not (self.run.progress.stage or self.run.progress.epoch):
            self.estimate()


class StopWhenNotFinite(keras.callbacks.Callback):
    """Ends the run with RunStopped as soon as a loss is not a finite number, before anything of it is saved."""

    EVERY = 10  # batches; reading the loss makes a GPU wait

    def __init__(self, helper: ModelHelper):
        super().__init__()
        self.best = helper.checkpoint.path

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if batch % self.EVERY == 0:
            check_finite(logs or {}, f"after {batch + 1} batches of the epoch", self.best)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        check_finite(logs or {}, f"in epoch {epoch + 1}", self.best)


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
        rate = self.pictures / (time.perf_counter() - self.began)
        tqdm.write(epoch_line(self.title, epoch + 1, self.epochs, logs or {}, rate))

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self.bar.close()


def start(
    network: Network,
    initial: str,
    data: DataSet,
    start_at_mean: bool = True,
    momentum: float = 0.99,
    micro_batch: int = 0,
    statistics: str = "moving",
) -> keras.Model:
    """The network before training.

    initial: see `koniq.training.start.initial`. start_at_mean: the first score is the mean MOS of the training set and
    not 0, which spares a training from random weights its first epochs. momentum: of the moving statistics of batch
    normalisation; they trail the network by about 1 / (1 - momentum) steps. micro_batch: how many pictures go through
    the body at a time, 0 for a batch, see `ku.virtual_batch`. statistics: "frozen" and "trailing" let the body go by
    its moving statistics, those of the training set or those that trail the training; "kept" lets body and head go by
    those of the weights that it starts from. Raises InputError if Keras does not run on TensorFlow and these two need
    it.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow" and (micro_batch or statistics != "moving"):
        raise InputError(
            f"micro_batch and statistics other than moving need TensorFlow. Received: KERAS_BACKEND={backend}"
        )
    model = _started(network, initial, data, start_at_mean)
    for layer in norms(model):
        layer.momentum = momentum
    if statistics in ("kept", "frozen"):
        hold(model if statistics == "kept" else split(model, network.features).body)
    if micro_batch or statistics == "trailing":
        how = {"cut": network.features, "micro_batch": micro_batch or None, "trailing": statistics == "trailing"}
        model = VirtualBatch(model.input, model.output, **how, name=model.name)
    return model


def _started(network: Network, initial: str, data: DataSet, start_at_mean: bool) -> keras.Model:
    model = network.build(float(data.part("training").MOS.mean()) if start_at_mean else 0.0)
    if path := training_start.initial(initial, network, "keras"):
        whole = weights.load(model, path, network, body=True)
        LOG.info(f"Initial weights: {path}{'' if whole else ' for the body, random for the head'}.")
    return model


class Chosen(Protocol):
    """The settings of a training script that its ModelHelper depends on."""

    loss: str
    batch_size: int
    patience: int
    workers: int
    statistics: str


def helper(run: Run, model: keras.Model, network: Network, data: DataSet, s: Chosen) -> tuple[ModelHelper, DataSet]:
    """The ModelHelper that trains `model` on `data`, with the pictures decoded and every file in the run's folder.

    Returns with it the data set that is trained on, see `koniq.pictures.memory.of_training`. s.statistics: where they
    do not just move, nor are kept, the moving statistics of batch normalisation are set over the training set, in the
    table's order and not flipped: "reestimated" before each validation, the others before the first epoch, for
    ImageNet's are of other pictures, and those of random weights of none.
    """
    data, pictures = of_training(data, network, run.folder, s.workers)
    made = ModelHelper(
        model,
        network.name,
        rows_of_training(data),
        loss=LOSSES[s.loss],
        metrics=["MAE", ops.plcc_tf],
        optimizer=FusedAdam,
        early_stop_patience=s.patience,
        workers=s.workers,
        models_root=run.folder,
        logs_root=run.folder / "tensorboard",
        save_final=False,
        gen_params={
            "batch_size": s.batch_size,
            "data_path": str(run.folder),
            "inputs": ["image_name"],
            "outputs": ["MOS"],
            "read_fn": lambda name, _: pictures[name],
        },
    )
    if s.statistics not in ("moving", "kept") and not run.finished:
        training, parts = data.part("training"), split(model, network.features)
        batches = made.make_generator(training, shuffle=False, fixed_batches=len(training) >= s.batch_size)
        each_epoch = s.statistics == "reestimated"
        micro_batch = getattr(model, "micro_batch", s.batch_size) if each_epoch else s.batch_size
        callback = Reestimate(parts.body, parts.head, batches, micro_batch)
        made.params.callbacks = [callback if each_epoch else EstimateFirst(run, callback.estimate)]
    return made, data


def train(
    run: Run,
    helper: ModelHelper,
    data: DataSet,
    epochs: tuple[int, ...],
    learning_rates: tuple[float, ...],
    seed: int,
) -> None:
    """Train by stages, each from the best weights of those before it; the best of all are in the network at the end.

    helper: the ModelHelper with the network and the parameters of its generators. A run that has a state goes on from
    it, and sees the same pictures in the same order as if it had never stopped.
    """
    if run.finished:
        helper.load_model(verbose=0)
        return
    training, validation = data.part("training"), data.part("validation")
    batch_size = helper.gen_params["batch_size"]
    valid_gen = helper.make_generator(validation, shuffle=False, batch_size=max(batch_size, 32))
    progress, callbacks = run.progress, list(helper.params.callbacks or ())
    helper.checkpoint.best = progress.best
    for stage, (last, lr) in enumerate(zip(epochs, learning_rates, strict=True)):
        if stage < progress.stage or (stage == progress.stage and progress.stage_done):
            continue
        helper.compile(lr)
        if stage == progress.stage and run.has_state:
            helper.model.load_weights(run.state_path)
        else:
            if stage:
                helper.load_model(verbose=0)
            run.begin_stage(stage, helper.model)
        plan = EpochPlan(training, seed, stage, progress.epoch)
        train_gen = helper.make_generator(
            plan.rows(),
            shuffle=False,
            ids_fn=plan,
            process_fn=flipped,
            process_args="flip",
            # A rest of one or two pictures would be normalised by statistics of one or two.
            fixed_batches=len(training) >= batch_size,
        )
        pictures = len(train_gen) * batch_size
        helper.params.callbacks = [
            *callbacks,
            Reseed(seed, stage),
            StopWhenNotFinite(helper),
            Recorder(run, helper, stage, last, lr),
            ProgressBar(f"stage {stage + 1}/{len(epochs)}", last, progress.epoch, pictures, batch_size),
        ]
        helper.train(
            train_gen, valid_gen, lr, epochs=last, recompile=False, verbose=False, initial_epoch=progress.epoch
        )
    run.finish()
    helper.load_model(verbose=0)
    LOG.info(f"The run lies in {run.folder}, its best weights in {helper.checkpoint.path.name}")
