"""Small tools that everything else builds on: HDF5 files, correlations, names, dictionaries, downloads."""

import hashlib
import math
import re
import tarfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import h5py
import numpy as np
from tqdm import tqdm

from ku.files import atomic_path, make_dirs

if TYPE_CHECKING:
    import pandas as pd


# Files


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
        names = [_join(group, name) for group in groups for name in dataset_names]
        kept = h5py.Group if self.overwrite else h5py.HLObject
        taken = [name for name in names if isinstance(self.hf.get(name), kept)]
        if taken or len(set(names)) < len(names):
            raise ValueError(
                f"dataset_names should be distinct and new to {self.file_name}; overwrite=True replaces "
                f"datasets, not groups. Received: dataset_names={_trimmed(taken or names)}"
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
            return [self.read_data([_join(group, n) for n in force_list(names)]) for group in groups]
        arrays = [self._read(name) for name in force_list(names)]
        if len(shapes := {np.shape(array) for array in arrays}) != 1:
            raise ValueError(
                f"names should be datasets of one shape. Received: names={_trimmed(names)} with shapes {sorted(shapes)}"
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
        return self.read_data([_join(group, name) for name in force_list(names)])

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


def _join(group: str, name: str) -> str:
    return f"{group}/{name}" if group else name


def download_archive(
    data_url: str,
    data_root: str | Path,
    cache_root: str | Path | None = None,
    delete_archive: bool = True,
    verbose: bool = False,
    archive_type: str | None = None,
) -> Path:
    """Download the zip or tar archive at `data_url`, extract it into `data_root` and return that folder.

    The archive is kept in `cache_root` (default: data_root), where one downloaded before is used again, until
    delete_archive. archive_type: 'zip' or 'tar' (any compression); None tells by the name. Raises ValueError
    for another type and for a member that would leave `data_root`, OSError for a failed or short download.
    """
    name = unquote(urlsplit(data_url).path).rpartition("/")[2]
    ending = re.search(r"(^|\.)(?:(zip)|tar(\.\w+)?|t(gz|bz2?|xz))$", (archive_type or name).lower())
    if not name or not ending:
        raise ValueError(
            "data_url should end in the name of a zip or tar archive, or archive_type be 'zip' or 'tar'. "
            f"Received: data_url={data_url!r}, archive_type={archive_type!r}"
        )
    data_root = Path(data_root)
    data_root.mkdir(parents=True, exist_ok=True)
    archive = Path(cache_root or data_root) / name
    if not archive.exists():
        _download(data_url, archive, verbose)
    try:
        (_extract_zip if ending[2] else _extract_tar)(archive, data_root)
    except (zipfile.BadZipFile, tarfile.ReadError) as error:
        archive.unlink()
        raise ValueError(
            f"data_url should lead to a zip or tar archive ({error}). Received: data_url={data_url!r}"
        ) from error
    if delete_archive:
        archive.unlink()
    return data_root


def _extract_zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.namelist():
            if not (folder / member).resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"Archive members should stay in {folder}. Received: member={member!r}")
        file.extractall(folder)


def _extract_tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as file:
        try:
            file.extractall(folder, filter="data")
        except tarfile.FilterError as error:
            raise ValueError(
                f"Archive members should stay in {folder}. Received: member={error.tarinfo.name!r}"
            ) from error


def _download(url: str, path: Path, verbose: bool) -> None:
    with urlopen(url, timeout=60) as response, atomic_path(path) as temporary:
        expected = int(response.headers.get("Content-Length") or 0)
        bar = tqdm(total=expected or None, unit="B", unit_scale=True, desc=path.name, disable=not verbose)
        with temporary.open("wb") as file, bar:
            while block := response.read(1 << 20):
                file.write(block)
                bar.update(len(block))
        if expected and (size := temporary.stat().st_size) != expected:
            raise OSError(f"{url} should have {expected} bytes. Received: {size} bytes")


# Numbers


def minmax(x) -> tuple:
    """Return the least and the greatest value of `x`."""
    return np.min(x), np.max(x)


def mapmm(x, new_range: Sequence[float] = (0, 1)) -> np.ndarray:
    """Return `x` as floats, mapped linearly so that its least and greatest value become `new_range`.

    A constant `x` becomes new_range[0] throughout.
    """
    x = np.asarray(x)
    x = x.astype(np.result_type(x, np.float32), copy=False)
    low, high = minmax(x)
    start, end = new_range
    return (x - low) / ((high - low) or 1) * (end - start) + start


def plcc(x, y) -> float:
    """Return Pearson's correlation of two arrays of one size; nan where one is constant or not finite."""
    x, y = _pair(x, y)
    if x.size < 2 or not np.isfinite([x, y]).all() or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of tiny or huge values would leave float64
    return float(np.clip(x / np.linalg.norm(x) @ (y / np.linalg.norm(y)), -1, 1))


def srocc(xs, ys) -> float:
    """Return Spearman's rank correlation of two arrays of one size, ties averaged; nan as in `plcc`."""
    xs, ys = _pair(xs, ys)
    if np.isnan([xs, ys]).any():
        return math.nan
    return plcc(_ranks(xs), _ranks(ys))


srcc = srocc


def _pair(x, y) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(values, np.float64).ravel() for values in (x, y))
    if x.size != y.size:
        raise ValueError(f"x and y should have one size. Received: sizes {x.size} and {y.size}")
    return x, y


