"""Scores as a workbook for Excel and its like, by xlsxwriter, row by row."""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path

import xlsxwriter

from koniq.ground import InputError
from ku.files import atomic_path

MOST = 1_048_575  # rows below the names of the columns: what a sheet has room for
LONGEST = 32_767  # characters of a cell
# What begins with = + - @ stays text, an address no link, and rows are on the disk once they are written.
HOW = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}


def check(rows: int) -> None:
    """Raise InputError if a sheet has no room for so many rows."""
    if rows > MOST:
        raise InputError(
            f"A sheet of .xlsx should have {MOST:,} rows of scores at most. Received: {rows:,} or more. Export to "
            ".parquet, or to .csv"
        )


def write(rows: Iterable[Sequence[object]], about: Mapping[str, object], columns: Sequence[str], path: Path) -> int:
    """Write rows of scores as the sheet `scores`, their facts as the sheet `facts`. Returns how many rows.

    rows: numbers, texts, and None for nothing. Raises InputError if there are more than a sheet has room for.
    """
    number = 0
    with atomic_path(path) as temporary, xlsxwriter.Workbook(str(temporary), HOW) as book:
        sheet = book.add_worksheet("scores")
        sheet.write_row(0, 0, columns)
        for number, row in enumerate(rows, 1):
            check(number)
            for column, value in enumerate(row):
                _put(sheet, number, column, value)
        sheet = book.add_worksheet("facts")
        for row, (key, value) in enumerate(about.items()):
            _put(sheet, row, 0, key)
            _put(sheet, row, 1, value if isinstance(value, str) else json.dumps(value))
    return number


def _put(sheet, row: int, column: int, value: object) -> None:
    if isinstance(value, str):
        if value:
            sheet.write_string(row, column, value[:LONGEST])
    elif value is not None and isfinite(value):
        sheet.write_number(row, column, value)
    elif value is not None:
        sheet.write_string(row, column, str(value))  # a sheet knows no infinity
