"""The small network learns one person's taste: its head is fitted to ratings of theirs, and scores on their scale.

python -m koniq learn my_ratings.csv --images my_pictures --out my_taste.safetensors   # image_name, stars
python -m koniq learn my_photos --xmp                                   # the stars that a photo program gave them
python -m koniq score more_photos --weights my_taste.safetensors       # then

How well it foretells ratings that it has not seen is said before and after, by cross-validation. Where the gain is not
above 0 by its interval, nothing is written, and the exit code is 1.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

from koniq.ground import InputError, RunStopped
from koniq.ground.log import LOG
from koniq.ground.typed import command
from koniq.network import find, sidecar, title
from koniq.training import ratings, taste


@dataclass(frozen=True)
class Settings:
    ratings: tyro.conf.Positional[str]  # a .csv of pictures and ratings; with --xmp a folder, list or glob of pictures
    images: str = ""  # the folder that names start from; beside the table if empty
    column: str = ""  # of the ratings, of any range; rating, stars, score or MOS if empty
    group_column: str = ""  # of what belongs together, such as bursts; group if there is one
    xmp: bool = False  # read the ratings of pictures from their XMP, as photo programs write it
    out: Path = Path("my_taste.safetensors")  # the weights; what they are is in a .json beside them
    weights: str = "koncept_lite"  # what it begins from: this network, or what was learnt from it
    scale: tuple[float, float] | None = None  # the lowest and highest rating that may be given; None: by their range
    anyway: bool = False  # write though it does not help, and with fewer than 30 ratings
    overwrite: bool = False  # replace the weights
    workers: int | None = None  # threads that decode pictures; None: one a core


def main(s: Settings) -> None:
    if s.out.suffix != ".safetensors":
        raise InputError(f"out should end in .safetensors. Received: {s.out}")
    if not s.out.parent.is_dir():
        raise InputError(f"out should lie in a folder that is there. Received: {s.out}")
    for path in (s.out, sidecar.record_path(s.out)):
        if path.exists() and not s.overwrite:
            raise InputError(f"{path} is there already. Give --overwrite to replace it, or another --out.")
    weights = find(s.weights)
    rated = _rated(s)
    learnt = taste.learn(weights, rated, s.scale, s.anyway, s.workers)
    LOG.info(
        f"{learnt.pictures:,} rated pictures of {learnt.groups:,} groups, ratings from {learnt.scale}\n\n"
        f"{learnt.table(title(weights))}\n"
    )
    if not learnt.helps and not s.anyway:
        raise RunStopped(f"{learnt.verdict()}. Nothing is written; --anyway writes it all the same")
    LOG.info(learnt.verdict())
    taste.write(learnt, weights, s.out, Path(s.ratings).name)
    LOG.info(f"{s.out} has the weights: {command(f'score my_photos --weights {s.out}')}")


def _rated(s: Settings) -> pd.DataFrame:
    if not s.xmp:
        return ratings.read(Path(s.ratings), s.images, s.column, s.group_column)
    if given := [name for name in ("images", "column", "group_column") if getattr(s, name)]:
        raise InputError(f"{given[0]} should go with a table of ratings. Received: {given[0]} with xmp")
    return ratings.in_xmp([s.ratings])
