"""The pictures good enough to be found: those with a score at or above a threshold, as a CSV for a retrieval system.

No picture is touched. The list can be scored again: lifelog_predict.py takes it, and finds the pictures by the JSON
beside it.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.ground import InputError
from koniq.ground.facts import facts, facts_path
from koniq.reports.distribution import is_scored

HEADER = "image_path,MOS"
FROM = "selected_from"  # what the JSON beside a selection says, and that beside scores does not


def threshold(mos: np.ndarray, percentile: float) -> float:
    """The lowest of the scores `mos` (shape (pictures,)) at or above their percentile (0-100, interpolated)."""
    position = round(percentile / 100 * (len(mos) - 1), 9)  # rounded: .07 * 100 is more than 7
    return float(np.sort(mos)[math.ceil(position)])


def select(table: pd.DataFrame, least: float, order: str = "input") -> pd.DataFrame:
    """The pictures with a score of `least` or more, ties and all: image_path, MOS.

    table: of `koniq.scoring.score_tables.read`. order: "input", or "score": the best first.
    """
    chosen = table.loc[is_scored(table) & table.MOS.ge(least), ["image_path", "MOS"]]
    return chosen.sort_values("MOS", ascending=False, kind="stable") if order == "score" else chosen


def check_out(out: Path, scores: Path) -> None:
    """Raise InputError unless `out` is a new CSV, or one of an earlier selection."""
    if out.suffix.lower() != ".csv":
        raise InputError(f"out should end in .csv. Received: {out}")
    if out.exists() and out.samefile(scores):
        raise InputError(f"out should be another file than the scores. Received: {out}")
    begun = out.is_file() and out.open(encoding="utf-8-sig", errors="replace").readline().strip()
    # Scores in the study's columns begin alike, and the JSON beside them says so.
    if (out.exists() and begun != HEADER) or (facts_path(out).exists() and FROM not in facts(out)):
        raise InputError(
            f"out should be a new file, or an earlier selection ({HEADER}), so that nothing else is overwritten. "
            f"Received: {out}"
        )
