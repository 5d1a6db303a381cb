"""Scores for photo libraries: XMP sidecars (IMG.jpg.xmp) of pictures that have a score, and ratings, if asked for.

python -m koniq tag lifelog_mos.csv                                # what would be written; nothing is
python -m koniq tag lifelog_mos.csv --write
python -m koniq tag lifelog_mos.csv --rating percentile --write    # and stars, where a picture has none
python -m koniq tag lifelog_mos.csv --cuts 30 45 60 75 --write
python -m koniq tag --undo lifelog_mos_tags.jsonl

No picture is touched. Of a sidecar that is there, the score and the rating are changed and nothing else.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from koniq.ground import InputError
from koniq.ground.bars import tqdm
from koniq.ground.exits import UNSCORED
from koniq.ground.facts import facts
from koniq.ground.typed import command
from koniq.scoring import score_tables
from koniq.xmp.tagging import PERCENTILES, Outcome, Tagging, cuts_at, tag, wishes
from koniq.xmp.undoing import undo

Four = tuple[float, float, float, float]


@dataclass(frozen=True)
class Settings:
    scores: tyro.conf.Positional[Path | None] = None  # a CSV that lifelog_predict.py wrote, or any with name and score
    images: str = ""  # the folder that its names start from; empty: as the JSON beside it says, or its own
    column: str = ""  # of the scores; MOS, if empty
    write: bool = False  # write; without it, what would be written is told, and nothing is
    rating: Literal["none", "percentile"] = "none"  # stars (xmp:Rating) by where a score stands among those of the CSV
    percentiles: Four = PERCENTILES  # of these scores: where 2, 3, 4 and 5 stars begin, with --rating percentile
    cuts: Four | None = None  # scores from which on there are 2, 3, 4 and 5 stars; in place of --rating
    overwrite_ratings: bool = False  # give stars to pictures that have some, too
    rate_unrated: bool = False  # give stars where xmp:Rating is 0, which in XMP is "unrated"
    log: Path | None = None  # of what is changed, by which it is undone; None: NAME_tags.jsonl beside the CSV
    undo: Path | None = None  # such a log: put everything back; no scores are needed


def main(s: Settings) -> int | None:
    if s.undo is not None:
        if s.scores is not None:
            raise InputError(f"A CSV or --undo LOG should be given, not both. Received: {s.scores} and {s.undo}")
        return _undo(s.undo)
    if s.scores is None:
        raise InputError("A CSV of scores should be given, or --undo LOG. Received: neither")
    if score_tables.is_parquet(s.scores):
        raise InputError(f"scores should be a CSV; {command('export')} makes one of Parquet. Received: {s.scores}")
    table = score_tables.read(s.scores, s.column)
    mos = table.MOS[score_tables.is_scored(table)].to_numpy()
    if not len(mos):
        raise InputError(f"{s.scores} should have scores. Received: {len(table):,} rows, none with a score")
    about = facts(s.scores)
    roots = [s.images] if s.images else [*about.get("roots", []), str(s.scores.parent)]
    how = Tagging(str(about.get("model") or ""), _cuts(s, mos), s.overwrite_ratings, s.rate_unrated)
    log = s.log or s.scores.with_name(f"{s.scores.stem}_tags.jsonl")
    pictures = tqdm(wishes(table, roots), "sidecars", len(mos), unit="pic", disable=None, leave=False)
    outcome = tag(pictures, how, log if s.write else None)
    _tell(s, outcome, how, log)
    return UNSCORED if outcome.failed else None


def _cuts(s: Settings, mos: np.ndarray) -> Four | list[float] | None:
    """Where stars begin, as scores; None: none are given."""
    if s.rating != "none" and s.cuts is not None:
        raise InputError("One of --rating percentile and --cuts should be given. Received: both")
    given = s.cuts if s.cuts is not None else s.percentiles
    name = "cuts" if s.cuts is not None else "percentiles"
    if not all(map(math.isfinite, given)) or [*given] != sorted(given):
        raise InputError(f"{name} should be four numbers, ascending. Received: {name}={given}")
    if s.cuts is None and not 0 <= given[0] <= given[-1] <= 100:
        raise InputError(f"percentiles should be 0 to 100. Received: percentiles={given}")
    if s.cuts is None and s.rating == "none":
        if s.overwrite_ratings or s.rate_unrated:
            raise InputError("Ratings should be asked for, by --rating percentile or --cuts. Received: neither")
        return None
    return s.cuts if s.cuts is not None else cuts_at(mos, given)


def _tell(s: Settings, outcome: Outcome, how: Tagging, log: Path) -> None:
    n = outcome.counts
    for problem in outcome.problems:
        print(problem, file=sys.stderr)
    if how.cuts is not None:
        print("Stars: " + ", ".join(f"{star} from {cut:.4g}" for star, cut in enumerate(how.cuts, 2)))
    for line in outcome.first:
        print(f"  {line}")
    if n["new"] + n["changed"] > len(outcome.first):
        print("  ...")
    done = "written" if s.write else "would be written"
    print(
        f"Sidecars {done}: {n['new']:,} new ({n['within']:,} of them from XMP that was there), {n['changed']:,} changed"
        f"; {n['same']:,} are so already"
    )
    if how.cuts is not None:
        print(f"Ratings {done}: {n['rated']:,}; {n['kept']:,} pictures have one, which stays")
        if n["unrated"]:
            print(f"{n['unrated']:,} of these are 0, which is XMP's unrated: --rate-unrated gives them stars")
    if outcome.failed:
        print(f"{outcome.failed:,} pictures are left out, for the reasons above", file=sys.stderr)
    if not s.write:
        print("Nothing was written: --write does it")
    elif log.exists():
        print(f"{log} tells each change; to put everything back: {command('tag')} --undo {log}")


def _undo(log: Path) -> int | None:
    undone = undo(log)
    for problem in undone.problems:
        print(problem, file=sys.stderr)
    n = undone.counts
    already = f"; {n['already']:,} were so already" if n["already"] else ""
    print(f"Sidecars removed: {n['removed']:,}; changed back: {n['restored']:,}{already}")
    if undone.problems:
        print(f"{log} keeps what could not be put back", file=sys.stderr)
    return UNSCORED if undone.problems else None
