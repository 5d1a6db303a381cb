"""Score a lifelog, or any pictures, with a trained KonCept512: a CSV with a row for every input.

Edit a setting here or give it on the command line:  python lifelog_predict.py my_picture.jpg --weights my_run
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from koniq import cli, devices, lifelog
from koniq.paths import LIFELOG
from koniq.prediction import predict
from koniq.weights import ORIGINAL, find, load_network


@dataclass(frozen=True)
class Settings:
    pictures: tyro.conf.Positional[tuple[str, ...]] = (str(LIFELOG / "lsc21-images.csv"),)
    # ^ lists (.csv with image_path), folders, globs, or single files
    images: str = ""  # where the paths of a list start; lsc21-image beside the list, or the list's folder, if empty
    weights: str = ORIGINAL  # a file, a training run, or a name in trained_models
    batch_size: int = 8  # pictures at a time; the scores do not depend on it
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    resize: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] | None = (
        None  # None: as in training; nearest: the study's lifelog
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"  # of the network's arithmetic
    workers: int = 2  # threads that decode pictures
    out: str = "lifelog_mos.csv"  # image_path, MOS, status, width, height, error


def main(s: Settings) -> None:
    path = find(s.weights)
    inputs = lifelog.inputs(s.pictures, s.images)
    print(f"{len(inputs):,} pictures")
    devices.prepare(precision=s.precision)
    network, model = load_network(path, s.input_size, s.resize)
    scores = predict(model, network, inputs.path, s.batch_size, s.workers, "scoring")
    lifelog.write(inputs, scores, Path(s.out))


if __name__ == "__main__":
    cli.run(main, Settings)
