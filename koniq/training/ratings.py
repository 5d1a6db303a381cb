"""What one person thinks of pictures: read from a table of pictures and ratings, or from XMP."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from koniq import xmp
from koniq.data import datasets
from koniq.ground import InputError, first_few, tables
from koniq.ground.facts import facts
from koniq.pictures import inputs

COLUMNS = ("rating", "ratings", "stars", "score", "MOS")  # what ratings are called, whatever the case of the letters
GROUP = "group"  # the column of groups, where none is named


def read(path: Path, images: str = "", column: str = "", group_column: str = "") -> pd.DataFrame:
    """The ratings in the table at `path`, a row a picture: name, image_path, rating, and maybe `group`.

    The table (see koniq.ground.tables) has image_path or image_name, and ratings of any range in `column`, or in one of
    COLUMNS. images: the folder that names start from; if empty, where a JSON beside the table says, then `images`
    beside it, then its own. A row without a rating is none, of a picture with several their mean counts, and a picture
    that is nowhere has the path where it should be. group_column: of what belongs together; `group` where it is there.
    Raises InputError if there is no such table or column, an entry is no number, or no picture is there.
    """
    if not path.is_file():
        raise InputError(f"A table of pictures and ratings should be at {path}, and is not there.")
    table = tables.read(path)
    name = next((name for name in tables.NAMES if name in table), None)
    ours = [each for each in table if each.lower() in {known.lower() for known in COLUMNS}]
    if name is None or not (column in table if column else ours):
        raise InputError(tables.without(path, column or " or ".join(COLUMNS[:3]), table))
    if len(ours) > 1 and not column:
        raise InputError(f"{path} should have one column of ratings. Received: {', '.join(ours)}. Name it by --column")
    if group_column and group_column not in table:
        raise InputError(f"{path} should have the column {group_column}. Received: {', '.join(table)}")
    ratings = tables.numbers(table[column or ours[0]], path)
    rated = pd.DataFrame({"name": tables.separated(table[name]), "rating": ratings})
    group = group_column or (GROUP if GROUP in table else "")
    if group:
        rated[GROUP] = table[group].where(~table[group].isin(tables.NOTHING), None)
    rated = rated[np.isfinite(rated.rating) & (rated.name != "")].reset_index(drop=True)
    return _once(_placed(rated, path, images))


def _placed(rated: pd.DataFrame, table: Path, images: str) -> pd.DataFrame:
    """The rows with `image_path`, in the first folder that has it."""
    places = [images] if images else [*facts(table).get("roots", []), datasets.beside(table), table.parent]
    folders = [place for place in dict.fromkeys(map(Path, places)) if place.is_dir()]
    if not folders:
        raise InputError(f"The pictures of {table} should lie in {places[0]}, which is not there.")
    paths = pd.Series([None] * len(rated), rated.index, dtype=object)
    for folder in folders:
        absent = paths.isna()
        paths[absent] = pd.Series(datasets.found(rated.name[absent], folder), paths.index[absent], dtype=object)
    if len(rated) and paths.isna().all():
        raise InputError(
            f"{folders[0]} should hold the {len(rated):,} pictures of {table}, such as {first_few(rated.name, 1)}. "
            "Received: none of them. --images names another folder"
        )
    missing = pd.Series([folders[0] / name for name in rated.name], rated.index, dtype=object)
    return rated.assign(image_path=paths.where(paths.notna(), missing))


def _once(rated: pd.DataFrame) -> pd.DataFrame:
    """One row a picture, with the mean of its ratings."""
    mean = rated.groupby("image_path").rating.transform("mean")
    return rated.assign(rating=mean).drop_duplicates("image_path").reset_index(drop=True)


def in_xmp(pictures: Sequence[str]) -> pd.DataFrame:
    """The ratings in XMP of the pictures of folders, lists and globs: name, image_path, rating.

    0 is no rating, as photo programs have it; -1, rejected, counts as 0, which is below one star. Raises InputError if
    there are no pictures, or none with a rating.
    """
    found = inputs.of(pictures)
    rows = [(item.name, item.path, xmp.rating(item.path)) for item in found.pictures]
    rated = pd.DataFrame([row for row in rows if row[2]], columns=["name", "image_path", "rating"])
    if rated.empty:
        raise InputError(
            f"Pictures should have ratings in XMP: in a sidecar (IMG.jpg.xmp, IMG.xmp) or in themselves. Received: "
            f"{len(rows):,} pictures without one"
        )
    return rated.assign(rating=rated.rating.clip(lower=0).astype(float))
