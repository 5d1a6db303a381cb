"""Training in Keras: how the network starts, what an epoch sees, and what watches over it."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Protocol

import h5py
import keras
import numpy as np

from koniq.data.datasets import DataSet
from koniq.ground import InputError
from koniq.ground.bars import tqdm
from koniq.network import Network, weights
from koniq.pictures.memory import of_training, rows_of_training
from koniq.pictures.order import EpochPlan
from koniq.training import stages
from koniq.training.in_keras_feed import feed, flips, is_out_of_memory
from koniq.training.run import Progress, Run, check_finite, epoch_line, out_of_memory
from koniq.training.stages import Learner, Note, Stage
from koniq.training.start import initial
from ku import tensor_ops as ops
from ku.batch_norm import Reestimate, hold, norms
from ku.model_helper import ModelHelper
from ku.on_device import OnDevice, copies
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
    NUMBERS = "numbers"  # the group in it; states of before have none, and are files of Keras's save_weights

    def write_state(self, path: Path, progress: str, numbers: Sequence[np.ndarray]) -> None:
        with h5py.File(path, "w") as file:
            file.attrs["progress"] = progress
            for place, array in enumerate(numbers):
                file[f"{self.NUMBERS}/{place}"] = array

    def read_state(self, model: keras.Model) -> None:
        """Give a compiled model the weights, and the optimiser, of the state."""
        with h5py.File(self.state_path, "r") as file:
            numbers = [file[f"{self.NUMBERS}/{place}"][()] for place in range(len(file.get(self.NUMBERS, ())))]
        if not numbers:
            model.load_weights(self.state_path)
            return
        for variable, array in zip(_variables(model), numbers, strict=True):
            variable.assign(array)

    def read_progress(self) -> str:
        with h5py.File(self.state_path, "r") as file:
            return file.attrs["progress"]


def _variables(model: keras.Model) -> list[keras.Variable]:
    """What the next epoch depends on of a compiled model: the weights, moving statistics among them, the optimiser."""
    return [*model.weights, *model.optimizer.variables]


def _seen(variable: keras.Variable) -> np.ndarray:
    """The numbers of a variable, on a processor by TensorFlow not copied: valid until the next step."""
    if keras.backend.backend() == "tensorflow":
        return np.asarray(keras.ops.convert_to_tensor(variable))
    return keras.ops.convert_to_numpy(variable)


class Noting(keras.callbacks.Callback):
    """Tells of each epoch that is over. It stands after the helper's own callbacks, whose judgement is then there."""

    def __init__(self, note: Note):
        super().__init__()
        self.note = note

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.note(epoch, logs or {}, time.perf_counter() - self.began)


class Patience(keras.callbacks.Callback):
    """Lets a stage that is gone on with, not begun, have waited as long as it had."""

    def __init__(self, progress: Progress, helper: ModelHelper):
        super().__init__()
        self.progress, self.helper = progress, helper

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        if self.progress.wait_best is not None:
            self.helper.early_stop.wait, self.helper.early_stop.best = self.progress.wait, self.progress.wait_best


class Reseed(keras.callbacks.Callback):
    """Lets what dropout draws in an epoch follow from the seed, the stage and the epoch: Keras saves no such state."""

    def __init__(self, seed: int, stage: int):
        super().__init__()
        self.key = (seed, stage)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        rng = np.random.default_rng([*self.key, epoch, 1])  # the 1 sets it apart from the rows' own
        for layer in self.model.layers:
            generator = getattr(layer, "seed_generator", None)
            for copy in copies(generator.state) if generator is not None else ():  # each device draws by itself
                drawn = rng.integers(0, 1 << 32, generator.state.shape, np.uint32)
                copy.assign(drawn.astype(generator.state.dtype))


class EstimateFirst(keras.callbacks.Callback):
    """Estimates the moving statistics before the first epoch of a run; killed in between, the run does so again."""

    def __init__(self, run: Run, estimate: Callable[[], None]):
        super().__init__()
        self.run, self.estimate = run, estimate

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        if not (self.run.progress.stage or self.run.progress.epoch):
            self.estimate()


class StopWhenNotFinite(keras.callbacks.Callback):
    """Ends the run with RunStopped within an epoch, soon after a loss that is not a finite number.

    The mean of the losses, which the step keeps, is not finite from then on to the end of the epoch.
    """

    async_safe = True
    EVERY = 50  # batches; to read it is to wait for the device, and for all that it was given to do

    def __init__(self, helper: ModelHelper):
        super().__init__()
        self.best = helper.checkpoint.path

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        if batch % self.EVERY == 0:
            check_finite(
                {name: float(value) for name, value in (logs or {}).items()},
                f"after {batch + 1} batches of the epoch",
                self.best,
            )


