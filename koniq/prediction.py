"""The one prediction loop: pictures in, one score or one reason each out, in the order given."""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import isfinite, nan
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from koniq.contents import Content
from koniq.faults import Place, is_missing, wants_memory, wants_room
from koniq.ground import RunStopped
from koniq.network import Network
from koniq.room import ROOM
from ku.image_utils import resize_image, to_rgb

Item, Result = TypeVar("Item"), TypeVar("Result")
UNSCORED = ("missing", "unreadable", "truncated", "too_large", "not_finite")  # what a picture without a score may be


@dataclass(frozen=True, slots=True)
class Score:
    """What became of one picture."""

    path: Path
    mos: float = nan  # nan unless status is "ok"
    status: str = "ok"  # or one of UNSCORED
    width: int = 0  # as the picture is meant to be seen, pixels; 0 if that is not known
    height: int = 0
    error: str = ""  # the reason, if status is not "ok"
    raw: float = nan  # the network's own score, where `mos` is a calibrated one
    low: float = nan  # the ends of the interval about `mos`, where intervals were asked for
    high: float = nan
    content: Content | None = None  # what was in the file, where that was asked for


@dataclass(frozen=True)
class Engine:
    """What computes scores, ready to run. `koniq.engines` makes them."""

    name: str  # such as "OpenVINO 2026.4.1, mixed_bfloat16"
    network: Network
    batch_size: int
    score: Callable[[np.ndarray], np.ndarray]  # uint8 (batch_size, height, width, 3), RGB, to float32 (batch_size,)
    parallel: int = 1  # calls of `score` that may run at a time, and should, to keep it busy
    to_mos: Callable[[float], float] | None = None  # from what `score` gives to MOS: see koniq.calibration
    interval: Callable[[float], tuple[float, float]] | None = None  # about a MOS: see koniq.conformal


@dataclass(slots=True)
class Group:
    """Consecutive pictures, with the pixels of those that opened as one batch."""

    pixels: np.ndarray  # (batch_size, height, width, 3); what is not filled is black
    rows: list[Score] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)  # rows that have pixels, in order
    stopped: RunStopped | None = None  # why there are no more

    def add(self, row: Score, pixels: np.ndarray | None) -> None:
        if pixels is not None:
            self.pixels[len(self.opened)] = pixels
            self.opened.append(len(self.rows))
        self.rows.append(row)

    @property
    def is_full(self) -> bool:
        return len(self.opened) == len(self.pixels) or len(self.rows) == 8 * len(self.pixels)


def decode(path: Path, network: Network, place: Place | None = None) -> tuple[Score, np.ndarray | None]:
    """A picture as the network takes it: uint8 (height, width, 3), RGB. Where it has none, the score says why not.

    A truncated picture is refused rather than scored: its grey lower part is not what its photographer took.
    place: where the pictures of the run lie. Raises RunStopped if it is the machine's fault, see koniq.faults.
    """
    place = place or Place()
    failed: Exception | None = None
    for alone in (False, True):  # what found no room beside other pictures may find it without them
        try:
            score, pixels, device = _opened(path, network, alone)
        except Exception as error:  # Pillow's plugins raise anything on a broken file; the row says why
            failed = error.with_traceback(None)  # which would keep half a picture in memory
            if not wants_room(error):
                break
        else:
            if pixels is not None:
                place.opened = path, device
            return score, pixels
    place.check(path, failed, lambda other: _opened(other, network, alone=True))
    status, reason = _why(failed)
    return Score(path, status=status, error=reason), None


def _opened(path: Path, network: Network, alone: bool) -> tuple[Score, np.ndarray | None, int]:
    """See `decode`; the device that the picture is on, too. Raises whatever the file system and Pillow do."""
    with ROOM.entered(alone):
        status = os.stat(path)  # noqa: PTH116  a picture may not be a Path
        if reason := _no_file(status):
            return Score(path, status="unreadable", error=reason), None, status.st_dev
        with ROOM.opened(path) as picture:
            whole = to_rgb(picture)
            return Score(path, width=whole.width, height=whole.height), as_seen(whole, network), status.st_dev


