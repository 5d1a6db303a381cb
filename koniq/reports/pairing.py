"""Which pictures of two tables of scores are one: by their paths, or by their names alone."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.data.scale import Scale
from koniq.ground.facts import locate
from koniq.scoring.score_tables import ScoreTable, is_scored

KINDS = (
    *("scored by both", "in both, scored by A only", "in both, scored by B only", "in both, scored by neither"),
    *("in A only", "in B only"),
)
PAIR = ["image_path", "first", "second", "difference"]


class Pairs:
    """The pictures that two tables both score, in memory; of Parquet, `koniq.reports.in_duckdb.LargePairs` has them.

    first, second: their scores, arrays of shape (pairs,), in the order of the first table. counts: of all pictures, by
    KINDS.
    """

    def __init__(
        self,
        tables: Sequence[ScoreTable],
        abouts: Sequence[dict],
        scales: Sequence[Scale | None] = (None, None),
        by_name: bool = False,
    ):
        frames = [
            table.frame.assign(MOS=scale.percent(table.frame.MOS)) if scale else table.frame
            for table, scale in zip(tables, scales, strict=True)
        ]
        self._pairs, self.counts = join(*frames, keys(frames, abouts, by_name))
        in_order = self._pairs.sort_values("row")  # sums hang on the order in their last digits
        self.first, self.second = (in_order[name].to_numpy() for name in ("first", "second"))

    def __len__(self) -> int:
        return len(self.first)

    def most_different(self, count: int) -> pd.DataFrame:
        """The first `count` pairs: image_path, first, second, difference."""
        return self._pairs[PAIR][:count]

    def pieces(self) -> Iterator[pd.DataFrame]:
        """All pairs, as `most_different` has them, in pieces."""
        yield self._pairs[PAIR]

    def close(self) -> None:
        """Give back what is not in memory."""


def keys(tables: Sequence[pd.DataFrame], abouts: Sequence[dict], by_name: bool = False) -> list[pd.Series]:
    """What each of two tables' pictures are paired by, a text a row.

    That is the whole path; or image_path, where one of the two does not say what it starts from. If no whole path is in
    both, a folder has moved, or is on another machine: then it is image_path again, if the two have a root in common
    or one has none that is there; without a root in common, of pictures in a folder below the root only. by_name: what
    no path pairs is paired by the file's name alone, where it stands for one picture in each table.

    tables, abouts: as in `compare`.
    """
    paths = [table.image_path for table in tables]
    roots = [about.get("roots", []) for about in abouts]
    found = paths
    if all(roots):
        found = [_whole(names, folders) for names, folders in zip(paths, roots, strict=True)]
        if not found[0].isin(found[1]).any() and may_have_moved(roots):
            common = bool({*roots[0]} & {*roots[1]})
            found = [
                names.where(common | names.str.contains("/", regex=False), whole)
                for names, whole in zip(paths, found, strict=True)
            ]
    return _by_name(paths, found) if by_name else found


def _whole(names: pd.Series, roots: Sequence[str]) -> pd.Series:
    """The whole paths of pictures in the folders `roots`; in the first, if they are in none."""
    return names.map(lambda name: whole(name, roots))


def whole(name: str, roots: Sequence[str]) -> str:
    """The whole path of one of them."""
    path = locate(name, roots) if len(roots) > 1 else None
    return os.path.normpath(path or os.path.join(roots[0], name))  # noqa: PTH118  Path is slow


def may_have_moved(roots: Sequence[Sequence[str]]) -> bool:
    """Whether pictures of no common path may be the same: the two have a root in common, or one has none there."""
    return bool({*roots[0]} & {*roots[1]}) or not all(any(Path(root).is_dir() for root in side) for side in roots)


def _by_name(paths: Sequence[pd.Series], found: Sequence[pd.Series]) -> list[pd.Series]:
    """The keys `found`; where one is in one table only, the file's name, if it is that of one such row."""
    named = []
    for path, key, other in zip(paths, found, found[::-1], strict=True):
        name = path.str.rsplit("/", n=1).str[-1]
        rest = ~key.isin(other)
        alone = rest & ~name.where(rest).duplicated(keep=False)
        named.append(key.where(~alone, "\0" + name))  # no path has a NUL
    return named


def join(
    first: pd.DataFrame, second: pd.DataFrame, by: Sequence[pd.Series] | None = None
) -> tuple[pd.DataFrame, dict[str, int]]:
    """The pictures that both score, and how many there are of each other kind.

    first, second: tables of `koniq.scoring.score_tables.read`. by: of `keys`; None: image_path. What a table has more
    than once is paired in order. Returns image_path (of the first), first, second, difference (second - first), row (of
    the first), the largest difference in size first, equal ones in the order of the first table; and the numbers, by
    KINDS.
    """
    sides = []
    by = by or (first.image_path, second.image_path)
    for name, table, key in zip(("first", "second"), (first, second), by, strict=True):
        mos = table.MOS.where(is_scored(table))
        side = pd.DataFrame({"key": key, "nth": table.groupby(key).cumcount(), name: mos})
        sides.append(side.assign(row=np.arange(len(table))) if name == "first" else side)
    rows = sides[0].merge(sides[1], on=["key", "nth"])
    a, b = rows["first"].notna(), rows["second"].notna()
    scored = [(a & b).sum(), (a & ~b).sum(), (b & ~a).sum(), (~a & ~b).sum()]
    counts = map(int, (*scored, len(first) - len(rows), len(second) - len(rows)))
    pairs = rows[a & b]
    pairs = pairs.assign(difference=pairs["second"] - pairs["first"])
    pairs = pairs.iloc[np.lexsort((pairs.row, -pairs.difference.abs()))]
    pairs = pairs.assign(image_path=first.image_path.iloc[pairs.row].to_numpy()).reset_index(drop=True)
    return pairs[[*PAIR, "row"]], dict(zip(KINDS, counts, strict=True))
