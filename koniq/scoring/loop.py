"""The one prediction loop: pictures in, one score or one reason each out, in the order given."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path

import numpy as np
from tqdm import tqdm

from koniq.engines.engine import Engine
from koniq.ground import RunStopped
from koniq.ground.threads import ahead, threads
from koniq.pictures.decoding import Score, decode
from koniq.pictures.faults import Place


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