def _ranks(x: np.ndarray) -> np.ndarray:
    _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def dist2mos(x, scale: Sequence[float] = (1, 2, 3, 4, 5)) -> np.ndarray:
    """Return the mean rating of each distribution (or row of counts) of `x`, ... x len(scale)."""
    x = np.asarray(x, np.float64)
    if x.shape[-1] != len(scale):
        raise ValueError(f"x should have {len(scale)} columns, one a rating. Received: x.shape={x.shape}")
    return x @ np.asarray(scale, np.float64) / x.sum(axis=-1)


def array_overlap(a, b) -> tuple[np.ndarray, np.ndarray]:
    """Return where the values common to `a` and `b` stand first in each: a[i] equals b[j], ascending."""
    return np.intersect1d(a, b, return_indices=True)[1:]


def partition_rows(
    t: "pd.DataFrame",
    test_size: float = 0.2,
    set_name: str = "set",
    set_values: Sequence[str] = ("training", "test"),
    random_state: int | np.random.Generator | None = None,
    copy: bool = True,
) -> "pd.DataFrame":
    """Return `t` with the column `set_name`, which says for each row which of the two `set_values` it is in.

    test_size: rows drawn for the second set, a float as the share of all, an int as their number.
    copy: False writes the column into `t` itself.
    """
    count = test_size if isinstance(test_size, int | np.integer) else round(test_size * len(t))
    if not 0 <= count <= len(t):
        raise ValueError(f"test_size should be a share or at most the {len(t)} rows. Received: test_size={test_size}")
    first, second = set_values
    in_test = np.random.default_rng(random_state).permutation(len(t)) < count
    t = t.copy() if copy else t
    t[set_name] = np.where(in_test, second, first)
    return t


# Containers


def force_list(x: Any) -> list:
    """Return a list or tuple as a list, anything else (a str, an array, None) as a list of one."""
    return list(x) if isinstance(x, list | tuple) else [x]


def force_tuple(x: Any) -> tuple:
    """Return `x` as a tuple, by the rule of `force_list`."""
    return tuple(force_list(x))


def chunks(l: Sequence, n: int) -> Iterator[Sequence]:  # noqa: E741
    """Yield successive slices of `n` items of `l`; the last may be shorter."""
    if n < 1:
        raise ValueError(f"n should be positive. Received: n={n}")
    for start in range(0, len(l), n):
        yield l[start : start + n]


def check_keys_exist(new: Iterable[str], old: Iterable[str]) -> None:
    """Raise ValueError naming the keys of `new` that `old` lacks, and those it has."""
    known = set(old)
    if unknown := [key for key in new if key not in known]:
        raise ValueError(f"Parameters should be among {', '.join(sorted(known))}. Received: {', '.join(unknown)}")


def updated_dict(d: Mapping, only_existing: bool = True, **updates) -> dict:
    """Return a copy of `d` with the updates; only_existing leaves out those whose key is not in `d`."""
    return {**d, **{key: value for key, value in updates.items() if key in d or not only_existing}}


def update_config(obj: Any, **kwargs) -> None:
    """Set attributes of `obj` (items of a mapping) that exist; others raise ValueError and nothing is set."""
    if isinstance(obj, MutableMapping):
        check_keys_exist(kwargs, obj)
        obj.update(kwargs)
    else:
        check_keys_exist(kwargs, [name for name in dir(obj) if not name.startswith("_")])
        for key, value in kwargs.items():
            setattr(obj, key, value)


