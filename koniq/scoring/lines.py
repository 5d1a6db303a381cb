"""The lines of a CSV of scores: its columns, how a row is written, and how whole rows are read again."""

import csv
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pandas as pd

from koniq.ground import InputError, tables
from koniq.ground.facts import facts

COLUMNS = ("image_path", "MOS", "status", "width", "height", "error")
INTERVAL = ("MOS_low", "MOS_high")
COLUMN_SETS = {  # study: as its authors' result files; an empty MOS is no score
    "all": COLUMNS,
    "study": COLUMNS[:2],
    "intervals": (*COLUMNS[:2], *INTERVAL, *COLUMNS[2:]),
}
NO_SCORE = "no_score"  # the status of a row without one, where the CSV has no column to say more


def columns_of(out: Path) -> tuple[str, ...]:
    """The columns that the CSV of scores at `out` was begun with; COLUMNS where nothing beside it says so."""
    return COLUMN_SETS.get(facts(out).get("columns", "all"), COLUMNS)


def head_of(columns: Iterable[str]) -> bytes:
    """The first line of a CSV with these columns."""
    return (",".join(columns) + "\n").encode()


def saved_again(path: Path, columns: tuple[str, ...]) -> pd.DataFrame | None:
    """A CSV of scores that another program saved, with a byte order mark, CRLF, semicolons, ...; its entries as text.

    None if the file is as we write it, or is none with these columns.
    """
    with path.open("rb") as file:
        begun = file.read(200)
    whole = begun[: len(head_of(columns))]
    if head_of(columns).startswith(whole) or columns[0].encode() not in begun.replace(b"\0", b""):
        return None
    try:
        table = tables.read(path)
    except InputError:
        return None
    return table if [*table] == [*columns] else None


def entries(saved: pd.DataFrame, path: Path) -> list[list[str]]:
    """The rows of what `saved_again` found. Raises InputError if a MOS, or an end of its interval, is no number."""
    of_numbers = [name for name in ("MOS", *INTERVAL) if name in saved]
    there = {name: saved[name].where(tables.numbers(saved[name], path).notna(), "") for name in of_numbers}
    return saved.assign(**there).to_numpy().tolist()


def line_of(fields: Iterable[str]) -> bytes:
    """A row as it stands in the CSV."""
    return (",".join(map(_field, fields)) + "\n").encode()


def _field(text: str) -> str:
    """A text as a field of a CSV. (The csv module leaves a carriage return bare, and readers then see two rows.)"""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\n\r]', text) else text


def records(file: BinaryIO, path: Path, columns: tuple[str, ...] = COLUMNS) -> Iterator[tuple[list[str], int]]:
    """The whole rows of an open CSV below its header, each with the offset at which it ends; not a torn last one.

    Raises InputError, naming the byte, if it is no CSV of scores.
    """
    offset = 0

    def lines() -> Iterator[str]:
        nonlocal offset
        for line in file:
            if line.endswith(b"\n"):
                offset += len(line)
                yield line.decode()

    rows = csv.reader(lines(), strict=True)
    try:
        if (header := next(rows, [])) != list(columns):
            raise ValueError(f"the columns {','.join(header)}")
        for row in rows:
            if len(row) != len(columns):
                raise ValueError(f"a row of {len(row)} fields")
            float(row[1] or math.nan)
            yield row, offset
    except (csv.Error, ValueError) as error:
        if str(error) != "unexpected end of data":  # torn within quotes
            raise InputError(
                f"{path} should be a CSV in UTF-8 with the columns {','.join(columns)}. "
                f"Received, up to byte {offset}: {error}"
            ) from error
