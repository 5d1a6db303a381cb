"""Scores in MOS: the map that fits the scores of a trained network best is kept beside its weights, and then used.

It is kept only where it is better than the scores as they are by more than chance, on pictures that it was not fitted
to: its gain in RMSE is beyond the standard error of that gain. Where no map is, none is kept, and the numbers say so.
So are intervals about what the scores then are, by the same pictures (see koniq.measure.conformal): what these are
should be of the kind that is scored later, and none of them seen in training.

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

from koniq import engines
from koniq.data import datasets
from koniq.evaluation.calibrating import calibrate, remove
from koniq.measure import conformal
from koniq.network import finding


@dataclass(frozen=True)
class Settings:
    weights: str = finding.ORIGINAL  # a file, a training run, or a name in trained_models
    dataset: str = "koniq10k"  # koniq10k, live_itw, biq2021, sample (built in, synthetic labels), or a .csv
    table: str = ""  # its table (live_itw, biq2021: the folder of their tables), if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    scale: tuple[float, float] | None = None  # the lowest and highest MOS of an own table; None: by its range
    skip_missing: bool = True  # calibrate on the pictures that are there, and say how many are not
    set: Literal["training", "validation", "test"] = "validation"  # the part of the data set; not one to test on
    kind: Literal["auto", "affine", "logistic", "isotonic", "kept"] = (
        "auto"  # the map; auto: the best, if better than none; kept: what is there, and intervals alone are made
    )
    level: float = conformal.LEVEL  # of intervals, such as 0.9: the share of MOS that they hold; 0: no intervals
    batch_size: int | None = None  # pictures at a time; None: what suits the engine; moves scores by rounding alone
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    resize: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] | None = None  # None: as in training
    engine: engines.EngineName = "keras"  # or openvino, which exports the network first; auto: as lifelog_predict.py
    precision: engines.Precision = "float32"  # of the network's arithmetic; the fastest that loses little: auto
    workers: int = 2  # threads that decode pictures
    remove: bool = False  # what is kept beside the weights, calibration and intervals, and make no other


def main(s: Settings) -> None:
    path = finding.find(s.weights)
    if s.remove:
        remove(path)
        return
    data = datasets.load(s.dataset, s.table, s.images, s.skip_missing, s.scale)
    print(data.summary())
    paths = data.part(s.set).image_path.tolist()
    plan = engines.decide(path, s.engine, s.precision, s.batch_size, s.input_size, s.resize, paths)
    calibrate(path, plan.start(), data, s.set, s.workers, s.kind, s.level)
