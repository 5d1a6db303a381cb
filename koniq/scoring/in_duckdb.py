"""Tables of scores of any length, by DuckDB from Parquet: numbers come into memory, names stay on the disk."""

import glob
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa

from koniq.ground import InputError, RunStopped, tables
from koniq.ground.machine import cores
from koniq.ground.paths import folder_beside
from koniq.scoring import in_pyarrow, taken
from koniq.scoring.lines import COLUMN_SETS, INTERVAL, NO_SCORE
from koniq.scoring.score_file import differing

MEMORY = "1GB"  # that DuckDB takes; what is more goes to the disk
NUMBER = "number"  # a column of parts that several machines wrote: the place of a row's input, by which it is known
OK = "(status = 'ok' AND isfinite(MOS))"


def parts(path: Path) -> list[Path]:
    """The Parquet files that a path names: itself, those in a folder, or those that a glob finds, by their names.

    Raises InputError if there is none.
    """
    if path.is_dir():
        found = sorted(path.glob("*.parquet"))
    elif path.is_file():
        found = [path]
    else:
        found = sorted(map(Path, glob.glob(str(path))))  # noqa: PTH207  a glob may be absolute
    if not found:
        raise InputError(f"Scores as Parquet, a file or a folder of such files, should be at {path}. Received: none")
    return found


def facts(path: Path) -> dict:
    """What the scores in Parquet depend on; of several files, what all of them say, and the roots of each.

    Raises InputError if they were made in different ways.
    """
    files = parts(path)
    found = [in_pyarrow.facts(file) or {} for file in files]
    for file, about in zip(files, found, strict=True):
        if changed := differing(found[0], about):
            keys = ", ".join(changed)
            raise InputError(
                f"The Parquet files of {path} should be of one run. Received: {files[0].name} and {file.name}, which "
                f"differ in {keys}"
            )
    roots = dict.fromkeys(root for about in found for root in about.get("roots", []))
    return {**found[0], "roots": [*roots]} if roots else found[0]


def _columns(path: Path, there: Mapping[str, pa.DataType], column: str) -> tuple[str, str]:
    """The columns of names and of scores. Raises InputError if there are none, or if the scores are no numbers."""
    name, score = next((name for name in tables.NAMES if name in there), None), column or "MOS"
    if name is None or score not in there:
        raise InputError(tables.without(path, score, there))
    if not column and "predicted" in there:
        raise InputError(tables.two_scores(path))
    kind = there[score]
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise InputError(f"The column {score} of {path} should hold numbers. Received: {kind}")
    return name, score


