"""How many hours the runs that are missing would take here: of each kind of step a few are run and timed.

A kind is measured in a process of its own (steps.py), once a machine: the answer is kept in the user's cache, if the
machine had nothing else to do.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from koniq.data import datasets
from koniq.engines import gpus
from koniq.ground import InputError, machine, tables
from koniq.ground.bars import tqdm
from koniq.ground.files import cache_place, keep
from koniq.ground.log import LOG
from koniq.ground.paths import ROOT
from koniq.study import steps
from koniq.study.recipes import Row
from koniq.study.report import FRAMEWORKS, arm_title
from koniq.study.steps import Case
from koniq.training.run import LOGGED

KONIQ10K = {"training": 7058, "validation": 1000}  # pictures of the official split, where the data are not there
LEFT = ("missing", "interrupted")  # states of the runs that there is something left to do of
# What the scripts do where the settings of a run do not say it; tests hold it to theirs.
UNSAID = {
    "tensorflow": {"precision": "float32"},
    "kuti": {"precision": "float32"},
    "pytorch": {"precision": "auto", "compile": "auto"},
}
PROGRAM = Path(steps.__file__)
LIMIT = 1800.0  # seconds that a kind may take; a network is compiled in some
# Variables that the time of a step depends on.
VARIABLES = (*gpus.HIDING, "OMP_NUM_THREADS", "KERAS_BACKEND", "TF_XLA_FLAGS", "ONEDNN_MAX_CPU_ISA")


class Planned(Protocol):
    """A run, as `koniq.study.matrix` plans it."""

    row: Row
    folder: Path
    settings: dict[str, Any]

    @property
    def state(self) -> str: ...


@dataclass(frozen=True)
class Seconds:
    """What a training step and the validation of a batch take, on which device; or why that is not known."""

    step: float = 0.0
    validation: float = 0.0
    device: str = ""
    error: str = ""


def case_of(run: Planned) -> Case:
    """The kind of step that a run takes."""
    of = UNSAID[run.row.framework] | run.settings
    # Reestimated statistics are those of the moving ones while a step is taken.
    kind = "moving" if of["statistics"] == "reestimated" else of["statistics"]
    same = {name: of[name] for name in ("network", "batch_size", "micro_batch", "precision")}
    more = {"compile": of.get("compile", "no"), "device": of.get("device", "auto")}
    return Case(run.row.framework, input_size=tuple(of["input_size"]), statistics=kind, **same, **more)


def in_words(case: Case) -> str:
    """Such as "PyTorch, koncept512, 384x512, batch 16 in micro-batches of 2, statistics frozen"."""
    size = "x".join(map(str, case.input_size))
    return f"{FRAMEWORKS[case.framework]}, {case.network}, {size}, {arm_title(asdict(case))}"


def pictures(dataset: str, table: str, images: str, skip_missing: bool) -> tuple[dict[str, int], bool]:
    """How many pictures the parts of a data set have, and whether it is there; else KonIQ-10k's numbers stand in."""
    try:
        data = datasets.load(dataset, table, images, skip_missing)
        return {part: len(data.part(part)) for part in KONIQ10K}, True
    except InputError:
        return KONIQ10K, False


def epochs_left(run: Planned) -> int:
    """The epochs that a run has before it at most; kuti's starts again."""
    epochs, log = run.settings["epochs"], run.folder / LOGGED
    if run.row.framework == "kuti" or run.state != "interrupted" or not log.is_file():
        return sum(epochs)
    rows = tables.read_typed(log)
    if not len(rows):
        return sum(epochs)
    stage, epoch = int(rows.stage.iloc[-1]), int(rows.epoch.iloc[-1])
    return max(epochs[stage - 1] - epoch, 0) + sum(epochs[stage:])


