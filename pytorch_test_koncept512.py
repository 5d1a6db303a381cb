"""Test a trained KonCept512 in PyTorch on KonIQ-10k, across data sets on LIVE In the Wild, or on any table.

The weights may be TensorFlow's or PyTorch's. Edit a setting here or give it on the command line:
python pytorch_test_koncept512.py --dataset live_itw --weights my_run
"""

from dataclasses import dataclass
from typing import Literal

import koniq
from koniq import engines
from koniq.commands import cli
from koniq.data import datasets
from koniq.evaluation.testing import evaluate
from koniq.ground import exits
from koniq.network import find_or_default


@dataclass(frozen=True)
class Settings:
    weights: str = ""  # a file, a training run, or a name in trained_models; if empty, the original, or koncept_lite
    dataset: str = "koniq10k"  # koniq10k, live_itw, biq2021, sample (built in, synthetic labels), or a .csv
    table: str = ""  # its table (live_itw, biq2021: the folder of their tables), if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    skip_missing: bool = True  # test on the pictures that are there, and say how many are not
    set: Literal["training", "validation", "test"] = "test"  # the part of the data set
    batch_size: int = 8  # pictures at a time; moves scores by rounding alone
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    resize: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] | None = None  # None: as in training
    rules: Literal["2", "1", "study"] | None = None  # by which pictures are decoded; None: 2, or as in training
    fit: Literal["squash", "crop", "pad"] | None = None  # of other proportions than 4:3; None: as in training
    pooling: Literal["mean", "8x8"] | None = None  # of weights by PyTorch without a record; 8x8: the study's
    device: engines.DeviceName = "auto"  # the best there is
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = (
        "float32"  # auto: the fastest that is safe
    )
    compile: bool = False  # the network by torch.compile: a minute or more first, then faster
    calibrate: bool = True  # scores in MOS by the map that is kept beside the weights, if there is one
    workers: int | None = None  # threads that decode pictures; None: one a core
    out: str = ""  # the folder of the results; named by weights and data set in results/ if empty


def main(s: Settings) -> int:
    path = find_or_default(s.weights)
    data = datasets.load(s.dataset, s.table, s.images, s.skip_missing)
    print(data.summary())
    scorer = koniq.load(
        path,
        batch_size=s.batch_size,
        input_size=s.input_size,
        resize=s.resize,
        rules=s.rules,
        fit=s.fit,
        pooling=s.pooling,
        dct_scaling=False,
        workers=s.workers,
        engine="torch",
        device=s.device,
        precision=s.precision,
        compiled=s.compile,
        calibrate=s.calibrate,
        intervals=None,
    )
    unscored = evaluate(scorer, data, s.set, path, s.out, "-pytorch")
    return exits.UNSCORED if unscored else 0


if __name__ == "__main__":
    cli.run(main, Settings)
