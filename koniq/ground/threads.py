"""Work in threads: under a bar, or so far ahead and no further; in the order that it was given."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

Item, Result = TypeVar("Item"), TypeVar("Result")


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


def each(
    workers: int, work: Callable[..., Result], *columns: Sequence, title: str = "", unit: str = "pic"
) -> Iterator[Result]:
    """What `work` gives for each row of the columns, in order, under a bar; the first error ends it, and is raised.

    title: the bar's; "" for none.
    """
    with threads(workers) as pool:
        done = pool.map(work, *columns)
        yield from tqdm(done, total=len(columns[0]), desc=title, unit=unit, disable=not title or None)
