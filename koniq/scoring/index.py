"""The rows of a CSV of scores by image_path, and what is to be done for each input: in temporary databases.

They are SQLite's, which keeps a few of their pages in memory and the others in a file without a name, in the folder for
temporary files: the memory that they take does not depend on how many rows there are. (Some 200 bytes a row on the
disk; TMPDIR or SQLITE_TMPDIR names another folder.)
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from koniq.ground import RunStopped
from koniq.pictures.contents import Content
from koniq.scoring.journal import Row

CACHE = 32  # MiB of a database that are in memory
AT_ONCE = 10_000  # rows that are taken together


def temporary() -> sqlite3.Connection:
    """A database that nobody else sees, and that goes with the connection. Nothing of it outlives a crash, or need."""
    base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    for said in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", f"cache_size=-{CACHE * 1024}"):
        base.execute(f"PRAGMA {said}")
    return base


@contextmanager
def room_for_rows() -> Iterator[None]:
    """Where databases are used. Raises RunStopped if there is no room for them."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise RunStopped(
            "The folder for temporary files (SQLITE_TMPDIR, else TMPDIR, else /var/tmp) should have room for what is "
            f"known of the pictures, some 200 bytes each. Received: {error}. What was written stays, and the same "
            "command goes on"
        ) from error


class Said(NamedTuple):
    """What is known of a row."""

    number: int  # of the row in the file, from 1
    status: str
    content: Content | None  # of its picture, if it was noted


class Index(Mapping[str, int]):
    """How many rows a CSV has of each image_path, as a Counter says it, and their statuses and contents.

    rows: the image_path and the status of each, in order.
    """

    def __init__(self, rows: Iterable[tuple[str, str]] = ()):
        self._base = temporary()
        # By Python's hash, another one in every process, for names are long. NULL is the status ok, and takes no room.
        self._base.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, hash INT, name TEXT, status TEXT)")
        self._base.execute("CREATE TABLE known (number INTEGER PRIMARY KEY, size INT, modified INT, digest TEXT)")
        self._base.execute("BEGIN")
        self._base.executemany("INSERT INTO row (hash, name, status) VALUES (?, ?, ?)", map(_values, rows))
        self._base.execute("CREATE INDEX by_hash ON row (hash)")  # once they are there, which is several times as fast
        (self._rows,) = self._base.execute("SELECT count(*) FROM row").fetchone()

    def __del__(self):
        self._base.close()

    def add(self, name: str, status: str) -> None:
        """Say that the file has one more row."""
        self._base.execute("INSERT INTO row (hash, name, status) VALUES (?, ?, ?)", _values((name, status)))
        self._rows += 1

    def change(self, row: Row, status: str) -> None:
        """Say that a row has another status."""
        number = self.rows_of(row.image_path)[row.nth].number
        self._base.execute("UPDATE row SET status = ? WHERE number = ?", (_status(status), number))

    def know(self, contents: Iterable[tuple[Row, Content]]) -> None:
        """Note what was in the pictures of rows; of what is none of them nothing is noted, and the last counts."""
        contents = iter(contents)
        while some := [*islice(contents, AT_ONCE)]:
            numbers = ((self._number(row), content) for row, content in some)
            known = [(number, *content) for number, content in numbers if number]
            self._base.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?)", known)

    def _number(self, row: Row) -> int:
        found = self._base.execute(
            "SELECT number FROM row WHERE hash = ? AND name = ? ORDER BY number LIMIT 1 OFFSET ?",
            (hash(row.image_path), row.image_path, row.nth),
        ).fetchone()
        return found[0] if found else 0

    def rows_of(self, name: str) -> list[Said]:
        """What is known of the rows of an image_path, in order."""
        found = self._base.execute(
            "SELECT number, status, size, modified, digest FROM row LEFT JOIN known USING (number) "
            "WHERE hash = ? AND name = ? ORDER BY number",
            (hash(name), name),
        )
        return [
            Said(number, status or "ok", None if size is None else Content(size, modified, digest))
            for number, status, size, modified, digest in found
        ]

    def unscored(self) -> Iterator[tuple[Row, str]]:
        """The rows without a score, in order, and their statuses."""
        found = self._base.execute("SELECT number, name, status FROM row WHERE status IS NOT NULL ORDER BY number")
        for number, name, status in found:
            nth = [said.number for said in self.rows_of(name)].index(number)
            yield Row(name, nth), status

    def total(self) -> int:
        """How many rows there are."""
        return self._rows

    def __contains__(self, name: object) -> bool:
        ask = "SELECT 1 FROM row WHERE hash = ? AND name = ? LIMIT 1"
        return self._rows > 0 and self._base.execute(ask, (hash(name), name)).fetchone() is not None

    def __getitem__(self, name: str) -> int:
        if not self._rows:
            return 0
        found = self._base.execute("SELECT count(*) FROM row WHERE hash = ? AND name = ?", (hash(name), name))
        return found.fetchone()[0]

    def __iter__(self) -> Iterator[str]:
        """The names, in the order of their first rows."""
        found = self._base.execute("SELECT number, hash, name FROM row ORDER BY number")
        first = "SELECT min(number) FROM row WHERE hash = ? AND name = ?"
        return (
            name for number, *of in found if self._base.execute(first, of).fetchone()[0] == number for name in of[1:]
        )

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return self._rows > 0


