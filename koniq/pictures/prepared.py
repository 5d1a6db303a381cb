"""Pictures resized once to the size of training, in one HDF5 file that training finds beside their folder."""

import hashlib
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from koniq.data.datasets import DataSet
from koniq.ground import InputError
from koniq.ground.log import LOG
from koniq.ground.threads import each
from koniq.ground.typed import command
from koniq.network import Network
from koniq.network.spec import FORMER
from koniq.pictures.contents import HASH_BYTES, digest_of
from koniq.pictures.order import Seen
from koniq.pictures.whole import check_whole, opened
from ku.files import atomic_path, lock_file, lock_path, real_path, replace_file, shown

PREPARED_VERSION = 1  # of the layout of koniq.pictures.prepared's files
HASHES = ".source_hashes"  # in them, HASH_BYTES for each picture; no picture is called so


def content_hash(path: Path) -> bytes:
    """What tells the content of a file from that of others, HASH_BYTES long."""
    with path.open("rb") as file:
        return digest_of(file)


class Prepared(Seen):
    """The pictures in a file of `prepare`: `prepared[image_name]` is uint8 (height, width, 3), RGB, read-only.

    The file is mapped, and a picture read when it is asked for. Processes may share the file, and the object may be
    sent to another one. Raises InputError if the file is not of koniq.pictures.prepared.
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
            raise InputError(f"{path} should be a file of koniq.pictures.prepared. Received: {error}") from error
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
        for name, value in {"version": PREPARED_VERSION, **FORMER, **network.seen()}.items():
            if (was := np.asarray((FORMER | self.facts)[name]).tolist()) != value:
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
    """Where `prepare` puts the pictures of a folder for a network: beside it, as 512x384-384x512-lanczos.h5."""
    height, width = network.input_size
    fit = "" if network.fit == FORMER["fit"] else f"-{network.fit}"
    return images.with_name(f"{images.name}-{height}x{width}-{network.resize}{fit}.h5")


def fitting(path: Path | None, ids: pd.DataFrame, network: Network) -> Prepared | None:
    """What was prepared in the file at `path`, if it is there and is of these pictures; prints why it is not used."""
    if not path or not path.is_file():
        return None
    prepared = Prepared(path)
    if reason := prepared.unfit(ids, network):
        LOG.info(f"{path} is stale ({reason}): the pictures are decoded. {command('prepare')} makes it anew.")
        return None
    LOG.info(f"Pictures: from {path}")
    return prepared


def prepare(data: DataSet, network: Network, path: Path, workers: int | None = None) -> None:
    """Write the pictures of a data set, as the network takes them, to `path`: a uint8 data set of one chunk a picture.

    They are not compressed, for that reads slower (results/LOG.md). What is done is kept in `.NAME.part`: the same
    call goes on from there, whatever ended the last one. Beside the pixels lie the size, the time of change and a hash
    of the file that they were made from. Raises InputError if pictures do not open, naming all of them, unless
    `data.skips` them, or if another process prepares the same file.
    """
    path = real_path(path)
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = lock_file(lock_path(path))
    except BlockingIOError as error:
        raise InputError(f"Another process is preparing {path}; wait for it.") from error
    with lock:
        facts = {
            "version": PREPARED_VERSION,
            **FORMER,
            **network.seen(),
            "name": data.name,
            "source": shown(str(data.folder)),
            "sources": _fingerprint(data.ids),
        }
        sums_path = part.with_suffix(".sums")
        if not _belongs(part, facts, data.ids.image_name) or not sums_path.exists():
            np.zeros(len(data.ids), np.uint32).tofile(sums_path)
            with atomic_path(part) as temporary:
                _lay_out(temporary, data.ids, facts)
        laid_out = Prepared(part)
        pixels = np.memmap(part, np.uint8, "r+")
        sums = np.memmap(sums_path, np.uint32, "r+")  # of each picture that is done, else 0

        broken: dict[str, str] = {}

        def fill(row: int, name: str, source: Path) -> None:
            place = laid_out.places[name]
            target = pixels[place : place + np.prod(laid_out.shape)]
            if sums[row] and sums[row] == _sum(target) and laid_out.is_of(name, source):
                return
            sums[row] = 0
            found, why = opened(source, network)
            if why:
                broken[name] = why
                return
            if place := laid_out.hash_places.get(name):  # what an earlier version left has none
                pixels[place : place + HASH_BYTES] = np.frombuffer(content_hash(source), np.uint8)
            target[:] = found.ravel()
            sums[row] = _sum(target)

        columns = range(len(data.ids)), data.ids.image_name, data.ids.image_path
        for _ in each(workers, fill, *columns, title="preparing"):
            pass
        pixels.flush()
        check_whole({name: broken[name] for name in data.ids.image_name if name in broken}, len(data.ids), data.skips)
        if broken:
            with h5py.File(part, "r+") as file:
                for name in broken:
                    del file[name]
        replace_file(part, path)
        sums_path.unlink()


def _lay_out(path: Path, ids: pd.DataFrame, facts: dict) -> None:
    """An HDF5 file with a place for every picture, so that from here on nothing but pixels is written.

    A process killed while it wrote pixels leaves the file as sound as it was, which HDF5 promises of nothing else.
    """
    shape = (*facts["input_size"], 3)
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(path, "w") as file:
        file.attrs.update(facts)
        file.create_dataset(HASHES, (len(ids), HASH_BYTES), np.uint8, dcpl=early.copy())[:] = 0
        for row, (name, source) in enumerate(zip(ids.image_name, ids.image_path, strict=True)):
            place = file.create_dataset(name, shape, np.uint8, chunks=shape, dcpl=early.copy())
            status = source.stat()
            place.attrs.update({"source_bytes": status.st_size, "source_time": status.st_mtime_ns, "source_row": row})
    if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and the end of the process in a mapped file
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _belongs(part: Path, facts: dict, names: Iterable[str]) -> bool:
    """Whether what a stopped process left is of the same pictures, prepared in the same way."""
    if not part.exists():
        return False
    try:
        before = Prepared(part)
    except InputError:
        return False
    same = all(np.array_equal((FORMER | before.facts).get(name), value) for name, value in facts.items())
    return same and set(before.places) == set(names)  # what did not open is taken out at the very end


def _fingerprint(ids: pd.DataFrame) -> str:
    """What tells these files from others: their names and sizes."""
    text = "\n".join(f"{name} {path.stat().st_size}" for name, path in zip(ids.image_name, ids.image_path, strict=True))
    return hashlib.sha256(text.encode()).hexdigest()


def _sum(pixels: np.ndarray) -> int:
    return zlib.crc32(pixels) or 1