class ProgressBar(keras.callbacks.Callback):
    """A bar over the pictures of a stage, with their rate and the time left, and a line an epoch."""

    async_safe = True

    def __init__(self, stage: Stage, done: int, pictures: int, batch_size: int):
        super().__init__()
        self.stage, self.pictures, self.batch_size = stage, pictures, batch_size
        total, initial = stage.epochs * pictures, done * pictures
        self.bar = tqdm(total=total, initial=initial, desc=stage.title, unit="pic", smoothing=0.02, disable=None)

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.bar.update(self.batch_size)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.bar.update((epoch + 1) * self.pictures - self.bar.n)
        rate = self.pictures / (time.perf_counter() - self.began)
        tqdm.write(epoch_line(self.stage.title, epoch + 1, self.stage.epochs, logs or {}, rate))

    def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
        self.bar.close()


def start(
    network: Network,
    chosen: str,
    data: DataSet,
    start_at_mean: bool = True,
    momentum: float = 0.99,
    micro_batch: int = 0,
    statistics: str = "moving",
    devices: int = 1,
    sync_batch_norm: bool = True,
) -> keras.Model:
    """The network before training.

    chosen: the weights to start from, as `initial` has them. start_at_mean: the first score is the mean MOS of the
    training set and not 0, which spares a training from random weights its first epochs. momentum: of the moving
    statistics of batch normalisation; they trail the network by about 1 / (1 - momentum) steps. micro_batch: how many
    pictures go through the body at a time, 0 for a batch, see `ku.virtual_batch`. statistics: "frozen" and "trailing"
    let the body go by its moving statistics, those of the training set or those that trail the training; "kept" lets
    body and head go by those of the weights that it starts from. devices: those that share each batch, see
    `koniq.training.in_keras_mirrored`; sync_batch_norm: by statistics of all of it. Raises InputError if Keras does not
    run on TensorFlow and these need it.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow" and (micro_batch or statistics != "moving" or devices > 1):
        raise InputError(
            f"micro_batch, statistics other than moving, and several devices need TensorFlow. Received: "
            f"KERAS_BACKEND={backend}"
        )
    if devices > 1:
        from koniq.training import in_keras_mirrored as mirrored  # on TensorFlow alone

        strategy = mirrored.strategy_of(devices)
    with strategy.scope() if devices > 1 else nullcontext():
        model = _started(network, chosen, data, start_at_mean)
    for layer in norms(model):
        layer.momentum = momentum
    if statistics in ("kept", "frozen"):
        hold(model if statistics == "kept" else split(model, network.features).body)
    if micro_batch or statistics == "trailing":
        how = {"cut": network.features, "micro_batch": micro_batch or None, "trailing": statistics == "trailing"}
        return VirtualBatch(model.input, model.output, **how, name=model.name)
    if devices > 1:
        if sync_batch_norm:
            mirrored.synchronise(model)
        with strategy.scope():
            return mirrored.Mirrored(model.input, model.output, name=model.name)
    return OnDevice(model.input, model.output, name=model.name) if backend == "tensorflow" else model


def _started(network: Network, chosen: str, data: DataSet, start_at_mean: bool) -> keras.Model:
    model = network.build(float(data.part("training").MOS.mean()) if start_at_mean else 0.0)
    begins = initial(chosen, network, "keras")
    if begins.path:
        begins.say(whole=weights.load(model, begins.path, network, body=True))
    return model


class Chosen(Protocol):
    """The settings of a training script that its ModelHelper depends on."""

    loss: str
    batch_size: int
    patience: int
    workers: int
    statistics: str
    sync_batch_norm: bool


def helper(
    run: Run, model: keras.Model, network: Network, data: DataSet, s: Chosen, compiled: bool = False
) -> tuple[ModelHelper, DataSet]:
    """The ModelHelper that trains `model` on `data`, with the pictures decoded and every file in the run's folder.

    Returns with it the data set that is trained on, see `koniq.pictures.memory.of_training`. s.statistics: where they
    do not just move, nor are kept, the moving statistics of batch normalisation are set over the training set, in the
    table's order and not flipped: "reestimated" before each validation, the others before the first epoch, for
    ImageNet's are of other pictures, and those of random weights of none. compiled: by XLA.
    """
    data, pictures = of_training(data, network, run.folder, s.workers)
    made = ModelHelper(
        model,
        network.name,
        rows_of_training(data),
        loss=LOSSES[s.loss],
        metrics=["MAE", ops.plcc_tf],
        optimizer=FusedAdam,
        early_stop_patience=s.patience or stages.NEVER,
        workers=s.workers,
        jit_compile=compiled,
        models_root=run.folder,
        logs_root=run.folder / "tensorboard",
        save_final=False,
        gen_params={"batch_size": s.batch_size, "inputs": ["image_name"], "outputs": ["MOS"], "shuffle": False},
    )
    made.strategy = getattr(model, "strategy", None)
    feed(made, pictures, network, False if made.strategy else None)
    if made.strategy and not s.sync_batch_norm:
        from koniq.training.in_keras_mirrored import AverageStatistics

        made.params.callbacks = [AverageStatistics()]
    if s.statistics not in ("moving", "kept") and not run.finished:
        training, parts = data.part("training"), split(model, network.features)
        whole = {"shape": (*network.input_size, 3), "dtype": np.uint8, "read_fn": lambda name, _: pictures[name]}
        batches = made.make_generator(training, fixed_batches=len(training) >= s.batch_size, **whole)
        each_epoch = s.statistics == "reestimated"
        micro_batch = getattr(model, "micro_batch", s.batch_size) if each_epoch else s.batch_size
        callback = Reestimate(parts.body, parts.head, batches, micro_batch)
        made.params.callbacks = [callback if each_epoch else EstimateFirst(run, callback.estimate)]
    return made, data


class Watch:
    """What ku's own callbacks judged of an epoch, in place of a Monitor: BestWeights, early stopping."""

    def __init__(self, helper: ModelHelper):
        self.helper = helper

    def judge(self, progress: Progress, values: Mapping[str, float]) -> tuple[bool, bool]:
        early_stop = self.helper.early_stop
        better = progress.best != self.helper.checkpoint.best
        progress.best = self.helper.checkpoint.best
        progress.wait, progress.wait_best = early_stop.wait, early_stop.best
        return better, self.helper.model.stop_training