class Unscored(Mapping[Row, str]):
    """The rows without a score of an index, and their statuses, looked up when they are asked for."""

    def __init__(self, index: Index, count: int):
        self._index, self._count = index, count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        return (row for row, _ in self._index.unscored())

    def __getitem__(self, row: Row) -> str:
        rows = self._index.rows_of(row.image_path)
        if row.nth >= len(rows) or rows[row.nth].status == "ok":
            raise KeyError(row)
        return rows[row.nth].status


def _status(status: str) -> str | None:
    return None if status == "ok" else status


def _values(row: tuple[str, str]) -> tuple[int, str, str | None]:
    name, status = row
    return hash(name), name, _status(status)


KEPT, AGAIN, NEW = range(3)  # what becomes of an input


class Verdict(NamedTuple):
    """What is to be done for an input."""

    name: str | None  # of its row, if that is another than its own
    what: int  # KEPT, AGAIN or NEW
    nth: int  # of the rows of that name
    moved: bool  # whether its folder lies elsewhere now


class Verdicts:
    """What is to be done for each input, in their order. usual: what it is where nothing else is said."""

    def __init__(self, usual: int):
        self.usual, self.counts = usual, [0, 0, 0]
        self._base = temporary()
        self._base.execute("CREATE TABLE input (number INTEGER PRIMARY KEY, hash INT, name TEXT, moved INT)")
        self._base.execute("CREATE TABLE verdict (number INTEGER PRIMARY KEY, what INT, nth INT)")
        self._base.execute("CREATE TABLE same (name TEXT, nth INT, size INT, modified INT, digest TEXT)")
        self._base.execute("BEGIN")

    def __del__(self):
        self._base.close()

    def name(self, rows: Iterable[tuple[str, str, bool]]) -> None:
        """Say of each input its own name, that of its row, and whether its folder has moved; in order, once."""
        values = ((hash(name), None if name == own else name, moved or None) for own, name, moved in rows)
        self._base.executemany("INSERT INTO input (hash, name, moved) VALUES (?, ?, ?)", values)
        (self.counts[self.usual],) = self._base.execute("SELECT count(*) FROM input").fetchone()

    def twice(self) -> set[int]:
        """The hashes of names that are given more than once."""
        found = self._base.execute("SELECT hash FROM input GROUP BY hash HAVING count(*) > 1")
        return {number for (number,) in found}

    def named(self) -> Iterator[list[tuple[int, str | None, bool]]]:
        """Of each input the number, the name of its row if that is another, whether it has moved; some at a time."""
        number = 0
        ask = "SELECT number, name, moved FROM input WHERE number > ? ORDER BY number LIMIT ?"
        while found := self._base.execute(ask, (number, AT_ONCE)).fetchall():
            yield [(number, name, bool(moved)) for number, name, moved in found]
            number = found[-1][0]

    def say(self, verdicts: Iterable[tuple[int, int, int]]) -> None:
        """Number, what, and nth of some inputs, each once. Where it is as usual, nothing is kept."""
        kept = [verdict for verdict in verdicts if verdict[1:] != (self.usual, 0)]
        self._base.executemany("INSERT INTO verdict VALUES (?, ?, ?)", kept)
        for _, what, _ in kept:
            self.counts[self.usual] -= 1
            self.counts[what] += 1

    def __iter__(self) -> Iterator[Verdict]:
        found = self._base.execute(
            "SELECT name, what, nth, moved FROM input LEFT JOIN verdict USING (number) ORDER BY input.number"
        )
        for name, what, nth, moved in found:
            yield Verdict(name, self.usual if what is None else what, nth or 0, bool(moved))

    def keep_same(self, contents: Iterable[tuple[Row, Content]]) -> None:
        """Keep what is in the pictures of rows that are what they were, at another time."""
        self._base.executemany("INSERT INTO same VALUES (?, ?, ?, ?, ?)", ((*row, *now) for row, now in contents))

    def same(self) -> Iterator[list[tuple[Row, Content]]]:
        """That, some at a time."""
        found = self._base.execute("SELECT name, nth, size, modified, digest FROM same ORDER BY rowid")
        while some := found.fetchmany(AT_ONCE):
            yield [(Row(*said[:2]), Content(*said[2:])) for said in some]
