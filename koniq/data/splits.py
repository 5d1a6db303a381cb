"""A table without sets, split into training, validation and test: alike in MOS, whole by group, the same every time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.data.rated import SETS
from koniq.ground import InputError, tables
from koniq.ground.log import LOG
from koniq.ground.typed import command
from ku.files import atomic_path

KNOWN = {"group": "without near copies", "scene": "without scenes of training"}  # columns: what is not of them
SHARES = (0.7, 0.1, 0.2)  # KonIQ-10k's own: 7,058, 1,000 and 2,015 of 10,073
BINS = 10  # of MOS, with the same number of pictures each


def split(
    ids: pd.DataFrame,
    group_column: str = "",
    shares: Sequence[float] = SHARES,
    seed: int = 1,
    sets: Sequence[str] = SETS,
) -> pd.Series:
    """The set of each row: "training", "validation" or "test", in about these shares in every range of MOS.

    ids: a table with image_name and MOS. group_column: rows of one value in it stay in one set, such as the pictures
    of one scene or one camera; a row without a value is by itself. sets: other names, one a share. The same rows,
    shares, seed and sets give the same sets, in whatever order the rows stand. Raises InputError if there are fewer
    groups than sets.
    """
    own = groups(ids, group_column) if group_column else ids.image_name
    counts = ids.groupby([own, _bins(ids)]).size().unstack(fill_value=0)  # pictures by group (sorted), range of MOS
    if len(counts) < len(sets):
        raise InputError(f"A table to be split should have at least {len(sets)} groups. Received: {len(counts)}")
    numbers = np.column_stack([counts, counts.sum(axis=1)])  # the last column: of any MOS
    wanted = np.outer(np.divide(shares, sum(shares)), numbers.sum(axis=0))
    have = np.zeros_like(wanted)
    order = np.random.default_rng(seed).permutation(len(numbers))
    order = order[np.argsort(-numbers[order, -1], kind="stable")]  # the large groups first: they fit worst
    chosen = {}
    for position, group in enumerate(order):
        # What the group adds to the squared error of each set, in units of what the set should have.
        cost = ((2 * (have - wanted) + numbers[group]) * numbers[group] / wanted).sum(axis=1)
        cost = cost.round(9)  # of two sets that it fits as well it is the first, however a processor rounds sums
        empty = have[:, -1] == 0
        if len(order) - position <= empty.sum():
            cost[~empty] = np.inf  # no set stays empty
        best = int(np.argmin(cost))
        have[best] += numbers[group]
        chosen[counts.index[group]] = sets[best]
    return own.map(chosen).rename("set")


def groups(ids: pd.DataFrame, column: str) -> pd.Series:
    """What each row belongs to, as text: its value in a column, or, where it has none, its own image_name."""
    return ids[column].astype(object).where(ids[column].notna(), ids.image_name).astype(str)


def across(ids: pd.DataFrame, column: str = "group") -> list[tuple[list[str], list[str]]]:
    """The groups of a table that are in several sets: the names of each one's pictures, and its sets, in order."""
    if column not in ids:
        return []
    own = groups(ids, column)
    several = ids.groupby(own).set.transform("nunique") > 1
    return [
        (rows.image_name.tolist(), [name for name in SETS if (rows.set == name).any()])
        for _, rows in ids[several].groupby(own[several], sort=False)
    ]


def apart(ids: pd.DataFrame, part: str) -> dict[str, np.ndarray]:
    """What a report on the set `part` gives by itself: by title, which rows of the set, bool (rows of the set,).

    Each value of `subset`, where there are several; and, by `group` and `scene`, the rows of which no other is in a set
    before this one, of training, validation, test: what was trained or chosen on has none of them. Nothing where
    these would be all rows, or none.
    """
    rows, before = ids[ids.set == part], ids[ids.set.isin(SETS[: SETS.index(part)])]
    found = {}
    if "subset" in ids and rows.subset.nunique() > 1:
        subset = rows.subset.convert_dtypes()  # whole numbers, where some rows have none
        found = {f"subset {value}": subset.eq(value).fillna(False) for value in sorted(subset.dropna().unique())}
    found |= {title: ~rows[name].isin(before[name].dropna()) for name, title in KNOWN.items() if name in ids}
    return {title: kept.to_numpy(bool) for title, kept in found.items() if 0 < kept.sum() < len(rows)}


def _bins(ids: pd.DataFrame) -> pd.Series:
    """The range of MOS that each row lies in, 0 to BINS - 1, of as many rows each; fewer ranges for a small table."""
    ordered = ids.sort_values(["MOS", "image_name"], kind="stable").index
    bins = max(1, min(BINS, len(ids) // BINS))
    return pd.Series(np.arange(len(ids)) * bins // len(ids), ordered).reindex(ids.index).rename("bin")


def with_sets(path: Path, ids: pd.DataFrame) -> pd.DataFrame:
    """The table at `path`, given as `ids`, with a column `set`: its own, or else that of the split beside it.

    The split lies in `NAME-split.csv`, so that training and testing see the same sets, and is made first if it is not
    there, by the column `group` where there is one; the table itself stays as it is. Of a split by another column,
    that column comes along as `group`, for what else is done by group. Raises InputError if that file is
    of another table.
    """
    if "set" in ids:
        return ids
    beside = split_path(path)
    if not beside.exists():
        write(ids.assign(set=split(ids, "group" if "group" in ids else "")), beside)
        return with_sets(path, ids)
    sets = tables.read_typed(beside)
    columns = ["image_name", "MOS"]
    if not {*columns, "set"} <= {*sets} or not sets[columns].equals(ids[columns].reset_index(drop=True)):
        raise InputError(
            f"{beside} should be the split of {path}, and differs from it in its pictures or their MOS. Make it anew: "
            + command(f"split {path} --overwrite")
        )
    return ids.assign(set=sets.set, **({"group": sets.group} if "group" in sets and "group" not in ids else {}))


def split_path(table: Path) -> Path:
    return table.with_name(f"{table.stem}-split.csv")


def write(ids: pd.DataFrame, path: Path) -> None:
    """Write a table that has been split, and say so."""
    with atomic_path(path) as temporary:
        ids.to_csv(temporary, index=False)
    counts = ", ".join(f"{(ids.set == name).sum():,} {name}" for name in SETS)
    LOG.info(f"The table has no column `set`: it was split ({counts}), and the split is kept in {path}")