def get_sizes(x: Any, array_marker: str = "array") -> str:
    """Describe nested lists, tuples and arrays by size, as in '([array<2,224,224,3>], [array<2,1>])'."""
    if isinstance(x, list | tuple):
        items = ", ".join(get_sizes(item, array_marker) for item in x)
        return f"[{items}]" if isinstance(x, list) else f"({items})"
    if hasattr(x, "shape") and not isinstance(x, np.generic):
        return f"{array_marker}<{','.join(map(str, x.shape))}>"
    return "<1>"


class ShortNameBuilder(dict):
    """A dict of parameters that, called, builds a file name: the prefix, then each key with its value.

    Keys are sorted. The name is legal on Linux, macOS and Windows and at most 200 bytes long.
    sep: what stands between key and value, and between parts.
    max_len: bytes of the longest value; of a longer one the end becomes a digest of the whole.

    >>> ShortNameBuilder("koncept", loss="mse", bsz=8)(lr=0.1)
    'koncept_bsz8_lossmse_lr0.1'
    """

    def __init__(self, prefix: str = "", sep: Sequence[str] = ("", "_"), max_len: int = 32, **parts):
        super().__init__(parts)
        self.prefix = prefix
        self.sep = tuple(sep)
        self.max_len = max_len

    def __call__(self, **updates) -> str:
        """Return the name, with `updates` put in for this once."""
        between, after = self.sep
        parts = {**self, **updates}
        texts = [f"{key}{between}{_shortened(_text(parts[key]), self.max_len)}" for key in sorted(parts)]
        return _legal_name(after.join([self.prefix, *texts] if self.prefix else texts))

    def subset(self, keys: str | Sequence[str]) -> "ShortNameBuilder":
        """Return a builder of the same form with only these keys."""
        keys = force_list(keys)
        check_keys_exist(keys, self)
        return ShortNameBuilder(self.prefix, self.sep, self.max_len, **{key: self[key] for key in keys})


def _text(value: Any) -> str:
    """A text for `value` that is the same in every process, so without addresses."""
    if isinstance(value, list | tuple):
        return ",".join(map(_text, value))
    if hasattr(value, "__name__"):
        return value.__name__
    return type(value).__name__ if type(value).__repr__ is object.__repr__ else str(value)


def _shortened(text: str, max_len: int) -> str:
    data = text.encode()
    if len(data) <= max_len:
        return text
    digest = hashlib.sha256(data).hexdigest()[:8]
    return (data[: max(max_len - 9, 0)].decode(errors="ignore") + "-" + digest)[-max_len:]


def _legal_name(text: str) -> str:
    text = _shortened(re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f]', "-", text), 200).rstrip(". ")
    reserved = re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", text, re.IGNORECASE)
    return f"_{text}" if reserved else text


# The console


def pretty_print(d: Mapping, indent: int = 0, key_sep: str = ":", trim: bool = True) -> None:
    """Print a mapping, one key a line and nested ones indented; trim cuts long values."""
    for key, value in d.items():
        if isinstance(value, Mapping):
            print(f"{' ' * indent}{key}{key_sep}")
            pretty_print(value, indent + 2, key_sep, trim)
        else:
            print(f"{' ' * indent}{key}{key_sep} {_trimmed(value) if trim else value}")


pretty = pretty_print


def _trimmed(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def print_sizes(x: Any) -> None:
    """Print `get_sizes(x)`."""
    print(get_sizes(x))


def raw_confirm(message: str) -> bool:
    """Ask for a yes on the console; anything but y or yes is a no."""
    return input(f"{message} [y/n] ").strip().lower() in ("y", "yes")


def show_progress(
    iteration: int,
    total: int,
    prefix: str = "",
    suffix: str = "",
    decimals: int = 1,
    length: int = 50,
    fill: str = "█",
) -> None:
    """Draw a bar for `iteration` of `total` over the console's current line; the last one ends the line."""
    share = iteration / total if total else 1.0
    bar = (fill * round(length * share)).ljust(length, "-")
    end = "\n" if iteration >= total else ""
    print(f"\r{prefix} |{bar}| {100 * share:.{decimals}f}% {suffix}", end=end, flush=True)


class Timer:
    """A context manager that prints how long its block took and keeps it in `elapsed` (seconds)."""

    def __init__(self, name: str | None = None):
        self.name = name
        self.elapsed = 0.0

    def __enter__(self) -> "Timer":
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception) -> None:
        self.elapsed = time.perf_counter() - self._start
        print(f"{self.name or 'elapsed'}: {self.elapsed:.3f} s")
