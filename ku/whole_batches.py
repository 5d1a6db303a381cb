"""Batches of pictures that are all of one shape: each copied once, to its place in the batch, and not mirrored here."""

import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
from numpy.typing import DTypeLike

from ku.columns import column_sets, names_in, tables
from ku.generators import DataGenerator

if TYPE_CHECKING:
    import tensorflow as tf

ALIGNED = 64  # bytes: an array that begins at a multiple of it becomes a tensor of TensorFlow without a copy


class Buffers:
    """Memory for arrays of one size, used again once nobody holds the array that was made in it.

    The system hands out fresh memory a page at a time, which takes longer than to fill it with pictures.
    """

    def __init__(self) -> None:
        self.made = 0
        self._free: deque[np.ndarray] = deque()

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> np.ndarray:
        """A new array, its contents of no account."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        try:
            memory = self._free.pop()  # a thread at a time has it
        except IndexError:
            memory = None
        if memory is None or memory.nbytes < size:
            self.made += 1
            memory = np.empty(size + ALIGNED, np.uint8)
            memory = memory[-memory.ctypes.data % ALIGNED :][:size]
        return np.asarray(_Lent(memory, tuple(shape), np.dtype(dtype), self._free))


class _Lent:
    """What an array made in a buffer, and any part of it, keeps alive: once it goes, the buffer is free again."""

    def __init__(self, memory: np.ndarray, shape: tuple[int, ...], dtype: np.dtype, free: deque):
        self.__array_interface__ = {
            "data": (memory.ctypes.data, False),
            "shape": shape,
            "typestr": dtype.str,
            "version": 3,
        }
        weakref.finalize(self, free.append, memory).atexit = False


class WholeBatches(DataGenerator):
    """A `DataGenerator` of pictures of one shape and type, for a `ku.on_device.OnDevice`.

    `g[i]` -> ([pictures N x *shape], [outputs]), or with `flips`, a column of `ids`, ([pictures, flips N], [outputs]).
    Where `ids` lack the column, nothing is to be mirrored. TensorFlow reads ahead in `workers` threads of its own.

    Args:
        shape, dtype: of what `read_fn(name, generator)` gives; () and int32 where rows of a set stand for pictures.
        inputs: the one column of names.
        args: those of `DataGenerator`, less what draws pictures, or makes others of them.
    """

    def __init__(
        self,
        ids: pd.DataFrame,
        data_path: Any = None,
        *,
        read_fn: Callable[[str, DataGenerator], np.ndarray],
        shape: Sequence[int],
        dtype: DTypeLike = np.uint8,
        flips: str = "",
        workers: int = 1,
        **args: Any,
    ):
        self.shape, self.dtype, self.flips, self.readers = tuple(shape), np.dtype(dtype), flips, workers
        self.buffers = Buffers()
        super().__init__(ids, data_path, read_fn=read_fn, **args)

    def __getitem__(self, index: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index should be below {len(self)} batches. Received: index={index}")
        names, flips, outputs = self._columns
        rows = self._batches[index]
        pictures = self.buffers.empty((len(rows), *self.shape), self.dtype)
        for place, row in enumerate(rows):
            pictures[place] = self.read_fn(names[row], self)
        return [pictures, *(each[rows] for each in flips)], [each[rows] for each in outputs]

    def _plan(self) -> None:
        super()._plan()
        (name,) = names_in(self.inputs)
        flips = [self.ids[self.flips].to_numpy(bool)] if self.flips in self.ids else []
        outputs = tables(self.ids, self.outputs, "outputs")
        self._columns = self.ids[name].astype(str).tolist(), flips, outputs

    def tf_dataset(self) -> "tf.data.Dataset":
        """The batches of an epoch, as they are planned when it begins, read ahead in threads."""
        import tensorflow as tf

        sizes = {len(rows) for rows in self._batches}
        size = sizes.pop() if len(sizes) == 1 else None
        widths = [len(columns) for columns in column_sets(self.outputs, "outputs")]
        specs = [tf.TensorSpec((size, *self.shape), self.dtype)]
        specs += [tf.TensorSpec((size,), tf.bool)] * len(self._columns[1])
        specs += [tf.TensorSpec((size, width), tf.float32) for width in widths]

        def read(number: np.ndarray) -> list[np.ndarray]:
            inputs, outputs = self[int(number)]
            return [*inputs, *outputs]

        def batch(number: tf.Tensor) -> tuple:
            arrays = tf.numpy_function(read, [number], [spec.dtype for spec in specs])
            arrays = [tf.ensure_shape(array, spec.shape) for array, spec in zip(arrays, specs, strict=True)]
            x, y = arrays[: -len(widths)], arrays[-len(widths) :]
            return tuple(part[0] if len(part) == 1 else tuple(part) for part in (x, y))

        numbers = tf.data.Dataset.range(len(self))
        return numbers.map(batch, num_parallel_calls=self.readers, deterministic=True).prefetch(self.max_queue_size)


def _own_dataset(usual: Callable) -> Callable:
    def get_tf_dataset(adapter: PyDatasetAdapter) -> "tf.data.Dataset":
        own = getattr(adapter.py_dataset, "tf_dataset", None)
        return own() if own else usual(adapter)

    return get_tf_dataset


# Keras would have the batches by a Python generator, at which a thread of TensorFlow waits for another of Python.
PyDatasetAdapter.get_tf_dataset = _own_dataset(PyDatasetAdapter.get_tf_dataset)
