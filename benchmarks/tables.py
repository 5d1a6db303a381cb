"""Tables of millions of rows: how long an export, a report, a comparison and a selection take, and in how much memory.

python -m benchmarks.tables                # of ten million rows: ten minutes or so, and 5 GB of disk
python -m benchmarks.tables --record

The scores are made up, named as a lifelog names its pictures, a picture every 10 seconds over 3 years; one in a hundred
has no score. Those of the second model follow the first's (PLCC .9), and one picture in a thousand is in one table
only. Each step is a process of its own, as it is typed; seconds are by the clock, from its start to its end.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.processes import measured
from benchmarks.recorded import record
from koniq.commands import cli
from koniq.ground import machine
from koniq.ground.facts import facts_path
from koniq.ground.files import write_json
from koniq.ground.text import markdown_table
from koniq.scoring.lines import COLUMNS

COMMAND = "python -m benchmarks.tables --record"
PIECE = 500_000  # rows that are made at a time
EVERY = 10  # seconds from picture to picture


@dataclass(frozen=True)
class Settings:
    rows: int = 10_000_000  # of each table
    rounds: int = 1  # of each step
    folder: Path | None = None  # where the tables lie meanwhile; None: in the system's folder for what is temporary
    record: bool = False  # put the figures into results/scale.csv


def main(s: Settings) -> None:
    with tempfile.TemporaryDirectory(dir=s.folder) as name:
        folder = Path(name)
        for number, csv in enumerate("ab"):
            write(folder / f"{csv}.csv", s.rows, number)
        print(f"{machine.machine()}; {machine.in_words(machine.versions())}; commit {machine.commit()}\n", flush=True)
        found = {}
        export = ["export", folder / "a.csv", folder / "a.parquet", "--overwrite"]
        found["export"] = [step(*export) for _ in range(s.rounds)]
        step("export", folder / "b.csv", folder / "b.parquet")
        found["back to CSV"] = [step("export", folder / "a.parquet", folder / "back.csv", "--overwrite")]
        assert (folder / "back.csv").stat().st_size == (folder / "a.csv").stat().st_size
        found["report"] = [step("report", folder / "a.parquet") for _ in range(s.rounds)]
        found["select"] = [step("select", folder / "a.parquet", "--percentile", "80") for _ in range(s.rounds)]
        found["compare"] = [step("compare", folder / "a.parquet", folder / "b.parquet") for _ in range(s.rounds)]
        sizes = {kind: (folder / f"a.{kind.lower()}").stat().st_size / s.rows for kind in ("CSV", "Parquet")}
    lines = [
        (name, f"{np.median([run[0] for run in runs]):.1f}", f"{max(run[1] for run in runs):,.0f}")
        for name, runs in found.items()
    ]
    print(markdown_table(["", "seconds", "MiB at most"], lines))
    print(", ".join(f"{kind} {size:.1f} bytes a row" for kind, size in sizes.items()))
    if s.record:
        record("bytes", "Parquet", sizes["Parquet"], "bytes", COMMAND, sizes["Parquet"], sizes["Parquet"])
        for name in ("export", "report", "compare", "select"):
            keep(name, "rows", [s.rows / seconds for seconds, _ in found[name]], "rows/s")
        for name in ("report", "compare"):
            keep("memory", f"{name} of {s.rows:,} rows", [peak for _, peak in found[name]], "MiB")


def keep(name: str, case: str, values: list[float], unit: str) -> None:
    """Put a figure of some rounds into the table."""
    record(name, case, float(np.median(values)), unit, COMMAND, min(values), max(values))


def step(*words: object) -> tuple[float, float]:
    """The seconds that a command took, and the most MiB that it had."""
    began = time.monotonic()
    _, peak = measured([sys.executable, "-m", "koniq", *words])
    seconds = time.monotonic() - began
    print(f"{words[0]}: {seconds:.1f} s, {peak / 2**20:,.0f} MiB", file=sys.stderr, flush=True)
    return seconds, peak / 2**20


def write(path: Path, rows: int, model: int) -> None:
    """Write a table of made-up scores, of the first model or of the second, and its facts."""
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        for lines in pieces(rows, model):
            file.write("".join(lines))
    about = {"model": f"made up {model}", "input_size": [384, 512], "resize": "lanczos", "roots": ["/lifelog"]}
    write_json({**about, "record": {"calibrated": True}}, facts_path(path))


def pieces(rows: int, model: int) -> Iterator[list[str]]:
    """The lines of such a table, in pieces."""
    for start in range(0, rows, PIECE):
        count = min(PIECE, rows - start)
        first = np.random.default_rng([start, 0])
        own = np.random.default_rng([start, 1 + model])
        mos = 45 + 15 * first.standard_normal(count)
        if model:
            mos = 45 + 0.9 * (mos - 45) + 15 * np.sqrt(1 - 0.9**2) * own.standard_normal(count)
        failed = first.random(count) < 0.01
        here = own.random(count) >= 0.001 if model else np.ones(count, bool)
        when = pd.Timestamp("2015-02-23 06:00") + pd.to_timedelta(EVERY * np.arange(start, start + count), "s")
        days, times = when.strftime("%Y-%m-%d"), when.strftime("%Y%m%d_%H%M%S")
        scores = mos.astype(np.float32).astype(str)
        rows_of = zip(range(start, start + count), days, times, scores, failed, here, strict=True)
        yield [
            f"{day}/b{number:08}_21i6bq_{at}e.jpg,"
            + (",missing,0,0,no such file\n" if fails else f"{score},ok,1024,768,\n")
            for number, day, at, score, fails, there in rows_of
            if there
        ]


if __name__ == "__main__":
    cli.run(main, Settings)
