"""Scores as Parquet, by pyarrow: a CSV of scores read piece by piece, and Parquet files with their facts within."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from koniq.ground import InputError
from ku.files import atomic_path

KEY = b"koniq"  # of a Parquet file's metadata: the JSON of what its scores depend on
GROUP = 100_000  # rows of a row group
PIECE = 16 << 20  # bytes of a CSV that are read at a time
TYPES = {
    **{"image_path": pa.string(), "MOS": pa.float64(), "MOS_low": pa.float64(), "MOS_high": pa.float64()},
    **{"status": pa.string(), "width": pa.int32(), "height": pa.int32(), "error": pa.string()},
}


def schema_of(columns: Sequence[str]) -> pa.Schema:
    """The schema of a table of scores with these columns."""
    return pa.schema([(name, TYPES[name]) for name in columns])


def of_csv(path: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """The whole rows of a CSV of scores as lifelog_predict.py writes it, in pieces; not a torn last one.

    An empty number is null. Raises InputError, naming the file, if it is no such CSV.
    """
    how = {
        "read_options": pa.csv.ReadOptions(column_names=list(columns)),
        "convert_options": pa.csv.ConvertOptions(
            column_types=schema_of(columns), null_values=[""], strings_can_be_null=False
        ),
    }
    with path.open("rb") as file:
        file.readline()  # the names of the columns
        for piece in _whole_rows(file):
            parsing = pa.csv.ParseOptions(newlines_in_values=b'"' in piece)
            try:
                yield pa.csv.read_csv(pa.BufferReader(piece), parse_options=parsing, **how)
            except pa.ArrowInvalid as error:
                raise InputError(
                    f"{path} should be a CSV in UTF-8 with the columns {','.join(columns)}. Received: {error}"
                ) from error


def _whole_rows(file: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes of an open CSV in pieces of whole rows, without the start of a row at the end.

    A line break ends a row where the quotation marks before it are even in number.
    """
    rest = b""
    while data := file.read(PIECE):
        rest += data
        quotes, end = rest.count(b'"'), len(rest)
        while (at := rest.rfind(b"\n", 0, end)) >= 0:
            quotes, end = quotes - rest.count(b'"', at, end), at
            if quotes % 2 == 0:
                yield rest[: at + 1]
                rest = rest[at + 1 :]
                break


def of_frame(table: pd.DataFrame) -> pa.Table:
    """A table of `koniq.scoring.score_tables.read` for Parquet."""
    schema = schema_of([name for name in TYPES if name in table])
    return pa.Table.from_pandas(table[schema.names], schema, preserve_index=False).replace_schema_metadata()


def write(pieces: Iterable[pa.Table], about: Mapping[str, object], columns: Sequence[str], path: Path) -> int:
    """Write scores as one Parquet file, whole or not at all, with the facts `about` within. Returns how many rows."""
    schema = schema_of(columns).with_metadata({KEY: json.dumps(about).encode()})
    encoded = [name for name in columns if not name.startswith(("image_path", "MOS"))]  # what repeats itself
    rows = 0
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd", use_dictionary=encoded) as writer,
    ):
        for group in grouped(pieces):
            writer.write_table(group.cast(schema), row_group_size=GROUP)
            rows += group.num_rows
    return rows


def grouped(pieces: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of GROUP rows each, the last one of fewer."""
    waiting: list[pa.Table] = []
    rows = 0
    for piece in pieces:
        waiting.append(piece)
        rows += piece.num_rows
        if rows >= GROUP:
            table, whole = pa.concat_tables(waiting), rows - rows % GROUP
            for start in range(0, whole, GROUP):
                yield table.slice(start, GROUP)
            waiting, rows = [table.slice(whole)], rows - whole
    if rows:
        yield pa.concat_tables(waiting)


def opened(path: Path) -> pq.ParquetFile:
    """A Parquet file. Raises InputError if it is none."""
    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise InputError(f"{path} should be a whole Parquet file. Received: {error}") from error


def facts(path: Path) -> dict | None:
    """What the scores in a Parquet file depend on, by its metadata; None if it says nothing of it."""
    with opened(path) as file:
        text = (file.schema_arrow.metadata or {}).get(KEY)
    try:
        return None if text is None else json.loads(text)
    except ValueError as error:
        raise InputError(f"The metadata `koniq` of {path} should be JSON. Received: {error}") from error
