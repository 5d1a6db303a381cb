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

from koniq.network import Network
from ku.image_utils import decode_image, resize_image

Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Score:
    """What became of one picture."""

    path: Path
    mos: float = nan  # nan unless status is "ok"
    status: str = "ok"  # ok, missing, unreadable, truncated, too_large, not_finite
    width: int = 0  # as the picture is meant to be seen, pixels; 0 if that is not known
    height: int = 0
    error: str = ""  # the reason, if status is not "ok"
    raw: float = nan  # the network's own score, where `mos` is a calibrated one


@dataclass(frozen=True)
class Engine:
    """What computes scores, ready to run. `koniq.engines` makes them."""

    name: str  # such as "OpenVINO 2026.4.1, mixed_bfloat16"
    network: Network
    batch_size: int
    score: Callable[[np.ndarray], np.ndarray]  # uint8 (batch_size, height, width, 3), RGB, to float32 (batch_size,)
    parallel: int = 1  # calls of `score` that may run at a time, and should, to keep it busy
    to_mos: Callable[[float], float] | None = None  # from what `score` gives to MOS: see koniq.calibration


@dataclass(slots=True)
class Group:
    """Consecutive pictures, with the pixels of those that opened as one batch."""

    pixels: np.ndarray  # (batch_size, height, width, 3); what is not filled is black
    rows: list[Score] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)  # rows that have pixels, in order

    def add(self, row: Score, pixels: np.ndarray | None) -> None:
        if pixels is not None:
            self.pixels[len(self.opened)] = pixels
            self.opened.append(len(self.rows))
        self.rows.append(row)

    @property
    def is_full(self) -> bool:
        return len(self.opened) == len(self.pixels) or len(self.rows) == 8 * len(self.pixels)


def decode(path: Path, network: Network) -> tuple[Score, np.ndarray | None]:
    """A picture as the network takes it: uint8 (height, width, 3), RGB. Instead of raising, the score says why not.

    A truncated picture is refused rather than scored: its grey lower part is not what its photographer took.
    """
    try:
        status = os.stat(path)  # noqa: PTH116  a picture may not be a Path
        if stat.S_ISDIR(status.st_mode):
            return Score(path, status="unreadable", error="a folder, not a picture"), None
        if not stat.S_ISREG(status.st_mode):  # to open a pipe could take for ever
            return Score(path, status="unreadable", error="neither a file nor a link to one"), None
        if status.st_size == 0:
            return Score(path, status="unreadable", error="an empty file"), None
        picture = decode_image(path)
        pixels = np.asarray(resize_image(picture, network.input_size, network.resize))
    except (FileNotFoundError, NotADirectoryError):
        return Score(path, status="missing", error="no such file"), None
    except Image.DecompressionBombError as error:
        return Score(path, status="too_large", error=str(error)), None
    except UnidentifiedImageError:
        return Score(path, status="unreadable", error="not a picture in a format that Pillow reads"), None
    except MemoryError:
        return Score(path, status="too_large", error="not enough memory to decode it"), None
    except Exception as error:  # Pillow's plugins raise anything on a broken file; the run goes on, the row says why
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        status = "truncated" if "truncated" in reason.lower() else "unreadable"
        return Score(path, status=status, error=reason), None
    return Score(path, width=picture.width, height=picture.height), pixels


def predict(engine: Engine, paths: Sequence[Path], workers: int = 2, progress: str = "") -> Iterator[Score]:
    """Score pictures, yielding one Score each in the order of `paths`, whatever becomes of them.

    Threads decode ahead of the engine by two batches, and the engine has one more batch waiting than it works on, so
    that both are busy and the memory does not depend on the number of pictures. Every batch has the engine's size, the
    last filled up, so that the same engine on the same machine gives a picture the same score wherever a run was cut;
    another batch size or processor rounds otherwise, by koniq.network.TOLERANCE at most in float32. progress: a bar's
    title, or none.
    """

    def prepare(path: Path) -> tuple[Score, np.ndarray | None]:
        return decode(path, engine.network)

    def score(group: Group) -> list[Score]:
        if group.opened:
            for row, found in zip(group.opened, engine.score(group.pixels).tolist(), strict=False):
                group.rows[row] = _scored(group.rows[row], found, engine.to_mos)
        return group.rows

    bar = tqdm(total=len(paths), desc=progress, unit="pic", disable=not progress or None, smoothing=0.05)
    with bar, _threads(workers) as decoders, _threads(engine.parallel) as scorers:
        decoded = _ahead(decoders, prepare, paths, 2 * engine.batch_size + workers)
        for rows in _ahead(scorers, score, _groups(decoded, engine), engine.parallel + 1):
            for row in rows:
                bar.update()
                yield row


def _scored(row: Score, found: float, to_mos: Callable[[float], float] | None) -> Score:
    if not isfinite(found):
        return replace(row, status="not_finite", error=f"the network's score is {found}")
    return replace(row, mos=float(to_mos(found)), raw=found) if to_mos else replace(row, mos=found)


def _groups(decoded: Iterable[tuple[Score, np.ndarray | None]], engine: Engine) -> Iterator[Group]:
    shape = (engine.batch_size, *engine.network.input_size, 3)
    group = Group(np.zeros(shape, np.uint8))
    for row, pixels in decoded:
        group.add(row, pixels)
        if group.is_full:
            yield group
            group = Group(np.zeros(shape, np.uint8))
    if group.rows:
        yield group


def _ahead(
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
def _threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """A pool that, when it is left early, finishes what it is at and nothing more."""
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
