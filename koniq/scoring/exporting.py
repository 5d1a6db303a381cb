"""Scores into other kinds of files: CSV, Parquet, .xlsx, in pieces, so that any number of rows takes as much memory."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from koniq.ground import InputError
from koniq.ground.facts import facts_path
from koniq.ground.files import write_json
from koniq.scoring import score_tables
from koniq.scoring.lines import columns_of, head_of, line_of
from ku.files import atomic_path

if TYPE_CHECKING:
    import pyarrow as pa

ENDINGS = (".parquet", ".xlsx", ".csv")


def export(source: Path, target: Path, column: str = "", overwrite: bool = False) -> int:
    """Write the scores at `source`, see `koniq.scoring.score_tables.opened`, to `target`, by its ending. Returns how
    many rows there are.

    What they depend on comes along: within Parquet and .xlsx, as JSON beside a CSV. Raises InputError if there are no
    scores, if `target` is there and not to be overwritten, or if a sheet has no room for the rows.
    """
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"target should end in {', '.join(ENDINGS)}. Received: {target}")
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"target should be another file than the scores. Received: {target}")
    beside = facts_path(target)
    for path in (target, beside) if ending == ".csv" else (target,):
        if path.exists() and not overwrite:
            raise InputError(f"{path} is there already. Give --overwrite to replace it, or another target.")
    score_tables.needs_tables()
    about = score_tables.facts(source)
    with closing(_pieces(source, column)) as pieces:
        columns: list[str] = next(pieces)
        if ending == ".csv":
            rows = _write_csv(pieces, columns, target)
            if about:
                write_json(about, beside)
            return rows
        if ending == ".parquet":
            from koniq.scoring import in_pyarrow

            return in_pyarrow.write(pieces, about, columns, target)
        from koniq.scoring import in_xlsxwriter

        rows = (row for piece in pieces for row in zip(*(part.to_pylist() for part in piece.columns), strict=True))
        return in_xlsxwriter.write(rows, about, columns, target)


def _pieces(source: Path, column: str) -> Iterator["list[str] | pa.Table"]:
    """The columns of the scores at `source`, and then its rows in pieces."""
    from koniq.scoring import in_pyarrow

    if score_tables.is_parquet(source):
        with closing(score_tables.opened(source, column)) as table:
            yield table.columns
            yield from table.whole()
    elif column in ("", "MOS") and source.is_file() and (columns := _written(source)):
        yield [*columns]
        yield from in_pyarrow.of_csv(source, columns)
    else:  # another program's table is read whole
        found = in_pyarrow.of_frame(score_tables.read(source, column))
        yield found.column_names
        yield found


def _written(source: Path) -> tuple[str, ...]:
    """The columns of a CSV that is as lifelog_predict.py writes it; () of any other."""
    columns = columns_of(source)
    with source.open("rb") as file:
        return columns if file.readline() == head_of(columns) else ()


def _write_csv(pieces: Iterator["pa.Table"], columns: Sequence[str], target: Path) -> int:
    """Write rows as lifelog_predict.py writes them, byte for byte. Returns how many."""
    rows = 0
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        file.write(head_of(columns))
        for piece in pieces:
            said = [_texts(part.to_pylist()) for part in piece.columns]
            file.write(b"".join(map(line_of, zip(*said, strict=True))))
            rows += piece.num_rows
    return rows


def _texts(values: Sequence[object]) -> list[str]:
    return ["" if value is None else value if isinstance(value, str) else str(value) for value in values]
