"""What scoring takes besides time: memory at a network's full size, and bytes of a picture, of a row and its journal.

python -m benchmarks.footprint --record

Memory is the most that lifelog_predict.py had over `pictures` JPEGs of 1024x768, with random weights of KonCept512 and
with koncept_lite, by OpenVINO. Bytes are those of the files that it read and wrote; the JPEGs are crops of
scikit-image's photographs at quality 90, named as a lifelog names them.
"""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.bounds import photographs
from benchmarks.lifelog import SIZE, write_weights
from benchmarks.processes import measured
from benchmarks.recorded import record
from koniq.commands import cli
from koniq.ground import machine
from koniq.ground.paths import ROOT
from koniq.ground.text import markdown_table
from koniq.network import finding

COMMAND = "python -m benchmarks.footprint --record"
NAMED = "2015-02-23/b00000000_21i6bq_20150223_{:06}e.jpg"  # as LSC'21 names them


@dataclass(frozen=True)
class Settings:
    pictures: int = 48  # that are scored
    rounds: int = 3  # each a process of its own
    precision: str = "float32"  # of both networks
    record: bool = False  # put the figures into results/scale.csv


def main(s: Settings) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = photographs(folder / "made", s.pictures, SIZE)
        places = [folder / "pictures" / NAMED.format(number) for number in range(s.pictures)]
        places[0].parent.mkdir(parents=True)
        for path, place in zip(made, places, strict=True):
            path.rename(place)
        found = {}
        for network, weights in (
            ("KonCept512", write_weights(folder, by_torch=True)),
            ("koncept_lite", finding.find("koncept_lite")),
        ):
            found["memory", f"scoring, {network}"] = [peak(folder, weights, s) for _ in range(s.rounds)], "MiB"
        found["bytes", "JPEG 1024x768"] = [path.stat().st_size for path in places], "bytes"
        out = folder / "scores.csv"
        for case, path in (("CSV", out), ("contents", out.with_name(f"{out.name}.contents"))):
            found["bytes", case] = [path.stat().st_size / s.pictures], "bytes"
        print(f"{machine.machine()}; {machine.in_words(machine.versions())}; commit {machine.commit()}\n")
        print(markdown_table(["", "", "median", "least", "most"], [said(*item) for item in found.items()]))
        if s.record:
            for (step, case), (values, unit) in found.items():
                record(step, case, middle(values), unit, COMMAND, min(values), max(values))


def peak(folder: Path, weights: Path, s: Settings) -> float:
    """The most MiB that a process had that scores the pictures."""
    command = [sys.executable, ROOT / "lifelog_predict.py", folder / "pictures", "--weights", weights, "--overwrite"]
    command += ["--engine", "openvino", "--precision", s.precision, "--out", folder / "scores.csv"]
    return measured(command)[1] / 2**20


def middle(values: list[float]) -> float:
    return float(pd.Series(values).median())


def said(key: tuple[str, str], found: tuple[list[float], str]) -> list[str]:
    """A line of the table."""
    values, unit = found
    return [*key, *(f"{value:,.0f} {unit}" for value in (middle(values), min(values), max(values)))]


if __name__ == "__main__":
    cli.run(main, Settings)
