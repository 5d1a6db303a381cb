"""What a run was decoding when it was killed: names kept beside the CSV, for a picture may have been what killed it."""

import contextlib
import json
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from koniq.scoring.loop import Named

EVERY = 16  # pictures between two writes
Item = TypeVar("Item", bound=Named)


def path_of(out: Path) -> Path:
    """The file beside a CSV of scores, there while it is written, and after a run that was killed."""
    return out.with_name(f".{out.name}.inflight")


class InFlight(Collection[Item], Generic[Item]):
    """The pictures to score, in order, of which those handed out and not scored yet are known on the disk.

    Each has its image_path as `name`. `suspects` are those among them that an earlier run was at when it was killed.
    The file is an aid: a run that cannot write it goes on. A context manager; however it is left, no process was
    killed, and nothing is kept but the suspects that still have no row. also: names of more suspects.
    """

    def __init__(self, out: Path, items: Collection[Item], also: Collection[str] = ()):
        self.path, self.items = path_of(out), items
        kept = {*_read(self.path), *also}
        self._suspects = [(number, item) for number, item in enumerate(items) if item.name in kept] if kept else []
        self.suspects = frozenset(item for _, item in self._suspects)
        self._out: deque[tuple[int, str]] = deque()  # handed out: number and name
        self._scored = 0

    def scored(self) -> None:
        """Say that the next picture has its row."""
        self._scored += 1

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, item: object) -> bool:
        return item in self.items

    def __iter__(self) -> Iterator[Item]:
        items, after = iter(self.items), 0
        while some := [*islice(items, EVERY)]:
            self._out.extend((after + number, item.name) for number, item in enumerate(some))
            while self._out and self._out[0][0] < self._scored:
                self._out.popleft()
            after += len(some)
            self._write([*(name for _, name in self._out), *self._left(after)])
            yield from some

    def _left(self, after: int) -> list[str]:
        """The suspects from a number on."""
        return [item.name for number, item in self._suspects if number >= after]

    def _write(self, names: Sequence[str]) -> None:
        # In place, by one call: a rename each time would be as much work as the rows. A torn line is passed over.
        lines = "".join(json.dumps(name) + "\n" for name in names).encode()
        with contextlib.suppress(OSError), self.path.open("r+b" if self.path.exists() else "wb", buffering=0) as file:
            file.write(lines)
            file.truncate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if left := self._left(self._scored):
            self._write(left)
        else:
            with contextlib.suppress(OSError):
                self.path.unlink()


def left_in(folder: Path) -> set[str]:
    """What all processes that write into a folder are at, or were when they were killed."""
    return {name for path in folder.glob(".*.inflight") for name in _read(path)}


def _read(path: Path) -> Iterator[str]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):
            if isinstance(name := json.loads(line), str):
                yield name
