"""A matrix of runs: what of it is there, the rest trained and tested, a process a run, and all of it measured."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from koniq import training
from koniq.data import datasets, sample
from koniq.ground import InputError, RunStopped, exits, first_few
from koniq.ground.built import install
from koniq.ground.files import write_csv
from koniq.ground.log import LOG
from koniq.ground.paths import MODELS, RESULTS, ROOT
from koniq.network import KONCEPT512
from koniq.network.koncept512 import SIDE, places
from koniq.study import estimate, report, results
from koniq.study.recipes import ABSENT, Chosen, Framework, Row, arguments, run_name, settings_of
from koniq.training.run import ANYWHERE

KUTI = ROOT / ".venv-kuti/bin/python"
# The command that trains in each framework, and the one that tests across data sets.
TRAIN: dict[Framework, tuple[str, ...]] = {
    "tensorflow": (sys.executable, str(ROOT / "koncept512_train.py")),
    "kuti": (str(KUTI), str(ROOT / "koncept512_train_with_kuti.py")),
    "pytorch": (sys.executable, str(ROOT / "pytorch_train_koncept512.py")),
}
TEST: dict[Framework, tuple[str, ...]] = {
    "tensorflow": (sys.executable, str(ROOT / "koncept512_test.py")),
    "kuti": (sys.executable, str(ROOT / "koncept512_test.py")),
    "pytorch": (sys.executable, str(ROOT / "pytorch_test_koncept512.py")),
}

QUICK = ROOT / "quick"
# TensorFlow takes a minute to trace the network, so it has its turn where PyTorch is not installed.
QUICK_ROWS = {True: ("pytorch-plcc-b16", "pytorch-plcc-b16m2-trailing"), False: ("tensorflow-plcc-b16",)}
QUICK_PICTURES = {"training": 48, "validation": 32, "test": 48}


class Settings(Chosen, Protocol):
    """The settings of replicate.py, which says what they mean."""

    seeds: tuple[int, ...]
    rows: tuple[str, ...]
    cross: str
    cross_table: str
    cross_images: str
    workers: int
    runs: str
    out: str
    list: bool
    estimate: bool
    render: bool
    quick: bool


@dataclass(frozen=True)
class Planned:
    """One run of the matrix."""

    row: Row
    seed: int
    folder: Path
    settings: dict[str, Any]
    workers: int

    @property
    def state(self) -> str:
        """done, interrupted, missing, "needs ...", or in which settings the run of this name differs."""
        begun = training.begun(self.folder)
        if begun:
            about = training.about(self.folder)
            before, asked = about.settings, json.loads(json.dumps(self.settings))
            was = {name: before.get(name, ABSENT.get(name)) for name in asked}
            differ = [
                f"{name}={was[name]!r} and not {asked[name]!r}"
                for name in asked
                if name not in ANYWHERE and was[name] != asked[name]
            ]
            if differ:
                return f"trained with {', '.join(differ)}"
            if about.finished is not None and training.tested(self.folder).metrics.is_file():
                return "done"
        if self.row.study and self.settings["network"] != KONCEPT512.name:
            return f"needs --network {KONCEPT512.name}, which is the study's"
        if self.row.study and min(map(places, self.settings["input_size"])) < SIDE:
            return f"needs a larger input_size, of which the study's pooling finds {SIDE}x{SIDE} places"
        if self.row.framework == "kuti" and self.settings["network"] != KONCEPT512.name:
            return f"needs --network {KONCEPT512.name}, which is what kuti builds"
        if self.row.framework == "kuti" and not Path(TRAIN["kuti"][0]).is_file():
            return "needs make kuti"
        if self.row.framework == "pytorch" and not importlib.util.find_spec("torch"):
            return f"needs {install('torch')}"
        return "interrupted" if begun else "missing"

    @property
    def command(self) -> list[str]:
        resume = [] if self.row.framework == "kuti" else ["--resume"]  # kuti starts again
        if not resume and training.begun(self.folder):
            resume = ["--overwrite"]
        run = ["--run", str(self.folder), *resume, "--workers", str(self.workers)]
        return [*TRAIN[self.row.framework], *arguments(self.settings), *run]


def planned(s: Settings, matrix: Iterable[Row]) -> list[Planned]:
    """The runs that the settings choose of the matrix, seed by seed. Raises InputError if a pattern chooses nothing."""
    rows = list(dict.fromkeys(matrix))
    idle = [pattern for pattern in s.rows if not any(fnmatchcase(row.name, pattern) for row in rows)]
    if idle:
        raise InputError(
            f"rows should match {first_few([row.name for row in rows], 4)}. Received: rows={first_few(idle)}"
        )
    chosen = [row for row in rows if any(fnmatchcase(row.name, pattern) for pattern in s.rows)]
    folder = Path(s.runs).absolute() if s.runs else MODELS
    return [
        Planned(row, seed, folder / run_name(row, seed, s.dataset, s.network), settings_of(row, seed, s), s.workers)
        for seed in s.seeds
        for row in chosen
    ]


def replicate(s: Settings, matrix: Sequence[Row]) -> None:
    """Run what is missing of the matrix, then write metrics.csv, tables and figures.

    Raises InputError if the data are not there or nothing is measured, RunStopped at the end if a run failed.
    """
    if s.quick:
        s = replace(s, **_quick(s))
    out, runs = Path(s.out) if s.out else RESULTS, planned(s, matrix)
    if s.list:
        _list(s, runs)
        return
    failed = [] if s.render else _run(s, runs)
    done = [run for run in runs if run.state == "done"]
    if done or (out / "metrics.csv").is_file():
        table = _measured(done, out / "metrics.csv")
        report.write(table, [run.folder for run in done], out)
        LOG.info(f"{len(done)} of {len(runs)} runs are done. Measurements, tables and figures lie in {out}")
    elif not failed:
        raise InputError(f"There should be a finished run, or measurements in {out}. Received: neither")
    if failed:
        raise RunStopped(f"{len(failed)} of {len(runs)} runs failed: {'; '.join(failed)}")


def _list(s: Settings, runs: Sequence[Planned]) -> None:
    """Say of every run what is there of it, how long the rest takes at most, and its command."""
    said, total = [""] * len(runs), ""
    if s.estimate:
        said, total = estimate.of(runs, *estimate.pictures(s.dataset, s.table, s.images, s.skip_missing))
    for run, takes in zip(runs, said, strict=True):
        LOG.info(f"{run.folder.name}: {run.state}{takes}\n    {shlex.join(run.command)}")
    if total:
        LOG.info(total)


def _quick(s: Settings) -> dict[str, Any]:
    """The settings of --quick in place of those given: a few pictures of the built-in sample, a few rows, one seed."""
    out = Path(s.out) if s.out else QUICK
    ids = pd.read_csv(sample.ensure() / "metadata" / sample.TABLE_NAME)
    parts = [ids[ids.set == part].iloc[:count] for part, count in QUICK_PICTURES.items()]
    write_csv(pd.concat(parts), out / sample.TABLE_NAME)
    return {
        "dataset": "sample",
        "table": str(out / sample.TABLE_NAME),
        "images": "",
        "recipe": "quick",
        "seeds": s.seeds[:1],
        "rows": QUICK_ROWS[bool(importlib.util.find_spec("torch"))] if s.rows == ("*",) else s.rows,
        "cross": "",
        "runs": s.runs or str(out / "runs"),
        "out": str(out),
    }


def _run(s: Settings, runs: Sequence[Planned]) -> list[str]:
    """Train what is missing, test what is not tested; why runs failed, a text each."""
    data = datasets.load(s.dataset, s.table, s.images, s.skip_missing)
    for part in ("training", "validation", "test"):
        data.part(part)  # or nothing that follows would come to its end
    LOG.info(data.summary())
    across = _across(s)
    failed = []
    for number, run in enumerate(runs, 1):
        state, name = run.state, run.folder.name
        LOG.info(f"[{number}/{len(runs)}] {name}: {state}")
        if state in ("missing", "interrupted"):
            why = _call(run.command, run.folder.parent / f"{name}.log")
        else:
            why = "" if state == "done" or state.startswith("needs") else f"{state}; give --runs another folder"
        test = run.folder / f"cross-{Path(s.cross).stem}"
        if across and run.state == "done" and not (test / "metrics.csv").is_file():
            command = [*TEST[run.row.framework], "--weights", str(run.folder), *across, "--out", str(test)]
            why = _call(command, run.folder.parent / f"{name}.log")
        if why:
            LOG.info(f"  failed: {why}")
            failed.append(f"{name} ({why})")
    return failed


def _across(s: Settings) -> list[str]:
    """What the test across data sets is told, if there is one: LIVE In the Wild is left out where it is not."""
    if not s.cross:
        return []
    try:
        LOG.info(f"Across data sets: {datasets.load(s.cross, s.cross_table, s.cross_images, True).summary()}")
    except InputError as error:
        if s.cross_table or s.cross_images or s.cross != "live_itw":
            raise
        LOG.info(f"No test across data sets. {error}")
        return []
    settings = {"dataset": s.cross, "table": s.cross_table, "images": s.cross_images, "workers": s.workers}
    return arguments(settings)


def _call(command: Sequence[str], log: Path) -> str:
    """Run a script, all that it says into `log`; "" if it went well, or else the last that it said.

    If this process is told to end, so is the script.
    """
    last = ""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        print(f"$ {shlex.join(command)}", file=file, flush=True)
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        try:
            for line in process.stdout:
                print(line, end="", file=file, flush=True)
                last = line.strip() or last
                if line.startswith("stage "):
                    LOG.info(f"  {line.strip()}")
        except BaseException:
            process.terminate()
            raise
        finally:
            process.wait()
            process.stdout.close()
    if process.returncode in (0, exits.UNSCORED):
        return ""
    return f"{last or f'exit code {process.returncode}'}; see {log}"


def _measured(done: Sequence[Planned], path: Path) -> pd.DataFrame:
    """The measurements at `path` with those of these runs, each beside batch 16 of its framework, loss and seed."""
    folders = {(run.row, run.seed): run.folder for run in done}
    new = []
    for run in done:
        reference = Row(run.row.framework, run.row.loss, results.REFERENCE)
        other = folders.get((reference, run.seed)) if run.row != reference else None
        new.append(results.measurements(run.folder, reference=other))
    return results.record(pd.concat(new, ignore_index=True), path) if new else results.read(path)
