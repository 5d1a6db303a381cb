"""What was measured: `python -m koniq.results RUN...` puts the test of finished runs into results/metrics.csv.

One row a measurement: data set, what its labels are, set, metric, value, interval, number of pictures, and what it
took: the run's name and settings, epochs, seconds of training, device, versions and commit. A run recorded before is
replaced.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro

from koniq import cli
from koniq.errors import InputError
from koniq.paths import MODELS, RESULTS
from koniq.report import write_csv

SETTINGS = ("loss", "batch_size", "input_size", "epochs", "learning_rates", "weights", "seed")
KEY = ["dataset", "set", "model"]


@dataclass(frozen=True)
class Settings:
    runs: tyro.conf.Positional[tuple[Path, ...]]  # folders of finished runs, or their names in koniq/models
    name: str = ""  # what to call the run in the table, if not by its folder (one run only)
    out: Path = RESULTS / "metrics.csv"


def measurements(run: Path, name: str = "") -> pd.DataFrame:
    """The rows of a finished run. Raises InputError if it is none."""
    folder = run if run.is_dir() else MODELS / run
    try:
        facts = json.loads((folder / "settings.json").read_text())
        rows, finished = pd.read_csv(folder / "test/metrics.csv"), facts["finished"]
    except (FileNotFoundError, KeyError) as error:
        raise InputError(f"{folder} should hold a finished training run. Received: no {error}") from error
    chosen = {key: str(facts["settings"][key]) for key in SETTINGS}
    versions = " ".join(f"{package} {version}" for package, version in facts["versions"].items())
    return rows.assign(
        model=name or folder.name,
        **chosen,
        epochs_run=finished["epochs"],
        seconds=finished["seconds"],
        device=facts["device"],
        versions=versions,
        commit=facts["commit"],
    )


def main(s: Settings) -> None:
    if s.name and len(s.runs) != 1:
        raise InputError(f"A name should be given to one run. Received: {len(s.runs)} runs")
    new = pd.concat([measurements(run, s.name) for run in s.runs], ignore_index=True)
    if s.out.is_file():
        old = pd.read_csv(s.out, dtype=dict.fromkeys(SETTINGS, str))
        kept = ~pd.MultiIndex.from_frame(old[KEY]).isin(pd.MultiIndex.from_frame(new[KEY]))
        new = pd.concat([old[kept], new], ignore_index=True)
    write_csv(new, s.out)
    print(new[["model", "dataset", "metric", "value", "low", "high"]].to_string(index=False))
    print(f"{s.out}: {len(new)} measurements")


if __name__ == "__main__":
    cli.run(main, Settings)
