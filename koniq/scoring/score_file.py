"""The CSV of scores: written row by row so that nothing is lost whatever ends the run, and read again."""

import json
import math
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import pandas as pd

from koniq.ground import InputError, RunStopped, tables
from koniq.ground.facts import facts, facts_path
from koniq.network.spec import FORMER
from koniq.pictures.contents import Content
from koniq.scoring.index import Index, Unscored
from koniq.scoring.journal import Journal, Row, append_whole
from koniq.scoring.lines import (
    COLUMN_SETS,
    COLUMNS,
    INTERVAL,
    NO_SCORE,
    columns_of,
    entries,
    head_of,
    line_of,
    records,
    saved_again,
)
from koniq.scoring.score import Score
from ku.files import atomic_path, lock_file, lock_path, shown

# Facts that may differ when a file is gone on with; see koniq.scoring.resume.
ABOUT = ("model", "versions", "device", "roots", "shard_pictures")
STEP = 30  # seconds of replaced rows that a killed run loses at most


def read(out: Path) -> pd.DataFrame:
    """The scores of a CSV, whole rows only: image_path, MOS (nan without a score), status, width, height, error.

    Where the CSV has intervals, so has the table: MOS_low and MOS_high, which may be infinite. It may have been saved
    again by another program (see koniq.ground.tables). Raises InputError if it is no such file.
    """
    if not out.is_file():
        raise InputError(f"A CSV of scores, as lifelog_predict.py writes it, should be at {out}, and is not there.")
    columns = columns_of(out)
    if (saved := saved_again(out, columns)) is not None:
        rows = entries(saved, out)
    else:
        with out.open("rb") as file:
            rows = [row for row, _ in records(file, out, columns)]
    return _table(rows, columns, out)


def table(scores: Iterable[Score], intervals: bool = False) -> pd.DataFrame:
    """The table that `read` would give of a CSV of these scores."""
    columns = COLUMN_SETS["intervals" if intervals else "all"]
    said = (score.fields() for score in scores)
    return _table([[fields[name] for name in columns] for fields in said], columns, Path("these scores"))


def _table(rows: Iterable[Sequence[str]], columns: Sequence[str], out: Path) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(columns), dtype=object)
    if "status" not in table:
        table = table.assign(status=np.where(table.MOS != "", "ok", NO_SCORE), width=0, height=0, error="")
    numbers = {name: tables.numbers(table[name], out) for name in ("MOS", *INTERVAL) if name in table}
    sizes = {side: pd.to_numeric(table[side], errors="coerce").fillna(0).astype(int) for side in ("width", "height")}
    return table.assign(**numbers | {"MOS": numbers["MOS"].where(np.isfinite(numbers["MOS"]))}, **sizes)


def is_ours(out: Path) -> bool:
    """Whether a file has the columns of a CSV of scores that lifelog_predict.py wrote, perhaps saved again since.

    The columns of the study alone do not say so, but only together with the JSON beside.
    """
    columns = columns_of(out)
    with out.open("rb") as file:
        begun = file.read(len(head_of(columns)))
    return begun == head_of(columns) or saved_again(out, columns) is not None


