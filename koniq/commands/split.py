"""A table without sets, split into training, validation and test: alike in MOS, whole by group, the same every time.

python -m koniq split mine.csv --group-column scene     writes mine-split.csv, with the column `set`; see --help
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.data.splits import SHARES, split, split_path, write
from koniq.ground import InputError


@dataclass(frozen=True)
class Settings:
    table: tyro.conf.Positional[str]  # a .csv with image_name and MOS
    group_column: str = ""  # the column whose values are never in two sets; `group`, if there is one, if empty
    shares: tuple[float, float, float] = SHARES  # of training, validation and test
    seed: int = 1  # another one, another split
    overwrite: bool = False  # replace the split that is there


def main(s: Settings) -> None:
    from koniq.data.rated import read_table  # which splits tables, too

    path = Path(s.table)
    ids = read_table(path, path.stem, needs_set=False)
    column = s.group_column or ("group" if "group" in ids else "")
    if "set" in ids:
        raise InputError(f"{path} has a column `set` already: it is used as it is.")
    if column and column not in ids:
        raise InputError(f"group_column should be one of {', '.join(ids)}. Received: group_column={column!r}")
    if min(s.shares) <= 0:
        raise InputError(f"shares should be positive. Received: shares={s.shares}")
    if split_path(path).exists() and not s.overwrite:
        raise InputError(f"{split_path(path)} is there already. Give --overwrite to replace it.")
    by = {"group": ids[column]} if column else {}
    write(ids.assign(**by, set=split(ids, column, s.shares, s.seed)), split_path(path))
