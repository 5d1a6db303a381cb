"""kuti 0.9.8.1, the library of one of the study's rows, on today's packages: KonCept512 built and trained through it.

It needs Keras 2 and so an environment of its own: `make kuti`, then `.venv-kuti/bin/python`.
"""

import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from koniq.data.datasets import DataSet
from koniq.engines import in_keras
from koniq.engines.engine import Engine
from koniq.engines.gpus import check, hide
from koniq.ground import InputError, RunStopped, machine
from koniq.ground.paths import ROOT
from koniq.network import Network, sidecar, weights
from koniq.pictures.memory import of_training, rows_of_training
from koniq.training import stages
from koniq.training.run import Run
from koniq.training.stages import Learner, Monitor, Note, Stage
from koniq.training.start import initial
from ku.files import replace_file

if TYPE_CHECKING:
    import tf_keras
    from kuti.model_helper import ModelHelper

PYTHON = ROOT / ".venv-kuti" / "bin" / "python"  # where `make kuti` puts it
GONE = "tensorflow.python.keras.utils.multi_gpu_utils"  # kuti imports it; TensorFlow no longer has it


def load(seed: int | None = None, device: str = "auto", training: bool = False) -> ModuleType:
    """The package `kuti`, on Keras 2, with a stand-in for the one module that TensorFlow no longer has.

    seed: of weights and dropout; kuti seeds NumPy anew after every batch, so that order and flips differ from run to
    run. device, training: see `koniq.engines.in_keras.prepare`. To be called before anything imports TensorFlow. Raises
    InputError if kuti is not installed, or as `prepare` does.
    """
    if not find_spec("kuti"):
        raise InputError(
            "kuti should be installed, which takes an environment of its own: run `make kuti`, then this command with "
            f".venv-kuti/bin/python. Received: {sys.executable}"
        )
    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if device == "cpu":
        hide()
    stand_in = ModuleType(GONE)
    stand_in.multi_gpu_model = _several_gpus
    sys.modules.setdefault(GONE, stand_in)
    with machine.quiet():
        import kuti
        import tensorflow as tf

        found = in_keras.tensorflow_gpus()
    check("tensorflow", found, device, training)
    with machine.quiet():
        tf.zeros(1)  # readies the device
    if seed is not None:
        tf.keras.utils.set_random_seed(seed)
    return kuti


def _several_gpus(model: "tf_keras.Model", gpus: int | None = None) -> "tf_keras.Model":
    raise RunStopped("kuti trains on one GPU only: what it used for several is gone from TensorFlow.")


def device() -> str:
    """What kuti runs on, and its version; `load` comes first."""
    names = ", ".join(in_keras.tensorflow_gpus())
    return f"{names or machine.machine()}, kuti {version('kuti')} on tf-keras {version('tf-keras')}, float32"


def build(kuti: ModuleType, network: Network, imagenet: bool = False) -> "tf_keras.Model":
    """KonCept512 as kuti makes it: pictures in [-1, 1], (batch, height, width, 3), to scores (batch, 1) in MOS.

    imagenet: whether the body starts from ImageNet's weights, which are to lie where Keras looks for them, or from
    random ones. The layers with weights are those of `koniq.network`, in the same order.
    """
    apps, shape = kuti.applications, (*network.input_size, 3)
    if imagenet:
        body, _ = apps.get_model_imagenet(apps.InceptionResNetV2, shape)
    else:  # get_model_imagenet has no such choice
        body = apps.InceptionResNetV2(weights=None, include_top=False, input_shape=shape, pooling="avg")
    return apps.Model(body.input, apps.fc_layers(body.output, name="fc", batch_norm=2), name=network.name)


def start(
    kuti: ModuleType, network: Network, chosen: str, data: DataSet, start_at_mean: bool = True, momentum: float = 0.99
) -> "tf_keras.Model":
    """The network before training.

    chosen: the weights to start from, as `initial` has them; a file is of the whole network, and Keras's.
    start_at_mean, momentum: see `koniq.training.in_keras.start`.
    """
    begins = initial(chosen, network, "keras")  # where Keras looks for ImageNet's, so that it fetches nothing itself
    model = build(kuti, network, imagenet=begins.kind == "body")
    if begins.kind == "file":
        weights.load(model, begins.path)
    elif start_at_mean:
        model.layers[-1].bias.assign([data.part("training").MOS.mean()])
    if begins.path:
        begins.say(whole=begins.kind == "file")
    for layer in model.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = momentum
    return model


def preprocessing(kuti: ModuleType) -> Callable[[np.ndarray], np.ndarray]:
    """The function that takes pictures from [0, 255] to the [-1, 1] of `build`."""
    return kuti.applications.process_input[kuti.applications.InceptionResNetV2]


