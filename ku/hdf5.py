"""Named arrays in one HDF5 file, by themselves or in groups."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from ku.containers import force_list, trimmed
from ku.files import make_dirs


class H5Helper:
    """Named arrays in an HDF5 file, each a dataset `name` or `group/name`; `.hf` is the open file.

    file_mode: as in h5py; None opens an existing file to read, and again to append at the first write, and
        creates a missing one.
    memory_mapped: while the file is only read, contiguous datasets (all that `write_data` writes) come from
        one `numpy.memmap` of it.
    overwrite: a write replaces datasets of the same name, else they raise ValueError.
    backing_store: keep the whole file in memory and write it to the disk on closing.
    """

    def __init__(
        self,
        file_name: str | Path,
        file_mode: str | None = None,
        memory_mapped: bool = False,
        overwrite: bool = False,
        backing_store: bool = False,
        verbose: bool = False,
    ):
        self.file_name = Path(file_name)
        self.file_mode = file_mode
        self.memory_mapped = memory_mapped
        self.overwrite = overwrite
        self.backing_store = backing_store
        self.verbose = verbose
        self._open(file_mode or ("r" if self.file_name.exists() else "a"))

    def _open(self, mode: str) -> None:
        if not mode.startswith("r"):
            make_dirs(self.file_name)
        in_memory = {"driver": "core", "backing_store": True} if self.backing_store else {}
        self.hf = h5py.File(self.file_name, mode, **in_memory)
        only_read = mode == "r" and self.memory_mapped and not self.backing_store
        self._map = np.memmap(self.file_name, mode="r") if only_read else None
        self._groups = None

    def close(self) -> None:
        self.hf.close()
        self._map = None

    def __enter__(self) -> "H5Helper":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    @property
    def dataset_names(self) -> list[str]:
        """Every dataset, as `name` or `group/name`."""
        names = []
        self.hf.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        return names

    @property
    def group_names(self) -> list[str]:
        """The groups that hold datasets."""
        if self._groups is None or self.hf.mode != "r":  # a second for 10,000 datasets
            groups = (name.rpartition("/")[0] for name in self.dataset_names)
            self._groups = list(dict.fromkeys(group for group in groups if group))
        return list(self._groups)

    def write_data(
        self,
        data: np.ndarray | Sequence,
        dataset_names: str | Sequence[str],
        group_names: str | Sequence[str] | None = None,
    ) -> None:
        """Write row i of `data` (N x ...) as dataset_names[i]; with groups `data` is a list of such arrays.

        Raises ValueError, before anything is written, where the counts differ or a name is taken.
        """
        dataset_names = force_list(dataset_names)
        groups, arrays = [""], [data]
        if group_names is not None:
            groups, arrays = force_list(group_names), force_list(data)
        if len(arrays) != len(groups):
            raise ValueError(
                f"data should hold one array a group. Received: {len(arrays)} arrays, group_names={groups}"
            )
        for rows in arrays:
            if len(rows) != len(dataset_names):
                raise ValueError(
                    "data should have one row a dataset name. "
                    f"Received: {len(rows)} rows, {len(dataset_names)} dataset_names"
                )
        names = [joined(group, name) for group in groups for name in dataset_names]
        kept = h5py.Group if self.overwrite else h5py.HLObject
        taken = [name for name in names if isinstance(self.hf.get(name), kept)]
        if taken or len(set(names)) < len(names):
            raise ValueError(
                f"dataset_names should be distinct and new to {self.file_name}; overwrite=True replaces "
                f"datasets, not groups. Received: dataset_names={trimmed(taken or names)}"
            )
        if self.hf.mode == "r" and self.file_mode is None:
            self.close()
            self._open("a")
        rows = (row for array in arrays for row in array)
        names = tqdm(names, desc=self.file_name.name, disable=not self.verbose)
        for name, row in zip(names, rows, strict=True):
            if name in self.hf:
                del self.hf[name]
            self.hf.create_dataset(name, data=row)
        self.hf.flush()

    def read_data(
        self, names: str | Sequence[str], group_names: str | Sequence[str] | None = None
    ) -> np.ndarray | list[np.ndarray]:
        """Return the datasets `names` as one array N x ...; with groups a list of such arrays, one a group.

        Raises KeyError for a missing dataset, ValueError for shapes that differ.
        """
        if group_names is not None:
            groups = force_list(group_names)
            return [self.read_data([joined(group, n) for n in force_list(names)]) for group in groups]
        arrays = [self._read(name) for name in force_list(names)]
        if len(shapes := {np.shape(array) for array in arrays}) != 1:
            raise ValueError(
                f"names should be datasets of one shape. Received: names={trimmed(names)} with shapes {sorted(shapes)}"
            )
        return np.stack(arrays)

    def read_data_random_group(
        self, names: str | Sequence[str], *, rng: np.random.Generator | None = None
    ) -> np.ndarray:
        """Return the datasets `names` of one group drawn at random, as one array N x ..."""
        groups = self.group_names
        if not groups:
            raise ValueError(f"The file should have groups. Received: file_name={self.file_name}")
        group = groups[(rng or np.random.default_rng()).integers(len(groups))]
        return self.read_data([joined(group, name) for name in force_list(names)])

    def _read(self, name: str) -> np.ndarray:
        dataset = self.hf.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise KeyError(f"names should be datasets in {self.file_name}. Received: name={name!r}")
        offset = None if self._map is None else dataset.id.get_offset()
        if offset is None or dataset.dtype.hasobject:  # chunked, compressed, empty; texts of any length
            return dataset[()]
        return self._map[offset : offset + dataset.nbytes].view(dataset.dtype).reshape(dataset.shape)

    def summary(self, print_limit: int = 100) -> None:
        """Print the groups and the first `print_limit` datasets with shape and type."""
        names = self.dataset_names
        print(f"{self.file_name}: {len(names)} datasets, groups {self.group_names}")
        for name in names[:print_limit]:
            print(f"  {name}: {self.hf[name].dtype}{self.hf[name].shape}")
        if len(names) > print_limit:
            print(f"  and {len(names) - print_limit} more")


def joined(group: str, name: str) -> str:
    """`group/name`, or `name` where there is no group."""
    return f"{group}/{name}" if group else name
