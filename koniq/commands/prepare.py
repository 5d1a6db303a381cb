"""Pictures resized once to the size of training, in one HDF5 file that training finds beside their folder.

python -m koniq prepare koniq10k                                        from the 512x384 set
python -m koniq prepare koniq10k --images koniq/images/1024x768         from the full-size one
python -m koniq prepare mine.csv --images my_folder --resize bicubic
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from koniq.data import datasets
from koniq.ground import first_few
from koniq.network import KONCEPT512
from koniq.network.spec import Fit, Resize
from koniq.pictures.prepared import Prepared, prepare, prepared_path


@dataclass(frozen=True)
class Settings:
    dataset: tyro.conf.Positional[str] = "koniq10k"  # koniq10k, live_itw, biq2021, sample, or a .csv table
    table: str = ""  # its table, if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    skip_missing: bool = False  # go on without the pictures of the table that are not there, or do not open
    input_size: tuple[int, int] = KONCEPT512.input_size  # (height, width)
    resize: Resize = "lanczos"  # how pictures get there
    rules: Literal["2", "1"] = "2"  # by which they are decoded
    fit: Fit = "squash"  # what becomes of other proportions
    workers: int | None = None  # threads that decode pictures; None: one a core
    out: str = ""  # the file, if not beside the folder of the pictures, where training looks for it


def main(s: Settings) -> None:
    data = datasets.load(s.dataset, s.table, s.images, s.skip_missing)
    print(data.summary())
    network = KONCEPT512.at(s.input_size, s.resize, s.rules, s.fit)
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
