"""The folder of a training run: where its files lie, what they say, and its state at every epoch."""

import json
import math
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from koniq.data.datasets import DataSet
from koniq.ground import InputError, RunStopped, bars, machine
from koniq.ground.files import write_csv
from koniq.ground.paths import MODELS
from koniq.ground.text import slug
from koniq.network import Network, sidecar
from koniq.network.koncept512 import AS_KERAS
from koniq.network.spec import FORMER
from koniq.reports.figures import draw_curves
from ku.files import atomic_path, lock_file

Statistics = Literal["moving", "kept", "frozen", "trailing", "reestimated"]  # of batch normalisation, in training

FREE = ("run", "resume", "overwrite", "workers", "test")  # settings that may differ when a run is resumed
# Settings that are kept and may differ, too, or be absent: auto is another device elsewhere, and compiled or not.
ANYWHERE = ("device", "devices", "jit_compile")
# Settings that older runs do not have, and what they did.
LATER = {
    **{"network": "koncept512", "micro_batch": 0, "statistics": "moving"},
    **{"body_rate": 1.0, "hold": 0, "average": 0.0, "teacher": "", **FORMER},
    **{**asdict(AS_KERAS), "whole_batches": True, "validation_batch": 0, "sync_batch_norm": True},
}

# What lies in a run's folder.
ABOUT, LOGGED, CURVES = "settings.json", "log.csv", "curves.png"
TEST = "test"  # of its own test; those across data sets are cross-NAME


@dataclass(frozen=True)
class About:
    """What settings.json says of a run; of an older one, or one that was not begun in full, perhaps not all."""

    settings: Mapping[str, Any]
    finished: Mapping[str, Any] | None = None  # epochs, seconds, best; None before the end
    device: str = ""
    resolved: Mapping[str, Any] = field(default_factory=dict)  # precision, compile, on a GPU tf32: never "auto"
    versions: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    network: Mapping[str, Any] = field(default_factory=dict)  # as Network.record
    data: str = ""
    label: str = ""
    teacher: Mapping[str, Any] = field(default_factory=dict)  # what scored the pictures, if not people

    def setting(self, name: str) -> Any:
        """A setting; of a run that does not have it yet, what it did; None if that is not known."""
        return self.settings.get(name, LATER.get(name))


def begun(folder: Path) -> bool:
    """Whether a folder holds a run."""
    return (folder / ABOUT).is_file()


def about(folder: Path) -> About:
    """What a run says of itself. Raises FileNotFoundError if the folder holds none."""
    facts = json.loads((folder / ABOUT).read_text())
    return About(**{each.name: facts[each.name] for each in fields(About) if each.name in facts})


@dataclass(frozen=True)
class Tested:
    """A folder of a test, and where its CSVs lie: a row a metric, a row a picture."""

    folder: Path

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.csv"

    @property
    def predictions(self) -> Path:
        return self.folder / "predictions.csv"


def tested(run: Path) -> Tested:
    """Where a run's own test lies, whether it is there or not."""
    return Tested(run / TEST)


@dataclass
class Progress:
    """Where a run stands after an epoch: all that its next epoch depends on besides the network and the optimiser."""

    stage: int = 0
    epoch: int = 0  # epochs of this stage that are done
    stage_done: bool = False
    best: float | None = None  # monitored value of the best weights
    wait: int = 0  # epochs of this stage without improvement
    wait_best: float | None = None  # what the early stop compares with
    log: list[dict[str, float]] = field(default_factory=list)  # one row an epoch


