"""Pictures resized once to the size of training, in one HDF5 file that training finds beside their folder.

python -m koniq.prepare koniq10k                                        from the 512x384 set
python -m koniq.prepare koniq10k --images koniq/images/1024x768         from the full-size one
python -m koniq.prepare mine.csv --images my_folder --resize bicubic
"""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pandas as pd
import tyro
from tqdm import tqdm

from koniq import cli, datasets
from koniq.contents import HASH_BYTES
from koniq.datasets import DataSet
from koniq.ground import InputError, first_few
from koniq.network import KONCEPT512, Network
from koniq.pictures import (
    HASHES,
    PREPARED_VERSION,
    Prepared,
    check_whole,
    content_hash,
    opened,
    prepared_path,
)
from ku.files import atomic_path, lock_file, lock_path, real_path, replace_file, shown


@dataclass(frozen=True)
class Settings:
    dataset: tyro.conf.Positional[str] = "koniq10k"  # koniq10k, live_itw, biq2021, sample, or a .csv table
    table: str = ""  # its table, if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    skip_missing: bool = False  # go on without the pictures of the table that are not there, or do not open
    input_size: tuple[int, int] = KONCEPT512.input_size  # (height, width)
    resize: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] = "lanczos"  # how pictures get there
    workers: int = 2  # threads that decode pictures
    out: str = ""  # the file, if not beside the folder of the pictures, where training looks for it


def main(s: Settings) -> None:
    data = datasets.load(s.dataset, s.table, s.images, s.skip_missing)
    print(data.summary())
    network = KONCEPT512.at(s.input_size, s.resize)
    path = Path(s.out) if s.out else prepared_path(data.folder, network)
    if path.is_file():
        made = Prepared(path)
        lacking = [] if data.skips else [name for name in data.ids.image_name if name not in made.places]
        reason = made.unfit(data.ids, network) or (f"it lacks {first_few(lacking)}" if lacking else "")
        if not reason:
            print(f"{path} is there, and up to date.")
            return
        print(f"{path} is stale ({reason}), and made anew.")
    prepare(data, network, path, s.workers)
    print(f"{path}: {len(Prepared(path)):,} pictures, {path.stat().st_size / 1e6:,.1f} MB")


def prepare(data: DataSet, network: Network, path: Path, workers: int = 2) -> None:
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
            "input_size": network.input_size,
            "resize": network.resize,
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

        _all(workers, fill, range(len(data.ids)), data.ids.image_name, data.ids.image_path)
        pixels.flush()
        check_whole({name: broken[name] for name in data.ids.image_name if name in broken}, len(data.ids), data.skips)
        if broken:
            with h5py.File(part, "r+") as file:
                for name in broken:
                    del file[name]
        replace_file(part, path)
        sums_path.unlink()


def _all(workers: int, work: Callable[..., None], *columns: Sequence) -> None:
    """Call `work` with each row, in threads, under a progress bar; the first error ends it."""
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(work, *columns)
        try:
            for _ in tqdm(done, total=len(columns[0]), desc="preparing", unit="pic", disable=None):
                pass
        finally:
            pool.shutdown(cancel_futures=True)


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
    same = all(np.array_equal(before.facts.get(name), value) for name, value in facts.items())
    return same and set(before.places) == set(names)  # what did not open is taken out at the very end


def _fingerprint(ids: pd.DataFrame) -> str:
    """What tells these files from others: their names and sizes."""
    text = "\n".join(f"{name} {path.stat().st_size}" for name, path in zip(ids.image_name, ids.image_path, strict=True))
    return hashlib.sha256(text.encode()).hexdigest()


def _sum(pixels: np.ndarray) -> int:
    return zlib.crc32(pixels) or 1


if __name__ == "__main__":
    cli.run(main, Settings)
