"""Pictures for training: decoded once, or prepared, kept as uint8; and in which order an epoch sees them."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile

import h5py
import numpy as np
import pandas as pd
from numpy.typing import DTypeLike
from tqdm import tqdm

from koniq.contents import HASH_BYTES, digest_of
from koniq.datasets import DataSet
from koniq.ground import InputError
from koniq.network import Network
from koniq.prediction import decode

PREPARED_VERSION = 1  # of the layout of koniq.prepare's files
HASHES = ".source_hashes"  # in them, HASH_BYTES for each picture; no picture is called so
NAMED = 100  # pictures that do not open, in one message
SHARE_OF_MEMORY = 0.5  # of what is free; more than that goes to a memory-mapped file


class Seen:
    """What has a picture by name, seen straight or mirrored."""

    def seen(self, image_name: str, flip: bool) -> np.ndarray:
        """The picture (height, width, 3), mirrored left to right if `flip`."""
        return flipped(self[image_name], flip)


class Pictures(Seen):
    """The pictures of a table as a network takes them: `pictures[image_name]` is uint8 (height, width, 3), RGB.

    ids: a table with image_name and image_path. They lie in memory, or in a memory-mapped temporary file in `folder`
    when they take more than half of the free memory. prepared: a file of koniq.prepare, used if it is there and fits;
    what does not fit in memory is then read from it when it is needed. broken: those that do not open, and why, by
    name. Raises InputError, naming all of them, if there are any and `skip_broken` is not set.
    """

    def __init__(
        self,
        ids: pd.DataFrame,
        network: Network,
        folder: Path,
        workers: int = 2,
        prepared: Path | None = None,
        quiet: bool = False,
        skip_broken: bool = False,
    ):
        shape = (len(ids), *network.input_size, 3)
        self.row = {name: row for row, name in enumerate(ids.image_name)}
        self.in_memory = fits_memory(shape, np.uint8)
        self.prepared = _fitting(prepared, ids, network)
        todo = ids
        if self.prepared and not self.in_memory:
            todo = ids[~ids.image_name.isin(self.prepared.places)]
        else:
            self.pixels = room_for(shape, np.uint8, folder)

        def fill(name: str, path: Path) -> str:
            if self.prepared and name in self.prepared.places:
                self.pixels[self.row[name]] = self.prepared[name]
                return ""
            pixels, why = opened(path, network)
            if not why:
                self.pixels[self.row[name]] = pixels
            return why

        with ThreadPoolExecutor(workers) as pool:
            done = pool.map(fill, todo.image_name, todo.image_path)
            try:
                whys = list(tqdm(done, total=len(todo), desc="reading", unit="pic", disable=quiet or None))
            finally:
                pool.shutdown(cancel_futures=True)
        self.broken = {name: why for name, why in zip(todo.image_name, whys, strict=True) if why}
        check_whole(self.broken, len(ids), skip_broken, quiet)

    def __getitem__(self, image_name: str) -> np.ndarray:
        return self.pixels[self.row[image_name]] if self.in_memory or not self.prepared else self.prepared[image_name]


def fits_memory(shape: tuple[int, ...], dtype: DTypeLike) -> bool:
    """Whether an array may lie in memory: it takes at most half of what is free."""
    return np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize < SHARE_OF_MEMORY * free_memory()


def room_for(shape: tuple[int, ...], dtype: DTypeLike, folder: Path) -> np.ndarray:
    """An array to be filled: in memory if it fits there, else a memory-mapped temporary file in `folder`."""
    if fits_memory(shape, dtype):
        return np.empty(shape, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=folder) as file:  # the mapping keeps it, and nothing is left of it after any end
        return np.memmap(file, dtype, "w+", shape=shape)


def opened(path: Path, network: Network) -> tuple[np.ndarray | None, str]:
    """The pixels of a picture as the network takes them, see `decode`, and ""; or None, and why it has none."""
    score, pixels = decode(path, network)
    return pixels, "" if pixels is not None else f"{score.status}: {score.error}"


def check_whole(broken: Mapping[str, str], count: int, skip: bool, quiet: bool = False) -> None:
    """Raise InputError if any of `count` pictures do not open, naming all of them; print it if they may be left out.

    broken: why they do not open, by name.
    """
    if not broken:
        return
    named = ", ".join(f"{name} ({why})" for name, why in list(broken.items())[:NAMED])
    named += f", and {len(broken) - NAMED:,} more" if len(broken) > NAMED else ""
    if not skip or len(broken) == count:
        others = ", or give --skip-missing to go on without them" if len(broken) < count else ""
        raise InputError(
            f"Pictures of the table should be whole. Received: {len(broken):,} of {count:,} that are not, {named}. "
            f"Replace them, take their rows out of the table{others}; python -m koniq.check lists all that is wrong."
        )
    if not quiet:
        print(f"{len(broken):,} of {count:,} pictures do not open, and are left out: {named}")


def content_hash(path: Path) -> bytes:
    """What tells the content of a file from that of others, HASH_BYTES long."""
    with path.open("rb") as file:
        return digest_of(file)


class Prepared(Seen):
    """The pictures in a file of koniq.prepare: `prepared[image_name]` is uint8 (height, width, 3), RGB, read-only.

    The file is mapped, and a picture read when it is asked for. Processes may share the file, and the object may be
    sent to another one. Raises InputError if the file is not of koniq.prepare.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            with h5py.File(path, "r") as file:
                self.facts = dict(file.attrs)
                self.shape = (*map(int, self.facts["input_size"]), 3)
                self.places: dict[str, int] = {}  # where in the file the pixels of each picture begin
                self.source_bytes: dict[str, int] = {}  # the size of the file that each was made from
                self.source_times: dict[str, int] = {}  # when that was changed last, ns; earlier files do not say
                self.hash_places: dict[str, int] = {}  # where in the file the hash of its content begins
                file.visititems(self._find)
                if HASHES in file:
                    start = file[HASHES].id.get_offset()
                    self.hash_places = {name: start + HASH_BYTES * row for name, row in self.hash_places.items()}
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} should be a file of koniq.prepare. Received: {error}") from error
        self._bytes: np.memmap | None = None

    def _find(self, name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and name != HASHES:
            self.places[name] = item.id.get_chunk_info(0).byte_offset
            self.source_bytes[name] = int(item.attrs["source_bytes"])
            if "source_time" in item.attrs:
                self.source_times[name] = int(item.attrs["source_time"])
                self.hash_places[name] = int(item.attrs["source_row"])

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, image_name: str) -> np.ndarray:
        return self._at(self.places[image_name], np.prod(self.shape)).reshape(self.shape)

    def _at(self, place: int, count: int) -> np.ndarray:
        if self._bytes is None:
            self._bytes = np.memmap(self.path, np.uint8, "r")
        return self._bytes[place : place + count]

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_bytes": None}

    def unfit(self, ids: pd.DataFrame, network: Network) -> str:
        """Why these pictures are not the ones of a table (image_name, image_path) as the network takes them, or ""."""
        facts = {"version": PREPARED_VERSION, "resize": network.resize, "input_size": list(network.input_size)}
        for name, value in facts.items():
            if (was := np.asarray(self.facts[name]).tolist()) != value:
                return f"its {name} is {was}, not {value}"
        for name, path in zip(ids.image_name, ids.image_path, strict=True):
            if name in self.places and not self.is_of(name, path):
                return f"{path} is another file than the one it was made from"
            if name not in self.places and not opened(path, network)[1]:  # what does not open was left out
                return f"it lacks {name}"
        return ""

    def is_of(self, image_name: str, path: Path) -> bool:
        """Whether a picture was made from the file at `path`: by its size and time, and its content if that differs."""
        now = path.stat()
        if self.source_bytes[image_name] != now.st_size:
            return False
        if self.source_times.get(image_name, now.st_mtime_ns) == now.st_mtime_ns:
            return True
        try:
            return self._at(self.hash_places[image_name], HASH_BYTES).tobytes() == content_hash(path)
        except OSError:  # what cannot be read is named when it is decoded
            return False


