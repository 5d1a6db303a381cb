"""Scores of pictures by whatever wrote them: our own CSVs and Parquet, the study's files, tables of other programs."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from koniq.ground import InputError, tables
from koniq.ground import facts as ground_facts
from koniq.ground.built import install
from koniq.scoring import lines, score_file, taken

if TYPE_CHECKING:
    from koniq.scoring.in_duckdb import LargeTable


class ScoreTable:
    """What is asked of a table of scores, of one in memory; of Parquet, `koniq.scoring.in_duckdb.LargeTable` answers.

    frame: of `read`. "Scored" are the rows with a score: the status ok and a finite MOS.
    """

    def __init__(self, frame: pd.DataFrame):
        self.frame = frame
        ok = is_scored(frame)
        self._scored, self._failed = frame[ok], frame[~ok]

    def __len__(self) -> int:
        """How many rows there are, with a score and without."""
        return len(self.frame)

    @property
    def mos(self) -> pd.Series:
        """The scores of the scored rows."""
        return self._scored.MOS

    @property
    def scored(self) -> int:
        """How many rows are scored."""
        return len(self._scored)

    def extent(self) -> np.ndarray:
        """The lowest and the highest score."""
        return np.array([self._scored.MOS.min(), self._scored.MOS.max()])

    @property
    def has_intervals(self) -> bool:
        """Whether there are MOS_low and MOS_high, the ends of the scores' intervals."""
        return {*lines.INTERVAL} <= {*self.frame}

    def times_by(self, how: taken.How) -> taken.How:
        """How times are found, if `how` was asked for. Raises InputError where pictures of Parquet should be opened."""
        return how

    def timed(self, how: taken.How = "names", roots: Sequence[str] = ()) -> pd.DataFrame:
        """The scored rows' MOS, and when their pictures were taken: time, day, clock, see `koniq.scoring.taken.times`.

        roots: the folders that image_path starts from.
        """
        return self._scored[["MOS"]].join(taken.times(self._scored.image_path, how, roots, "reading EXIF"))

    def rows(self) -> pd.DataFrame:
        """The scored rows, all in memory: image_path, MOS, MOS_low, MOS_high, ... Raises InputError of Parquet."""
        return self._scored.reset_index(drop=True)

    def ends(self, count: int, best: bool) -> pd.DataFrame:
        """The `count` best scored rows, the best first, or the worst, worst first; of equal ones the last is best."""
        order = self._scored.sort_values("MOS", kind="stable")
        return (order[::-1] if best else order)[:count]

    def meeting(self, low: float, high: float) -> int:
        """How many scored rows have an interval that meets the one from `low` to `high`."""
        return int(((self._scored.MOS_high >= low) & (self._scored.MOS_low <= high)).sum())

    def failures(self) -> list[tuple[str, str, int]]:
        """Why rows have no score: status, error and number of each, the commonest first."""
        counts = self._failed.groupby(["status", "error"], sort=False).size()
        return [(*why, int(count)) for why, count in counts.sort_values(ascending=False, kind="stable").items()]

    def failed(self, count: int) -> pd.DataFrame:
        """The first `count` rows without a score: image_path, status."""
        return self._failed[["image_path", "status"]][:count]

    def chosen(self, least: float, best_first: bool) -> Iterator[pd.DataFrame]:
        """The scored rows of `least` or more, in pieces: image_path, MOS; in the order of the table, or by score."""
        found = self._scored.loc[least <= self._scored.MOS, ["image_path", "MOS"]]
        yield found.sort_values("MOS", ascending=False, kind="stable") if best_first else found

    def surely(self, least: float) -> int:
        """How many scored rows of `least` or more have their whole interval there."""
        return int((self._scored.MOS.ge(least) & self._scored.MOS_low.ge(least)).sum())

    def close(self) -> None:
        """Give back what is not in memory."""


def opened(path: Path, column: str = "") -> "ScoreTable | LargeTable":
    """The scores at `path`: of Parquet (a file, a folder of such files, a glob) by DuckDB, of anything else in memory.

    column: of the scores; MOS, if empty. Raises InputError if there are no scores, see `read`.
    """
    if not is_parquet(path):
        return ScoreTable(read(path, column))
    needs_tables()
    from koniq.scoring.in_duckdb import LargeTable

    return LargeTable(path, column)


def facts(path: Path) -> dict:
    """What the scores at `path` depend on: the JSON beside a CSV, or that within Parquet; {} if nothing says so."""
    if not is_parquet(path):
        return ground_facts.facts(path)
    needs_tables()
    from koniq.scoring import in_duckdb

    return in_duckdb.facts(path)


def is_parquet(path: Path) -> bool:
    """Whether a path names scores as Parquet: a file of that ending, a folder, or a glob."""
    return path.suffix.lower() == ".parquet" or path.is_dir() or (not path.exists() and "*" in str(path))


def named(path: Path) -> Path:
    """What a table is called by: its path; of a glob, the folder of what it finds."""
    return path if path.exists() or "*" not in path.name else path.parent


def needs_tables() -> None:
    """Raise InputError where what reads and writes Parquet and .xlsx is not installed."""
    if not all(map(find_spec, ("pyarrow", "duckdb", "xlsxwriter"))):
        raise InputError(f"pyarrow, duckdb and xlsxwriter should be installed for this: {install('tables')}")


def is_scored(table: pd.DataFrame) -> pd.Series:
    """Which rows of a table of scores have a score: a number, and the status ok."""
    return (table.status == "ok") & np.isfinite(table.MOS)


def read(path: Path, column: str = "") -> pd.DataFrame:
    """The scores in the table at `path`: image_path, MOS (nan without a score), status, width, height, error.

    That is a CSV that lifelog_predict.py wrote, or any table (see koniq.ground.tables) with image_path or image_name
    and a number a picture, such as the study's own result files, `image_path,MOS`. column: of the scores; MOS, if
    empty. What such a table does not say is "ok", 0 and "". An entry that is empty, nan or infinite is no score. Raises
    InputError if there is no such table or column, or if an entry is neither a number nor one of these.
    """
    if not path.is_file():
        raise InputError(f"A CSV with a score for each picture should be at {path}, and is not there.")
    if column in ("", "MOS") and score_file.is_ours(path):
        return score_file.read(path)
    table = tables.read(path)
    name = next((name for name in tables.NAMES if name in table), None)
    score = column or "MOS"
    if name is None or score not in table:
        raise InputError(tables.without(path, score, table))
    if not column and "predicted" in table:  # of a test: what the raters said, and what a model did
        raise InputError(tables.two_scores(path))
    mos = tables.numbers(table[score], path)
    given = table[score].where(table[score] != "", "nothing")
    ok = np.isfinite(mos)
    status, error = (table.get(key, pd.Series("", table.index, dtype=object)) for key in ("status", "error"))
    return pd.DataFrame(
        {
            "image_path": tables.separated(table[name]),
            "MOS": mos.where(ok),
            "status": status.where(status != "", np.where(ok, "ok", lines.NO_SCORE)),
            "width": 0,
            "height": 0,
            "error": error.where(ok | (error != ""), "the score is " + given),
        }
    )
