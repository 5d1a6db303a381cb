"""What a run was decoding when it was killed: names kept beside the CSV, for a picture may have been what killed it."""

import contextlib
import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from koniq.scoring.loop import Named

EVERY = 16  # pictures between two writes
Item = TypeVar("Item", bound=Named)


def path_of(out: Path) -> Path:
    """The file beside a CSV of scores, there while it is written, and after a run that was killed."""
    return out.with_name(f".{out.name}.inflight")


class InFlight(Sequence[Item], Generic[Item]):
    """The pictures to score, in order, of which those handed out and not scored yet are known on the disk.

    Each has its image_path as `name`. `suspects` are those among them that an earlier run was at when it was killed.
    The file is an aid: a run that cannot write it goes on. A context manager; however it is left, no process was
    killed, and nothing is kept but the suspects that still have no row. also: names of more suspects.
    """

    def __init__(self, out: Path, items: Sequence[Item], also: Collection[str] = ()):
        self.path, self.items = path_of(out), items
        kept = {*_read(self.path), *also}
        self._suspects = [number for number, item in enumerate(items) if item.name in kept] if kept else []
        self.suspects = frozenset(items[number] for number in self._suspects)
        self._scored = 0

    def scored(self) -> None:
        """Say that the next picture has its row."""
        self._scored += 1

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Item:
        return self.items[number]

    def __iter__(self) -> Iterator[Item]:
        for start in range(0, len(self.items), EVERY):
            after = min(start + EVERY, len(self.items))
            self._write([*range(self._scored, after), *(number for number in self._suspects if number >= after)])
            for number in range(start, after):
                yield self.items[number]

    def _write(self, numbers: Sequence[int]) -> None:
        # In place, by one call: a rename each time would be as much work as the rows. A torn line is passed over.
        lines = "".join(json.dumps(self.items[number].name) + "\n" for number in numbers).encode()
        with contextlib.suppress(OSError), self.path.open("r+b" if self.path.exists() else "wb", buffering=0) as file:
            file.write(lines)
            file.truncate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if left := [number for number in self._suspects if number >= self._scored]:
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
