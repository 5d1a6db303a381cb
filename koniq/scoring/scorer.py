"""Scores of pictures from a line of Python: `koniq.load` finds a network and decides how it is computed, no more.

>>> import koniq
>>> scorer = koniq.load("koncept_lite")
>>> score = scorer("photo.jpg")
>>> score.status, score.width, score.height, 0 < score.mos < 100
('ok', 512, 512, True)
>>> [each.status for each in scorer.scores(["photo.jpg", "none.jpg"])]
['ok', 'missing']
>>> list(scorer.table("my_photos").columns)
['image_path', 'MOS', 'status', 'width', 'height', 'error']
"""

import logging
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from koniq.data import scale
from koniq.engines.engine import Engine, numbers
from koniq.engines.plan import DeviceName, EngineName, Plan, Precision, decide
from koniq.ground import InputError
from koniq.ground.facts import facts as facts_beside
from koniq.ground.log import LOG
from koniq.ground.machine import cores
from koniq.ground.urls import Remote, is_url
from koniq.measure import calibration, conformal
from koniq.network import Network, find_or_default, sidecar
from koniq.network.koncept512 import Pooling
from koniq.network.spec import FORMER, NEWEST, Fit, Resize, Rules
from koniq.pictures.decoding import Opened, Picture, decode, name_of
from koniq.pictures.faults import Place
from koniq.pictures.inputs import Input, Inputs, of
from koniq.pictures.room import MEGAPIXELS
from koniq.scoring import lifelog, loop, score_file
from koniq.scoring.loop import Item, Reading
from koniq.scoring.published import Published
from koniq.scoring.score import Score

if TYPE_CHECKING:
    import pandas as pd

FETCHING = 16  # threads that open pictures of a store, at least: most of the time they wait
Sources = str | PathLike[str] | Inputs | Iterable[str | PathLike[str]]  # a list, folder, glob or file; or pictures


def load(
    weights: str | PathLike[str] = "",
    *,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    batch_size: int | None = None,
    input_size: tuple[int, int] | None = None,
    resize: Resize | None = None,
    device: DeviceName = "auto",
    compiled: bool = False,
    calibrate: bool = True,
    intervals: bool | None = False,
    workers: int | None = None,
    int8_pictures: Sequence[Path] = (),
    rules: Rules | None = None,
    fit: Fit | None = None,
    dct_scaling: bool = True,
    max_megapixels: float = MEGAPIXELS,
    pooling: Pooling | None = None,
) -> "Scorer":
    """What scores pictures: the weights found, their record read, and the engine decided on, but not started.

    weights: a file, a training run, or a name in trained_models; "" is the original KonCept512 if that is there, else
    koncept_lite. engine: auto is on a GPU if there is one, else openvino. precision: auto is the fastest that is safe.
    batch_size: pictures at a time; None is what suits the engine. input_size: (height, width); resize: the filter; None
    is as in training, so is fit: what becomes of other proportions. rules: by which pictures are decoded; None is the
    newest, or those of the file that is gone on with. dct_scaling: JPEGs of more than twice the size that the network
    takes are decoded at a half of it or less. max_megapixels: what may be decoded of a picture. device: that Keras and
    PyTorch compute on. compiled: by PyTorch. calibrate: scores in MOS by the map that is kept beside the weights, if
    there is one. intervals: about each score; None: where the weights have them. workers: threads that open pictures;
    None: one a core, 16 for pictures in a store. int8_pictures: at least 40, on which precision="int8" is calibrated
    once. pooling: of weights by PyTorch without a record, how their network pools ("8x8": the study's in PyTorch).
    Raises InputError if there are no such weights, if the engine is not installed or does not go with the rest, or if
    intervals are wanted and the weights have none; a device or a precision that is not there shows at the first score.
    """
    for name, value in (("batch_size", batch_size), ("workers", workers), ("max_megapixels", max_megapixels)):
        if value is not None and value <= 0:
            raise InputError(f"{name} should be positive. Received: {name}={value}")
    path = find_or_default(fspath(weights))
    plan = decide(
        *(path, engine, precision, batch_size, input_size, resize, int8_pictures, device, compiled),
        *(rules, fit, dct_scaling, pooling),
    )
    how = {
        **{"engine": engine, "precision": precision, "batch_size": batch_size, "input_size": input_size},
        **{"resize": resize, "device": device, "compiled": compiled, "calibrate": calibrate, "intervals": intervals},
        **{"workers": workers, "int8_pictures": int8_pictures, "rules": rules, "fit": fit},
        **{"dct_scaling": dct_scaling, "max_megapixels": max_megapixels, "pooling": pooling},
    }
    record, to_mos, found = sidecar.record(path), None, None
    if calibrate and calibration.KEY in record:
        to_mos = calibration.kept(path, plan.network, plan.about["weights"])
    if intervals or (intervals is None and conformal.KEY in record):
        found = conformal.kept(path, plan.network, plan.about["weights"], to_mos, needed=bool(intervals))
    return Scorer(plan, to_mos, found, workers or cores(), how, max_megapixels)