class KerasLearner(Learner):
    """A ModelHelper's network in training; the best weights are written by the helper's own callback."""

    def __init__(self, run: KerasRun, helper: ModelHelper, data: DataSet, seed: int):
        self.run, self.helper, self.data, self.seed = run, helper, data, seed
        self.best = helper.checkpoint.path
        self.callbacks = list(helper.params.callbacks or ())
        helper.checkpoint.best = run.progress.best
        self.kept: list[np.ndarray] = []  # the copy of the state before, which the next one takes the place of

    def begin(self, stage: Stage, resumed: bool) -> None:
        self.helper.compile(stage.lr)
        if not self.helper.strategy:  # else they are made
            nought = np.zeros((2, 1), np.float32)  # Keras makes metrics when first used, and then traces the step twice
            self.helper.model.compute_loss(None, nought, nought)
            self.helper.model.compute_metrics(None, nought, nought)
            self.helper.model.reset_metrics()
        if resumed:
            self.run.read_state(self.helper.model)

    def fit(self, stage: Stage, first: int, note: Note) -> None:
        helper, training, validation = self.helper, self.data.part("training"), self.data.part("validation")
        batch_size = helper.gen_params["batch_size"]
        plan = EpochPlan(training, self.seed, stage.number, first)
        train_gen = helper.make_generator(
            plan.rows(),
            ids_fn=plan,
            # A rest of one or two pictures would be normalised by statistics of one or two.
            fixed_batches=len(training) >= batch_size,
            **flips(helper.model),
        )
        valid_gen = helper.make_generator(validation, batch_size=max(batch_size, 32))
        helper.params.callbacks = [
            *self.callbacks,
            Reseed(self.seed, stage.number),
            Patience(self.run.progress, helper),
            StopWhenNotFinite(helper),
            Noting(note),
            ProgressBar(stage, first, len(train_gen) * batch_size, batch_size),
        ]
        how = {"epochs": stage.epochs, "initial_epoch": first, "recompile": False, "verbose": False}
        try:
            helper.train(train_gen, valid_gen, stage.lr, **how)
        except Exception as error:
            if is_out_of_memory(error):
                devices = helper.strategy.num_replicas_in_sync if helper.strategy else 1
                micro_batch = getattr(helper.model, "micro_batch", 0) or 0
                raise out_of_memory(batch_size, micro_batch, devices, devices > 1) from error
            raise

    def load_best(self) -> None:
        self.helper.load_model(verbose=0)

    def state(self) -> tuple[list[np.ndarray]]:
        variables = _variables(self.helper.model)
        if [variable.shape for variable in variables] != [array.shape for array in self.kept]:
            self.kept = [np.empty(variable.shape, variable.dtype) for variable in variables]
        for kept, variable in zip(self.kept, variables, strict=True):
            np.copyto(kept, _seen(variable))
        return (self.kept,)


def train(
    run: KerasRun,
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
    stages.train(run, KerasLearner(run, helper, data, seed), Stage.all(epochs, learning_rates), Watch(helper))
