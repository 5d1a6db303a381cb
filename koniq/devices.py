"""The device that TensorFlow finds, made ready: GPU memory as it grows, the seed, the precision; and its name."""

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile

import koniq
from koniq import gpus
from koniq.ground.built import commit as commit  # part of what a record says, as what is below

PACKAGES = (
    *("keras", "tensorflow", "tf-keras", "kuti", "torch", "openvino", "onnxruntime"),
    *("numpy", "pandas", "scipy", "pillow", "h5py"),
)


def prepare(seed: int | None = None, precision: str = "float32", device: str = "auto", training: bool = False) -> str:
    """Make the device ready and name it.

    precision: a dtype policy of Keras ("float32", "mixed_bfloat16", ...). device: "cpu" hides GPUs from this process,
    "cuda" asks for one, "auto" is a GPU where there is one. training: that days depend on it. Raises InputError where a
    GPU is asked for and not found, or, in training, shown by the system and not found.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if device == "cpu":
        gpus.hide()
    with quiet():
        import keras

        found = _gpus()
    if keras.backend.backend() in gpus.TITLES:
        gpus.check(keras.backend.backend(), found, device, training)
    with quiet():
        from ku.tensor_ops import GPUMemoryCap

        GPUMemoryCap(1)
        keras.ops.zeros(1)  # readies the device
    if seed is not None:
        keras.utils.set_random_seed(seed)
    keras.mixed_precision.set_dtype_policy(precision)
    name = f"{', '.join(found) or machine()}, Keras {keras.__version__} on {keras.backend.backend()}, {precision}"
    print(f"Device: {name}")
    return name


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what native code writes to stderr (TensorFlow a page, as it loads), unless it ends in an error."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def native_silence() -> Iterator[None]:
    """Drops what native code writes to stderr (libtiff lines for each odd file); what Python writes goes on."""
    sys.stderr.flush()
    python, stderr, nowhere = sys.stderr, os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    if python is sys.__stderr__:  # else somebody collects it elsewhere already
        like = {"encoding": python.encoding, "errors": python.errors}
        sys.stderr = open(stderr, "w", buffering=1, closefd=False, **like)  # noqa: SIM115  a descriptor has no path
    try:
        yield
    finally:
        sys.stderr = python
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


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


def machine() -> str:
    """The processor and the number of its cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open() as lines:
            name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name} ({cores} cores)"


def versions() -> dict[str, str]:
    """The versions of Python, of koniq, and of the packages that a result depends on."""
    found = {"python": platform.python_version(), "koniq": koniq.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