class Database:
    """A database in memory; what is more than MEMORY goes to the disk, beside `path` or into the user's cache."""

    def __init__(self, path: Path):
        self.path = path
        folder = folder_beside(path.parent / "scores.parquet" if not path.exists() else path)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=".koniq-", suffix=".tmp", dir=folder))
        self.connection = duckdb.connect(
            config={"memory_limit": MEMORY, "threads": str(cores()), "temp_directory": str(self.folder / "spilled")}
        )

    def __call__(self, query: str, values: Sequence[object] = ()) -> duckdb.DuckDBPyConnection:
        """What a query finds, its ? being `values`."""
        with self._said():
            return self.connection.execute(query, list(values))

    def one(self, query: str, values: Sequence[object] = ()) -> int:
        """The one number that a query finds."""
        return self(query, values).fetchall()[0][0]

    def pieces(self, query: str, rows: int = in_pyarrow.GROUP) -> Iterator[pa.Table]:
        """What a query finds, so many rows at a time."""
        with self._said():
            for batch in self.connection.cursor().sql(query).to_arrow_reader(rows):
                yield pa.Table.from_batches([batch])

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Raise what went wrong as a sentence: InputError if it is the files', RunStopped if it is the machine's."""
        try:
            yield
        except duckdb.OutOfMemoryException as error:
            raise RunStopped(f"{self.path} needs more room than there is: {_first_line(error)}") from error
        except duckdb.Error as error:
            raise InputError(
                f"{self.path} should be scores as Parquet, whole files of the same columns. Received: "
                f"{_first_line(error)}"
            ) from error

    def numbers(self, query: str, kind: type, count: int) -> np.ndarray:
        """The one column of numbers that a query finds, of `count` rows, without a copy of it in memory."""
        found, at = np.empty(count, kind), 0
        for batch in self.pieces(query):
            found[at : at + batch.num_rows] = batch.column(0).to_numpy()
            at += batch.num_rows
        return found

    def close(self) -> None:
        self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


class LargeTable:
    """The scores in Parquet at `path`, as `koniq.scoring.score_tables.ScoreTable` has those in memory.

    path: a file, a folder of files, or a glob. Rows are in the order of their column `number`, if there is one, and of
    rows of one number there is one alone; else as in the files, these by their names.
    """

    def __init__(self, path: Path, column: str = ""):
        self.path = path
        files = parts(path)
        with in_pyarrow.opened(files[0]) as first:
            there = {field.name: field.type for field in first.schema_arrow}
            ours = in_pyarrow.KEY in (first.schema_arrow.metadata or {})
        name, score = _columns(path, there, column)
        quoted = ", ".join("'" + str(file).replace("'", "''") + "'" for file in files)
        status = "status" if "status" in there else "NULL"
        mos = f'"{score}"::DOUBLE'
        self.columns = ["image_path", "MOS"]
        self.columns += [other for other in COLUMN_SETS["intervals"][2:] if other in there]
        self._said = {
            "image_path": f'"{name}"',
            "MOS": mos,
            **{other: other for other in self.columns[2:]},
            "status": f"coalesce(nullif({status}, ''), CASE WHEN isfinite({mos}) THEN 'ok' ELSE '{NO_SCORE}' END)",
            "error": "coalesce(error, '')" if "error" in there else "''",
            "place": f"{NUMBER}::BIGINT" if NUMBER in there else "file_index::BIGINT << 40 | file_row_number",
        }
        self._source, self._numbered, self._ours = f"read_parquet([{quoted}])", NUMBER in there, ours
        self._order = "ORDER BY place" * self._numbered  # else a scan gives it
        self.database = Database(path)
        self._others: list[Database] = []
        try:
            self.define(self.database, "scores")
        except BaseException:
            self.close()
            raise

    def define(self, database: Database, view: str) -> None:
        """Have the rows in a database as `view`: image_path, MOS, status, error, place (in their order), ..."""
        said = self._said if self._ours else {**self._said, "image_path": self._with_slashes(database)}
        columns = ", ".join(f'{text} AS "{name}"' for name, text in said.items())
        where = self._once(database, f"{view}_twice") if self._numbered else ""
        database(f"CREATE VIEW {view} AS SELECT {columns} FROM {self._source} {where}")

    def _with_slashes(self, database: Database) -> str:
        """The names of files as `koniq.ground.tables.separated` has those of a CSV."""
        name = self._said["image_path"]
        other = f"contains(regexp_replace({name}, '\\\\x[0-9a-f]{{2}}', '', 'g'), '\\')"
        query = f"SELECT bool_or(contains({name}, '/')), bool_or({other}) FROM {self._source}"
        ((slashes, backslashes),) = database(query).fetchall()
        return f"replace({name}, '\\', '/')" if backslashes and not slashes else name

    def _once(self, database: Database, twice: str) -> str:
        """What leaves one row of each number: the first with a score, or else the first. twice: a table for it."""
        database(
            f"""
            CREATE TABLE {twice} AS SELECT file, row FROM (
                SELECT file_index AS file, file_row_number AS row, row_number() OVER (
                    PARTITION BY {NUMBER} ORDER BY coalesce(isfinite(MOS), false) DESC, file_index, file_row_number
                ) AS nth FROM {self._source} WHERE {NUMBER} IN (
                    SELECT {NUMBER} FROM {self._source} GROUP BY {NUMBER} HAVING count(*) > 1
                )
            ) WHERE nth > 1
            """
        )
        some = database.one(f"SELECT count(*) FROM {twice}")
        return f"WHERE (file_index, file_row_number) NOT IN (SELECT (file, row) FROM {twice})" if some else ""

    def __len__(self) -> int:
        return self._rows

    @cached_property
    def _rows(self) -> int:
        return self.database.one("SELECT count(*) FROM scores")

    @property
    def has_intervals(self) -> bool:
        return {*INTERVAL} <= {*self.columns}

    @cached_property
    def scored(self) -> int:
        return self.database.one(f"SELECT count(*) FROM scores WHERE {OK}")

    def extent(self) -> np.ndarray:
        return np.array(self.database(f"SELECT min(MOS), max(MOS) FROM scores WHERE {OK}").fetchall()[0])

    @cached_property
    def mos(self) -> pd.Series:
        return pd.Series(self.database.numbers(f"SELECT MOS FROM scores WHERE {OK}", np.float64, self.scored))

    def times_by(self, how: taken.How) -> taken.How:
        if how == "exif":
            raise InputError(
                "times should be auto, names or folders of Parquet, whose pictures are not opened. "
                f"Received: times={how}"
            )
        return "names" if how == "auto" else how

    def timed(self, how: taken.How = "names", roots: Sequence[str] = ()) -> pd.DataFrame:
        none = np.iinfo(np.int64).min  # what NumPy takes for no time
        path = "image_path" if self.times_by(how) == "names" else "''"  # that a name is read of
        query = f"""
            SELECT MOS, coalesce(epoch(time)::BIGINT, {none}), coalesce(epoch(coalesce(day, folder))::BIGINT, {none}),
                CASE WHEN time IS NOT NULL THEN if(regexp_matches(image_path, '{taken.UTC}'), {taken.NAME_UTC},
                    {taken.NAME}) WHEN day IS NOT NULL THEN {taken.NAME_DAY} WHEN folder IS NOT NULL THEN
                    {taken.FOLDER_DAY} ELSE {taken.NOTHING} END::BIGINT
            FROM (
                SELECT MOS, image_path, time,
                    coalesce(date_trunc('day', time), try_strptime(day, '{taken.FORMATS[1]}')) AS day,
                    try_strptime(
                        folder.year || coalesce(nullif(folder.a, ''), folder.b) || folder.day, '{taken.FORMATS[1]}'
                    ) AS folder
                FROM (
                    SELECT MOS, image_path, try_strptime(
                            replace(name.day, '-', '') || lpad(regexp_replace(name.time, '[-.]', '', 'g'), 6, '0')
                            || name.half, ['{taken.FORMATS[0]}', '{taken.FORMATS[2]}']
                        ) AS time,
                        regexp_extract({path}, '{taken.DAY}', 1) AS day,
                        regexp_extract(image_path, '{taken.FOLDER}', ['year', 'a', 'b', 'day']) AS folder
                    FROM (
                        SELECT MOS, image_path, regexp_extract({path}, '{taken.TIME}', ['day', 'time', 'half']) AS name
                        FROM scores WHERE {OK}
                    )
                )
            )
        """
        mos, clock = np.empty(self.scored), np.empty(self.scored, np.int8)
        time, day = np.empty((2, self.scored), np.int64)
        at = 0
        for piece in self.database.pieces(query):
            for column, found in zip((mos, time, day, clock), piece.columns, strict=True):
                column[at : at + piece.num_rows] = found.to_numpy()
            at += piece.num_rows
        times = {"time": time.view("datetime64[s]"), "day": day.view("datetime64[s]"), "clock": clock}
        found = pd.DataFrame({"MOS": mos, **times}, copy=False)
        self.mos = found.MOS  # in place of those that are there, so that they are in memory once
        return found

    def rows(self) -> pd.DataFrame:
        raise InputError(
            "The best of all, of days, bursts and groups should be asked of scores as CSV, which koniq export writes. "
            f"Received: {self.path}, Parquet"
        )

    def ends(self, count: int, best: bool) -> pd.DataFrame:
        order = "DESC" if best else "ASC"
        return self.database(
            f"SELECT * EXCLUDE (place) FROM scores WHERE {OK} ORDER BY MOS {order}, place {order} LIMIT {count}"
        ).df()

    def meeting(self, low: float, high: float) -> int:
        query = f"SELECT count(*) FROM scores WHERE {OK} AND MOS_high >= ? AND MOS_low <= ?"
        return self.database.one(query, [low, high])

    def failures(self) -> list[tuple[str, str, int]]:
        return self.database(
            f"SELECT status, error, count(*) AS n FROM scores WHERE NOT coalesce({OK}, false) GROUP BY ALL "
            "ORDER BY n DESC, min(place)"
        ).fetchall()

    def failed(self, count: int) -> pd.DataFrame:
        query = f"SELECT image_path, status FROM scores WHERE NOT coalesce({OK}, false) ORDER BY place LIMIT {count}"
        return self.database(query).df()

    def chosen(self, least: float, best_first: bool) -> Iterator[pd.DataFrame]:
        order = "ORDER BY MOS DESC, place" if best_first else self._order
        query = f"SELECT image_path, MOS FROM scores WHERE {OK} AND MOS >= {least!r} {order}"
        return (piece.to_pandas() for piece in self.database.pieces(query))

    def surely(self, least: float) -> int:
        return self.database(
            f"SELECT count(*) FROM scores WHERE {OK} AND MOS >= ? AND MOS_low >= ?", [least, least]
        ).fetchone()[0]

    def whole(self) -> Iterator[pa.Table]:
        """All rows, in order, in pieces, with the columns that a CSV of them has."""
        pieces = self.database.pieces(f"SELECT {', '.join(self.columns)} FROM scores {self._order}")
        return (piece.cast(in_pyarrow.schema_of(self.columns)) for piece in pieces)

    def another_database(self) -> Database:
        """A database that is closed together with this table."""
        self._others.append(Database(self.path))
        return self._others[-1]

    def close(self) -> None:
        for database in (self.database, *self._others):
            database.close()