def as_seen(picture: Image.Image, network: Network) -> np.ndarray:
    """An open picture in RGB as the network takes it: uint8 (height, width, 3)."""
    return np.asarray(resize_image(picture, network.input_size, network.resize))


def _no_file(status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):
        return "a folder, not a picture"
    if not stat.S_ISREG(status.st_mode):  # to open a pipe could take for ever
        return "neither a file nor a link to one"
    return "" if status.st_size else "an empty file"


def _why(error: Exception) -> tuple[str, str]:
    """The status and the reason of a picture that `error` was raised for."""
    if is_missing(error):
        return "missing", "no such file"
    if isinstance(error, Image.DecompressionBombError):
        return "too_large", str(error)
    if isinstance(error, UnidentifiedImageError):
        return "unreadable", "not a picture in a format that Pillow reads"
    if wants_memory(error):
        return "too_large", "not enough memory to decode it"
    reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return "truncated" if "truncated" in reason.lower() else "unreadable", reason


def predict(
    engine: Engine,
    paths: Sequence[Path],
    workers: int = 2,
    progress: str = "",
    decoded: Callable[[Path], tuple[Score, np.ndarray | None]] | None = None,
) -> Iterator[Score]:
    """Score pictures, yielding one Score each in the order of `paths`, whatever becomes of them.

    Threads decode ahead of the engine by two batches, and the engine has one more batch waiting than it works on, so
    that both are busy and the memory does not depend on the number of pictures. Every batch has the engine's size, the
    last filled up, so that the same engine on the same machine gives a picture the same score wherever a run was cut;
    another batch size or processor rounds otherwise, by koniq.network.TOLERANCE at most in float32. progress: a bar's
    title, or none. decoded: what opens a picture; None: `decode`. Raises RunStopped if that does, after the scores of
    all pictures before.
    """
    place = Place()

    def prepare(path: Path) -> tuple[Score, np.ndarray | None]:
        return decode(path, engine.network, place)

    def score(group: Group) -> Group:
        if group.opened:
            for row, found in zip(group.opened, engine.score(group.pixels).tolist(), strict=False):
                group.rows[row] = _scored(group.rows[row], found, engine)
        return group

    bar = tqdm(total=len(paths), desc=progress, unit="pic", disable=not progress or None, smoothing=0.05)
    with bar, threads(workers) as decoders, threads(engine.parallel) as scorers:
        opened = ahead(decoders, decoded or prepare, paths, 2 * engine.batch_size + workers)
        for group in ahead(scorers, score, _groups(opened, engine), engine.parallel + 1):
            for row in group.rows:
                bar.update()
                yield row
            if group.stopped:
                raise group.stopped


def _scored(row: Score, found: float, engine: Engine) -> Score:
    if not isfinite(found):
        return replace(row, status="not_finite", error=f"the network's score is {found}")
    row = replace(row, mos=float(engine.to_mos(found)), raw=found) if engine.to_mos else replace(row, mos=found)
    if not engine.interval:
        return row
    low, high = engine.interval(row.mos)
    return replace(row, low=float(low), high=float(high))


def _groups(decoded: Iterable[tuple[Score, np.ndarray | None]], engine: Engine) -> Iterator[Group]:
    shape = (engine.batch_size, *engine.network.input_size, 3)
    group = Group(np.zeros(shape, np.uint8))
    try:
        for row, pixels in decoded:
            group.add(row, pixels)
            if group.is_full:
                yield group
                group = Group(np.zeros(shape, np.uint8))
    except RunStopped as error:
        group.stopped = error
    if group.rows or group.stopped:
        yield group


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """`work` of each item in order, done in the pool, with at most `count` done or on their way at a time."""
    coming: deque[Future] = deque()
    for item in items:
        coming.append(pool.submit(work, item))
        if len(coming) == count:
            yield coming.popleft().result()
    while coming:
        yield coming.popleft().result()


@contextmanager
def threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that, when it is left early, finishes what it is at and nothing more."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
