"""Tables of rated pictures: image_name, MOS, and the set that each belongs to."""

from pathlib import Path

import numpy as np
import pandas as pd

from koniq.ground import InputError, first_few, tables

SETS = ("training", "validation", "test")


def _once(ids: pd.DataFrame, name: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row a picture, and the names of those that had more. Raises InputError if their scores differ.

    A picture in several sets stays in the last of training, validation, test: what is tested on was not trained on.
    """
    again = ids[ids.image_name.duplicated(keep=False)]
    differ = again.groupby("image_name").MOS.nunique() > 1
    if differ.any():
        names = first_few(differ.index[differ])
        raise InputError(f"A picture in the table of {name} should have one MOS. Received: several for {names}")
    last = ids.set.map(SETS.index).sort_values(kind="stable", ascending=False).index
    kept = ids.loc[last].drop_duplicates("image_name").index
    return ids.loc[ids.index.isin(kept)], tuple(again.image_name.unique())


def read_table(path: Path, name: str, how_to_get: str = "", needs_set: bool = True) -> pd.DataFrame:
    """The table at `path`, its image_name, MOS and set checked. Raises InputError if something is wrong with them.

    needs_set: whether it may not do without a column `set`.
    """
    if not path.is_file():
        raise InputError(f"The table of {name} should be {path}, which is not there{how_to_get}.")
    ids = tables.read_typed(path)
    if "MOS_zscore" in ids and "set" not in ids:
        raise InputError(
            f"{path.name} is KonIQ-10k's other table: its MOS is on a five-point scale and it has no column 'set'. "
            "What is needed is koniq10k_distributions_sets.csv."
        )
    needed = ("image_name", "MOS", "set") if needs_set else ("image_name", "MOS")
    if any(column not in ids for column in needed):
        raise InputError(f"{path} should have the columns {', '.join(needed)}. Received: {', '.join(ids)}")
    if ids.empty:
        raise InputError(f"{path} should have a row for each picture. Received: no rows")
    for column, wrong, expected in (
        ("image_name", ids.image_name.isna(), "a name in every row"),
        ("MOS", ~np.isfinite(pd.to_numeric(ids.MOS, errors="coerce")), "numbers"),
        ("set", "set" in ids and ~ids.set.isin(SETS), f"one of {', '.join(SETS)}"),
    ):
        if np.any(wrong):
            row = wrong.idxmax()
            raise InputError(
                f"The column {column} of {path} should hold {expected}. Received: {ids[column][row]!r} in row {row + 1}"
            )
    return ids