class ScoreFile:
    """A CSV of scores that is written to, a row an input: image_path, MOS, status, width, height, error.

    With the columns of the study it has the first two of these, with intervals MOS_low and MOS_high after MOS; a row
    without a score has these empty. Rows are appended whole, so that a run may be killed at any moment: opened again,
    the file loses at most a torn last row. Rows are replaced in a new file that takes this one's place, in steps. What
    the scores depend on stands in a JSON beside it, what was in the pictures in a `Journal`. What of some inputs is
    still to do, `koniq.scoring.resume` says.

    facts: what the scores depend on; all but ABOUT must be as they were when the file was begun.
    overwrite: begin anew. columns: one of COLUMN_SETS, and one of the facts. What another program saved is put back as
    we write it, in one rename, before it is gone on with. Raises InputError if another process writes the file, if it
    is none of this kind, or if it was begun with other facts.
    """

    def __init__(self, path: Path, facts: Mapping[str, object], overwrite: bool = False, columns: str = "all"):
        self.path = path
        self.columns = COLUMN_SETS[columns]
        said = {"columns": columns} if columns != "all" else {}  # files from before there was a choice do not say it
        facts = json.loads(json.dumps({**facts, **said}))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise InputError(f"out should be a file to write to. Received: {path}, which is a folder")
        path.touch()
        try:
            self._lock = lock_file(lock_path(path))
        except BlockingIOError as error:
            raise InputError(f"Another process is writing {path}; wait for it, or give another --out.") from error
        self._file = path.open("r+b", buffering=0)
        self.journal: Journal | None = None
        self.done = Index()  # rows by image_path
        try:
            if not overwrite and (saved := saved_again(path, self.columns)) is not None:
                self._check(facts)
                with self._new() as file:
                    file.write(b"".join(line_of(row) for row in entries(saved, path)))
            self._open(facts, overwrite)
        except BaseException:
            self._close()
            raise

    def _open(self, facts: dict, overwrite: bool) -> None:
        header = head_of(self.columns)
        begun = self._file.read(len(header))
        # The study's columns are also those of its authors' own files, and of a selection: only the JSON tells ours.
        others = bool(begun) and self.columns not in (COLUMNS, columns_of(self.path))
        ours = header.startswith(begun) or (overwrite and saved_again(self.path, self.columns) is not None)
        if others or not ours:  # even with overwrite: it may be anything, a picture for instance
            raise InputError(
                "out should be a new file, or one that lifelog_predict.py wrote, with the columns "
                f"{','.join(self.columns)}. Received: {self.path}, which is none; give another --out"
            )
        self.journal = Journal(self.path)
        if overwrite or begun != header or not self._file.read(1):  # without a row it is as good as none
            self.journal.clear()
            self._file.truncate(0)
            self.end = 0
            self._note(facts)
            self._write(header)
        else:
            self._check(facts)
        self._load()
        self._file.truncate(self.end)

    def _load(self) -> None:
        """Count the rows that are there."""
        self._tally = Tally(self.columns)
        self._replaced: dict[Row, tuple[list[str], Content | None]] = {}  # not yet in the file
        self._step = STEP  # seconds from one time that they are written to the next
        self._stepped = time.monotonic()
        self.end = len(head_of(self.columns))

        def counted() -> Iterator[tuple[str, str]]:
            for fields, end, _ in self._rows():
                self.end = end
                yield fields[0], self._tally.count(fields)

        self.done = Index(counted())

    def _rows(self, some: Collection[Row] = ()) -> Iterator[tuple[list[str], int, Row | None]]:
        """The rows of the file: the fields, the offset at which each ends, and, of those in `some`, which it is."""
        names, seen = {row.image_path for row in some}, Counter()
        with self.path.open("rb") as file:
            for fields, end in records(file, self.path, self.columns):
                row = None
                if fields[0] in names:
                    row = Row(fields[0], seen[fields[0]])
                    seen[fields[0]] += 1
                yield fields, end, row if row in some else None

    def _note(self, facts: dict) -> None:
        with atomic_path(facts_path(self.path)) as path:
            path.write_text(json.dumps(facts, indent=2) + "\n")

    def _check(self, now: dict) -> None:
        before, now = ({**FORMER, **side} if side else side for side in (facts(self.path), now))
        if not before:
            raise InputError(
                f"{facts_path(self.path)} should say what the scores in {self.path.name} depend on, and is not there. "
                "Give another --out, or --overwrite to begin anew"
            )
        if changed := differing(before, now):
            was, received = (", ".join(f"{key}={in_short(side.get(key))}" for key in changed) for side in (before, now))
            raise InputError(
                f"{self.path} was begun with {was}, and scores of two kinds should not stand in one file. "
                f"Received: {received}. Give another --out, or --overwrite to begin anew"
            )

    @property
    def roots(self) -> list[str]:
        """The folders that image_path starts from, absolute, as the JSON beside the file has them."""
        return facts(self.path).get("roots", [])

    def note(self, **about: object) -> None:
        """Say in the JSON beside the file what is so now: `roots`, where image_path starts from, or others of ABOUT."""
        before = facts(self.path)
        if any(said != before.get(key, []) for key, said in about.items()):
            self._note({**before, **about})

    @property
    def statuses(self) -> Counter[str]:
        """How many rows there are of each status."""
        return self._tally.statuses

    @property
    def unscored(self) -> Unscored:
        """The rows without a score, and their statuses."""
        return Unscored(self.done, self.done.total() - self.statuses["ok"])

    def put(self, row: Row, score: Score) -> None:
        """Write the score of a row: in the place of the one that is there, or as the next."""
        if row.nth < self.done[row.image_path]:
            self.replace(row, score)
        else:
            self.append(score)

    def append(self, score: Score) -> None:
        """Write a row, at once. Raises RunStopped, the file whole, if there is no room for it."""
        self.flush()
        name, fields = shown(score.name), self._fields(score)
        if score.content:  # before its row, so that no content is taken for that of an earlier score
            self.remember([(Row(name, self.done[name]), score.content)])
        self._write(line_of(fields))
        self.done.add(name, self._tally.count(fields))

    def replace(self, row: Row, score: Score) -> None:
        """Put a score in the place of a row that is there: in the file after STEP seconds, or by `flush`."""
        self._replaced[row] = self._fields(score), score.content
        if time.monotonic() - self._stepped > self._step:
            self.flush()

    def flush(self) -> None:
        """Write the rows that were replaced, all or none. Raises RunStopped if there is no room."""
        if not self._replaced:
            return
        began, replaced, tally = time.monotonic(), self._replaced, Tally(self.columns)
        try:
            with self._new() as new, self.path.open("rb") as old:
                start = old.seek(len(head_of(self.columns)))  # of what was not copied yet
                before = start
                for fields, end, row in self._rows(replaced):
                    if row:
                        copy(old, new, before - start)
                        fields = replaced[row][0]
                        new.write(line_of(fields))
                        start = old.seek(end)
                    tally.count(fields)
                    before = end
                copy(old, new, before - start)
                self.end = new.tell()
        except OSError as error:
            raise self._stopped(error) from error
        for row, (fields, _) in replaced.items():
            self.done.change(row, tally.status(fields))
        self._tally, self._replaced = tally, {}
        self._stepped = time.monotonic()
        self._step = max(STEP, 10 * (self._stepped - began))  # a long file is not written most of the time
        # After their rows: else, killed between the two, an old score would be taken for that of the new content.
        self.remember([(row, content) for row, (_, content) in replaced.items() if content])

    def remember(self, contents: Collection[tuple[Row, Content]]) -> None:
        """Note what was in the pictures of some rows. Raises RunStopped if there is no room."""
        try:
            self.journal.append(contents)
        except OSError as error:
            raise self._stopped(error) from error

    @contextmanager
    def _new(self) -> Iterator[BinaryIO]:
        """A file below its header, that takes this one's place once it is written to."""
        try:
            with atomic_path(self.path) as temporary:
                with temporary.open("wb") as file:
                    file.write(head_of(self.columns))
                    yield file
                shutil.copymode(self.path, temporary)
                self._file.close()  # an open file cannot be replaced everywhere
        finally:
            if self._file.closed:
                self._file = self.path.open("r+b", buffering=0)

    def _fields(self, score: Score) -> list[str]:
        said = score.fields()
        return [said[name] for name in self.columns]

    def _write(self, data: bytes) -> None:
        try:
            self.end = append_whole(self._file, self.end, data)
        except OSError as error:
            raise self._stopped(error) from error

    def _stopped(self, error: OSError) -> RunStopped:
        return RunStopped(
            f"{self.path} could not be written to: {error.strerror}. Its {self.done.total():,} rows are whole; "
            "make room, and give the same command again to go on from there."
        )

    def found(self, rows: Collection[Row]) -> dict[Row, str]:
        """What some rows of the file say, in a few characters: the MOS to two decimals, or the reason for none."""
        at = self.columns.index("error") if "error" in self.columns else len(self.columns)
        return {
            row: (format(float(fields[1]), ".2f") if fields[1] else "".join(fields[at:]) or NO_SCORE)
            for fields, _, row in self._rows({*rows})
            if row
        }

    def summary(self) -> str:
        """How many rows of each status, and the mean and standard deviation of the scores."""
        rows = self.done.total()
        return f"{self.path}: {rows:,} rows ({self._tally}" if rows else f"{self.path}: no rows"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        try:
            self.flush()
        except RunStopped:
            if error is None:  # else that one says what ended the run
                raise
        finally:
            self._close()

    def _close(self) -> None:
        self._file.close()
        if self.journal:
            self.journal.close()
        self._lock.close()