def helper(
    kuti: ModuleType,
    run: Run,
    model: "tf_keras.Model",
    network: Network,
    data: DataSet,
    loss: str,
    batch_size: int,
    patience: int,
    workers: int,
) -> tuple["ModelHelper", DataSet]:
    """kuti's ModelHelper for the study's recipe: pictures flipped at random, the best by the validation loss kept.

    Returns with it the data set that is trained on, see `koniq.pictures.memory.of_training`.
    """
    from tensorflow import keras

    data, pictures = of_training(data, network, run.folder, workers)
    rows, preprocess = rows_of_training(data), preprocessing(kuti)
    made = kuti.model_helper.ModelHelper(
        model,
        network.name,
        rows,
        loss={"mse": "MSE", "plcc": kuti.tensor_ops.plcc_loss}[loss],
        metrics=["MAE", kuti.tensor_ops.plcc_tf],
        # Of Keras 2's own Adam only the older one heeds the learning rate that kuti sets, by its old name `lr`; the
        # other trains at its default of 1e-3 whatever is asked for.
        optimizer=keras.optimizers.legacy.Adam(),
        early_stop_patience=patience or stages.NEVER,
        multiproc=False,  # threads, which share the decoded pictures, and not forks of TensorFlow
        workers=workers,
        models_root=str(run.folder),
        logs_root=str(run.folder / "tensorboard"),
        gen_params={
            "batch_size": batch_size,
            "data_path": str(run.folder),
            "input_shape": (*network.input_size, 3),
            "inputs": ["image_name"],
            "outputs": ["MOS"],
            "read_fn": lambda name, _: pictures[name],
            "process_fn": lambda picture: preprocess(kuti.image_utils.ImageAugmenter(picture).fliplr().result),
            # A rest of one or two pictures would be normalised by statistics of one or two.
            "fixed_batches": int((rows.set == "training").sum()) >= batch_size,
        },
    )
    return made, data


def checkpoint(helper: "ModelHelper") -> Path:
    """Where kuti keeps the best weights while it trains."""
    return Path(helper.params.models_root, f"{helper.model_name()}_best_weights.h5")


class KutiLearner(Learner):
    """kuti's ModelHelper with its network in training; its own callbacks keep the best weights and end a stage."""

    def __init__(self, kuti: ModuleType, run: Run, helper: "ModelHelper", data: DataSet):
        from tensorflow import keras

        self.run, self.helper, self.data, self.keras = run, helper, data, keras
        self.best = checkpoint(helper)
        recorder = keras.callbacks.LambdaCallback(on_epoch_begin=self._begun, on_epoch_end=self._over)
        helper.callbacks = [*helper.set_callbacks(), recorder]
        still = {"process_fn": preprocessing(kuti), "shuffle": False, "fixed_batches": False}
        self.validation = helper.make_generator(data.part("validation"), **still)

    def fit(self, stage: Stage, first: int, note: Note) -> None:
        self.note = note
        verbose = 1 if sys.stdout.isatty() else 2  # a bar, or a line an epoch
        training = self.helper.make_generator(self.data.part("training"))
        self.helper.train(training, self.validation, stage.lr, stage.epochs, verbose=verbose)

    def _begun(self, epoch: int, logs: dict) -> None:
        self.began = time.perf_counter()

    def _over(self, epoch: int, logs: dict) -> None:
        lr = self.keras.backend.get_value(self.helper.model.optimizer.learning_rate)  # as the optimiser has it
        self.note(epoch, {"lr": lr, **logs}, time.perf_counter() - self.began)

    def load_best(self) -> None:
        self.helper.load_model()

    def end(self) -> None:
        found, self.best = self.best, self.run.folder / f"{self.helper.model.name}_best.weights.h5"
        replace_file(sidecar.record_path(found), sidecar.record_path(self.best))
        replace_file(found, self.best)
        found.parent.rmdir()


def train(
    kuti: ModuleType,
    run: Run,
    helper: "ModelHelper",
    data: DataSet,
    epochs: tuple[int, ...],
    learning_rates: tuple[float, ...],
) -> None:
    """Train by stages, each from the best weights so far; the best of all are in the network at the end.

    Validation sees the pictures as they are. The best weights, with the record that `run.begin` wrote beside them, end
    where those of other runs lie. Raises RunStopped as soon as a loss is not finite.
    """
    monitor = Monitor("val_loss", -1, helper.params.early_stop_patience)
    stages.train(run, KutiLearner(kuti, run, helper, data), Stage.all(epochs, learning_rates), monitor)


def engine(kuti: ModuleType, model: "tf_keras.Model", network: Network, batch_size: int = 8) -> Engine:
    """The engine that a model of kuti's in memory is, for the one prediction loop."""
    preprocess = preprocessing(kuti)
    return Engine(device(), network, batch_size, lambda pictures: model.predict_on_batch(preprocess(pictures))[:, 0])
