"""What several machines score of one list, before it is one CSV: a folder of Parquet parts, each written whole.

A picture is known by its row in the CSV (`Row`) and by where it lies. It may stand in several parts, as whatever was
retried wrote it again: the part of the latest run counts.
"""

import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import uuid4

import numpy as np

from koniq.ground import InputError, RunStopped
from koniq.pictures.contents import Content
from koniq.scoring.journal import Row
from koniq.scoring.score import Score
from koniq.scoring.score_file import differing
from ku.files import atomic_path, shown

if TYPE_CHECKING:
    import pyarrow

AT_HAND = 64  # parts that are held at a time while the CSV is written
NUMBERS = ("mos", "raw", "low", "high")
TEXTS = ("status", "error", "note")


class Planned(NamedTuple):
    """A picture to score, on whatever machine: its row in the CSV, and where it lies."""

    image_path: str
    nth: int
    where: str  # as it was given: a path, perhaps from the working directory on, or an address

    @property
    def name(self) -> str:
        """Its image_path."""
        return self.image_path

    @property
    def row(self) -> Row:
        """Its row."""
        return Row(self.image_path, self.nth)


class Known(NamedTuple):
    """What a part says of a picture, where it is asked whether that still holds."""

    planned: Planned
    status: str
    content: Content | None


class Parts:
    """The parts in a folder. Each carries the facts of its scores.

    facts: of the scores that are to be written; {} where parts are only read. Raises InputError if a part was begun
    with others, but for ABOUT.
    """

    def __init__(self, folder: Path, facts: Mapping[str, object], run: int | None = None):
        self.folder, self.facts = folder, json.loads(json.dumps(facts))
        folder.mkdir(parents=True, exist_ok=True)
        self.run = run if run is not None else 1 + max((_run(path) for path in self.paths()), default=0)

    def paths(self) -> list[Path]:
        """The parts, those of the latest run last."""
        return sorted(self.folder.glob("[0-9]*.parquet"))

    def check(self) -> None:
        """Raise InputError, naming what differs, if a part was begun with other facts."""
        from koniq.scoring import in_pyarrow

        for path in self.paths():
            before = in_pyarrow.facts(path) or {}
            if changed := differing(before, self.facts):
                was, received = (
                    ", ".join(f"{key}={side.get(key)!r}"[:60] for key in changed) for side in (before, self.facts)
                )
                raise InputError(
                    f"The parts in {self.folder} were begun with {was}, and scores of two kinds should not stand in "
                    f"one file. Received: {received}. Give another --out, or --overwrite to begin anew"
                )

    def write(self, scores: Sequence[tuple[Planned, Score]]) -> Path:
        """Write a part, whole or not at all. Raises RunStopped if there is no room, or no such folder any more."""
        import pyarrow
        from pyarrow import parquet

        from koniq.scoring.in_pyarrow import KEY

        columns: dict[str, list] = {
            "image_path": [planned.image_path for planned, _ in scores],
            "nth": [planned.nth for planned, _ in scores],
            "where": [os.fsencode(planned.where) for planned, _ in scores],  # bytes: it may be no UTF-8
            **{name: [getattr(score, name) for _, score in scores] for name in (*NUMBERS, "width", "height")},
            **{name: [shown(getattr(score, name)) for _, score in scores] for name in TEXTS},
            **{
                name: [score.content and getattr(score.content, name) for _, score in scores]
                for name in Content._fields
            },
        }
        schema = pyarrow.schema(
            [("image_path", pyarrow.string()), ("nth", pyarrow.int64()), ("where", pyarrow.binary())]
            + [(name, pyarrow.float64()) for name in NUMBERS]
            + [("width", pyarrow.int64()), ("height", pyarrow.int64())]
            + [(name, pyarrow.string()) for name in TEXTS]
            + [("size", pyarrow.int64()), ("modified", pyarrow.int64()), ("digest", pyarrow.string())],
            metadata={KEY: json.dumps(self.facts)},
        )
        path = self.folder / f"{self.run:06d}-{uuid4().hex}.parquet"
        try:
            if not self.folder.is_dir():  # it is not made again: this machine does not see what the others write to
                raise FileNotFoundError(2, "no such folder", str(self.folder))
            with atomic_path(path) as temporary:
                parquet.write_table(pyarrow.table(columns, schema), temporary)
        except OSError as error:
            raise RunStopped(
                f"A part could not be written to {self.folder}: {error.strerror or error}. Every machine should see "
                "this folder, and there should be room. What was written stays; the same command goes on from there."
            ) from error
        return path

    def known(self) -> Iterator[tuple[int, int, Known]]:
        """What is there: the number of its part among `paths`, its place in it, and what is known. Later ones count."""
        for number, path in enumerate(self.paths()):
            table = _read(path, ["image_path", "nth", "where", "status", *Content._fields])
            for at, row in enumerate(table.to_pylist()):
                yield number, at, Known(_planned(row), row["status"], _content(row))

    def in_order(self, wanted: Sequence[Row]) -> Iterator[Score]:
        """The scores of these rows, in their order. Raises RunStopped before the first, if one is in no part."""
        place = {row: number for number, row in enumerate(wanted)}
        found = np.full((len(wanted), 2), -1, np.int32)
        for part, at, known in self.known():
            if (number := place.get(known.planned.row)) is not None:
                found[number] = part, at
        if absent := int((found[:, 0] < 0).sum()):
            raise RunStopped(
                f"{absent:,} pictures have no score in {self.folder}. What was written stays; the same command goes on."
            )
        paths = self.paths()
        rows = lru_cache(AT_HAND)(lambda part: _read(paths[part]).to_pylist())
        return (_score(rows(part)[at]) for part, at in found.tolist())

    def clear(self) -> None:
        """Remove the folder and all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def write_list(path: Path, pictures: Iterable[Planned], rows: int) -> None:
    """Write what is to be scored as Parquet, in groups of so many rows: image_path, nth, where (bytes)."""
    import pyarrow
    from pyarrow import parquet

    schema = pyarrow.schema([("image_path", pyarrow.string()), ("nth", pyarrow.int64()), ("where", pyarrow.binary())])
    with atomic_path(path) as temporary, parquet.ParquetWriter(temporary, schema) as file:
        group: list[dict] = []
        for one in pictures:
            group.append({"image_path": one.image_path, "nth": one.nth, "where": os.fsencode(one.where)})
            if len(group) == rows:
                file.write_table(pyarrow.Table.from_pylist(group, schema))
                group = []
        if group:
            file.write_table(pyarrow.Table.from_pylist(group, schema))


def planned(rows: Iterable[Mapping[str, object]]) -> list[Planned]:
    """Rows of what `write_list` wrote."""
    return [_planned(row) for row in rows]


def _planned(row: Mapping[str, object]) -> Planned:
    return Planned(row["image_path"], row["nth"], os.fsdecode(row["where"]))


def _content(row: Mapping[str, object]) -> Content | None:
    return None if row["size"] is None else Content(row["size"], row["modified"], row["digest"])


def _score(row: Mapping[str, object]) -> Score:
    numbers = {name: math.nan if row[name] is None else row[name] for name in NUMBERS}
    texts = {name: row[name] for name in (*TEXTS, "width", "height")}
    return Score(row["image_path"], content=_content(row), **numbers, **texts)


def _read(path: Path, columns: list[str] | None = None) -> "pyarrow.Table":
    from pyarrow import parquet

    return parquet.read_table(path, columns=columns, partitioning=None)


def _run(path: Path) -> int:
    found = re.match(r"\d+", path.name)
    return int(found[0]) if found else 0
