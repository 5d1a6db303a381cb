"""Pictures by name, in order, without a path or a tuple kept of each: of a list they are read when they are asked for.

The memory that a long list takes does not depend on its length.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, overload

from koniq.ground import InputError, RunStopped, tables
from koniq.ground.facts import facts, placed
from koniq.ground.urls import Remote, place_of, public
from koniq.pictures.shards import Shard
from ku.files import shown

HELD = 50_000  # rows of a list that are kept in memory: a short one is read once


class Input(NamedTuple):
    """A picture to score: what it is called, and where it is."""

    name: str  # image_path, as the CSV has it
    folder: Path | Remote  # that the name starts from, unless it is a whole address in a store

    @property
    def image_path(self) -> str:
        """What the CSV of scores calls it, if no other row of it is found: without what opens a store."""
        return shown(public(self.name))

    @property
    def path(self) -> Path | Remote:
        """Its path, made when it is asked for, as paths take more than names."""
        return tables.place(self.name, self.folder)


class Pictures(Sequence[Input], ABC):
    """Pictures that are gone through as often as need be; `folders` are those that their names start from."""

    folders: tuple[Path | Remote, ...] = ()
    count = 0
    _next: tuple[int, Iterator[Input]] | None = None  # where the last picture was taken, by its number

    @abstractmethod
    def __iter__(self) -> Iterator[Input]: ...

    def __len__(self) -> int:
        return self.count

    @overload
    def __getitem__(self, number: int) -> Input: ...
    @overload
    def __getitem__(self, number: slice) -> list[Input]: ...
    def __getitem__(self, number: int | slice) -> Input | list[Input]:
        """A picture by its number. One that comes after the last that was asked for is near."""
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        number = range(len(self))[number]
        if not self._next or self._next[0] > number:
            self._next = 0, iter(self)
        begun, rest = self._next
        found = next(islice(rest, number - begun, None))
        self._next = number + 1, rest
        return found


class Named(Pictures):
    """Pictures whose names are kept, such as those of a folder. prefix: of every name."""

    def __init__(self, names: Sequence[str], folder: Path | Remote, prefix: str = ""):
        self.names, self.folder, self.prefix, self.count = names, folder, prefix, len(names)
        self.folders = (folder,) if names else ()

    def __iter__(self) -> Iterator[Input]:
        return (Input(self.prefix + name, self.folder) for name in self.names)


class Listed(Pictures):
    """The pictures of a list, a table with the column image_path; see koniq.pictures.inputs.of.

    A long one is read anew each time, and should stay as it is. Raises InputError if it is no such table; RunStopped
    once it has changed.
    """

    def __init__(self, path: Path, images: str = ""):
        if not path.is_file():
            raise InputError(
                f"The list of pictures should be {path}, which is not there. Name a list, a folder or a picture "
                "instead; the LSC'21 lifelog itself is given out by its organisers under a signed agreement."
            )
        self.path = path
        beside = path.parent / "lsc21-image"
        folder = place_of(images) if images else beside if beside.is_dir() else path.parent
        self._roots = [] if images else facts(path).get("roots", [])
        self._own = folder
        self._held: list[Input] | None = None
        self._was = self._state()
        held: list[Input] = []
        folders: dict[Path | Remote, None] = {}
        for item in self._read():
            self.count += 1
            folders[item.folder] = None
            if self.count <= HELD:
                held.append(item)
        self._held = held if self.count <= HELD else None
        self.folders = tuple(folders)

    def __iter__(self) -> Iterator[Input]:
        return iter(self._held) if self._held is not None else self._again()

    def _state(self) -> tuple[int, int]:
        status = self.path.stat()
        return status.st_size, status.st_mtime_ns

    def _again(self) -> Iterator[Input]:
        left = self.count
        if self._state() == self._was:
            for item in islice(self._read(), self.count):
                yield item
                left -= 1
        if left:
            raise RunStopped(
                f"The list {self.path} should stay as it is while its pictures are scored, and has changed. What was "
                "written stays, and the same command goes on"
            )

    def _read(self) -> Iterator[Input]:
        rows = tables.streamed(self.path, any_bytes=True)
        head, first = next(rows), next(rows, None)
        if "image_path" not in head or first is None:
            count = sum(1 for _ in rows) + (first is not None)
            raise InputError(
                f"{self.path} should have the column image_path and rows. Received: {', '.join(head)}; {count} rows"
            )
        at = head.index("image_path")
        names = (row[at] for row in chain([first], rows))
        if not self._roots:
            return (Input(name, self._own) for name in names)
        roots = [*self._roots, str(self._own)]
        folders = {root: place_of(root) for root in roots}
        found = (placed(name, roots) or (name, roots[0]) for name in names)
        return (Input(name, folders[root]) for name, root in found)


class Joined(Pictures):
    """The pictures of several, one after the other."""

    def __init__(self, parts: Sequence[Pictures]):
        self.parts, self.count = parts, sum(map(len, parts))
        self.folders = tuple(dict.fromkeys(chain.from_iterable(part.folders for part in parts)))

    def __iter__(self) -> Iterator[Input]:
        return chain.from_iterable(self.parts)


class InShard(Pictures):
    """Those of a shard."""

    def __init__(self, pictures: Sequence[Input], shard: Shard):
        self.pictures, self.shard = pictures, shard
        self.folders = pictures.folders if isinstance(pictures, Pictures) else ()
        self.count = sum(1 for _ in self)

    def __iter__(self) -> Iterator[Input]:
        return (item for item in self.pictures if self.shard.holds(item.image_path))
