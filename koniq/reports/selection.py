"""The pictures good enough to be found: those with a score at or above a threshold, as a CSV for a retrieval system.

No picture is touched. The list can be scored again: lifelog_predict.py takes it, and finds the pictures by the JSON
beside it.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.ground import InputError
from koniq.ground.facts import facts, facts_path
from koniq.ground.files import write_json
from koniq.scoring.score_tables import ScoreTable, needs_tables
from koniq.scoring.score_tables import facts as facts_of
from ku.files import atomic_path

HEADER = "image_path,MOS"
FROM = "selected_from"  # what the JSON beside a selection says, and that beside scores does not


def threshold(mos: np.ndarray, percentile: float) -> float:
    """The lowest of the scores `mos` (shape (pictures,)) at or above their percentile (0-100, interpolated)."""
    position = round(percentile / 100 * (len(mos) - 1), 9)  # rounded: .07 * 100 is more than 7
    return float(np.sort(mos)[math.ceil(position)])


def select(table: ScoreTable, least: float, order: str, about: Mapping[str, object], out: Path) -> int:
    """Write the pictures with a score of `least` or more, ties and all, to `out`: image_path, MOS. Returns how many.

    table: of `koniq.scoring.score_tables.opened`. order: "input", or "score": the best first. about: see `write`.
    """
    return write(table.chosen(least, best_first=order == "score"), about, out)


def write(pieces: Iterable[pd.DataFrame], about: Mapping[str, object], out: Path) -> int:
    """Write rows (image_path, MOS), in pieces, to `out`. Returns how many.

    about: what the list says of itself, as JSON beside a CSV or within Parquet.
    """
    rows = 0
    if out.suffix.lower() == ".parquet":
        from koniq.scoring import in_pyarrow

        return in_pyarrow.write(map(in_pyarrow.of_frame, pieces), about, HEADER.split(","), out)
    write_json(about, facts_path(out))  # so that the list says itself where its pictures are
    with atomic_path(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{HEADER}\n")
        for piece in pieces:
            piece.to_csv(file, index=False, header=False, lineterminator="\n")
            rows += len(piece)
    return rows


def check_out(out: Path, scores: Path) -> None:
    """Raise InputError unless `out` is a new CSV or Parquet file, or one of an earlier selection."""
    ending = out.suffix.lower()
    if ending not in (".csv", ".parquet"):
        raise InputError(f"out should end in .csv or .parquet. Received: {out}")
    if out.exists() and scores.exists() and out.samefile(scores):
        raise InputError(f"out should be another file than the scores. Received: {out}")
    if ending == ".parquet":
        needs_tables()
        if out.exists() and not (out.is_file() and FROM in facts_of(out)):
            raise InputError(
                "out should be a new file, or an earlier selection, so that nothing else is overwritten. "
                f"Received: {out}"
            )
        return
    begun = out.is_file() and out.open(encoding="utf-8-sig", errors="replace").readline().strip()
    # Scores in the study's columns begin alike, and the JSON beside them says so.
    if (out.exists() and begun != HEADER) or (facts_path(out).exists() and FROM not in facts(out)):
        raise InputError(
            f"out should be a new file, or an earlier selection ({HEADER}), so that nothing else is overwritten. "
            f"Received: {out}"
        )
