"""Make the weights of koncept_lite that are released: the whole recipe, a command of this project for each step.

python -m koniq recipe       (an hour or two on two cores; begun again, it goes on where it was stopped)

A head is trained on what ImageNet's body sees, which takes seconds once that is computed; then the later half of the
body with it, slowly; then heads on that body: one of all BIQ2021, for its own test; one of its subsets 1 and 3, which
is tested across, on all of LIVE In the Wild; and from that the one that is released, on LIVE's training part.
"""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from koniq.data import datasets, join
from koniq.ground import RunStopped, exits
from koniq.ground.files import write_csv
from koniq.ground.paths import IMAGES, METADATA, MODELS, ROOT, TRAINED_MODELS
from koniq.network import sidecar

NAME, LIVE = "koncept_lite", "LIVE In the Wild"
TRAIN = ("pytorch_train_koncept512.py", "--network", NAME, "--loss", "plcc_mse", "--resume", "--no-test")
HEAD = ("--hold", 17, "--batch-size", 128, "--average", 0.99, "--epochs", 15, 5)
BODY = ("--hold", 8, "--batch-size", 16, "--average", 0.995, "--epochs", 2, 1, "--statistics", "kept")
LAST = ("--hold", 17, "--batch-size", 64, "--average", 0.95, "--epochs", 30, 10, "--patience", 40)
TEST = ("koncept512_test.py", "--engine", "openvino")
OWN = ("--scale", 0, 100)  # of tables that are written here


@dataclass(frozen=True)
class Settings:
    biq2021: bool = True  # learn from BIQ2021 first; without it, from LIVE In the Wild alone
    biq2021_table: Path = METADATA  # the folder of its tables
    biq2021_images: Path = IMAGES / "biq2021"  # and of its pictures
    live_table: Path = METADATA  # the folder of LIVE's .mat files
    live_images: Path = IMAGES / "live_500x500"  # and of its pictures
    seed: int = 1  # of weights, order, flips and dropout
    runs: Path = MODELS  # the folder of the runs
    out: Path = TRAINED_MODELS / NAME / f"{NAME}.safetensors"  # what is made


def main(s: Settings) -> None:
    s.runs.mkdir(parents=True, exist_ok=True)
    for step in (*(biq2021(s) if s.biq2021 else ()), *release(s)):
        words = [str(word) for word in step]
        print(f"\n$ python {shlex.join(words)}", flush=True)
        if subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode not in (0, exits.UNSCORED):
            raise RunStopped("The step above should have come to its end. Mend it, and begin again: it goes on there.")
    record = sidecar.record(s.out)
    learnt = f"{'BIQ2021, training part; ' if s.biq2021 else ''}{LIVE}, 814 of its pictures"
    sidecar.write_record(s.out, sidecar.network_of(s.out), **record | {"trained_on": learnt})


def biq2021(s: Settings) -> Iterator[tuple]:
    """What is learnt from BIQ2021, and its tests."""
    whole = of_biq2021(s)
    live = ("--dataset", "live_itw", "--table", s.live_table, "--images", s.live_images)
    train, table = (*TRAIN, "--seed", s.seed), s.runs / "BIQ2021, subsets 1 and 3.csv"
    head, body, own, across = (s.runs / f"{NAME}-{name}" for name in ("head", "body", "biq2021", "biq2021-13"))
    ids = datasets.load("biq2021", str(s.biq2021_table), str(s.biq2021_images)).ids
    write_csv(ids[ids.subset != 2].drop(columns="image_path"), table)
    bare = s.runs / f"{NAME}-body.safetensors"
    yield *train, *whole, *HEAD, "--learning-rates", 1e-3, 2e-4, "--run", head
    yield *train, *whole, *BODY, "--learning-rates", 2e-4, 4e-5, "--body-rate", 0.25, "--weights", head, "--run", body
    yield *train, *whole, *HEAD, "--learning-rates", 5e-4, 1e-4, "--weights", body, "--run", own
    yield *TEST, "--weights", own, *whole, "--out", own / "test"
    yield "-m", "koniq", "convert", body, bare, "--body", "--overwrite"
    parts = ("--dataset", table, "--images", s.biq2021_images, *OWN)
    yield *train, *parts, *HEAD, "--learning-rates", 1e-3, 2e-4, "--weights", bare, "--run", across
    yield *TEST, "--weights", across, *live, "--out", across / "test"


def of_biq2021(s: Settings) -> tuple:
    """What names BIQ2021 to a command."""
    return "--dataset", "biq2021", "--table", s.biq2021_table, "--images", s.biq2021_images


def release(s: Settings) -> Iterator[tuple]:
    """What is learnt from LIVE's training part, the file that is released, its map, intervals and tests."""
    images = ("--images", s.live_images, *OWN)
    division, calibration = s.runs / f"{LIVE}.csv", s.runs / f"{LIVE}, calibration.csv"
    ids = join.source("live_itw", str(s.live_images), str(s.live_table)).ids
    write_csv(ids[["image_name", "MOS", "set"]], division)
    tenth = datasets.load("live_itw", str(s.live_table), str(s.live_images)).ids
    tenth = tenth[tenth.image_name.map(datasets.live_division(str(s.live_table))) == "calibration"]
    write_csv(tenth[["image_name", "MOS"]].assign(set="validation"), calibration)
    last = s.runs / f"{NAME}-{'release' if s.biq2021 else 'live'}"
    start = ("--weights", s.runs / f"{NAME}-biq2021-13", "--statistics", "kept") if s.biq2021 else ()
    rates = (5e-4, 1e-4) if s.biq2021 else (1e-3, 2e-4)
    train = (*TRAIN, "--seed", s.seed, "--dataset", division, *images)
    yield *train, *LAST, "--learning-rates", *rates, *start, "--run", last
    yield "-m", "koniq", "convert", last, s.out, "--half", "--overwrite"
    about = ("--weights", s.out, "--engine", "openvino")
    yield "-m", "koniq", "calibrate", *about, "--dataset", calibration, *images, "--set", "validation"
    yield *TEST, "--weights", s.out, "--dataset", division, *images[:2], "--out", last / "test"
    yield *TEST, "--weights", s.out, *of_biq2021(s), "--no-calibrate", "--out", last / "cross-biq2021"