def prepared_path(images: Path, network: Network) -> Path:
    """Where koniq.prepare puts the pictures of a folder for a network: beside it, as 512x384-384x512-lanczos.h5."""
    height, width = network.input_size
    return images.with_name(f"{images.name}-{height}x{width}-{network.resize}.h5")


def _fitting(path: Path | None, ids: pd.DataFrame, network: Network) -> Prepared | None:
    if not path or not path.is_file():
        return None
    prepared = Prepared(path)
    if reason := prepared.unfit(ids, network):
        print(f"{path} is stale ({reason}): the pictures are decoded. python -m koniq.prepare makes it anew.")
        return None
    print(f"Pictures: from {path}")
    return prepared


def of_training(
    data: DataSet, network: Network, folder: Path, workers: int, quiet: bool = False
) -> tuple[DataSet, Pictures]:
    """The pictures of training and validation, out of koniq.prepare's file if it fits, and the data set to train on.

    That is `data`, without what does not open where pictures may be left out. Raises InputError as `Pictures` does.
    """
    prepared = data.folder and prepared_path(data.folder, network)
    pictures = Pictures(rows_of_training(data), network, folder, workers, prepared, quiet, data.skips)
    return data.without(pictures.broken) if pictures.broken else data, pictures


def rows_of_training(data: DataSet) -> pd.DataFrame:
    """The rows that training and validation see."""
    return pd.concat([data.part("training"), data.part("validation")], ignore_index=True)


class EpochPlan:
    """The rows of each epoch in their order, with the column `flip`: all that chance decides about the pictures.

    It follows from the seed, the stage and the number of the epoch, so a resumed run sees what the other one saw.
    Called at the end of an epoch, it gives the rows of the next, as the generators of `ku` want it.
    """

    def __init__(self, ids: pd.DataFrame, seed: int, stage: int, epoch: int):
        self.ids, self.key, self.epoch = ids, (seed, stage), epoch

    def rows(self) -> pd.DataFrame:
        rng = np.random.default_rng([*self.key, self.epoch])
        rows = self.ids.iloc[rng.permutation(len(self.ids))]
        return rows.assign(flip=rng.random(len(rows)) < 0.5)

    def __call__(self) -> pd.DataFrame:
        self.epoch += 1
        return self.rows()


def flipped(picture: np.ndarray, flip: bool) -> np.ndarray:
    """The picture (height, width, 3), mirrored left to right if `flip`."""
    return picture[:, ::-1] if flip else picture


def free_memory() -> int:
    """Bytes of memory that may be taken: what is available, by Linux's own word, else half of what the machine has."""
    try:
        with Path("/proc/meminfo").open() as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        except (AttributeError, ValueError, OSError):  # Windows
            return 4 << 30