def hours(run: Planned, taken: Seconds, count: Mapping[str, int]) -> float:
    """Of a run at most: its epochs, times the steps and the batches validated of each. count: pictures of the parts."""
    case = case_of(run)
    validated = -(-count["validation"] // case.validation_batch)
    if run.settings["statistics"] == "reestimated":  # all of the training set once more, about as fast
        validated += -(-count["training"] // case.validation_batch)
    epoch = -(-count["training"] // case.batch_size) * taken.step + validated * taken.validation
    return epochs_left(run) * epoch / 3600


def of(runs: Sequence[Planned], count: Mapping[str, int], there: bool) -> tuple[list[str], str]:
    """What to say of each run, "" of those that are done or cannot be run, and of all of them in sum.

    count, there: as `pictures` has them. What was never measured on this machine is measured now.
    """
    left = [run for run in runs if run.state in LEFT]
    taken = measured(case_of(run) for run in left)
    said, total, unknown = [], 0.0, 0
    for run in runs:
        found = taken[case_of(run)] if run.state in LEFT else None
        if found is None:
            said.append("")
        elif found.error:
            unknown += 1
            said.append(f", hours not known: {found.error}")
        else:
            total += hours(run, found, count)
            step = f"{found.step:.3g} s a step, {found.validation:.3g} s a batch validated"
            said.append(f", at most {_rounded(hours(run, found, count))} hours ({step})")
    if not left:
        return said, ""
    devices = "; ".join(sorted({found.device for found in taken.values() if found.device}))
    return said, (
        f"At most {_rounded(total)} hours for what is left: {_counted(len(left) - unknown, 'run')}"
        f"{f', besides {unknown} of which no step could be measured' if unknown else ''}. Early stop is not counted, "
        "nor reading pictures and the tests at the end. Measured with pictures in memory"
        f"{f' on {devices}' if devices else ''}; {count['training']:,} for training and {count['validation']:,} for "
        f"validation{'' if there else ', as of KonIQ-10k, for the data are not there'}"
    )


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def measured(cases: Iterable[Case]) -> dict[Case, Seconds]:
    """What steps of these kinds take here: as measured before, or now, with a bar."""
    places = {case: _place(case) for case in dict.fromkeys(cases)}
    known = {case: found for case, path in places.items() if (found := _kept(path))}
    new = [case for case in places if case not in known]
    busy = bool(new) and _load() > machine.cores() / 2
    if new:
        LOG.info(
            f"Measuring a training step of {_counted(len(new), 'kind')}, once on this machine, which at 384x512 takes "
            "a processor minutes for each; --no-estimate leaves it out"
        )
    if busy:
        LOG.info(
            f"Other work has the processors (load {_load():.1f} on {machine.cores()} cores): the hours are too many, "
            "and are measured anew next time"
        )
    with tqdm(new, unit="kind", disable=None, leave=False) as bar:
        for case in bar:
            bar.set_description(in_words(case))
            known[case] = _asked(case)
            if not known[case].error and not busy:
                keep(asdict(known[case]), places[case])
    return known


def _load() -> float:
    """How many processes wanted a processor in the last minute; 0 where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _place(case: Case) -> Path | None:
    """Where the answer is kept: by a hash of what it depends on, whatever the commit. None where a user has no home."""
    versions = {name: version for name, version in machine.versions().items() if name != "koniq"}
    about = {
        "case": asdict(case),
        "machine": (platform.node(), machine.machine(), gpus.shown()),
        "python": _python(case),
        "versions": versions,
        "environment": {name: os.environ.get(name) for name in VARIABLES},
        "program": PROGRAM.read_text(encoding="utf-8"),
    }
    return cache_place("step", about)


def _kept(path: Path | None) -> Seconds | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8")) if path else {}
        return Seconds(float(kept["step"]), float(kept["validation"]), str(kept["device"]))
    except (OSError, ValueError, TypeError, KeyError):  # not there, or not ours
        return None


def _python(case: Case) -> str:
    from koniq.training.in_kuti import PYTHON

    return str(PYTHON) if case.framework == "kuti" else sys.executable


def _asked(case: Case) -> Seconds:
    """What steps.py says of a case in a process of its own."""
    command = [_python(case), "-m", "koniq.study.steps", case.dumped()]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False)
        if done.returncode:
            why = (done.stderr.strip() or "it said nothing").splitlines()[-1]
            killed = ", as where memory does not suffice" if done.returncode < 0 else ""
            return Seconds(error=f"its process ended with code {done.returncode}{killed}: {why}")
        return Seconds(**json.loads(done.stdout.strip().splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return Seconds(error=f"a few steps take more than {LIMIT / 60:.0f} minutes")
    except (OSError, ValueError, TypeError, IndexError) as error:
        return Seconds(error=str(error))
