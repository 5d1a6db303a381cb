"""What was measured: the tests of finished runs put into results/metrics.csv.

python -m koniq results my_run another_run
python -m koniq results results/my_test --name koncept_lite --part "held-out fifth"     # a test of weights by itself

One row a measurement: data set, what its labels are, set, metric, value, interval, number of pictures, and what it
took: the run's name and settings, epochs, seconds of training, device, versions and commit. Of a difference
(srcc_difference, plcc_difference) also the run that it is a difference to, and p. A run recorded before is replaced.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import tyro

from koniq.ground import InputError
from koniq.ground.paths import RESULTS

if TYPE_CHECKING:
    pass
from koniq.study.results import measurements, of_test, record


@dataclass(frozen=True)
class Settings:
    runs: tyro.conf.Positional[tuple[Path, ...]]  # folders of finished runs, their names in koniq/models, or of tests
    name: str = ""  # what to call the run in the table, if not by its folder (one run only)
    out: Path = RESULTS / "metrics.csv"
    part: str = ""  # what to call the set of a test, if not test, validation or training
    trained_on: str = ""  # what the weights of a test learnt from, if that is not what they are tested on
    network: str = "koncept_lite"  # that the weights of a test are of


def main(s: Settings) -> None:
    if s.name and len(s.runs) != 1:
        raise InputError(f"A name should be given to one run. Received: {len(s.runs)} runs")
    of_tests = [run for run in s.runs if (run / "metrics.csv").is_file()]
    found = [of_test(run, s.name, s.part, s.trained_on, s.network) for run in of_tests]
    found += [measurements(run, s.name) for run in s.runs if run not in of_tests]
    new = pd.concat(found, ignore_index=True)
    table = record(new, s.out)
    print(new[["model", "dataset", "metric", "value", "low", "high"]].to_string(index=False))
    print(f"{s.out}: {len(table)} measurements")
