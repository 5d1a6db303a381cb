"""The best of each group of pictures, and the page that shows each group, what is kept of it, and why."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.data.scale import of_scores
from koniq.measure import conformal
from koniq.reports import page

GROUPS, PICTURES = 50, 12  # on the page at most: groups, and pictures of each
COLUMNS = ("image_path", "MOS", "MOS_low", "MOS_high", "time", "group", "pictures", "kept", "meeting")


def culled(rows: pd.DataFrame, group: np.ndarray, count: int = 1) -> pd.DataFrame:
    """The rows that are in a group, with its number, how many it has, and whether each is among its `count` best.

    rows: scored: image_path, MOS, and what else there is; group: int (rows,), negative for none. Of equal scores the
    first is the better. More columns: group (1, 2, ... in the order of the rows, those of several pictures before those
    of one), pictures, kept; and meeting: of those
    that are not kept of the group, how many have intervals that meet that of the last one kept; none, or of no
    intervals -1.
    """
    found = rows[group >= 0].reset_index(drop=True)
    found["group"] = group[group >= 0]
    found["pictures"] = found.groupby("group").MOS.transform("size")
    number = pd.Series(pd.factorize(found.group)[0] + 1, found.index)
    for rows, before in ((found.pictures > 1, 0), (found.pictures == 1, found.group[found.pictures > 1].nunique())):
        number[rows] = pd.factorize(found.group[rows])[0] + 1 + before
    found["group"] = number
    by_score = found.sort_values("MOS", ascending=False, kind="stable")
    place = by_score.groupby("group").cumcount().reindex(found.index)
    found["kept"] = place < count
    if {"MOS_low", "MOS_high"} <= {*found}:
        last = place == np.minimum(found.pictures, count) - 1
        least = found.group.map(found[last].set_index("group").MOS_low)
        meets = ~found.kept & (found.MOS_high >= least)
        found["meeting"] = meets.groupby(found.group).transform("sum")
    else:
        found["meeting"] = -1
    return found


def why(group: pd.DataFrame, digits: int) -> str:
    """What there is to say of how one group was culled: a sentence. group: its rows of `culled`."""
    rest = group[~group.kept]
    if rest.empty:
        return "All are kept."
    kept = int(group.kept.sum())
    ahead = group.MOS[group.kept].min() - rest.MOS.max()
    which = "The one kept has the highest score" if kept == 1 else f"The {kept} kept have the highest scores"
    said = f"{which}, {ahead:.{digits}f} above the next"
    meeting, others = int(group.meeting.iloc[0]), len(rest)
    if meeting < 0:
        return f"{said}. Without intervals nothing says whether that is more than chance."
    if not meeting:
        return f"{said}, and is told apart from the rest: no interval meets its own."
    return f"{said}, but is not told apart from {meeting} of the {others} others: their intervals meet its own."


def summary(found: pd.DataFrame, count: int) -> str:
    """What was culled, in a sentence. found: of `culled`."""
    several = found[found.pictures > 1].groupby("group")
    groups = several.first()
    said = (
        f"{len(found):,} pictures: {len(groups):,} groups of 2 or more, with {several.ngroup().count():,} of them; "
        f"{int(found.kept.sum()):,} are kept"
    )
    choice = groups[groups.pictures > count]
    if len(choice) and (choice.meeting >= 0).all():
        said += f". In {(choice.meeting > 0).sum():,} of {len(choice):,} groups the intervals do not tell them apart"
    return said


def made(
    found: pd.DataFrame,
    about: Mapping[str, object],
    roots: Sequence[str],
    title: str,
    by: str,
    clocks: str,
    count: int = 1,
    folder: Path | None = None,
    thumbnails: bool = True,
) -> dict[str, page.Content]:
    """The files of the page of what was culled, by name: report.html, and groups.csv with every picture's row.

    found: of `culled`, with a time each. about, roots, folder, thumbnails: as of
    `koniq.reports.lifelog_report.report`. by: what a group is, in words. clocks: whose clock times are of, or "".
    """
    on, label = of_scores(found.MOS, about), "MOS"
    intervals = "MOS_low" in found
    several = found[found.pictures > 1]

    def captions(row) -> tuple[str, ...]:
        return (
            f"{row.MOS:.{on.digits}f}{', kept' * bool(row.kept)}",
            f"{row.MOS_low:.{on.digits}f} to {row.MOS_high:.{on.digits}f}" if intervals else "",
            "" if pd.isna(row.time) else f"{row.time:%Y-%m-%d %H:%M:%S}",
        )

    sections = []
    for number, rows in several[several.group.isin(several.group.unique()[:GROUPS])].groupby("group"):
        best = rows.sort_values("MOS", ascending=False, kind="stable")
        sections.append(
            {
                "number": number,
                "pictures": len(rows),
                "when": _when(rows.time),
                "why": why(rows, on.digits),
                "cells": page.cells(best[:PICTURES], captions, roots, folder, thumbnails),
                "more": max(0, len(rows) - PICTURES),
            }
        )
    html = page.render(
        "culling.html",
        title=title,
        summary=summary(found, count),
        by=by,
        clocks=clocks,
        sections=sections,
        more=several.group.nunique() - len(sections),
        intervals=about.get(conformal.KEY, "intervals") if intervals else "",
        label=label,
        thumbnails=thumbnails,
        provenance=page.provenance(about),
    )
    return {page.PAGE: html, "groups.csv": found[[name for name in COLUMNS if name in found]]}


def _when(time: pd.Series) -> str:
    """From when to when pictures were taken; "" if nothing says so."""
    first, last = time.min(), time.max()
    if pd.isna(first):
        return ""
    until = "" if first == last else f" to {last:%H:%M:%S}" if first.date() == last.date() else f" to {last:%Y-%m-%d}"
    return f"{first:%Y-%m-%d %H:%M:%S}{until}"
