"""CSVs of scores that several machines wrote, made the one that a single machine would have written.

Rows go from file to file as they stand, one at a time. What grows with their number is a temporary database on the
disk, of where the rows of a name stand.
"""

import csv
import heapq
import io
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from koniq.ground import InputError, first_few
from koniq.ground.facts import facts, facts_path
from koniq.ground.files import write_json
from koniq.network import TOLERANCE
from koniq.network.spec import FORMER
from koniq.pictures.inputs import Inputs
from koniq.pictures.shards import Shard, number_of
from koniq.scoring.index import room_for_rows, temporary
from koniq.scoring.journal import contents_path
from koniq.scoring.lines import columns_of, head_of, line_of, records
from koniq.scoring.score_file import differing, in_short
from ku.files import atomic_path, lock_file, lock_path

OF_SHARDS = ("shard", "shard_pictures")  # facts of a part that are none of the whole
MANY = 4  # pictures without a row that are kept to be named


class Line(NamedTuple):
    """A row of a part: its image_path, and where it stands."""

    name: str
    part: int
    start: int  # bytes
    end: int


NAME = attrgetter("name")


@dataclass
class Merged:
    """What came of it."""

    rows: int = 0
    twice: int = 0  # rows that stood in more than one part, with the same score
    others: int = 0  # rows of pictures that are none of those that were named
    absent: int = 0  # pictures without a row, as far as that is known
    said: list[str] = field(default_factory=list)  # what is absent, a sentence each


class Part:
    """A CSV of scores that is to be merged, open for reading. number: which of the parts it is, from 0."""

    def __init__(self, path: Path, number: int):
        if not path.is_file():
            raise InputError(f"A part should be a CSV of scores that koniq score wrote. Received: {path}, not there")
        if not (about := facts(path)):
            raise InputError(
                f"{facts_path(path)} should say what the scores in {path.name} depend on, and is not there. It goes "
                "wherever its CSV goes"
            )
        self.path, self.number, self.about, self.columns = path, number, about, columns_of(path)
        self.shard = Shard.read(about["shard"]) if "shard" in about else None
        self.rows = 0  # that `lines` found
        self._file = path.open("rb")
        self.close = self._file.close

    @property
    def of_scores(self) -> dict:
        """The facts in which the parts should agree."""
        return {**FORMER, **{key: said for key, said in self.about.items() if key not in OF_SHARDS}}

    def lines(self) -> Iterator[Line]:
        """Its whole rows, in order. Raises InputError if it is no CSV of scores."""
        self.rows, start = 0, len(head_of(self.columns))
        with self.path.open("rb") as file:
            if not file.read(1):
                return
            file.seek(0)
            for fields, end in records(file, self.path, self.columns):
                self.rows += 1
                yield Line(fields[0], self.number, start, end)
                start = end

    def in_order(self) -> Iterator[Line]:
        """Its rows, where these are in the order of their names. Raises InputError if they are not."""
        before = ""
        for line in self.lines():
            if line.name < before:
                raise InputError(
                    f"The rows of {self.path} should be in the order of their names, as those of a folder are, where "
                    f"nothing else gives the order. Received: {line.name} after {before}. Give the pictures that were "
                    "scored, --pictures LIST.csv for instance, and the rows are in their order"
                )
            yield line
            before = line.name

    def bytes(self, line: Line) -> bytes:
        """A row as it stands in the file."""
        self._file.seek(line.start)
        return self._file.read(line.end - line.start)


