"""Work in threads: under a bar, or so far ahead and no further; in the order that it was given."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

from koniq.ground.bars import tqdm
from koniq.ground.machine import cores

Item, Result = TypeVar("Item"), TypeVar("Result")


class Ahead(Generic[Item, Result]):
    """Work in a pool, in order, with at most `count` done or on their way at a time.

    Who has the items puts them in and takes the results: nobody below asks for the next one.
    """

    def __init__(self, pool: ThreadPoolExecutor, work: Callable[[Item], Result], count: int):
        self.pool, self.work, self.count = pool, work, count
        self._coming: deque[Future] = deque()

    def put(self, item: Item) -> Iterator[Result]:
        """Begin an item. Gives the result that there is no more room for: one, or none."""
        self._coming.append(self.pool.submit(self.work, item))
        if len(self._coming) == self.count:
            yield self._coming.popleft().result()

    def rest(self) -> Iterator[Result]:
        """The results of what is on its way."""
        while self._coming:
            yield self._coming.popleft().result()


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    """`work` of each item in order, done in the pool, with at most `count` done or on their way at a time."""
    coming = Ahead(pool, work, count)
    for item in items:
        yield from coming.put(item)
    yield from coming.rest()


@contextmanager
def threads(count: int | None) -> Iterator[ThreadPoolExecutor]:
    """A pool that, when it is left early, finishes what it is at and nothing more. count: None is one a core."""
    pool = ThreadPoolExecutor(count or cores())
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def each(
    workers: int | None, work: Callable[..., Result], *columns: Sequence, title: str = "", unit: str = "pic"
) -> Iterator[Result]:
    """What `work` gives for each row of the columns, in order, under a bar; the first error ends it, and is raised.

    title: the bar's; "" for none.
    """
    with threads(workers) as pool:
        done = pool.map(work, *columns)
        yield from tqdm(done, total=len(columns[0]), desc=title, unit=unit, disable=not title or None)
