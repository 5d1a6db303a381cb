"""The one prediction loop: pictures in, one score or one reason each out, in the order given."""

from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Generic, Protocol, TypeVar

import numpy as np

from koniq.engines.engine import Engine
from koniq.ground import RunStopped
from koniq.ground.bars import tqdm
from koniq.ground.threads import Ahead, threads
from koniq.pictures.decoding import Opened, Picture, decode
from koniq.pictures.faults import Place
from koniq.scoring.score import Score, given


class Named(Protocol):
    """What goes into the loop, and comes out beside its score: it has a name, and is a picture or leads to one."""

    @property
    def name(self) -> str: ...


Item = TypeVar("Item", bound=Named)


@dataclass(frozen=True)
class Reading:
    """How the network's own scores are read."""

    to_mos: Callable[[float], float] | None = None  # see koniq.measure.calibration
    interval: Callable[[float], tuple[float, float]] | None = None  # about a MOS: see koniq.measure.conformal

    def score(self, name: str, opened: Opened, found: float) -> Score:
        """The score of a picture for which the network gives `found`."""
        if not isfinite(found):
            return Score.of(name, replace(opened, status="not_finite", error=f"the network's score is {found}"))
        if not self.to_mos:
            row = Score.of(name, opened, found)
        else:
            row = Score.of(name, opened, float(self.to_mos(found)), raw=found)
        if not self.interval:
            return row
        low, high = self.interval(row.mos)
        return replace(row, low=float(low), high=float(high))


OWN = Reading()  # they stay as they are


@dataclass(slots=True)
class Group(Generic[Item]):
    """Consecutive pictures, with the pixels of those that opened as one batch."""

    pixels: np.ndarray  # (batch_size, height, width, 3); what is not filled is black
    rows: list[tuple[Item, Opened]] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)  # rows that have pixels, in order
    found: list[float] = field(default_factory=list)  # their scores, once there are any
    stopped: RunStopped | None = None  # why there are no more

    def add(self, item: Item, opened: Opened) -> None:
        if opened.pixels is not None:
            self.pixels[len(self.opened)] = opened.pixels
            self.opened.append(len(self.rows))
        self.rows.append((item, replace(opened, pixels=None)))

    @property
    def is_full(self) -> bool:
        return len(self.opened) == len(self.pixels) or len(self.rows) == 8 * len(self.pixels)


def predict(
    engine: Engine,
    pictures: Iterable[Picture],
    workers: int = 2,
    progress: str = "",
    decoded: Callable[[Picture], Opened] | None = None,
    reading: Reading = OWN,
) -> Iterator[Score]:
    """Score pictures, yielding one Score each in the order of `pictures`, whatever becomes of them. See `scored`.

    decoded: what opens a picture; None: `decode`.
    """
    place, total = Place(), len(pictures) if isinstance(pictures, Sized) else None

    def opened(picture: Picture) -> Opened:
        return decode(picture, engine.network, place)

    opener = decoded or opened
    found = scored(engine, given(pictures), lambda item: opener(item.picture), workers, progress, total, reading)
    return (score for _, score in found)


def scored(
    engine: Engine,
    items: Iterable[Item],
    opened: Callable[[Item], Opened],
    workers: int = 2,
    progress: str = "",
    total: int | None = None,
    reading: Reading = OWN,
) -> Iterator[tuple[Item, Score]]:
    """Score pictures, yielding each with its score in the order of `items`, whatever becomes of them.

    Threads open pictures ahead of the engine by two batches, and the engine has one more batch waiting than it works
    on, so that both are busy and the memory does not depend on the number of pictures. Every batch has the engine's
    size, the last filled up, so that the same engine on the same machine gives a picture the same score wherever a run
    was cut; another batch size or processor rounds otherwise, by koniq.network.TOLERANCE at most in float32. opened:
    opens a picture. progress: a bar's title, or none; total: its length, if that is known. Raises RunStopped if
    `opened` does, after the scores of all pictures before.
    """

    def score(group: Group[Item]) -> Group[Item]:
        if group.opened:
            group.found = engine.score(group.pixels)[: len(group.opened)].tolist()
        return group

    bar = tqdm(total=total, desc=progress, unit="pic", disable=not progress or None, smoothing=0.05)
    with bar, threads(workers) as decoders, threads(engine.parallel) as scorers:
        scoring = Ahead(scorers, score, engine.parallel + 1)
        for group in _groups(items, opened, engine, decoders, 2 * engine.batch_size + workers):
            for done in scoring.put(group):
                yield from _scored(done, reading, bar)
        for done in scoring.rest():
            yield from _scored(done, reading, bar)


def _groups(
    items: Iterable[Item], opened: Callable[[Item], Opened], engine: Engine, pool: ThreadPoolExecutor, count: int
) -> Iterator[Group[Item]]:
    """The pictures in groups, opened in the pool, `count` of them at most ahead of the group that is being filled."""
    shape = (engine.batch_size, *engine.network.input_size, 3)
    opening = Ahead(pool, lambda item: (item, opened(item)), count)
    group: Group[Item] = Group(np.zeros(shape, np.uint8))

    def found() -> Iterator[tuple[Item, Opened]]:
        for item in items:
            yield from opening.put(item)
        yield from opening.rest()

    try:
        for item, picture in found():
            group.add(item, picture)
            if group.is_full:
                yield group
                group = Group(np.zeros(shape, np.uint8))
    except RunStopped as error:
        group.stopped = error
    if group.rows or group.stopped:
        yield group


def _scored(group: Group[Item], reading: Reading, bar: tqdm) -> Iterator[tuple[Item, Score]]:
    """What came out of a group. Raises what stopped the pictures after it."""
    found = dict(zip(group.opened, group.found, strict=True))
    for number, (item, opened) in enumerate(group.rows):
        bar.update()
        score = reading.score(item.name, opened, found[number]) if number in found else Score.of(item.name, opened)
        yield item, score
    if group.stopped:
        raise group.stopped
