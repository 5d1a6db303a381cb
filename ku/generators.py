"""Batches for `fit`, `evaluate` and `predict` out of a table: pictures in a folder, arrays in HDF5, columns.

gen = DataGeneratorDisk(ids, "images/", inputs="image_name", outputs="MOS", batch_size=8)
model.fit(gen, epochs=2, shuffle=False)  # the generator has its own shuffled plan
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pandas as pd
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
from PIL import Image

from ku.columns import Columns, column_sets, names_in, stack, tables
from ku.containers import force_list
from ku.hdf5 import H5Helper, joined
from ku.image_utils import read_image
from ku.modes import opaque

__all__ = ["DataGenerator", "DataGeneratorDisk", "DataGeneratorHDF5", "GeneratorStack", "H5Helper"]


class DataGenerator(keras.utils.PyDataset):
    """Batches of the rows of `ids`, planned ahead; `read(name)` is a subclass's.

    `g[i]` -> (list of inputs, list of outputs). The inputs are one stack N x ... for each column of `inputs`
    (times its groups, times what `process_fn` returns), then those of `inputs_df`. An output, as an input of
    `inputs_df`, is float32, N x columns; of cells that hold arrays N x their shape, or N x columns x their shape
    where it has several columns. What a function returns for either is handed on as it is, whatever its number of
    rows; inputs of pictures come before it, in one list.
    The plan (`ids_index`: one row for each row used, in order) is drawn at construction and at each
    `on_epoch_end()`, so what a batch holds does not depend on the threads that load it.
    Attributes may be reassigned; call `on_epoch_end()` after those that the plan depends on.

    Args:
        ids: the rows; `ids_fn()`, if given, returns the next `ids` at each epoch's end.
        data_path: folder or file in which the names of `inputs` lie.
        batch_size: rows in a batch; `fixed_batches` drops the incomplete one, `group_by` names a column whose
            values are never mixed in a batch: the last batch of each may then be incomplete, `fixed_batches` or not.
        shuffle: plan the rows in random order; `deterministic`: None for fresh chance, True for seed 42, else
            a seed or a NumPy Generator.
        inputs: columns of names. `inputs_df`, `outputs`: columns of numbers or arrays, or lists of columns, one array
            each (a list that mixes names and lists raises an AssertionError at the first batch), or a function of
            the batch's rows.
        read_fn: `read_fn(name, generator)` reads one picture instead of the default.
        process_fn: `process_fn(picture, *values)` -> picture or a list of them, one input each, arrays or Pillow
            images (which go in as grey or the RGB that a viewer shows); the values
            are the row's in the columns `process_args` (for all inputs, or by input: {input: columns}).
        group_names: sub-folders or HDF5 groups; a list gives one input each, of a list of lists one list
            is drawn for each batch. `random_group`: each picture is read from a group inside its own that is drawn
            among those that hold it, base/ANY/NAME (from any at the top, where no `group_names` are given).
        input_shape: (height, width, ...) to which pictures read from disk are resized; None, ("orig",) and
            (None, None, 3) leave them as they are.
        workers, use_multiprocessing, max_queue_size: see `keras.utils.PyDataset`.
    """

    def __init__(
        self,
        ids: pd.DataFrame,
        data_path: str | Path | None = None,
        *,
        batch_size: int = 32,
        shuffle: bool = True,
        input_shape: Sequence | None = None,
        ids_fn: Callable[[], pd.DataFrame] | None = None,
        process_fn: Callable | None = None,
        read_fn: Callable[[str, "DataGenerator"], np.ndarray] | None = None,
        deterministic: bool | int | np.random.Generator | None = None,
        inputs: str | Sequence[str] = (),
        inputs_df: Columns = None,
        outputs: Columns = (),
        verbose: bool = False,
        fixed_batches: bool = False,
        process_args: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
        group_names: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        random_group: bool = False,
        group_by: str | None = None,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
        **unknown,
    ):
        super().__init__(workers, use_multiprocessing, max_queue_size)
        self.ids, self.data_path, self.batch_size = ids, data_path, batch_size
        self.shuffle, self.input_shape, self.ids_fn = shuffle, input_shape, ids_fn
        self.process_fn, self.read_fn = process_fn, read_fn
        self.inputs, self.inputs_df, self.outputs = inputs, inputs_df, outputs
        self.verbose, self.fixed_batches, self.process_args = verbose, fixed_batches, process_args
        self.group_names, self.random_group, self.group_by = group_names, random_group, group_by
        if unknown:
            known = [name for name in vars(self) if not name.startswith("_")]
            raise ValueError(
                f"arguments should be among {', '.join(known)}, deterministic, workers, use_multiprocessing, "
                f"max_queue_size. Received: {', '.join(f'{k}={v!r}' for k, v in unknown.items())}"
            )
        if deterministic is False:
            deterministic = None
        self._rng = np.random.default_rng(42 if deterministic is True else deterministic)
        self._plan()

    def read(self, name: str) -> np.ndarray:
        """The array called `name` (or `group/name`)."""
        raise NotImplementedError

    def groups_in(self, group: str) -> list[str]:
        """The names of the groups right inside `group` ('': the top), sorted."""
        raise NotImplementedError

    def holds(self, name: str) -> bool:
        """Whether there is an array called `name`."""
        raise NotImplementedError

    def on_epoch_end(self) -> None:
        """Fetch the next `ids`, where there is an `ids_fn`, and plan the next epoch."""
        if self.ids_fn is not None:
            self.ids = self.ids_fn()
        self._plan()

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index should be below {len(self)} batches. Received: index={index}")
        rows = self._planned_ids.iloc[self._batches[index]]
        pictures = self._pictures(rows, np.random.default_rng([self._seed, index % len(self)]))
        given = tables(rows, self.inputs_df, "inputs_df")
        inputs = [*pictures, *force_list(given)] if pictures else given
        return inputs, tables(rows, self.outputs, "outputs")

    def _plan(self) -> None:
        self._check()
        n, step = len(self.ids), self.batch_size
        order = self._rng.permutation(n) if self.shuffle else np.arange(n)
        groups = {0: order}
        if self.group_by is not None:
            codes, values = pd.factorize(self.ids[self.group_by].iloc[order], use_na_sentinel=False)
            groups = {value: order[codes == code] for code, value in enumerate(values)}
        batches = [(value, rows[i : i + step]) for value, rows in groups.items() for i in range(0, len(rows), step)]
        if self.fixed_batches and self.group_by is None:
            batches = [(value, rows) for value, rows in batches if len(rows) == step]
            if not batches:
                raise ValueError(
                    f"fixed_batches should leave at least one whole batch. Received: batch_size={step}, {n} rows"
                )
        if self.shuffle and self.group_by is not None:
            batches = [batches[i] for i in self._rng.permutation(len(batches))]
        other = next((i for i, (value, _) in enumerate(batches) if value != batches[0][0]), None)
        if other is not None:  # Keras learns from the first two batches which sizes vary
            batches.insert(1, batches.pop(other))
        self._batches = [rows for _, rows in batches]
        self._planned_ids = self.ids
        self._groups_in: dict[tuple, list[str]] = {}  # of (data_path, group): to list a folder takes time
        self._seed = int(self._rng.integers(2**63))
        sizes = [len(rows) for rows in self._batches]
        self.ids_index = pd.DataFrame(
            {
                "batch_index": np.repeat(np.arange(len(sizes)), sizes),
                "group_by": [value for value, rows in batches for _ in rows],
            },
            index=self.ids.index[np.concatenate(self._batches)],
        )
        if self.verbose:
            print(f"{type(self).__name__}: {sum(sizes)} of {n} rows in {len(sizes)} batches of up to {step}")

    def _check(self) -> None:
        if self.batch_size <= 0:
            raise ValueError(f"batch_size should be positive. Received: batch_size={self.batch_size}")
        if not len(self.ids):
            raise ValueError("ids should have at least one row. Received: ids with 0 rows")
        args = self.process_args
        if isinstance(args, Mapping):
            if strange := [name for name in args if name not in names_in(self.inputs)]:
                raise ValueError(f"process_args should be by input, {self.inputs}. Received: {strange}")
            args = list(args.values())
        named = [self.inputs, args, self.inputs_df, self.outputs, self.group_by]
        wanted = [column for spec in named for column in names_in(spec)]
        if missing := [column for column in dict.fromkeys(wanted) if column not in self.ids]:
            raise ValueError(f"columns should be among those of ids, {list(self.ids.columns)}. Received: {missing}")
        if not self.inputs and not self.inputs_df:
            raise ValueError("inputs or inputs_df should say what a batch is made of. Received: neither")

    def _pictures(self, rows: pd.DataFrame, rng: np.random.Generator) -> list[np.ndarray]:
        stacks = []
        for column in names_in(self.inputs):
            names = rows[column].astype(str)
            args = self.process_args
            args = args.get(column) if isinstance(args, Mapping) else args
            values = rows[names_in(args)].to_numpy(object)
            for paths in self._grouped(names, rng):
                pictures = [self._picture(path, row) for path, row in zip(paths, values, strict=True)]
                stacks += [stack(same_input, column) for same_input in zip(*pictures, strict=True)]
        return stacks

    def _grouped(self, names: Iterable[str], rng: np.random.Generator) -> list[list[str]]:
        """`names` as paths below `data_path`, one list an input."""
        groups = column_sets(self.group_names, "group_names") or [[""]]
        chosen = [group.rstrip("/") for group in groups[rng.integers(len(groups))]]
        if self.random_group:
            return [[self._drawn(group, name, rng) for name in names] for group in chosen]
        return [[joined(group, name) for name in names] for group in chosen]

    def _drawn(self, group: str, name: str, rng: np.random.Generator) -> str:
        """The path of `name` in a group inside `group`, drawn among those that hold it."""
        key = self.data_path, group
        if key not in self._groups_in:
            self._groups_in[key] = [joined(group, inner) for inner in self.groups_in(group)]
        inside = self._groups_in[key]
        if not inside:
            raise ValueError(f"random_group should have groups to draw from, inside {group!r}. Received: none there")
        paths = [joined(inside[i], name) for i in rng.permutation(len(inside))]
        return next((path for path in paths if self.holds(path)), paths[0])

    def _picture(self, path: str, values: Iterable) -> Sequence[np.ndarray]:
        picture = self.read(path) if self.read_fn is None else self.read_fn(path, self)
        if self.process_fn is not None:
            picture = self.process_fn(picture, *values)
        pictures = picture if isinstance(picture, (list, tuple)) else [picture]
        return [np.asarray(opaque(p)) if isinstance(p, Image.Image) else p for p in pictures]


class DataGeneratorDisk(DataGenerator):
    """A `DataGenerator` of the pictures in the folder `data_path`, read as float32 H x W x 3."""

    def read(self, name: str) -> np.ndarray:
        return read_image(self._place(name), image_size=fixed_size(self.input_shape) or 1)

    def groups_in(self, group: str) -> list[str]:
        return sorted(path.name for path in self._place(group).iterdir() if path.is_dir())

    def holds(self, name: str) -> bool:
        return self._place(name).exists()

    def _place(self, name: str) -> Path:
        return Path(self.data_path or "") / name


class DataGeneratorHDF5(DataGenerator):
    """A `DataGenerator` of the named arrays in the HDF5 file `data_path`, as they are stored.

    The file is opened for reading at the first batch and stays open until `close()`; `args` are those of
    `DataGenerator`.
    """

    def __init__(self, ids: pd.DataFrame, data_path: str | Path | None = None, *, memory_mapped: bool = False, **args):
        self.memory_mapped = memory_mapped
        self._lock = threading.Lock()
        self._opened: tuple[Path, H5Helper] | None = None
        super().__init__(ids, data_path, **args)

    def read(self, name: str) -> np.ndarray:
        with self._lock:
            return self._file().read_data([name])[0]

    def groups_in(self, group: str) -> list[str]:
        with self._lock:
            parent = self._file().hf.get(group or "/")
            if not isinstance(parent, h5py.Group):
                raise ValueError(f"group_names should be groups in {self.data_path}. Received: {group!r}")
            return sorted(name for name in parent if parent.get(name, getclass=True) is h5py.Group)

    def holds(self, name: str) -> bool:
        with self._lock:
            return name in self._file().hf

    def close(self) -> None:
        """Close the file; the next batch opens it again."""
        with self._lock:
            if self._opened is not None:
                self._opened[1].close()
                self._opened = None

    def _file(self) -> H5Helper:
        if not self.data_path:
            raise ValueError(f"data_path should be an HDF5 file. Received: data_path={self.data_path!r}")
        path = Path(self.data_path)
        if self._opened is None or self._opened[0] != path:
            self._opened = path, H5Helper(path, "r", memory_mapped=self.memory_mapped)
        return self._opened[1]


class GeneratorStack(keras.utils.PyDataset):
    """Generators side by side: batch i holds the inputs, and the outputs, of every generator's batch i.

    The generators should plan alike: the same rows and batch size, and shuffle=False or the same
    `deterministic` seed.
    """

    def __init__(
        self,
        generator_list: Sequence[keras.utils.PyDataset],
        *,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ):
        super().__init__(workers, use_multiprocessing, max_queue_size)
        self.generator_list = list(generator_list)
        if len({len(g) for g in self.generator_list}) != 1:
            raise ValueError(
                "generator_list should hold generators of one length. "
                f"Received: lengths={[len(g) for g in self.generator_list]}"
            )

    def __len__(self) -> int:
        return len(self.generator_list[0])

    def __getitem__(self, index: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        batches = [g[index] for g in self.generator_list]
        return tuple([array for part in side for array in force_list(part)] for side in zip(*batches, strict=True))

    def on_epoch_end(self) -> None:
        for g in self.generator_list:
            g.on_epoch_end()


def for_keras(part: Any) -> Any:
    """One side of a batch as Keras wants it: arrays, no pandas; to tf.data a list is one tensor."""
    arrays = [np.asarray(x) if isinstance(x, (pd.Series, pd.DataFrame)) else x for x in force_list(part)]
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def _accept_lists(standardize: Callable) -> Callable:
    def standardize_batch(adapter: PyDatasetAdapter, batch):
        if isinstance(adapter.py_dataset, (DataGenerator, GeneratorStack)):
            batch = tuple(for_keras(part) for part in batch if not (isinstance(part, list) and not part))
        return standardize(adapter, batch)

    return standardize_batch


# Keras on TensorFlow fails on batches that hold lists. Only those of the generators above become tuples on their
# way into a model.
PyDatasetAdapter._standardize_batch = _accept_lists(PyDatasetAdapter._standardize_batch)


def fixed_size(input_shape: Sequence | None) -> tuple[int, int] | None:
    """The (height, width) that pictures are resized to by an `input_shape`, or None where they keep their own."""
    size = tuple(input_shape or ())[:2]
    return size if len(size) == 2 and all(isinstance(length, (int, np.integer)) for length in size) else None
