"""The pictures good enough to be found: those with a score at or above a threshold, as a CSV for a retrieval system.

python -m koniq select lifelog_mos.csv --at-least 50        # MOS
python -m koniq select lifelog_mos.csv --percentile 80      # the best fifth

No picture is touched. The list can be scored again: lifelog_predict.py takes it, and finds the pictures by the JSON
beside it.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from koniq.ground import InputError
from koniq.ground.facts import facts, facts_path
from koniq.ground.files import write_csv, write_json
from koniq.reports.distribution import is_scored
from koniq.reports.page import check_scored
from koniq.reports.selection import FROM, check_out, select, threshold
from koniq.scoring.score_file import INTERVAL
from koniq.scoring.score_tables import read


@dataclass(frozen=True)
class Settings:
    scores: tyro.conf.Positional[Path]  # a CSV that lifelog_predict.py wrote, or any with image_path and a score
    column: str = ""  # of the scores; MOS, if empty
    at_least: float | None = None  # keep pictures of this score and above
    percentile: float | None = None  # keep pictures at or above this percentile (0-100) of all scores
    order: Literal["input", "score"] = "input"  # of the rows: as in the CSV, or the best first
    out: Path | None = None  # image_path, MOS, and a JSON beside it; None: NAME_selected.csv beside NAME.csv


def main(s: Settings) -> None:
    given = {name: value for name in ("at_least", "percentile") if (value := getattr(s, name)) is not None}
    if len(given) != 1 or not all(map(math.isfinite, given.values())):
        received = ", ".join(f"{name}={value}" for name, value in given.items()) or "neither"
        raise InputError(f"One of at_least and percentile should be given, as a number. Received: {received}")
    if s.percentile is not None and not 0 <= s.percentile <= 100:
        raise InputError(f"percentile should be 0 to 100. Received: percentile={s.percentile}")
    table = read(s.scores, s.column)
    check_scored(table, s.scores)
    out = s.out or s.scores.with_name(f"{s.scores.stem}_selected.csv")
    check_out(out, s.scores)
    mos = table.MOS[is_scored(table)].to_numpy()
    least = threshold(mos, s.percentile) if s.at_least is None else s.at_least
    chosen = select(table, least, s.order)
    about = {FROM: s.scores.name, "roots": [str(s.scores.parent.resolve())], **facts(s.scores)}
    about.pop("columns", None)  # which scores have that may be gone on with
    write_json(about, facts_path(out))  # so that the list says itself where its pictures are
    write_csv(chosen, out)
    if INTERVAL[0] in table:
        sure = int(table.loc[chosen.index, INTERVAL[0]].ge(least).sum())
        print(f"Of {sure:,} of them the whole interval lies there")
    without = len(table) - len(mos)
    print(f"{out}: {len(chosen):,} of {len(mos):,} scored pictures, with a score of {least!r} or more")
    if without:
        print(f"{without:,} pictures have no score and are not selected")
