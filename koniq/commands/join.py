"""Join rated data sets into one table to train on, their MOS brought to one scale.

python -m koniq join biq2021 live_itw --map biq2021=0.71,9.8 --out both.csv
python pytorch_train_koncept512.py --dataset both.csv --images koniq/images --network koncept_lite

Each keeps its sets, but for LIVE In the Wild, which is divided 70:10:20; its calibration part is in no set and stays
out. Near copies of one another from two data sets are kept in one set: run `group` on the joined table, and join again
with --groups.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from koniq.data.join import join, source
from koniq.data.rated import SETS
from koniq.ground import InputError, files
from koniq.ground.tables import NAMES, read_typed
from koniq.ground.text import markdown_table


@dataclass(frozen=True)
class Settings:
    tables: tyro.conf.Positional[tuple[str, ...]]  # koniq10k, live_itw, biq2021, or .csv tables with a set: two or more
    map: tuple[str, ...] = ()  # NAME=SLOPE,OFFSET: its MOS becomes SLOPE * MOS + OFFSET; not given: as it is
    images: tuple[str, ...] = ()  # NAME=FOLDER of its pictures, where they are not in the usual place
    metadata: tuple[str, ...] = ()  # NAME=FOLDER of its tables, where they are not in koniq/metadata
    groups: str = ""  # what `group` made of a table that was joined before: its groups hold across data sets
    out: str = "joined.csv"  # the joined table


def main(s: Settings) -> None:
    maps = {name: _affine(name, value) for name, value in _named("map", s.map, s.tables).items()}
    images, metadata = _named("images", s.images, s.tables), _named("metadata", s.metadata, s.tables)
    sources = [
        source(name, images.get(name, ""), metadata.get(name, ""), *maps.get(name, (1.0, 0.0))) for name in s.tables
    ]
    groups = None
    if s.groups:
        known = read_typed(Path(s.groups), (*NAMES, "group"))
        if not {"image_name", "group"} <= {*known}:
            raise InputError(f"{s.groups} should have image_name and group. Received: {', '.join(known)}")
        groups = dict(zip(known.image_name, known.group, strict=True))
    rows, root = join(sources, groups)
    files.write_csv(rows, Path(s.out))
    counts = pd.crosstab(rows.source, rows.set).reindex(columns=list(SETS), fill_value=0)
    heads = ("", *SETS, "MOS, mean", "sd")
    body = [
        (name, *(f"{count:,}" for count in counts.loc[name]), f"{mos.mean():.1f}", f"{mos.std():.1f}")
        for name, mos in rows.groupby("source", sort=False).MOS
    ]
    print(f"{markdown_table(heads, body)}\n\n{s.out}: {len(rows):,} pictures; give it with --images {root}")


def _named(setting: str, values: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """What NAME=VALUE settings say, by name. Raises InputError if one is no such pair, or of no table that is given."""
    found = dict(value.partition("=")[::2] for value in values)
    if wrong := [value for value in values if value.partition("=")[0] not in names or not value.partition("=")[2]]:
        raise InputError(f"{setting} should be NAME=VALUE, of one of {', '.join(names)}. Received: {wrong[0]!r}")
    return found


def _affine(name: str, text: str) -> tuple[float, float]:
    try:
        slope, offset = map(float, text.split(","))
        right = slope > 0 and np.isfinite([slope, offset]).all()
    except ValueError:
        right = False
    if not right:
        raise InputError(f"map should be NAME=SLOPE,OFFSET, SLOPE above 0. Received: {name}={text}")
    return slope, offset
