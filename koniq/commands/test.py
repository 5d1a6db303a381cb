"""A trained network tested: predictions, SRCC, PLCC, KRCC, MAE and RMSE with intervals, a figure and a report.

python -m koniq test --weights my_run                              # on the test set of KonIQ-10k
python -m koniq test --weights my_run --dataset live_itw           # across data sets
python -m koniq test --dataset mine.csv --images my_folder
"""

from dataclasses import dataclass

import tyro

from koniq.commands.choices import Data, How, Part
from koniq.evaluation.testing import evaluate
from koniq.ground.exits import UNSCORED
from koniq.network import find_or_default


@dataclass(frozen=True)
class Settings:
    weights: str = ""  # a file, a training run, or a name in trained_models; if empty, the original, or koncept_lite
    data: tyro.conf.OmitArgPrefixes[Data] = Data()
    set: Part = "test"  # the part of the data set
    how: tyro.conf.OmitArgPrefixes[How] = How(precision="float32", dct_scaling=False)
    calibrate: bool = True  # scores in MOS by the map that is kept beside the weights, if there is one
    out: str = ""  # the folder of the results; named by weights and data set in results/ if empty


def main(s: Settings) -> int:
    path = find_or_default(s.weights)
    data = s.data.load()
    pictures = data.part(s.set).image_path.tolist()
    scorer = s.how.load(path, pictures, calibrate=s.calibrate, intervals=None)
    return UNSCORED if evaluate(scorer, data, s.set, path, s.out) else 0
