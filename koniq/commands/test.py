"""A trained network tested: predictions, SRCC, PLCC, KRCC, MAE and RMSE with intervals, a figure and a report.

python -m koniq test --weights my_run                              # on the test set of KonIQ-10k
python -m koniq test --weights my_run --dataset live_itw           # across data sets
python -m koniq test --dataset mine.csv --images my_folder
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.commands.choices import Data, How, Part
from koniq.evaluation.testing import test_report
from koniq.ground.exits import UNSCORED
from koniq.ground.paths import RESULTS
from koniq.ground.text import slug
from koniq.network import find_or_default, title


@dataclass(frozen=True)
class Settings:
    weights: str = ""  # a file, a training run, or a name in trained_models; if empty, the original, or koncept_lite
    data: tyro.conf.OmitArgPrefixes[Data] = Data()
    set: Part = "test"  # the part of the data set
    how: tyro.conf.OmitArgPrefixes[How] = How(precision="float32")
    calibrate: bool = True  # scores in MOS by the map that is kept beside the weights, if there is one
    out: str = ""  # the folder of the results; named by weights and data set in results/ if empty


def main(s: Settings) -> int:
    path = find_or_default(s.weights)
    data = s.data.load()
    rows = data.part(s.set)
    paths = rows.image_path.tolist()
    scorer = s.how.load(path, paths, calibrate=s.calibrate, intervals=None)
    scores = scorer.scores(paths, progress="testing")
    out = Path(s.out) if s.out else RESULTS / f"{title(path)}-on-{slug(data.name)}"
    found = test_report(out, data, s.set, scores, title(path), scorer.intervals)
    return UNSCORED if found.n.min() < len(rows) else 0
