"""kuti 0.9.8.1, the library of one of the study's rows, on today's packages: KonCept512 built and trained through it.

It needs Keras 2 and so an environment of its own: `make kuti`, then `.venv-kuti/bin/python`.
"""

import math
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
from koniq.engines import gpus as engines_gpus
from koniq.engines import in_keras
from koniq.engines.engine import Engine
from koniq.fetch.bodies import body_weights
from koniq.ground import InputError, RunStopped, machine
from koniq.ground.log import LOG
from koniq.ground.paths import ROOT
from koniq.network import Network, finding, sidecar, weights
from koniq.pictures.memory import of_training, rows_of_training
from ku.files import replace_file

if TYPE_CHECKING:
    import tf_keras
    from kuti.model_helper import ModelHelper

    from koniq.training.run import Run


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
        engines_gpus.hide()
    stand_in = ModuleType(GONE)
    stand_in.multi_gpu_model = _several_gpus
    sys.modules.setdefault(GONE, stand_in)
    with machine.quiet():
        import kuti
        import tensorflow as tf

        found = in_keras.tensorflow_gpus()
    engines_gpus.check("tensorflow", found, device, training)
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

    imagenet: whether the body starts from ImageNet's weights, fetched if they are not there, or from random ones.
    The layers with weights are those of `koniq.network`, in the same order. Raises InputError if a fetch fails.
    """
    apps, shape = kuti.applications, (*network.input_size, 3)
    if imagenet:
        try:
            body_weights(network, "keras")  # where Keras looks for it, so that it fetches nothing itself
        except ConnectionError as error:
            raise InputError(f"{error} Or train from random weights with --weights none.") from error
        body, _ = apps.get_model_imagenet(apps.InceptionResNetV2, shape)
    else:  # get_model_imagenet has no such choice
        body = apps.InceptionResNetV2(weights=None, include_top=False, input_shape=shape, pooling="avg")
    return apps.Model(body.input, apps.fc_layers(body.output, name="fc", batch_norm=2), name=network.name)


def start(
    kuti: ModuleType, network: Network, initial: str, data: DataSet, start_at_mean: bool = True, momentum: float = 0.99
) -> "tf_keras.Model":
    """The network before training. initial: "imagenet" (of the body), "none" (random), or weights that Keras wrote.

    start_at_mean, momentum: see `koniq.training.start`.
    """
    path = None if initial in ("imagenet", "none") else finding.find(initial)
    model = build(kuti, network, initial == "imagenet")
    if path:
        weights.load(model, path)
    elif start_at_mean:
        model.layers[-1].bias.assign([data.part("training").MOS.mean()])
    for layer in model.layers:
        if hasattr(layer, "momentum"):
            layer.momentum = momentum
    return model


def preprocessing(kuti: ModuleType) -> Callable[[np.ndarray], np.ndarray]:
    """The function that takes pictures from [0, 255] to the [-1, 1] of `build`."""
    return kuti.applications.process_input[kuti.applications.InceptionResNetV2]


def helper(
    kuti: ModuleType,
    run: "Run",
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
        early_stop_patience=patience,
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


def train(
    kuti: ModuleType,
    run: "Run",
    helper: "ModelHelper",
    data: DataSet,
    epochs: tuple[int, ...],
    learning_rates: tuple[float, ...],
) -> None:
    """Train by stages, each from the best weights so far; the best of all are in the network at the end.

    Validation sees the pictures as they are. The best weights, with the record that `run.begin` wrote beside them, end
    where those of other runs lie. Raises RunStopped as soon as a loss is not finite.
    """
    from tensorflow import keras

    began = 0.0

    def begin(epoch: int, logs: dict) -> None:
        nonlocal began
        began = time.perf_counter()

    def record(epoch: int, logs: dict) -> None:
        if not math.isfinite(logs["loss"] + logs["val_loss"]):
            raise RunStopped(
                f"The loss should be finite. Received: {logs['loss']} in epoch {epoch + 1}. Try a lower learning rate; "
                f"the best weights so far, if any, are kept in {checkpoint(helper)}."
            )
        seconds = round(time.perf_counter() - began, 2)
        lr = keras.backend.get_value(helper.model.optimizer.learning_rate)
        log = run.progress.log
        log.append({"stage": stage + 1, "epoch": epoch + 1, "lr": lr, **logs, "seconds": seconds})
        run.progress.best = float(min(row["val_loss"] for row in log))
        run.show()

    recorder = keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=record)
    helper.callbacks = [*helper.set_callbacks(), recorder]
    still = {"process_fn": preprocessing(kuti), "shuffle": False, "fixed_batches": False}
    validation = helper.make_generator(data.part("validation"), **still)
    verbose = 1 if sys.stdout.isatty() else 2  # a bar, or a line an epoch
    for stage, (last, lr) in enumerate(zip(epochs, learning_rates, strict=True)):
        if stage:
            helper.load_model()
        helper.train(helper.make_generator(data.part("training")), validation, lr, last, verbose=verbose)
    helper.load_model()
    found, best = checkpoint(helper), run.folder / f"{helper.model.name}_best.weights.h5"
    replace_file(sidecar.record_path(found), sidecar.record_path(best))
    replace_file(found, best)
    found.parent.rmdir()
    run.finish()
    LOG.info(f"The run lies in {run.folder}, its best weights in {best.name}")


def engine(kuti: ModuleType, model: "tf_keras.Model", network: Network, batch_size: int = 8) -> Engine:
    """The engine that a model of kuti's in memory is, for the one prediction loop."""
    preprocess = preprocessing(kuti)
    return Engine(device(), network, batch_size, lambda pictures: model.predict_on_batch(preprocess(pictures))[:, 0])