class Parts(Sequence[Part]):
    """The parts, open; a context manager. Raises InputError if their scores are of different kinds."""

    def __init__(self, paths: Sequence[Path]):
        self._open = ExitStack()
        self.parts: list[Part] = []
        try:
            for number, path in enumerate(paths):
                self.parts.append(self._open.enter_context(closing(Part(path, number))))
                self._check(self.parts[0], self.parts[-1])
        except BaseException:
            self._open.close()
            raise

    @staticmethod
    def _check(first: Part, part: Part) -> None:
        one, other = first.of_scores, part.of_scores
        if changed := differing(one, other):
            said = [", ".join(f"{key}={in_short(side.get(key))}" for key in changed) for side in (one, other)]
            raise InputError(
                f"Parts should have scores of one kind. Received: {first.path} with {said[0]}, and {part.path} with "
                f"{said[1]}"
            )

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Part:
        return self.parts[number]

    def __enter__(self) -> "Parts":
        return self

    def __exit__(self, *exception) -> None:
        self._open.close()

    @property
    def of(self) -> int:
        """How many shards they are of; 0 if some are no shards, or of another number of them."""
        numbers = {part.shard.of if part.shard else 0 for part in self}
        return numbers.pop() if len(numbers) == 1 else 0

    def about(self) -> dict:
        """The facts of the whole: those of the first part, its device and its roots with those of the others."""
        about = {key: said for key, said in self[0].about.items() if key not in OF_SHARDS}
        devices = dict.fromkeys(part.about["device"] for part in self if "device" in part.about)
        if devices:
            about["device"] = "; ".join(map(str, devices))
        if any("roots" in part.about for part in self):
            about["roots"] = [*dict.fromkeys(chain.from_iterable(part.about.get("roots", []) for part in self))]
        return about

    def same(self, lines: Sequence[Line]) -> bytes:
        """The row of a picture that has one in several parts. Raises InputError if they say different things of it."""
        rows = [self[line.part].bytes(line) for line in lines]
        first, *others = (
            dict(zip(self[line.part].columns, _fields(row), strict=True)) for line, row in zip(lines, rows, strict=True)
        )
        for line, other in zip(lines[1:], others, strict=True):
            apart = abs(float(first["MOS"] or math.inf) - float(other["MOS"] or math.inf))
            if first.get("status") != other.get("status") or apart > TOLERANCE:
                one, two = (" ".join(filter(None, (row.get("status"), row["MOS"]))) for row in (first, other))
                raise InputError(
                    f"A picture should have one score. Received: {first['image_path']} with {one} in "
                    f"{self[lines[0].part].path}, and with {two} in {self[line.part].path}. Leave out the part that is "
                    "wrong, or score that picture there again"
                )
        return rows[0]


