"""A CSV of scores as lifelog_predict.py writes it, without a network."""

from pathlib import Path

from koniq.prediction import Score
from koniq.scores import ScoreFile


def write_scores(out, rows, **facts):
    """Write `out`, and `facts` beside it: a row (image_path, MOS), or (image_path, status, error) without a score."""
    with ScoreFile(out, facts) as file:
        for name, *what in rows:
            known = {"mos": what[0]} if len(what) == 1 else {"status": what[0], "error": what[1]}
            file.append(name, Score(Path(name), **known))
    return out
