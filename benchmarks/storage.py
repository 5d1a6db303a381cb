"""How fast pictures come out of an HDF5 file, whole or compressed: warm, from memory, and cold, from the disk.

python -m benchmarks.storage live_itw --pictures 200
"""

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import tyro

from koniq.commands import cli
from koniq.data import datasets
from koniq.ground.machine import machine
from koniq.ground.text import markdown_table
from koniq.network import KONCEPT512
from koniq.pictures.decoding import decode
from ku.generic import H5Helper

LAYOUTS = {  # of one data set a picture
    "one piece": {},
    "one piece, mapped": {},
    "one chunk": {"chunks": True},
    "one chunk, lzf": {"compression": "lzf"},
    "one chunk, shuffle, lzf": {"compression": "lzf", "shuffle": True},
    "one chunk, gzip 1": {"compression": "gzip", "compression_opts": 1},
    "one chunk, gzip 4": {"compression": "gzip", "compression_opts": 4},
}


@dataclass(frozen=True)
class Settings:
    dataset: tyro.conf.Positional[str] = "sample"  # koniq10k, live_itw, biq2021, sample, or a .csv table
    table: str = ""  # its table, if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    pictures: int = 200  # the first of the table that are there
    folder: str = "."  # on the disk that is measured


def main(s: Settings) -> None:
    ids = datasets.load(s.dataset, s.table, s.images, skip_missing=True).ids.head(s.pictures)
    pixels = [decode(path, KONCEPT512).pixels for path in ids.image_path]
    names = [f"{number}" for number in range(len(pixels))]
    order = np.random.default_rng(1).permutation(len(names))
    rows = []
    with tempfile.TemporaryDirectory(dir=s.folder) as folder:
        for layout, options in LAYOUTS.items():
            path = Path(folder) / "pictures.h5"
            began = time.perf_counter()
            with h5py.File(path, "w") as file:
                for name, picture in zip(names, pixels, strict=True):
                    chunks = {"chunks": picture.shape} if options else {}
                    file.create_dataset(name, data=picture, **(options | chunks))
            written = time.perf_counter() - began
            cold, warm = [], []
            for _ in range(5):
                _evict(path)
                cold.append(_read(path, names, order, "mapped" in layout))
                warm.append(_read(path, names, order, "mapped" in layout))
            rate = [f"{len(names) / np.median(seconds):,.0f}" for seconds in (warm, cold)]
            rows.append((layout, f"{path.stat().st_size / 1e6:.1f}", f"{len(names) / written:,.0f}", *rate))
    print(f"{machine()}; {len(names)} pictures of 384x512 from {s.dataset}, in random order, median of 5\n")
    print(markdown_table(("layout", "MB", "written, pictures/s", "read warm", "read cold"), rows))


def _read(path: Path, names: list[str], order: np.ndarray, mapped: bool) -> float:
    """Seconds to read every picture once, as the generators of `ku` do."""
    began = time.perf_counter()
    with H5Helper(path, "r", memory_mapped=mapped) as file:
        for number in order:
            file.read_data([names[number]])
    return time.perf_counter() - began


def _evict(path: Path) -> None:
    """Have the system forget what it keeps of a file in memory."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    cli.run(main, Settings)
