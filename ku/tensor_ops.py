"""Losses and metrics for rating models, on `keras.ops` (any Keras backend), and the choice of a GPU."""

import ctypes
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, update_wrapper
from typing import Any

import keras
import numpy as np
from keras import ops

from ku.containers import check_keys_exist

Tensor = Any  # of the backend in use, or an array


# Losses and metrics: float32 at least, whatever the precision of the network.


def _as_floats(*tensors: Tensor) -> list[Tensor]:
    tensors = [ops.convert_to_tensor(tensor) for tensor in tensors]
    dtype = keras.backend.result_type("float32", *(tensor.dtype for tensor in tensors))
    return [ops.cast(tensor, dtype) for tensor in tensors]


def _unit(x: Tensor) -> Tensor:
    """`x`, flat, less its mean and of norm 1; zeros, without gradient, where constant up to rounding."""
    x = ops.reshape(x, (-1,))
    centred = x - ops.mean(x)
    variance = ops.mean(ops.square(centred))
    epsilon = float(np.finfo(keras.backend.standardize_dtype(x.dtype)).eps)
    constant = variance <= ops.square(4 * epsilon * ops.max(ops.abs(x)))
    # The inner `where` keeps the gradient of the branch not taken finite: inf times zero is nan.
    norm = ops.sqrt(ops.where(constant, 1.0, ops.sum(ops.square(centred))))
    return ops.where(constant, 0.0, centred / norm)


def plcc(x: Tensor, y: Tensor) -> Tensor:
    """Return Pearson's correlation of all values of `x` with those of `y`; 0 where one is constant."""
    x, y = _as_floats(x, y)
    return ops.sum(_unit(x) * _unit(y))


def plcc_tf(x: Tensor, y: Tensor) -> Tensor:
    """`plcc` as a metric, shown as 'plcc_tf': Keras averages it over the batches of an epoch."""
    return plcc(x, y)


def plcc_loss(x: Tensor, y: Tensor) -> Tensor:
    """Return (1 - PLCC) / 2 of the batch: 0 for a perfect correlation, 0.5 for a constant batch."""
    return (1 - plcc(x, y)) / 2


def norm_in_norm_loss(x: Tensor, y: Tensor) -> Tensor:
    """Return norm-in-norm, p = 1, q = 2: the mean absolute difference of both, centred and divided by their norm.

    In [0, 1], and .5 at most for a constant batch. Li, Jiang and Jiang, arXiv 2008.03889, equation 7.
    """
    x, y = _as_floats(x, y)
    difference = _unit(x) - _unit(y)
    return ops.sum(ops.abs(difference)) / (2 * ops.sqrt(ops.cast(ops.size(difference), difference.dtype)))


def earth_mover_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return the mean distance of rating distributions, N x K with rows that sum to 1.

    The distance is the root mean square difference of the cumulative distributions: Talebi and Milanfar, NIMA
    (arXiv 1709.05424), equation 1 with r = 2.
    """
    y_true, y_pred = _as_floats(y_true, y_pred)
    square = ops.mean(ops.square(ops.cumsum(y_true, axis=-1) - ops.cumsum(y_pred, axis=-1)), axis=-1)
    equal = square == 0
    return ops.mean(ops.where(equal, 0.0, ops.sqrt(ops.where(equal, 1.0, square))))  # finite gradient at 0


def get_plcc_dist_tf(scores_array: Sequence[float] = (1, 2, 3, 4, 5)) -> Callable:
    """Return a metric: the PLCC of the mean scores of distributions, N x len(scores_array) summing to 1."""

    def plcc_dist_tf(y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_true, y_pred = _as_floats(y_true, y_pred)
        scores = ops.convert_to_tensor(scores_array, y_pred.dtype)
        return plcc(ops.sum(y_true * scores, axis=-1), ops.sum(y_pred * scores, axis=-1))

    return plcc_dist_tf


def get_plcc_dist_loss(scores_array: Sequence[float] = (1, 2, 3, 4, 5)) -> Callable:
    """Return a loss: (1 - PLCC) / 2 of the mean scores, as in `get_plcc_dist_tf`."""
    metric = get_plcc_dist_tf(scores_array)

    def plcc_dist_loss(y_true: Tensor, y_pred: Tensor) -> Tensor:
        return (1 - metric(y_true, y_pred)) / 2

    return plcc_dist_loss


def make_loss(loss: Callable | str, **params) -> Callable:
    """Return `loss`, a function (y_true, y_pred, ...) or a name Keras knows, with `params` bound to it.

    It keeps its `__name__`. Raises ValueError for parameters that it does not take.
    """
    loss = keras.losses.get(loss)
    known = inspect.signature(loss).parameters
    if all(parameter.kind != parameter.VAR_KEYWORD for parameter in known.values()):
        check_keys_exist(params, list(known)[2:])
    return update_wrapper(partial(loss, **params), loss)


# Devices, for the TensorFlow and PyTorch backends. Without a GPU both do nothing.


def SetActiveGPU(number: int = 0) -> None:
    """Compute on GPU `number` alone. RuntimeError where TensorFlow has already used one."""
    gpus = _gpus()
    if gpus and not 0 <= number < len(gpus):
        raise ValueError(f"number should be below {len(gpus)}, the count of GPUs. Received: number={number}")
    if gpus and keras.backend.backend() == "torch":
        import torch

        torch.cuda.set_device(number)
    elif gpus:
        import tensorflow as tf

        with _before_first_use():
            tf.config.set_visible_devices(gpus[number], "GPU")


def GPUMemoryCap(fraction: float = 1) -> None:
    """Take at most this share of the memory of the GPUs in use; 1 takes what is needed, without a cap.

    RuntimeError where TensorFlow has already used one.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction should be above 0 and at most 1. Received: fraction={fraction}")
    gpus = _gpus()
    if gpus and keras.backend.backend() == "torch":
        import torch

        torch.cuda.set_per_process_memory_fraction(fraction)
    elif gpus:
        import tensorflow as tf

        with _before_first_use():
            for index, gpu in enumerate(gpus):
                if gpu not in tf.config.get_visible_devices("GPU"):
                    continue
                if fraction == 1:
                    tf.config.experimental.set_memory_growth(gpu, True)
                else:
                    limit = tf.config.LogicalDeviceConfiguration(memory_limit=fraction * _cuda_memory(index))
                    tf.config.set_logical_device_configuration(gpu, [limit])


def _gpus() -> list:
    if keras.backend.backend() == "torch":
        import torch

        return list(range(torch.cuda.device_count()))
    import tensorflow as tf

    return tf.config.list_physical_devices("GPU")


@contextmanager
def _before_first_use() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f"GPUs should be set up before TensorFlow first uses them. Received: {error}") from error


def _cuda_memory(index: int) -> float:
    """MiB of CUDA device `index`, asked of the driver: TensorFlow tells only once it has taken it."""
    cuda, device, size = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_size_t()
    status = cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), index)
    status = status or cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    if status:
        raise OSError(f"CUDA error {status} asking for the memory of GPU {index}")
    return size.value / 2**20
