"""A CSV of scores as lifelog_predict.py writes it, without a network.

`python tests/scored.py OUT ARGUMENTS` is lifelog_predict.py --out OUT ARGUMENTS with `MeanPlan`, in steps of 20 ms and
with the seconds of sleep a batch that PAUSE in the environment says.
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from tiny import TINY

from koniq.prediction import Engine, Score
from koniq.scores import ScoreFile


def write_scores(out, rows, **facts):
    """Write `out`, and `facts` beside it: a row (image_path, MOS), or (image_path, status, error) without a score."""
    with ScoreFile(out, facts) as file:
        for name, *what in rows:
            known = {"mos": what[0]} if len(what) == 1 else {"status": what[0], "error": what[1]}
            file.append(name, Score(Path(name), **known))
    return out


class MeanPlan:
    """A plan of koniq.engines whose score is the mean of a picture's pixels; how many it has scored is in `scored`."""

    network = TINY

    def __init__(self, pause=0.0):
        self.pause, self.scored = pause, 0

    def facts(self):
        return {"model": "mean", "weights": "abc"}

    def start(self):
        return Engine("mean", TINY, 2, self.score)

    def score(self, batch):
        time.sleep(self.pause)
        self.scored += np.count_nonzero(batch.any((1, 2, 3)))
        return batch.mean((1, 2, 3), dtype=np.float32)


if __name__ == "__main__":
    import lifelog_predict
    from koniq import cli, engines, scores

    scores.STEP = 0.02
    lifelog_predict.find = Path
    engines.plan = lambda *arguments, **more: MeanPlan(float(os.environ.get("PAUSE", "0")))
    cli.run(lifelog_predict.main, lifelog_predict.Settings, ["--out", *sys.argv[1:]])
