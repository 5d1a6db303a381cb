"""Pictures for training: decoded once, or prepared, and kept as uint8."""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Together:
    """The processes of one machine that see the same pictures: one makes them, and all map the same memory."""

    first: bool  # whether this is the process that makes them
    wait: Callable[[], None]  # until every one is here
    machine: str = platform.node()  # a name that no other machine has, which sees the same folder


class Pictures(Seen):
    """The pictures of a table as a network takes them: `pictures[image_name]` is uint8 (height, width, 3), RGB.

    ids: a table with image_name and image_path. prepared: a file of koniq.pictures.prepared, used if it is there and
    fits: it is mapped, so that the system keeps one copy of it for all processes. Without one they are decoded into
    memory, or into a memory-mapped temporary file in `folder` when they take more than half of the free memory, or when
    several processes are `together`. broken: those that do not open, and why, by name. Raises InputError, naming all of
    them, if there are any and `skip_broken` is not set.
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
        together: Together | None = None,
    ):
        self.shape = (*network.input_size, 3)
        self.prepared = fitting(prepared, ids, network)
        todo = ids[~ids.image_name.isin(self.prepared.places)] if self.prepared else ids
        self.row = {name: row for row, name in enumerate(todo.image_name)}

        def fill(pixels: np.ndarray) -> dict[str, str]:
            """Decode into an array (pictures, height, width, 3); what does not open, and why."""

            def one(row: int, path: Path) -> str:
                found, why = opened(path, network)
                if not why:
                    pixels[row] = found
                return why

            whys = each(workers, one, range(len(todo)), todo.image_path, title="" if quiet else "reading")
            return {name: why for name, why in zip(todo.image_name, whys, strict=True) if why}

        shape = (len(todo), *self.shape)
        if together and len(todo):
            self.pixels, self.broken = _filled_once(shape, folder, together, fill)
        else:
            self.pixels = room_for(shape, np.uint8, folder) if len(todo) else np.empty(shape, np.uint8)
            self.broken = fill(self.pixels)
        check_whole(self.broken, len(ids), skip_broken, quiet)

    def __getitem__(self, image_name: str) -> np.ndarray:
        row = self.row.get(image_name)
        return self.prepared[image_name] if row is None else self.pixels[row]


def _filled_once(
    shape: tuple[int, ...], folder: Path, together: Together, fill: Callable[[np.ndarray], dict[str, str]]
) -> tuple[np.ndarray, dict[str, str]]:
    """An array that one process of this machine fills and all of them map, and what `fill` says of it."""
    path = folder / f".pictures-{together.machine}.tmp"
    said = path.with_name(f"{path.name}.json")
    if together.first:
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.memmap(path, np.uint8, "w+", shape=shape)
        said.write_text(json.dumps(fill(pixels)))
    together.wait()
    if not together.first:
        pixels = np.memmap(path, np.uint8, "r", shape=shape)
    broken = json.loads(said.read_text())
    together.wait()
    if together.first:  # the mappings keep it, and nothing is left of it after any end
        path.unlink()
        said.unlink()
    return pixels, broken


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
    data: DataSet,
    network: Network,
    folder: Path,
    workers: int,
    quiet: bool = False,
    together: Together | None = None,
) -> tuple[DataSet, Pictures]:
    """The pictures of training and validation, out of a prepared file if one fits, and the data set to train on.

    That is `data`, without what does not open where pictures may be left out. Raises InputError as `Pictures` does.
    """
    prepared = data.folder and prepared_path(data.folder, network)
    pictures = Pictures(rows_of_training(data), network, folder, workers, prepared, quiet, data.skips, together)
    return data.without(pictures.broken) if pictures.broken else data, pictures


def rows_of_training(data: DataSet) -> pd.DataFrame:
    """The rows that training and validation see."""
    return pd.concat([data.part("training"), data.part("validation")], ignore_index=True)
