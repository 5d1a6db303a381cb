"""The pictures good enough to be found: those at or above a threshold, or the best of each day, burst or group.

python -m koniq select lifelog_mos.csv --at-least 50        # MOS
python -m koniq select lifelog_mos.csv --percentile 80      # the best fifth
python -m koniq select lifelog_mos.parquet --at-least 50 --out good.csv
python -m koniq select lifelog_mos.csv --best-of bursts     # one of each moment, and a page that shows them
python -m koniq select lifelog_mos.csv --best 10 --best-per day --copies best_of_each_day

No picture is touched. The list can be scored again: lifelog_predict.py takes it, and finds the pictures by the JSON
beside it.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import tyro

from koniq.ground import InputError
from koniq.reports import culling, found_groups, gathering, moments, page, selection, times
from koniq.scoring.score_tables import ScoreTable, facts, named, opened
from koniq.scoring.taken import How
from koniq.scoring.taken import times as taken

WAYS = ("at_least", "percentile", "best", "best_per", "best_of", "groups")


@dataclass(frozen=True)
class Settings:
    scores: tyro.conf.Positional[Path]  # a CSV that lifelog_predict.py wrote, or any with a name and a score; Parquet
    column: str = ""  # of the scores; MOS, if empty
    at_least: float | None = None  # keep pictures of this score and above
    percentile: float | None = None  # keep pictures at or above this percentile (0-100) of all scores
    best: int | None = None  # keep so many, of all, or of each day, burst or group; of these 1 if not given
    best_per: Literal["day"] | None = None  # keep the best of each day; pictures without a day are left out
    best_of: Literal["bursts"] | None = None  # keep the best of each moment: see gap and near
    groups: Path | None = None  # keep the best of groups that another program found: a CSV, czkawka's, imagededup's
    gap: float = 3.0  # seconds that pictures of a burst are apart at most
    near: int = 6  # of 64 bits that hashes of pictures that look alike differ in at most; -1: times alone
    times: How = "auto"  # when pictures were taken: names, EXIF where they say no time, folders; exif: EXIF first
    images: str = ""  # where image_path start, if the pictures are not where they were scored
    order: Literal["input", "score"] = "input"  # of the rows: as in the CSV, or the best first
    out: Path | None = None  # .csv (image_path, MOS; a JSON beside it) or .parquet; None: NAME_selected.csv
    links: Path | None = None  # a new folder of links to the pictures
    copies: Path | None = None  # a new folder of copies of the pictures
    page: Path | None = None  # the folder of the page of days, bursts or groups; None: NAME_groups
    thumbnails: bool = True  # --no-thumbnails: no picture within the page, and no link to one


def main(s: Settings) -> None:
    given = {name: value for name in WAYS if (value := getattr(s, name)) is not None}
    numbers = [value for value in given.values() if isinstance(value, int | float)]
    if len({*given} - {"best"}) > 1 or not given or not all(map(math.isfinite, numbers)):
        received = ", ".join(f"{name}={value}" for name, value in given.items()) or "neither"
        raise InputError(
            "best, best_per, best_of or groups should be given, or one of at_least and percentile, as a number. "
            f"Received: {received}"
        )
    if {*given} & {"at_least", "percentile"} and "best" in given:
        raise InputError(f"best should be given without {next(iter(given))}. Received: best={s.best}")
    if s.percentile is not None and not 0 <= s.percentile <= 100:
        raise InputError(f"percentile should be 0 to 100. Received: percentile={s.percentile}")
    if s.best is not None and s.best < 1:
        raise InputError(f"best should be 1 or more. Received: best={s.best}")
    if s.best_of:
        moments.check(s.gap, s.near)
    for folder in filter(None, (s.links, s.copies)):
        gathering.check(folder)
    if s.links and s.links == s.copies:
        raise InputError(f"links and copies should be two folders. Received: {s.links}")
    with closing(opened(s.scores, s.column)) as table:
        _select(s, table)


def _select(s: Settings, table: ScoreTable) -> None:
    page.check_scored(table, s.scores)
    place = named(s.scores)
    out = s.out or place.with_name(f"{place.stem}_selected.csv")
    selection.check_out(out, s.scores)
    about = {selection.FROM: s.scores.name, "roots": [str(place.parent.resolve())], **facts(s.scores)}
    about.pop("columns", None)  # which scores have that may be gone on with
    if s.images:
        about["roots"] = [str(Path(s.images).resolve())]
    names = _above(s, table, about, out) if s.at_least is not None or s.percentile is not None else None
    names = _culled(s, table, about, out) if names is None else names
    for folder in filter(None, (s.links, s.copies)):
        there = gathering.gather(names(), about["roots"], folder, copies=folder == s.copies)
        absent = len(names()) - there
        print(f"{folder}: {there:,} pictures" + f"; {absent:,} are not where the table says" * bool(absent))
    if without := len(table) - table.scored:
        print(f"{without:,} pictures have no score and are not selected")


def _above(s: Settings, table: ScoreTable, about: dict, out: Path) -> Callable[[], list[str]]:
    """Write those at or above a threshold. Returns what gives their names."""
    mos = table.mos.to_numpy()
    least = selection.threshold(mos, s.percentile) if s.at_least is None else s.at_least
    chosen = selection.select(table, least, s.order, about, out)
    if table.has_intervals:
        print(f"Of {table.surely(least):,} of them the whole interval lies there")
    print(f"{out}: {chosen:,} of {len(mos):,} scored pictures, with a score of {least!r} or more")
    return lambda: [name for piece in table.chosen(least, best_first=False) for name in piece.image_path]


def _culled(s: Settings, table: ScoreTable, about: dict, out: Path) -> Callable[[], list[str]]:
    """Write the best of all, or of each group, and the page of groups. Returns what gives their names."""
    rows = table.rows()
    grouped, clocks, by = bool(s.best_per or s.best_of or s.groups), "", ""
    folder = s.page or named(s.scores).with_name(f"{named(s.scores).stem}_groups")
    if grouped:
        page.check(folder, 1)
        how = "names" if s.groups and s.times == "auto" else s.times  # which are shown, and decide nothing
        when = taken(rows.image_path, how, about["roots"], "reading EXIF")
        rows, clocks = rows.assign(time=when.time), times.clocks(when.clock)
        group, by = _grouped(s, rows, when, about["roots"])
    else:
        group = np.zeros(len(rows), int)
    found = culling.culled(rows, group, s.best or 1)
    if found.empty:
        raise InputError(
            f"Pictures should say their day, by names, EXIF or folders. Received: {len(rows):,} that say none"
        )
    kept = found[found.kept]
    if s.order == "score":
        kept = kept.sort_values("MOS", ascending=False, kind="stable")
    selection.write([kept[["image_path", "MOS"]]], about, out)
    if grouped:
        title = f"The best of {s.scores.name}"
        roots = about["roots"]
        files = culling.made(found, facts(s.scores), roots, title, by, clocks, s.best or 1, folder, s.thumbnails)
        page.publish(folder, files, culling.summary(found, s.best or 1))
    print(
        f"{out}: {len(kept):,} of {len(rows):,} scored pictures, {'the best of each group' if grouped else 'the best'}"
    )
    if left := len(rows) - len(found):
        print(f"{left:,} pictures have no day and are not selected")
    return lambda: kept.image_path.tolist()


def _grouped(s: Settings, rows: pd.DataFrame, when: pd.DataFrame, roots: Sequence[str]) -> tuple[np.ndarray, str]:
    """Of each row which group it is in, negative for none; and what a group is, in words."""
    if s.best_per:
        return pd.factorize(when.day)[0], "the pictures of a day"
    if s.groups:
        groups = found_groups.read(s.groups)
        group, absent = found_groups.placed(groups, rows.image_path, roots, s.groups.parent)
        if absent:
            print(f"{absent:,} of the names in {s.groups.name} are of no picture with a score")
        return group, f"what {s.groups.name} says"
    group = moments.bursts(rows.image_path, when.time, roots, s.gap, s.near)
    alike = f", or look alike: hashes that differ in {s.near} of 64 bits at most" if s.near >= 0 else ""
    return group, f"pictures that were taken within {s.gap:g} seconds of one another{alike}"