class Run:
    """The folder of one training run.

    It holds settings.json (settings, data, device, versions, commit), log.csv (one row an epoch), curves.png, the best
    weights with the record of their network, what a framework adds (tensorboard/), and, until the run has come to its
    end, STATE: network, optimiser and Progress after the last whole epoch, in one file, so that a run killed at any
    moment goes on from there. A subclass for a framework says what that file is and how it is written and read.

    State and curves, in PyTorch the best weights, too, are written by a thread, from copies, while the next epoch is
    under way. Killed then, the run goes on from the state of the epoch before: log and best weights may be an epoch
    ahead of it, the weights two where they are written before `wait`, and what is done again gives them again.
    """

    STATE = ""  # the name of the file; none: a run that is killed begins again
    _writer: ThreadPoolExecutor | None = None
    _written: Future | None = None  # what the thread is at, or was

    def __init__(self, name: str, settings: Mapping[str, Any], resume: bool = False, overwrite: bool = False):
        self.folder = self.place(name)
        self.settings = json.loads(json.dumps({key: settings[key] for key in settings if key not in FREE}))
        self.state_path = self.folder / self.STATE
        self.finished = False
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = lock_file(self.folder / ".lock")
        except BlockingIOError as error:
            raise InputError(
                f"Another process is training in {self.folder}; wait for it, or give another --run."
            ) from error
        if begun(self.folder) and overwrite:
            for path in self.folder.iterdir():
                if path.name != ".lock":
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif begun(self.folder) and not resume:
            raise InputError(
                f"{self.folder} holds a run. Give --resume to go on with it, --overwrite, or another --run."
            )
        elif begun(self.folder):
            self._go_on(about(self.folder))
        self.resumed = self.has_state
        self.progress = self.read()

    def _go_on(self, before: About) -> None:
        """Check that a run is gone on with by its own settings."""
        self.finished = before.finished is not None
        fixed = [key for key in self.settings if key not in ANYWHERE]
        changed = [key for key in fixed if before.setting(key) != self.settings[key]]
        if changed:
            was = ", ".join(f"{key}={before.setting(key)!r}" for key in changed)
            now = ", ".join(f"{key}={self.settings[key]!r}" for key in changed)
            raise InputError(f"A run is resumed with the settings that it began with: {was}. Received: {now}")
        for path in self.folder.glob(".*.tmp*"):  # of a process that was killed while it wrote
            path.unlink()

    @staticmethod
    def place(name: str) -> Path:
        """The folder of a run by its name or path."""
        return MODELS / name if Path(name).name == name else Path(name)

    def read(self) -> Progress:
        """How far the run is by its state."""
        return Progress(**json.loads(self.read_progress())) if self.has_state else Progress()

    def write_state(self, path: Path, progress: str, *of: Any) -> None:
        """Write the state `of` a network, copies of its numbers, with `progress`, a text, to `path`. In a thread."""
        raise NotImplementedError

    def read_progress(self) -> str:
        """The text that the state was written with."""
        raise NotImplementedError

    def begin(
        self, data: DataSet, network: Network, device: str, best: Path, resolved: Mapping[str, Any] | None = None
    ) -> None:
        """Write settings.json, and beside where the best weights will lie the record of their network.

        resolved: what became of settings that leave a choice, see About.
        """
        if self.finished:
            return
        self.facts = {
            "settings": self.settings,
            "data": data.summary(),
            "label": data.label,
            **({"teacher": dict(data.teacher)} if data.teacher else {}),
            "network": network.record(),
            "device": device,
            **({"resolved": dict(resolved)} if resolved else {}),
            "versions": machine.versions(),
            "commit": machine.commit(),
        }
        self._write_facts()
        sidecar.write_record(
            best, network, trained_on=data.name, label=data.label, loss=self.settings["loss"], **data.scale.record()
        )

    def _write_facts(self) -> None:
        with atomic_path(self.folder / ABOUT) as path:
            path.write_text(json.dumps(self.facts, indent=2) + "\n")

    @property
    def has_state(self) -> bool:
        return self.state_path.is_file()

    def save(self, *of: Any) -> None:
        """Keep the state, in one rename: the weights, the optimiser, and the progress. `of`: copies, see `wait`."""
        if self.STATE:
            self.later(self._write_state, json.dumps(asdict(self.progress)), of)

    def _write_state(self, progress: str, of: tuple[Any, ...]) -> None:
        with atomic_path(self.state_path) as path:
            self.write_state(path, progress, *of)

    def later(self, work: Callable[..., None], *of: Any) -> None:
        """Have the thread do this, after what it is at. An error keeps it from all that was to come after it."""
        before = self._written
        self._writer = self._writer or ThreadPoolExecutor(1, "run")  # which Python waits for when it ends
        self._written = self._writer.submit(lambda: (before and before.result(), work(*of)))

    def wait(self) -> None:
        """Until all is written; the copies that were to be written may be overwritten then. Raises what kept it."""
        written, self._written = self._written, None
        if written:
            written.result()

    def show(self) -> None:
        """Write log.csv, and have curves.png drawn."""
        log = pd.DataFrame(self.progress.log)
        write_csv(log, self.folder / LOGGED)
        self.later(draw_curves, log, self.folder / CURVES)

    def begin_stage(self, stage: int, *of: Any) -> None:
        """Keep the state that a stage starts from; the best weights, which it may come from, may soon be others.

        So it is there before the stage begins, and the end of the stage before was there before it.
        """
        self.progress.stage, self.progress.epoch, self.progress.stage_done = stage, 0, False
        self.progress.wait, self.progress.wait_best = 0, None
        self.save(*of)
        self.wait()

    def end_epoch(self, row: Mapping[str, float], stage_done: bool, *of: Any) -> None:
        """Note an epoch of the stage that was begun: its row of the log, and the state after it."""
        self.progress.log.append(dict(row))
        self.progress.epoch, self.progress.stage_done = int(row["epoch"]), stage_done
        # The log before the state: killed in between, the epoch is run again and so is its row; the other way round
        # the last row of a run could be lost.
        self.show()
        self.save(*of)

    def finish(self) -> None:
        """Note in settings.json that the run has come to its end, give its state up, and show a notebook its curves."""
        self.wait()
        if (curves := self.folder / CURVES).is_file():
            bars.show(curves.read_bytes())
        seconds = round(sum(row["seconds"] for row in self.progress.log), 1)
        self.facts["finished"] = {"epochs": len(self.progress.log), "seconds": seconds, "best": self.progress.best}
        self._write_facts()
        if self.has_state:
            self.state_path.unlink()


