"""Pictures for training: decoded once, or prepared, kept as uint8; and in which order an epoch sees them."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile

import h5py
import numpy as np
import pandas as pd
from tqdm import tqdm

from koniq.datasets import DataSet
from koniq.errors import InputError
from koniq.network import Network
from koniq.prediction import decode

PREPARED_VERSION = 1  # of the layout of koniq.prepare's files
SHARE_OF_MEMORY = 0.5  # of what is free; more than that goes to a memory-mapped file


class Pictures:
    """The pictures of a table as a network takes them: `pictures[image_name]` is uint8 (height, width, 3), RGB.

    ids: a table with image_name and image_path. They lie in memory, or in a memory-mapped temporary file in `folder`
    when they take more than half of the free memory. prepared: a file of koniq.prepare, used if it is there and fits;
    what does not fit in memory is then read from it when it is needed. Raises InputError if one does not open.
    """

    def __init__(
        self,
        ids: pd.DataFrame,
        network: Network,
        folder: Path,
        workers: int = 2,
        prepared: Path | None = None,
        quiet: bool = False,
    ):
        shape = (len(ids), *network.input_size, 3)
        self.row = {name: row for row, name in enumerate(ids.image_name)}
        self.in_memory = np.prod(shape, dtype=np.int64) < SHARE_OF_MEMORY * free_memory()
        self.prepared = _fitting(prepared, ids, network)
        if self.prepared and not self.in_memory:
            return
        if self.in_memory:
            self.pixels = np.empty(shape, np.uint8)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder) as file:  # the mapping keeps it, and nothing is left of it after any end
                self.pixels = np.memmap(file, np.uint8, "w+", shape=shape)

        def fill(row: int, path: Path) -> None:
            if self.prepared:
                self.pixels[row] = self.prepared[ids.image_name.iloc[row]]
                return
            self.pixels[row] = whole(path, network)

        with ThreadPoolExecutor(workers) as pool:
            done = pool.map(fill, range(len(ids)), ids.image_path)
            try:
                for _ in tqdm(done, total=len(ids), desc="reading", unit="pic", disable=quiet or None):
                    pass
            finally:
                pool.shutdown(cancel_futures=True)

    def __getitem__(self, image_name: str) -> np.ndarray:
        return self.pixels[self.row[image_name]] if self.in_memory or not self.prepared else self.prepared[image_name]


def whole(path: Path, network: Network) -> np.ndarray:
    """The pixels of a picture as the network takes them, see `decode`. Raises InputError if it has none, saying why."""
    score, pixels = decode(path, network)
    if pixels is None:
        raise InputError(
            f"{path} should be a whole picture. Received: {score.status} ({score.error}). "
            "Replace it, or take its row out of the table."
        )
    return pixels


class Prepared:
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
                file.visititems(self._find)
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} should be a file of koniq.prepare. Received: {error}") from error
        self._bytes: np.memmap | None = None

    def _find(self, name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            self.places[name] = item.id.get_chunk_info(0).byte_offset
            self.source_bytes[name] = int(item.attrs["source_bytes"])

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, image_name: str) -> np.ndarray:
        if self._bytes is None:
            self._bytes = np.memmap(self.path, np.uint8, "r")
        place = self.places[image_name]
        return self._bytes[place : place + np.prod(self.shape)].reshape(self.shape)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_bytes": None}

    def unfit(self, ids: pd.DataFrame, network: Network) -> str:
        """Why these pictures are not the ones of a table (image_name, image_path) as the network takes them, or ""."""
        facts = {"version": PREPARED_VERSION, "resize": network.resize, "input_size": list(network.input_size)}
        for name, value in facts.items():
            if (was := np.asarray(self.facts[name]).tolist()) != value:
                return f"its {name} is {was}, not {value}"
        for name, path in zip(ids.image_name, ids.image_path, strict=True):
            if name not in self.places:
                return f"it lacks {name}"
            if self.source_bytes[name] != path.stat().st_size:
                return f"{path} is another file than the one it was made from"
        return ""


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
) -> tuple[pd.DataFrame, Pictures]:
    """The rows that training and validation see, and their pictures, out of koniq.prepare's file if it fits."""
    rows = pd.concat([data.part("training"), data.part("validation")], ignore_index=True)
    prepared = data.folder and prepared_path(data.folder, network)
    return rows, Pictures(rows, network, folder, workers, prepared, quiet)


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
