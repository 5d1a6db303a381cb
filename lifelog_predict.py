"""Score a lifelog, or any pictures, with a trained network: a CSV with a row for every input.

By the original KonCept512, where nothing else is named and that is there, else by koncept_lite.
Edit a setting here or give it on the command line:  python lifelog_predict.py my_photos --weights my_run
"""

from dataclasses import dataclass
from typing import Literal

import tyro

import koniq
from koniq import engines
from koniq.commands import cli
from koniq.ground import exits
from koniq.ground.paths import LIFELOG
from koniq.network import find_or_default
from koniq.pictures import inputs


@dataclass(frozen=True)
class Settings:
    pictures: tyro.conf.Positional[tuple[str, ...]] = (str(LIFELOG / "lsc21-images.csv"),)
    # ^ lists (.csv with image_path), folders, globs, or single files; here or in a store, s3://... for instance
    images: str = ""  # where the paths of a list start; lsc21-image beside the list, or the list's folder, if empty
    weights: str = ""  # a file, a training run, or a name in trained_models; if empty, the original, or koncept_lite
    batch_size: int | None = None  # pictures at a time; None: what suits the engine; moves scores by rounding alone
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    resize: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] | None = None  # None: as in training
    rules: Literal["2", "1", "study"] | None = None  # of decoding; study: its lifelog's; None: 2, or the begun file's
    fit: Literal["squash", "crop", "pad"] | None = None  # of other proportions than 4:3; None: as in training
    pooling: Literal["mean", "8x8"] | None = None  # of weights by PyTorch without a record; 8x8: the study's
    dct_scaling: bool = True  # JPEGs of more than twice the size are decoded at a half of it or less
    max_megapixels: float = 179  # that may be decoded of a picture: 8 bytes of memory each
    engine: engines.EngineName = "auto"  # keras, openvino, torch; auto: on a GPU if there is one, else openvino
    device: engines.DeviceName = "auto"  # auto: a GPU that the engine computes on, if any; cpu leaves it alone
    precision: engines.Precision = (
        "auto"  # auto: mixed_bfloat16 where openvino has it, else float32; int8: twice as fast
    )
    calibrate: bool = True  # scores in MOS by the map that is kept beside the weights, if there is one
    intervals: bool = (
        False  # MOS_low and MOS_high after MOS, where the weights have them: see koniq.evaluation.calibrating
    )
    workers: int | None = None  # threads that decode pictures; None: one a core
    out: str = (
        "lifelog_mos.csv"  # image_path, MOS, status, width, height, error; what is in it already is not done again
    )
    shard: str = ""  # such as 3/8: of eight machines, what the third does, into lifelog_mos_3_of_8.csv, or out
    retry: tuple[str, ...] | None = None  # what has no score, again; --retry missing: of that status alone
    exclude: tuple[str, ...] = ()  # globs of what is left out of folders, such as '*_small.jpg' or 'drafts/*'
    list_excluded: bool = False  # name what was left out: that, hidden files, and what systems keep beside pictures
    columns: Literal["all", "study"] = "all"  # study: image_path, MOS, as its result files; without a score: no MOS
    overwrite: bool = False  # begin the file anew


def main(s: Settings) -> int:
    path, pictures = find_or_default(s.weights), inputs.of(s.pictures, s.images, s.exclude, s.shard)
    print(pictures.summary(s.list_excluded))
    scorer = koniq.load(
        path,
        batch_size=s.batch_size,
        input_size=s.input_size,
        resize=s.resize,
        rules=s.rules,
        fit=s.fit,
        pooling=s.pooling,
        dct_scaling=s.dct_scaling,
        max_megapixels=s.max_megapixels,
        workers=s.workers,
        engine=s.engine,
        device=s.device,
        precision=s.precision,
        int8_pictures=pictures.whole,
        calibrate=s.calibrate,
        intervals=s.intervals,
    )
    out = pictures.out(s.out, Settings.out)
    file = scorer.write(pictures, out, overwrite=s.overwrite, retry=s.retry, columns=s.columns, progress="scoring")
    return exits.UNSCORED if file.unscored else 0


if __name__ == "__main__":
    cli.run(main, Settings)