class Places:
    """Where the rows of every name stand in the parts, in a database on the disk; a context manager."""

    def __init__(self, parts: Parts):
        self.parts = parts
        self._base = temporary()
        self._base.execute("CREATE TABLE row (name INT, part INT, start INT, end INT)")
        self._base.execute("BEGIN")
        rows = ((hash(line.name), *line[1:]) for part in parts for line in part.lines())
        self._base.executemany("INSERT INTO row VALUES (?, ?, ?, ?)", rows)
        self._base.execute("CREATE INDEX by_name ON row (name)")
        self.count = sum(part.rows for part in parts)
        self._taken = bytearray(self.count // 8 + 1)  # a bit a row

    def take(self, name: str) -> list[Line]:
        """The next row of a name from each part that has one more, which nobody is given again."""
        found = self._base.execute(
            "SELECT rowid, part, start, end FROM row WHERE name = ? ORDER BY rowid", (hash(name),)
        ).fetchall()
        lines: dict[int, Line] = {}
        begins = line_of([name])[:-1] + b","  # for names of the same hash
        for number, part, start, end in found:
            line = Line(name, part, start, end)
            if part not in lines and not self._is_taken(number) and self.parts[part].bytes(line).startswith(begins):
                self._taken[number >> 3] |= 1 << (number & 7)
                lines[part] = line
        return [*lines.values()]

    def _is_taken(self, number: int) -> int:
        return self._taken[number >> 3] & 1 << (number & 7)

    def rest(self) -> Iterator[Line]:
        """The rows that nobody was given."""
        for number, part, start, end in self._base.execute("SELECT rowid, part, start, end FROM row ORDER BY rowid"):
            if not self._is_taken(number):
                line = Line("", part, start, end)
                yield line._replace(name=_fields(self.parts[part].bytes(line))[0])

    def __enter__(self) -> "Places":
        return self

    def __exit__(self, *exception) -> None:
        self._base.close()


def merge(
    paths: Sequence[Path], out: Path, pictures: Inputs | None = None, partial: bool = False, overwrite: bool = False
) -> Merged:
    """Write the rows of the parts at `paths` to the CSV of scores `out`, one for each picture, in their order.

    pictures: those that were scored, whose order it is, and of which each should have a row; rows of others come last.
    None: by name, which is the order of a folder; then what is absent is known of shards alone. A picture has one row,
    or as many as it was named. Rows in more than one part should have the same score, to koniq.network.TOLERANCE; the
    first stays. What was in the pictures goes along, so that the file is gone on with like any other.

    Returns what came of it. If something is absent nothing is written, but for `partial`. Raises InputError if a part
    is none, or is being written; if the parts have scores of different kinds, or of a picture different scores; or if
    `out` is there already, but for `overwrite`.
    """
    if any(out.resolve() == path.resolve() for path in paths):
        raise InputError(f"out should be none of the parts. Received: {out}")
    if out.exists() and not overwrite:
        raise InputError(f"{out} is there already. Give --overwrite to replace it, or another --out")
    if not paths:
        raise InputError("There should be parts to merge, CSVs that koniq score wrote. Received: none")
    out.parent.mkdir(parents=True, exist_ok=True)
    merged = Merged()
    with room_for_rows(), ExitStack() as held:
        for path in (*paths, out):
            _lock(path, held)
        parts = held.enter_context(Parts(paths))
        with atomic_path(out) as temporary:
            with temporary.open("wb") as file:
                file.write(head_of(parts[0].columns))
                for row in _by_pictures(parts, pictures, merged) if pictures else _by_name(parts, merged):
                    file.write(row)
                    merged.rows += 1
            if merged.said and not partial:
                raise InputError(
                    f"Every picture should have a row. {' '.join(merged.said)} Then merge again; or --partial merges "
                    f"what is there. {out} is as it was"
                )
            # Before the rows: an old score would be taken for that of the new content.
            for beside in (facts_path(out), contents_path(out)):
                beside.unlink(missing_ok=True)
        write_json(parts.about(), facts_path(out))
        _merge_journals(parts, contents_path(out))
    return merged


def _lock(path: Path, held: ExitStack) -> None:
    """Keep others from writing a CSV until `held` is left. Raises InputError if somebody does."""
    try:
        held.enter_context(lock_file(lock_path(path)))
    except BlockingIOError as error:
        raise InputError(f"Another process is writing {path}; wait for it") from error
    except OSError:  # a folder that is there to be read alone: nobody writes there
        return


def _by_name(parts: Parts, merged: Merged) -> Iterator[bytes]:
    """The rows of the whole in the order of their names, or, of one part, as they stand."""
    lines = parts[0].lines() if len(parts) == 1 else heapq.merge(*(part.in_order() for part in parts), key=NAME)
    for _, found in groupby(lines, key=NAME):
        of_name = [*found]
        while of_name:  # a row a part: a name that was given twice has two in one
            row = {line.part: line for line in reversed(of_name)}
            of_name = [line for line in of_name if row[line.part] is not line]
            yield _one(parts, [row[number] for number in sorted(row)], merged)
    if not parts.of:
        return
    for number in range(1, parts.of + 1):
        shards = [part for part in parts if part.shard.number == number]
        wanted = max((part.about.get("shard_pictures", 0) for part in shards), default=1)
        there = max((part.rows for part in shards), default=0)
        if there < wanted:
            merged.absent += wanted - there
            lack = f"It has {there:,} of {wanted:,} rows" if shards else "None of the parts is of it"
            merged.said.append(f"Shard {number}/{parts.of} is not there whole. {lack}: {_again(number, parts.of)}")


def _by_pictures(parts: Parts, pictures: Inputs, merged: Merged) -> Iterator[bytes]:
    """The rows of the whole in the order of the pictures, and then those of others."""
    absent: Counter[int] = Counter()
    first: list[str] = []
    with Places(parts) as places:
        taken = 0
        for item in pictures.pictures:
            name = item.image_path
            if lines := places.take(name):
                taken += len(lines)
                yield _one(parts, lines, merged)
            else:
                absent[number_of(name, parts.of) if parts.of else 0] += 1
                first += [name] * (len(first) < MANY)
        if taken < places.count:
            for line in places.rest():
                merged.others += 1
                yield _one(parts, places.take(line.name), merged)
    merged.absent = absent.total()
    if absent:
        said = f"{merged.absent:,} of {len(pictures):,} pictures have none: {first_few(first)}."
        of = [
            f"{count:,} of shard {number}/{parts.of}: {_again(number, parts.of)}"
            for number, count in sorted(absent.items())
        ]
        merged.said = [said, *of] if parts.of else [said, "Score them by the same command with an --out of its own."]


def _again(number: int, of: int) -> str:
    return f"give the same command with --shard {number}/{of}."


def _one(parts: Parts, lines: Sequence[Line], merged: Merged) -> bytes:
    """The row of a picture, which stands in some of the parts."""
    merged.twice += len(lines) - 1
    return parts[lines[0].part].bytes(lines[0]) if len(lines) == 1 else parts.same(lines)


def _fields(row: bytes) -> list[str]:
    return next(csv.reader(io.StringIO(row.decode(), newline="")))


def _merge_journals(parts: Parts, path: Path) -> None:
    """What was in the pictures, by every part; the first's last, for of the lines of a row the last counts."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for part in reversed(parts):
            with suppress(FileNotFoundError), contents_path(part.path).open("rb") as lines:
                file.writelines(line for line in lines if line.endswith(b"\n"))
