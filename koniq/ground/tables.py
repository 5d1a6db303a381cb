"""Tables that another program wrote: CSV with what Excel and its like make of it, and the names of files in them."""

import codecs
import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.ground.errors import InputError
from koniq.ground.urls import Remote, is_url

SEPARATORS = (",", ";", "\t")  # Excel writes semicolons where a comma is the decimal sign, and tabs as "Unicode text"
NAMES = ("image_path", "image_name")  # columns that are text even where every entry looks like a number
NOTHING = {"", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NAN", "-nan", "NULL", "null", "None", "<NA>"}  # no value
MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
FIRST = 1000  # lines, of which one should not be blank: the head
LONGEST_MARK = max(map(len, MARKS))
DECIMAL_COMMA = re.compile(r"[+-]?((\d+,\d*|,?\d+)(e[+-]?\d+)?|inf|infinity)", re.IGNORECASE)


def read(path: Path, any_bytes: bool = False) -> pd.DataFrame:
    """The table at `path`, every entry as text, without its blank rows.

    It is in UTF-8 or, by its byte order mark, in UTF-16; its lines end in LF or CRLF; commas, semicolons or tabs
    separate its columns. In a table without commas between its columns, one of numbers with decimal commas has points.
    any_bytes: bytes that are no UTF-8 are taken as Python has them in names of files. Raises InputError if it is no
    such table, or has a row that is longer than its head.
    """
    text = _text(path, any_bytes)
    separator = _separator(io.StringIO(text))
    rows = _records(io.StringIO(text, newline=""), separator, path)
    head, table = next(rows), [*rows]
    found = pd.DataFrame(table, columns=head, dtype=object)
    found = found.loc[:, [bool(name) or bool((found.iloc[:, at] != "").any()) for at, name in enumerate(head)]]
    _check_once([*found], path)
    return found if separator == "," else found.apply(_with_points)


def streamed(path: Path, any_bytes: bool = False) -> Iterator[list[str]]:
    """The head of the table at `path`, and then its rows, one at a time, as `read` has them: the same of any length.

    Columns without a name are there, and no decimal comma is made a point. Raises InputError as `read` does, but only
    where the reader gets to it.
    """
    with path.open("rb") as file:
        begun = file.read(LONGEST_MARK)
    encoding, errors, mark = _encoding(begun, any_bytes)
    try:
        with path.open(encoding=encoding, errors=errors, newline="") as file:
            file.seek(mark)
            separator = _separator(islice(file, FIRST))
            file.seek(mark)
            rows = _records(_without_zeros(file, path), separator, path)
            yield (head := next(rows))
            _check_once([name for name in head if name], path)
            yield from rows
    except UnicodeDecodeError:
        _text(path, any_bytes)  # which says in what line
        raise


def read_typed(path: Path, text: Iterable[str] = NAMES) -> pd.DataFrame:
    """The table at `path` (see `read`): numbers in columns that hold nothing else, and nan for what is no value.

    text: columns that stay text whatever is in them.
    """
    table, text = read(path), {*text}
    return pd.DataFrame({name: _typed(table[name], name in text) for name in table})


def numbers(column: pd.Series, path: Path) -> pd.Series:
    """The numbers in a column of text, nan where there is no value. Raises InputError, naming the row, if one is none.

    path: of the table, as the error calls it.
    """
    values = pd.to_numeric(column.where(~column.isin(NOTHING), None), errors="coerce").astype(float)
    wrong = values.isna() & ~column.isin(NOTHING)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"The column {column.name} of {path} should hold numbers. Received: {column.iloc[row]!r} in row {row + 1}"
        )
    return values


def without(path: Path, score: str, there: Iterable[str]) -> str:
    """What is said of a table without names of pictures, or without a column `score`, but with the columns `there`."""
    return (
        f"{path} should have a column image_path or image_name, and the scores in a column {score}; --column names "
        f"another. Received: {', '.join(there) or 'no columns'}"
    )


def two_scores(path: Path) -> str:
    """What is said of a table of a test, which has what raters said and what a model did."""
    return (
        f"{path} should have one column of scores. Received: MOS and predicted. Give --column MOS or --column predicted"
    )


def separated(names: pd.Series) -> pd.Series:
    """Names of files with slashes, where backslashes are the only separators that any of them has: Windows wrote them.

    A backslash in an \\xNN, by which our CSVs show a byte that is no UTF-8, does not count as one.
    """
    if names.str.contains("/", regex=False).any() or not names.str.contains(r"\\(?!x[0-9a-f]{2})").any():
        return names
    return names.str.replace("\\", "/", regex=False)


