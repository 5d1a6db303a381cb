"""Where measured figures are kept that docs/scale.md is made from: results/scale.csv, a row each."""

from pathlib import Path

import pandas as pd

from koniq.ground import machine
from koniq.ground.files import write_csv
from koniq.ground.paths import ROOT

SCALE = ROOT / "results/scale.csv"
WHICH = ["step", "case", "device"]  # what a row is known by: measured again there, it is replaced


def record(
    step: str, case: str, value: float, unit: str, command: str, low: float, high: float, path: Path = SCALE
) -> None:
    """Put a figure into the table, in the place of the one that the same machine measured of the same before.

    step: such as "merge"; case: such as "10,000,000 rows"; value: the median of the rounds, low and high the least and
    the most of them, all in `unit`, such as "rows/s" or "MiB"; command: what measured it.
    """
    row = {"step": step, "case": case, "value": value, "low": low, "high": high, "unit": unit, "command": command}
    row |= machine.here()
    table = pd.read_csv(path, keep_default_na=False) if path.is_file() else pd.DataFrame(columns=list(row))
    same = (table[WHICH] == [row[name] for name in WHICH]).all(axis="columns")
    rows = pd.DataFrame([row])
    write_csv(rows if same.all() else pd.concat([table[~same], rows]), path)
