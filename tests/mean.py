"""lifelog_predict.py with an engine that takes no seconds to start: `python tests/mean.py PICTURES --out OUT ...`.

A score is the mean of a picture's pixels; everything else is the script's own.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tiny import TINY

from koniq import cli, engines
from koniq.prediction import Engine


class Plan(SimpleNamespace):
    """As engines.Plan; `then`, if it has that, is called after each batch."""

    network = TINY

    def facts(self):
        return {"weights": "mean"}

    def start(self):
        def score(batch):
            found = batch.mean((1, 2, 3), dtype=np.float32)
            getattr(self, "then", lambda: None)()
            return found

        return Engine("mean", TINY, 2, score)


if __name__ == "__main__":
    import lifelog_predict

    lifelog_predict.find = Path
    engines.plan = lambda *_, **__: Plan()
    cli.run(lifelog_predict.main, lifelog_predict.Settings, sys.argv[1:])
