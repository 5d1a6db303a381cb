"""Join rated data sets into one table to train on, their MOS brought to one scale.

Each keeps its sets, but for LIVE In the Wild, which goes by koniq.data.datasets.live_division; its calibration part is
in no set and stays out. Near copies of one another from two data sets are kept in one set: run
`group` on the joined table, and join again with --groups.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from koniq.data import datasets, splits
from koniq.data.rated import SETS
from koniq.ground import InputError, files, first_few
from koniq.ground.log import LOG

COLUMNS = ("image_name", "MOS", "set", "source", "subset", *splits.KNOWN)


@dataclass(frozen=True)
class Source:
    """A data set of a joined table. `ids`: image_name, MOS, set, image_path, and maybe subset, group and scene."""

    name: str
    ids: pd.DataFrame
    slope: float = 1.0  # of the map from its MOS to the common scale
    offset: float = 0.0

    def rows(self, root: Path) -> pd.DataFrame:
        """Its rows as they stand in the joined table: names below `root`, and subsets and groups that say whose."""
        ids = self.ids
        names = [path.absolute().relative_to(root).as_posix() for path in ids.image_path]
        rows = ids[["set", "image_path"]].assign(
            image_name=names, MOS=self.slope * ids.MOS + self.offset, source=self.name, subset=self.name
        )
        for column in ("subset", *splits.KNOWN):
            if column in ids:
                own = ids[column].convert_dtypes().astype("string")
                rows[column] = (f"{self.name} " + own).fillna(self.name if column == "subset" else pd.NA)
        return rows


def source(name: str, images: str = "", table: str = "", slope: float = 1.0, offset: float = 0.0) -> Source:
    """A data set by name, or from a CSV, with the pictures that are there.

    Raises InputError as koniq.data.datasets.load does.
    """
    data = datasets.load(name, table, images, skip_missing=True)
    ids = data.ids
    if name == "live_itw":
        ids = ids.assign(set=ids.image_name.map(datasets.live_division(table)))
        training = ids[ids.set == "training"]
        ids.loc[training.index, "set"] = splits.split(
            training, "scene", datasets.VALIDATION, datasets.SEED, ("training", "validation")
        )
        ids = ids[ids.set.isin(SETS)].reset_index(drop=True)
    return Source(name if name in datasets.READERS else data.name, ids, slope, offset)


def join(sources: Sequence[Source], groups: Mapping[str, object] | None = None) -> tuple[pd.DataFrame, Path]:
    """One table of several data sets (see COLUMNS), and the folder that its names are below.

    groups: the group of each image_name of such a table, where near copies were looked for in the whole of it. Of a
    group from several sources whose pictures are in several sets, those of the last set stay, so that what is tested
    on is as it was. Raises InputError if one file, or another of the same bytes, is in two sets.
    """
    names = [source.name for source in sources]
    if len(set(names)) < max(2, len(names)):
        raise InputError(f"tables should be two or more, each once. Received: {', '.join(names)}")
    folders = {os.path.abspath(path.parent) for one in sources for path in one.ids.image_path}  # noqa: PTH100  links stay
    root = Path(os.path.commonpath(folders))
    rows = pd.concat([one.rows(root) for one in sources], ignore_index=True)
    _refuse_twins(rows)
    if groups is not None:
        rows["group"] = rows.image_name.map(groups)
        rows = _in_one_set(rows)
    return rows.reindex(columns=list(COLUMNS)), root


def _refuse_twins(rows: pd.DataFrame) -> None:
    """Raise InputError if pictures of the same bytes are in several sets."""
    sizes = rows.image_path.map(lambda path: path.stat().st_size)
    same_size = rows[sizes.duplicated(keep=False)]
    marks = same_size.image_path.map(lambda path: files.digest_of(path, "sha256:"))
    for _, twins in same_size.groupby(marks):
        if twins.set.nunique() > 1:
            where = ", ".join(f"{name} ({part})" for name, part in zip(twins.image_name, twins.set, strict=True))
            raise InputError(f"A picture should be in one set. Received: the same bytes in {where}")


def _in_one_set(rows: pd.DataFrame) -> pd.DataFrame:
    """Without the rows of a group from several sources that are in an earlier set than another row of it."""
    order, known = rows.set.map(SETS.index), rows[rows.group.notna()]
    by = known.groupby("group")
    several = by.source.transform("nunique") > 1
    last = order[known.index].groupby(known.group).transform("max")
    out = known.index[several & (order[known.index] < last)]
    if len(out):
        names = first_few(rows.image_name[out])
        LOG.info(f"{len(out):,} near copies of pictures of another data set in a later set are left out: {names}")
    return rows.drop(index=out).reset_index(drop=True)
