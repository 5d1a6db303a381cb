"""The stages of a training: which are done, where each starts, what is best, when one ends, and what is kept of it.

A framework gives a `Learner`; `train` leads it. Killed at any moment, a run whose state is kept goes on as if it had
never stopped: it skips the stages that are done, and begins the one that was cut off after its last whole epoch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from koniq.ground.log import LOG
from koniq.training.run import Progress, Run, check_finite

NEVER = 1 << 30  # epochs: as much patience as ends no stage, for frameworks to which 0 is another word


@dataclass(frozen=True)
class Stage:
    """A part of a training with one learning rate and one optimiser, which starts afresh."""

    number: int  # from 0
    count: int  # of stages
    epochs: int  # at most
    lr: float

    @property
    def title(self) -> str:
        """What it is called where people read it: stage 1/2."""
        return f"stage {self.number + 1}/{self.count}"

    @staticmethod
    def all(epochs: Sequence[int], learning_rates: Sequence[float]) -> list["Stage"]:
        """The stages of a recipe, which gives the epochs and the learning rate of each."""
        pairs = list(zip(epochs, learning_rates, strict=True))
        return [Stage(number, len(pairs), *pair) for number, pair in enumerate(pairs)]


@dataclass(frozen=True)
class Monitor:
    """What selects the best weights, and ends a stage: a column of the log."""

    column: str
    sign: int  # 1: the highest is the best; -1: the lowest
    patience: int  # epochs without an improvement that end a stage; 0: none do

    def judge(self, progress: Progress, values: Mapping[str, float]) -> tuple[bool, bool]:
        """Note an epoch in `progress`: whether its weights are the best of all stages, and whether its stage is over.

        The best of all is one thing, what a stage waits for another: each stage may first be worse than the last.
        """
        value = float(values[self.column])
        best = self._beats(value, progress.best)
        if best:
            progress.best = value
        if self._beats(value, progress.wait_best):
            progress.wait, progress.wait_best = 0, value
        else:
            progress.wait += 1
        return best, 0 < self.patience <= progress.wait

    def _beats(self, value: float, other: float | None) -> bool:
        return other is None or self.sign * value > self.sign * other


class Judge(Protocol):
    """A `Monitor`, or what a framework's own callbacks say in its place."""

    def judge(self, progress: Progress, values: Mapping[str, float]) -> tuple[bool, bool]:
        """See `Monitor.judge`."""


# (epoch, from 0; its values, the columns of the log; its seconds) -> whether the stage is over.
Note = Callable[[int, Mapping[str, float], float], bool]


class Learner(Protocol):
    """A network in training, in one framework. What a subclass does not say, the framework does by itself."""

    best: Path  # where its best weights lie

    def begin(self, stage: Stage, resumed: bool) -> None:
        """Ready the network as it is, with a fresh optimiser; or, resumed, both as the run's state has them."""

    def fit(self, stage: Stage, first: int, note: Note) -> None:
        """Train from epoch `first`, counted from 0; call `note` after each, until it says that it was the last."""

    def save_best(self) -> None:
        """Write the weights as they are to `best`, at once, or by `Run.later` from a copy."""

    def load_best(self) -> None:
        """Take the weights of `best`."""

    def end(self) -> None:
        """After the last stage: leave the best weights where those of other runs lie, if they have not lain there."""

    def state(self) -> tuple[Any, ...]:
        """What the run's `write_state` takes: copies, for it is written while the training goes on."""
        return ()


def train(run: Run, learner: Learner, stages: Sequence[Stage], monitor: Judge, reload_best: bool = True) -> None:
    """Train by stages; the best weights of all are in the network at the end, and alone there if the run was finished.

    reload_best: whether each stage starts from the best weights of those before it, or from the last ones. Raises
    RunStopped if a loss is not finite.
    """
    if run.finished:
        learner.load_best()
        return
    try:
        _train(run, learner, stages, monitor, reload_best)
    finally:
        run.wait()
    run.finish()
    LOG.info(f"The run lies in {run.folder}, its best weights in {learner.best.name}")


def _train(run: Run, learner: Learner, stages: Sequence[Stage], monitor: Judge, reload_best: bool) -> None:
    progress = run.progress
    for stage in stages:
        if stage.number < progress.stage or (stage.number == progress.stage and progress.stage_done):
            continue
        resumed = run.resumed and stage.number == progress.stage
        if stage.number and reload_best and not resumed:
            run.wait()
            learner.load_best()
        learner.begin(stage, resumed)
        if not resumed:
            run.begin_stage(stage.number, *learner.state())
        learner.fit(stage, progress.epoch, _noting(run, learner, stage, monitor))
    run.wait()
    learner.load_best()
    learner.end()


def _noting(run: Run, learner: Learner, stage: Stage, monitor: Judge) -> Note:
    """What is to be done after each epoch of a stage."""

    def note(epoch: int, values: Mapping[str, float], seconds: float) -> bool:
        run.wait()  # the state of the epoch before; the copies for the next may take the room of those for it
        check_finite(values, f"in epoch {epoch + 1}", learner.best)
        best, over = monitor.judge(run.progress, values)
        if best:
            learner.save_best()
        over = over or epoch + 1 == stage.epochs
        row = {"stage": stage.number + 1, "epoch": epoch + 1, "lr": stage.lr, **values, "seconds": round(seconds, 2)}
        run.end_epoch(row, over, *learner.state())
        return over

    return note
