"""lifelog_predict.py, its engine there at once: `python tests/helpers/mean.py PICTURES --out OUT ...`.

A score is the mean of a picture's pixels; everything else is the script's own. In the environment, PAUSE is a number of
seconds that each batch takes longer, and STEP how many pass until replaced rows are written.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tiny import TINY

from koniq.commands import cli
from koniq.engines.engine import Engine
from koniq.scoring import score_file, scorer


class MeanPlan:
    """As engines.Plan; how many pictures it has scored is in `scored`. `then`, if given, is called after each batch."""

    network = TINY

    def __init__(self, pause=0.0, then=None):
        self.pause, self.then, self.scored = pause, then, 0

    def settled(self):
        return self

    def facts(self):
        return {"model": "mean", "weights": "abc"}

    def start(self):
        return Engine("mean", TINY, 2, self.score)

    def score(self, batch):
        time.sleep(self.pause)
        self.scored += np.count_nonzero(batch.any((1, 2, 3)))
        found = batch.mean((1, 2, 3), dtype=np.float32)
        if self.then:
            self.then()
        return found


if __name__ == "__main__":
    import lifelog_predict

    score_file.STEP = float(os.environ.get("STEP", score_file.STEP))
    lifelog_predict.find_or_default = scorer.find_or_default = lambda name: Path(name or "mean.h5")
    scorer.decide = lambda *_, **__: MeanPlan(float(os.environ.get("PAUSE", 0)))
    cli.run(lifelog_predict.main, lifelog_predict.Settings, sys.argv[1:])