class Tally:
    """What the rows of a CSV come to: how many there are of each status, the mean of their scores, and its spread."""

    def __init__(self, columns: Sequence[str]):
        self._at = columns.index("status") if "status" in columns else None
        self.statuses: Counter[str] = Counter()
        self._sum = self._squares = 0.0

    def status(self, fields: Sequence[str]) -> str:
        """The status of a row; of one whose score is no number, that it is none."""
        mos = float(fields[1] or math.nan)
        said = fields[self._at] if self._at else NO_SCORE if math.isnan(mos) else "ok"
        return said if said != "ok" or math.isfinite(mos) else "not_finite"

    def count(self, fields: Sequence[str]) -> str:
        """Add a row. Returns its status."""
        status = self.status(fields)
        self.statuses[status] += 1
        if status == "ok":
            mos = float(fields[1])
            self._sum += mos
            self._squares += mos * mos
        return status

    def __str__(self) -> str:
        scored = self.statuses["ok"]
        counts = ", ".join(f"{count:,} {status}" for status, count in self.statuses.most_common() if count)
        mean = self._sum / scored if scored else math.nan
        sd = math.sqrt(max(self._squares / scored - mean * mean, 0)) if scored else math.nan
        return f"{counts}); mean MOS {mean:.2f}, sd {sd:.2f}"


def copy(old: BinaryIO, new: BinaryIO, count: int) -> None:
    """Copy so many bytes from where a file stands."""
    while count > 0 and (data := old.read(min(count, 1 << 20))):
        new.write(data)
        count -= len(data)


def differing(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """The facts in which scores differ, but for ABOUT, which may."""
    return [key for key in {**before, **now} if key not in ABOUT and before.get(key) != now.get(key)]


def in_short(value: object) -> str:
    """A fact as an error shows it."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
