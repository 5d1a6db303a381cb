"""Scores in MOS: the map that fits the scores of a trained network best is kept beside its weights, and then used.

It is kept only where it is better than the scores as they are by more than chance, on pictures that it was not fitted
to: its gain in RMSE is beyond the standard error of that gain. Where no map is, none is kept, and the numbers say so.
So are intervals about what the scores then are, by the same pictures: these should be of the kind that is scored later,
and none of them seen in training.

python -m koniq calibrate --weights my_run                             # on the validation set of KonIQ-10k
python -m koniq calibrate --weights my_run --dataset mine.csv          # on that of another table
python -m koniq calibrate --weights my_run --dataset mine.csv --scale 1 5     # whose MOS go from 1 to 5
python -m koniq calibrate --weights my_run --kind affine               # this map, whatever its gain
python -m koniq calibrate --weights my_run --kind kept --dataset other.csv    # intervals alone, by other pictures
python -m koniq calibrate --weights my_run --remove

A run of training ends with it. The scripts that test and score heed it, unless they are given --no-calibrate.
"""

from dataclasses import dataclass
from typing import Literal

import tyro

from koniq.commands.choices import Data, How, Part
from koniq.evaluation.calibrating import calibrate, remove
from koniq.measure import conformal
from koniq.network import finding


@dataclass(frozen=True)
class Settings:
    weights: str = finding.ORIGINAL  # a file, a training run, or a name in trained_models
    data: tyro.conf.OmitArgPrefixes[Data] = Data()
    scale: tuple[float, float] | None = None  # the lowest and highest MOS of an own table; None: by its range
    set: Part = "validation"  # the part of the data set; not one to test on
    kind: Literal["auto", "affine", "logistic", "isotonic", "kept"] = (
        "auto"  # the map; auto: the best, if better than none; kept: what is there, and intervals alone are made
    )
    level: float = conformal.LEVEL  # of intervals, such as 0.9: the share of MOS that they hold; 0: no intervals
    how: tyro.conf.OmitArgPrefixes[How] = How(engine="keras", precision="float32")
    remove: bool = False  # what is kept beside the weights, calibration and intervals, and make no other


def main(s: Settings) -> None:
    path = finding.find(s.weights)
    if s.remove:
        remove(path)
        return
    data = s.data.load(s.scale)
    scorer = s.how.load(path, data.part(s.set).image_path.tolist(), calibrate=False)
    calibrate(path, scorer.engine, data, s.set, scorer.workers, s.kind, s.level)
