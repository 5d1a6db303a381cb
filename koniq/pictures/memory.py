"""Pictures for training: decoded once, or prepared, and kept as uint8."""

from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike

from koniq.data.datasets import DataSet
from koniq.ground.machine import free_memory
from koniq.ground.threads import each
from koniq.network import Network
from koniq.pictures.order import Seen
from koniq.pictures.prepared import fitting, prepared_path
from koniq.pictures.whole import check_whole, opened

SHARE_OF_MEMORY = 0.5  # of what is free; more than that goes to a memory-mapped file


class Pictures(Seen):
    """The pictures of a table as a network takes them: `pictures[image_name]` is uint8 (height, width, 3), RGB.

    ids: a table with image_name and image_path. They lie in memory, or in a memory-mapped temporary file in `folder`
    when they take more than half of the free memory. prepared: a file of koniq.pictures.prepared, used if it is there
    and fits; what does not fit in memory is then read from it when it is needed. broken: those that do not open, and
    why, by name. Raises InputError, naming all of them, if there are any and `skip_broken` is not set.
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
        self.prepared = fitting(prepared, ids, network)
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

        title = "" if quiet else "reading"
        whys = list(each(workers, fill, todo.image_name, todo.image_path, title=title))
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


def of_training(
    data: DataSet, network: Network, folder: Path, workers: int, quiet: bool = False
) -> tuple[DataSet, Pictures]:
    """The pictures of training and validation, out of a prepared file if one fits, and the data set to train on.

    That is `data`, without what does not open where pictures may be left out. Raises InputError as `Pictures` does.
    """
    prepared = data.folder and prepared_path(data.folder, network)
    pictures = Pictures(rows_of_training(data), network, folder, workers, prepared, quiet, data.skips)
    return data.without(pictures.broken) if pictures.broken else data, pictures


def rows_of_training(data: DataSet) -> pd.DataFrame:
    """The rows that training and validation see."""
    return pd.concat([data.part("training"), data.part("validation")], ignore_index=True)
