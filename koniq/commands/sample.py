"""The built-in sample: a small data set with synthetic labels in KonIQ-10k's layout, and a small lifelog in LSC's.

python -m koniq sample      # writes both under datasets/sample, from the photographs that scikit-image ships

A picture is a crop of a photograph with one distortion at one severity; its labels follow from the severity alone. They
are NOT human scores: the sample shows that the programs work and learn, and nothing about the quality of a model.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.data.sample import ensure
from koniq.ground.paths import SAMPLE


@dataclass(frozen=True)
class Settings:
    folder: tyro.conf.Positional[str] = str(SAMPLE)  # where to


def main(s: Settings) -> None:
    print(f"The built-in sample (synthetic labels) lies in {ensure(Path(s.folder))}")
