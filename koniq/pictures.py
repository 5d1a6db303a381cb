"""Pictures for training: decoded once, kept as uint8, never decoded again; and in which order an epoch sees them."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pandas as pd
from tqdm import tqdm

from koniq.errors import InputError
from koniq.network import Network
from koniq.prediction import decode

SHARE_OF_MEMORY = 0.5  # of what is free; more than that goes to a memory-mapped file


class Pictures:
    """The pictures of a table as a network takes them: `pictures[image_name]` is uint8 (height, width, 3), RGB.

    ids: a table with image_name and image_path. They lie in memory, or in a memory-mapped temporary file in `folder`
    when they take more than half of the free memory. Raises InputError if one does not open.
    """

    def __init__(self, ids: pd.DataFrame, network: Network, folder: Path, workers: int = 2, quiet: bool = False):
        shape = (len(ids), *network.input_size, 3)
        self.row = {name: row for row, name in enumerate(ids.image_name)}
        self.in_memory = np.prod(shape, dtype=np.int64) < SHARE_OF_MEMORY * free_memory()
        if self.in_memory:
            self.pixels = np.empty(shape, np.uint8)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=folder) as file:  # the mapping keeps it, and nothing is left of it after any end
                self.pixels = np.memmap(file, np.uint8, "w+", shape=shape)

        def fill(row: int, path: Path) -> None:
            score, pixels = decode(path, network)
            if pixels is None:
                raise InputError(
                    f"{path} should be a whole picture. Received: {score.status} ({score.error}). "
                    "Replace it, or take its row out of the table."
                )
            self.pixels[row] = pixels

        with ThreadPoolExecutor(workers) as pool:
            done = pool.map(fill, range(len(ids)), ids.image_path)
            try:
                for _ in tqdm(done, total=len(ids), desc="decoding", unit="pic", disable=quiet or None):
                    pass
            finally:
                pool.shutdown(cancel_futures=True)

    def __getitem__(self, image_name: str) -> np.ndarray:
        return self.pixels[self.row[image_name]]


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
