"""Groups of pictures that another program found: a table, czkawka's text or JSON, imagededup's JSON."""

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.data import linked
from koniq.ground import InputError, tables

NAMED = (*tables.NAMES, "path", "file", "filename", "file_name")  # columns of a table, the first that is there
GROUPED = ("group", "group_id", "cluster", "cluster_id")
EXPECTED = (
    "groups should be a table with the columns image_path and group, what czkawka saved of similar images (text or "
    "JSON), or imagededup's JSON"
)
# A line of czkawka's text, of either age: "path" - 4000x3000 - 3.2 MiB - Very High
LINE = re.compile(r'^"?(.+?)"? - \d+x\d+ - ')
BEGINS = re.compile(r"^Found \d+ images which have similar friends")


def read(path: Path) -> list[list[str]]:
    """The groups in the file at `path`, each the names of its pictures. Raises InputError if there is no group."""
    if not path.is_file():
        raise InputError(f"{EXPECTED}. Received: {path}, which is not there")
    kind = path.suffix.lower()
    found = _of_json(path) if kind == ".json" else _of_text(path) if kind in (".txt", "") else _of_table(path)
    found = [group for group in found if group]
    if not found:
        raise InputError(f"{EXPECTED}. Received: {path}, with no group")
    return found


def _of_table(path: Path) -> list[list[str]]:
    table = tables.read(path, any_bytes=True)
    name, group = (next((key for key in keys if key in table), None) for keys in (NAMED, GROUPED))
    if not (name and group):
        raise InputError(f"{EXPECTED}. Received: {path}, with the columns {', '.join(map(str, table))}")
    table = table[table[group] != ""]
    return [names.tolist() for _, names in tables.separated(table[name]).groupby(table[group], sort=False)]


def _of_text(path: Path) -> list[list[str]]:
    groups: list[list[str]] = []
    for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        if BEGINS.match(line):
            groups.append([])
        elif groups and (found := LINE.match(line)):
            groups[-1].append(found[1])
    return groups


def _of_json(path: Path) -> list[list[str]]:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{EXPECTED}. Received: {path}, which is no JSON: {error}") from error
    if isinstance(said, dict) and all(isinstance(others, list) for others in said.values()):  # imagededup's
        return [[name, *map(_first, others)] for name, others in said.items() if others]
    if isinstance(said, list):  # czkawka's
        return [[*_paths(group)] for group in said]
    raise InputError(f"{EXPECTED}. Received: {path}, another JSON")


def _first(other: object) -> str:
    """A name, or that of a name and how alike it is."""
    return str(other[0] if isinstance(other, list) and other else other)


def _paths(group: object) -> Iterator[str]:
    """The paths of a group: of files, or of a file of a reference folder and the files that are like it."""
    for entry in group if isinstance(group, list) else [group]:
        if isinstance(entry, list):
            yield from _paths(entry)
        elif isinstance(entry, dict) and "path" in entry:
            yield str(entry["path"])


def placed(
    groups: Iterable[Sequence[str]], image_path: pd.Series, roots: Sequence[str], folder: Path
) -> tuple[np.ndarray, int]:
    """Of each picture which group it is in: int (pictures,), 0, 1, ..., one by itself in its own; and how many names of
    the groups are no picture's.

    A name is the picture's that a table calls so; or whose file it is, from `folder` on, the groups' own; or, without a
    folder in it, that of the one picture with that file name. Groups that share a picture are one. roots: the folders
    that image_path starts from. Raises InputError if no name is a picture's.
    """
    names = image_path.tolist()
    rows = {name: row for row, name in reversed([*enumerate(names)])}
    whole = {_whole(Path(root, name)): row for root in roots for row, name in enumerate(names)}
    short: dict[str, int | None] = {}
    for row, name in enumerate(names):
        base = name.rsplit("/", 1)[-1]
        short[base] = None if base in short else row

    def row_of(name: str) -> int | None:
        for found in (rows.get(name), whole.get(_whole(folder / name)), whole.get(_whole(Path(name)))):
            if found is not None:
                return found
        return short.get(name)

    first, second, absent, some = [], [], 0, ""
    for group in groups:
        found = [row_of(name) for name in group]
        absent += found.count(None)
        some = some or next((name for name, row in zip(group, found, strict=True) if row is None), "")
        there = [row for row in found if row is not None]
        first += there[:1] * len(there)
        second += there
    if not first:
        raise InputError(f"groups should name pictures that have a score. Received: {some!r} and its like")
    return linked.parts(len(names), np.array(first, int), np.array(second, int)), absent


def _whole(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100  links stay links