class Scorer:
    """What scores pictures, as `load` gives it. Threads may share one, and several may be had at a time.

    A picture is a path, the bytes of a file, a file open for reading, a Pillow picture, or an array, uint8 (height,
    width, 3) in RGB. Scores are those of the CSV that lifelog_predict.py writes: bit for bit in batches of the same
    size, else to rounding. Whatever is wrong with a picture is the `status` and `error` of its score; RunStopped is
    raised where the machine fails, a drive that goes away for instance. Nothing is printed: what there is to say goes
    to the logger "koniq".

    to_mos: from the network's own scores to MOS; None: they stay as they are. intervals: about what comes of that, or
    None. workers: threads that open pictures. max_megapixels: what may be decoded of one.
    """

    def __init__(
        self,
        plan: Plan,
        to_mos: calibration.Calibration | None = None,
        intervals: conformal.Intervals | None = None,
        workers: int = 2,
        how: Mapping[str, object] | None = None,
        max_megapixels: float = MEGAPIXELS,
    ):
        self.max_megapixels = max_megapixels
        self._plan, self.to_mos, self.intervals, self.workers = plan, to_mos, intervals, workers
        self._how = dict(how or {})  # what `load` was given
        self._reading = Reading(to_mos, intervals)
        self._starting = threading.Lock()
        self._engine: Engine | None = None

    def __repr__(self) -> str:
        plan, size = self._plan, " x ".join(map(str, self.network.input_size))
        scores = f"MOS by {self.to_mos}" if self.to_mos else "the network's own scores"
        return f"<Scorer: {plan.network.name} at {size}, {plan.engine}, precision {plan.precision}; {scores}>"

    @property
    def network(self) -> Network:
        """What the network takes: its input_size (height, width), and how pictures get to it."""
        return self._plan.network

    @cached_property
    def plan(self) -> Plan:
        """Which engine it will be, in which precision, on which device. The engine's framework is imported to say so.

        Raises InputError if there is no such precision or device.
        """
        return self._plan.settled()

    @cached_property
    def facts(self) -> Mapping[str, object]:
        """What a score depends on besides its picture: what the JSON beside a CSV says. Hashes the weights once."""
        facts = dict(self.plan.facts())
        if self.to_mos:
            record = {key: said for key, said in facts["record"].items() if key != scale.KEY}
            # First, where a message that shows the beginning shows it.
            record = {calibration.KEY: str(self.to_mos), **record, **self.to_mos.scale.record()}
            if self.to_mos.label != record.get("label", "MOS"):  # it was made on other labels than the training's
                record["label"] = self.to_mos.label
            facts["record"] = record
        if self.intervals:  # before what is for the reader alone
            last = {key: facts.pop(key) for key in ("versions", "device") if key in facts}
            facts |= {conformal.KEY: str(self.intervals), **last}
        return facts

    @property
    def engine(self) -> Engine:
        """What computes the scores, started when it is first asked for: it takes seconds."""
        with self._starting:
            if not self._engine:
                _hush()
                if self.to_mos:
                    LOG.info(f"In {self.to_mos.label}: {self.to_mos}; --no-calibrate gives the network's own scores")
                if self.intervals:
                    LOG.info(f"With {self.intervals}")
                self._engine = _shared(self.plan.start())
            return self._engine

    def __call__(self, picture: Picture) -> Score:
        """The score of one picture. It is computed by itself where the engine takes batches of one, else in a batch.

        For many pictures `scores` is several times as fast.
        """
        _ = self.engine  # before the picture takes its room
        (found,) = self.score([(name_of(picture), self.opened(picture))])
        return found

    def score(self, pictures: Sequence[tuple[str, Opened]]) -> list[Score]:
        """The scores of pictures that `opened` gave, each with its name, in their order and in as few batches as go."""
        pixels = [opened.pixels for _, opened in pictures if opened.pixels is not None]
        found = iter(numbers(self.engine, pixels).tolist()) if pixels else iter(())
        return [
            Score.of(name, opened) if opened.pixels is None else self._reading.score(name, opened, next(found))
            for name, opened in pictures
        ]

    def opened(self, picture: Picture, place: Place | None = None) -> Opened:
        """A picture as the network takes it, or the reason why not. place: see koniq.pictures.decode."""
        return decode(picture, self.network, place, self.max_megapixels)

    def scores(self, pictures: Iterable[Picture], *, progress: str = "") -> Iterator[Score]:
        """The scores of pictures, one after another in their order, while they are computed.

        The memory that it takes does not depend on how many there are: from a generator, some pictures are taken ahead
        of the first score, two batches and a few more. progress: the title of a bar on a terminal, or none.
        """
        place = Place()
        return loop.predict(
            *(self.engine, pictures, self.workers, progress), lambda one: self.opened(one, place), self._reading
        )

    def table(self, pictures: Sources | Iterable[Picture], *, progress: str = "") -> "pd.DataFrame":
        """The scores of pictures as a table, a row each in their order: what a CSV of them reads as.

        Columns: image_path, MOS (float64, nan without a score), status, width, height, error; with intervals MOS_low
        and MOS_high after MOS. pictures: as for `scores`, or as a text or a path what lifelog_predict.py takes: a list
        (.csv with image_path), a folder, a glob, or a file. Raises InputError if that names no pictures.
        """
        if not isinstance(pictures, str | PathLike | Inputs):
            return score_file.table(self.scores(pictures, progress=progress), bool(self.intervals))
        found = _inputs(pictures)
        place = Place(found.places)
        opened = lambda item: self.opened(item.path, place)  # noqa: E731
        scored = self.run(found.pictures, opened, progress, len(found), found.in_store)
        return score_file.table((score for _, score in scored), bool(self.intervals))

    def write(
        self,
        pictures: Sources,
        out: str | PathLike[str],
        *,
        overwrite: bool = False,
        retry: Sequence[str] | None = None,
        columns: Literal["all", "study"] = "all",
        progress: str = "",
    ) -> score_file.ScoreFile:
        """Write the scores of pictures to the CSV `out`, a row each, going on with what an earlier run left.

        Killed at any moment, it goes on when it is called again. pictures: as text or a path as for `table`, or paths.
        retry: statuses that are tried again, () for all; columns: "study" for image_path and MOS alone; overwrite:
        begin anew. Returns the file, closed: `unscored` are the rows without a score, `summary()` says what came out.
        Raises InputError if `out` is no such file, is another process's, or was begun with other facts or pictures;
        RunStopped if the disk is full, or the pictures' drive goes away. `out` may be an address in a store, see
        koniq.scoring.published.
        """
        if is_url(fspath(out)):
            with Published(Remote(fspath(out))) as published:
                how = {"overwrite": overwrite, "retry": retry, "columns": columns, "progress": progress}
                return self.write(pictures, published.path, **how)
        if self.intervals and columns != "all":
            raise InputError(f"intervals should go with columns=all. Received: columns={columns}")
        chosen = "intervals" if self.intervals else columns
        scorer = self if overwrite else self.as_begun(Path(out))
        return lifelog.score(_inputs(pictures), scorer, Path(out), overwrite, retry, chosen, progress)

    def as_begun(self, out: Path) -> "Scorer":
        """What goes on with the CSV `out` by the rules that it was begun with, unless others were told."""
        begun = facts_beside(out) if out.is_file() else {}
        rules, now = ((FORMER | facts)["rules"] for facts in (begun, self.facts))
        if not begun or self._how.get("rules") or rules == now:
            return self
        if rules not in get_args(Rules):
            raise InputError(f"{out} was begun by the rules {rules!r}, which this version does not know")
        LOG.info(f"Pictures are decoded by the rules {rules}, as {out} was begun; a new file is by {NEWEST}")
        return self.changed(rules=rules)

    def recipe(self) -> dict[str, object]:
        """What `load` takes for the same scores on another machine: nothing is left to what that machine has.

        Raises InputError for int8, which is calibrated where it scores.
        """
        if self.plan.precision == "int8":
            raise InputError("precision should be another where several machines score. Received: precision=int8")
        settled = {"engine": self.plan.engine, "precision": self.plan.precision, "rules": self.facts["rules"]}
        return {**self._how, **settled, "weights": str(self._plan.weights.resolve()), "int8_pictures": ()}

    def run(
        self,
        items: Iterable[Item],
        opened: Callable[[Item], Opened],
        progress: str = "",
        total: int | None = None,
        in_store: bool = False,
    ) -> Iterator[tuple[Item, Score]]:
        """The prediction loop, see koniq.scoring.loop.scored, of whatever `opened` makes pictures of.

        in_store: they are fetched from a store, for which threads wait, so that there are more, unless `workers` says.
        """
        waits = in_store and not self._how.get("workers")
        workers = max(self.workers, FETCHING) if waits else self.workers
        return loop.scored(self.engine, items, opened, workers, progress, total, self._reading)

    def changed(self, **how: object) -> "Scorer":
        """One that differs in some of what `load` takes, and shares the engine where that stays the same."""
        if unknown := how.keys() - self._how.keys():
            raise InputError(f"changed should be of {', '.join(self._how)}. Received: {', '.join(sorted(unknown))}")
        other = load(self._plan.weights, **{**self._how, **how})
        # All of it but the size is done before the engine sees a picture.
        alike = other.network.at(**self.network.way() | {"input_size": other.network.input_size})
        if self._engine and replace(other.plan, network=alike) == self.plan:
            other._engine = replace(self._engine, network=other.network)
        return other


def _inputs(pictures: Sources) -> Inputs:
    if isinstance(pictures, Inputs):
        return pictures
    if isinstance(pictures, str | PathLike):
        return of([fspath(pictures)])
    found = [Input(fspath(path), Path()) for path in pictures]
    if not found:
        raise InputError("pictures should name a list (.csv), a folder, a glob or a file. Received: nothing")
    return Inputs(found)


def _shared(engine: Engine) -> Engine:
    """An engine that does no more at a time than it can, however many threads ask it."""
    room = threading.Semaphore(engine.parallel)

    def score(pictures: np.ndarray) -> np.ndarray:
        with room:
            return engine.score(pictures)

    return replace(engine, score=score)


def _hush() -> None:
    """What Pillow has to say of odd pictures is printed by nobody, unless the program asks for it itself."""
    if not any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("PIL").handlers):
        logging.getLogger("PIL").addHandler(logging.NullHandler())
        warnings.filterwarnings("ignore", module="PIL", append=True)