def spellings(name: str) -> Iterator[str]:
    """What the file may be called that a table calls `name`, likeliest first.

    That is `name`; with the bytes that stand in it as \\xNN; with slashes for its backslashes; and, if it has bytes
    that are no UTF-8, what these are in the Windows code page 1252, in which Excel writes "CSV".
    """
    yield name
    raw = name.encode("utf-8", "surrogateescape" if _has_bytes(name) else "replace")
    if "\\x" in name:
        yield os.fsdecode(re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes([int(byte[1], 16)]), raw))
    if "\\" in name:
        yield name.replace("\\", "/")
    if _has_bytes(name):
        meant = raw.decode("cp1252", "replace")
        yield from dict.fromkeys((meant, meant.replace("\\", "/")))


def place(name: str, folder: Path | Remote) -> Path | Remote:
    """Where the file lies that a list calls `name`, in `folder`; asks the disk only if there is more than one way."""
    if isinstance(folder, Remote):
        return folder / name
    if is_url(name):
        return Remote(name)
    if "\\" not in name and not _has_bytes(name):
        return folder / name
    return next((folder / way for way in spellings(name) if os.path.lexists(folder / way)), folder / name)


def _has_bytes(name: str) -> bool:
    return not name.isascii() and any("\udc80" <= letter <= "\udcff" for letter in name)


def _records(lines: Iterable[str], separator: str, path: Path) -> Iterator[list[str]]:
    """The head of a table, and then its rows without the blank ones, each as long as the head."""
    rows = csv.reader(lines, delimiter=separator, strict=True)
    try:
        head = next(filter(any, rows), [])
        if re.fullmatch("sep=.?", head[0] if head else ""):  # a line that Excel understands
            head = next(filter(any, rows), [])
        head = [name.strip() for name in head]
        if not head:
            raise InputError(f"{path} should be a table (CSV) with the names of its columns. Received: an empty file")
        yield head
        for row in rows:
            if len(row) > len(head) and any(row[len(head) :]):
                raise csv.Error(f"{len(row)} fields in line {rows.line_num}, below a head of {len(head)}")
            if row and (any(row) or len(head) == 1):
                yield row if len(row) == len(head) else (row + [""] * len(head))[: len(head)]
    except csv.Error as error:
        raise InputError(
            f"{path} should be a table of as many fields in every row, those with a separator or a quotation mark in "
            f"quotation marks. Received: {error}"
        ) from error


def _check_once(columns: Sequence[str], path: Path) -> None:
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        raise InputError(f"{path} should name each of its columns once. Received: several called {twice[0]!r}")


def _encoding(begun: bytes, any_bytes: bool) -> tuple[str, str, int]:
    """How a table is encoded, by how it begins: the encoding, what becomes of other bytes, and the length of a mark."""
    mark = next((mark for mark in MARKS if begun.startswith(mark)), b"")
    encoding = MARKS.get(mark, "utf-8")
    return encoding, "surrogateescape" if any_bytes and encoding == "utf-8" else "strict", len(mark)


def _without_zeros(lines: Iterable[str], path: Path) -> Iterator[str]:
    for line in lines:
        if "\0" in line:
            _text(path, any_bytes=True)  # which says where
        yield line


def _text(path: Path, any_bytes: bool) -> str:
    data = path.read_bytes()
    encoding, errors, mark = _encoding(data, any_bytes)
    data = data[mark:]
    try:
        text = data.decode(encoding, errors)
        if "\0" in text:
            raise ValueError(f"zero bytes, the first at character {text.index(chr(0)):,}")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        received = f"bytes that are no {encoding.upper()}, the first, {data[error.start]:#04x}, in line {line:,}"
    except ValueError as error:
        received = str(error)
    else:
        return text
    raise InputError(
        f'{path} should be text in UTF-8, or in UTF-16 with a byte order mark; Excel saves it as "CSV UTF-8". '
        f"Received: {received}"
    )


def _separator(lines: Iterable[str]) -> str:
    """What separates the columns: whatever the first line that is not blank has most of."""
    first = next((line for line in lines if line.strip(" \r\n")), "")
    if said := re.match("sep=(.)", first):
        return said[1]
    return max(SEPARATORS, key=first.count)


def _with_points(column: pd.Series) -> pd.Series:
    values = [value for value in column if value not in NOTHING]
    if column.name in NAMES or not any("," in value for value in values):
        return column
    return column.str.replace(",", ".") if all(map(DECIMAL_COMMA.fullmatch, values)) else column


def _typed(column: pd.Series, is_text: bool) -> pd.Series:
    column = column.where(~column.isin([""] if is_text else NOTHING), np.nan)
    if is_text:
        return column.astype("str")
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError):
        return column.astype("str")
