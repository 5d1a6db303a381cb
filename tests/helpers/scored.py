"""A CSV of scores as lifelog_predict.py writes it, without a network."""

from koniq.scoring.score import Score
from koniq.scoring.score_file import ScoreFile


def write_scores(out, rows, **facts):
    """Write `out`, and `facts` beside it: a row (image_path, MOS), or (image_path, status, error) without a score.

    With a half of an interval after the MOS, (image_path, MOS, half), for every score.
    """
    rows = list(rows)
    intervals = any(isinstance(row[-1], float) and len(row) == 3 for row in rows)
    with ScoreFile(out, facts, columns="intervals" if intervals else "all") as file:
        for name, *what in rows:
            if isinstance(what[0], str):
                known = {"status": what[0], "error": what[1]}
            else:
                mos, half = (*what, float("nan"))[:2]
                known = {"mos": mos, "low": mos - half, "high": mos + half}
            file.append(Score(name, **known))
    return out
