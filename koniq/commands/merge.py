"""CSVs of scores that several machines wrote, made one: shards, or whatever had parts of the pictures.

python -m koniq merge part_*.csv --out all.csv                        # shards of a folder: in the order of names
python -m koniq merge part_*.csv --out all.csv --pictures list.csv    # in the order of a list; what is absent is named

The parts are as they were. The file is one that koniq score goes on with.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.ground.exits import UNSCORED
from koniq.pictures import inputs
from koniq.scoring import merging


@dataclass(frozen=True)
class Settings:
    parts: tyro.conf.Positional[tuple[Path, ...]]  # CSVs of scores, each with its JSON beside it
    out: Path = Path("lifelog_mos.csv")  # the CSV of all of them
    pictures: tuple[str, ...] = ()  # what was scored, as koniq score was given it: whose order the rows have
    images: str = ""  # where the paths of a list start
    exclude: tuple[str, ...] = ()  # globs of what was left out of folders
    partial: bool = False  # write what is there, though rows are absent
    overwrite: bool = False  # replace the CSV


def main(s: Settings) -> int:
    pictures = inputs.of(s.pictures, s.images, s.exclude) if s.pictures else None
    merged = merging.merge(s.parts, s.out, pictures, s.partial, s.overwrite)
    print(f"{s.out}: {merged.rows:,} rows of {len(s.parts):,} parts")
    if merged.twice:
        print(f"{merged.twice:,} rows stood in more than one part, with the same score")
    if merged.others:
        print(f"{merged.others:,} rows are of none of the pictures, and stand last")
    for sentence in merged.said:
        print(sentence)
    return UNSCORED if merged.absent else 0
