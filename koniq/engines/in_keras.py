"""Keras as an engine, and the device that it computes on made ready: memory of GPUs as it grows, seed, precision."""

import os
from typing import TYPE_CHECKING, Any, Literal

from koniq.engines import gpus
from koniq.engines.engine import Engine
from koniq.ground import InputError
from koniq.ground.log import LOG
from koniq.ground.machine import machine, quiet
from koniq.network import Network, weights

if TYPE_CHECKING:
    import keras
    import numpy as np

    from koniq.engines.plan import Plan


Compile = Literal["auto", "yes", "no"]


def prepare(
    seed: int | None = None,
    precision: str = "float32",
    device: str = "auto",
    training: bool = False,
    jit_compile: Compile = "no",
    devices: int = 1,
) -> str:
    """Make the device ready and name it, with what it computes in: precision, TF32 on a GPU, XLA in training.

    precision: a dtype policy of Keras ("float32", "mixed_bfloat16", ...). device: "cpu" hides GPUs from this process,
    "cuda" asks for one, "auto" is a GPU where there is one. training: that days depend on it. jit_compile: see
    `resolved`. devices: of TensorFlow, that a training is shared out among; with device="cpu" parts of the processor.
    Raises InputError where a GPU is asked for and not found, or, in training, shown by the system and not found, and
    where there are fewer than `devices`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if device == "cpu":
        gpus.hide()
    with quiet():
        import keras

        found = _gpus()
    if keras.backend.backend() in gpus.TITLES:
        gpus.check(keras.backend.backend(), found, device, training)
    if devices > 1:
        _share_out(devices, found, device)
    with quiet():
        from ku.tensor_ops import GPUMemoryCap

        GPUMemoryCap(1)
        keras.ops.zeros(1)  # readies the device
    if seed is not None:
        keras.utils.set_random_seed(seed)
    keras.mixed_precision.set_dtype_policy(precision)
    how = resolved(precision, jit_compile)
    by = f"Keras {keras.__version__} on {keras.backend.backend()}"
    numbers = f"{precision}{' (TF32)' * how.get('tf32', False)}{', XLA' * how['compile']}"
    shared = f", {devices} devices share a batch" if devices > 1 else ""
    name = f"{', '.join(found) or machine()}{shared}, {by}, {numbers}"
    LOG.info(f"Device: {name}")
    return name


def resolved(precision: str, jit_compile: Compile) -> dict[str, Any]:
    """What settings come to on this device, made ready: precision, compile, and on TensorFlow's GPU whether by TF32.

    compile: whether a step is compiled as one, by XLA on TensorFlow. "auto": on a GPU of TensorFlow; on a processor it
    takes minutes and saves little.
    """
    import keras

    gpu = keras.backend.backend() == "tensorflow" and bool(_gpus())
    how = {"precision": precision, "compile": jit_compile == "yes" or (jit_compile == "auto" and gpu)}
    if gpu:
        import tensorflow as tf

        # Products in float32 by the first 10 bits of each factor's fraction; of no account to the mixed ones.
        how["tf32"] = precision == "float32" and tf.config.experimental.tensor_float_32_execution_enabled()
    return how


def settled(plan: "Plan") -> "Plan":
    """The plan: what Keras computes in is decided already."""
    return plan


def start(plan: "Plan") -> Engine:
    """The engine that is planned, on its device made ready. Says what it is."""
    prepare(precision=plan.precision, device=plan.device)
    model = plan.network.build()
    weights.load(model, plan.weights)
    return of_model(model, plan.network, plan.batch_size)


def _share_out(devices: int, found: list[str], device: str) -> None:
    """See that TensorFlow has so many devices. Raises InputError where it has not, and on another backend of Keras."""
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise InputError(f"devices should be 1 unless Keras runs on TensorFlow. Received: KERAS_BACKEND={backend}")
    if device == "cpu":
        import tensorflow as tf

        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(devices)]
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    elif len(found) < devices:
        raise InputError(
            f"devices should be at most the GPUs that TensorFlow finds, here {len(found)}; or give --device cpu, whose "
            f"parts are no faster together. Received: devices={devices}"
        )


def _gpus() -> list[str]:
    """The names of the GPUs that Keras computes on."""
    import keras

    if keras.backend.backend() == "torch":
        device = keras.ops.zeros(1).device
        return [] if device.type == "cpu" else [str(device)]
    return tensorflow_gpus() if keras.backend.backend() == "tensorflow" else []


def tensorflow_gpus() -> list[str]:
    """The names of the GPUs that TensorFlow computes on in this process."""
    import tensorflow as tf

    found = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return [details.get("device_name", "GPU") for details in found]


def of_model(model: "keras.Model", network: Network, batch_size: int = 8) -> Engine:
    """The engine that a Keras model in memory is."""
    import keras

    name = f"Keras {keras.__version__} on {keras.backend.backend()}, {keras.mixed_precision.dtype_policy().name}"

    def score(pictures: "np.ndarray") -> "np.ndarray":
        return model.predict_on_batch(pictures)[:, 0].astype("float32")

    return Engine(name, network, batch_size, score, any_batch=True)