def out_of_memory(batch_size: int, micro_batch: int = 0, processes: int = 1, whole: bool = False) -> RunStopped:
    """What ends a training whose device lacks the memory for `micro_batch` pictures at a time; 0: for the batch.

    batch_size: of all processes, or devices, together, each of which has its share. whole: that it cannot be divided.
    """
    batch_size //= processes
    now = micro_batch or batch_size
    powers = [1 << exponent for exponent in range(now.bit_length())]
    less = max((size for size in powers if size < now and batch_size % size == 0), default=0)
    said = f"The memory of the device does not suffice for {now} picture{'s' * (now > 1)} at a time."
    if not less or whole:
        return RunStopped(f"{said} Try a smaller --input-size, mixed precision, or a device with more memory.")
    return RunStopped(
        f"{said} Try --micro-batch {less}, with --overwrite or another --run, for a run goes on by the settings that "
        "it began with. Once more memory is free, --resume goes on after the last whole epoch."
    )


def check_finite(values: Mapping[str, float], when: str, best: Path) -> None:
    """Raise RunStopped if a loss among `values` is not a finite number. best: where the best weights lie, if any do."""
    for name, value in values.items():
        if name.endswith("loss") and not math.isfinite(value):
            kept = f"the best weights so far are kept in {best}" if best.is_file() else "no weights were kept"
            raise RunStopped(
                f"The {name} should be finite. Received: {value} {when}. Try a lower learning rate; {kept}."
            )


def epoch_line(title: str, epoch: int, epochs: int, values: Mapping[str, float], rate: float) -> str:
    """What is printed of an epoch. rate: pictures a second."""
    text = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    return f"{title}, epoch {epoch}/{epochs}: {text} ({rate:.1f} pictures/s)"


def run_name(data: DataSet, settings: Mapping[str, Any]) -> str:
    """The name of a run by its settings, such as koniq-10k-mse-b8-384x512-s1 or ...-b16m2-reestimated-384x512-s1.

    Another network than KonCept512 is named after the data, and how it pools after the size, unless as Keras's.
    """
    size = "x".join(map(str, settings["input_size"]))
    how = arm(settings["batch_size"], settings.get("micro_batch", 0), settings.get("statistics", "moving"))
    network = of_network(settings.get("network", LATER["network"]))
    pooling = settings.get("pooling", LATER["pooling"])
    kind = "" if pooling == LATER["pooling"] else f"-{pooling}"
    return f"{slug(data.name)}-{network}{settings['loss']}-{how}-{size}{kind}-s{settings['seed']}"


def arm(batch_size: int, micro_batch: int, statistics: str) -> str:
    """What is done about the batch, as names say it: b2, b16m2-frozen, ..."""
    micro = f"m{micro_batch}" if micro_batch else ""
    return f"b{batch_size}{micro}{'' if statistics == 'moving' else f'-{statistics}'}"


def of_network(name: str) -> str:
    """What names of runs say of their network, and a hyphen; nothing of KonCept512."""
    return "" if name == LATER["network"] else f"{slug(name)}-"
