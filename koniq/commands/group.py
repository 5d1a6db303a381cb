"""Find near copies: pictures that a network sees as nearly the same become one `group` of the table.

python -m koniq group mine.csv --images my_folder     writes mine-groups.csv, and a sheet of pairs to look at
python -m koniq group biq2021 --threshold 0.9 --keep features.npz     another threshold then takes seconds

Near copies in training make a test too easy. Splits keep a group in one set, `check` names the groups that are in
several, and a test report gives its numbers without them, too. `--column scene --threshold 0.8` does so for pictures
that are alike, such as those of one scene. Groups that the table has already are never taken apart.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import tyro

from koniq.data import datasets
from koniq.engines import features
from koniq.evaluation.near_copies import THRESHOLD, grouped, pairs_of, sheet, summary
from koniq.ground import InputError, files, first_few
from koniq.network import find
from ku.files import atomic_path


@dataclass(frozen=True)
class Settings:
    table: tyro.conf.Positional[str]  # a .csv with image_name and MOS, or koniq10k, live_itw, biq2021, sample
    images: str = ""  # the folder of its pictures; beside the table, or in koniq/images, if empty
    metadata: str = ""  # the table of a data set that is given by name, if not in koniq/metadata
    weights: str = "koncept_lite"  # whose features: a file with its record, a training run, or a name in trained_models
    threshold: float = THRESHOLD  # cosine between standardised features above which two pictures are near copies
    column: Literal["group", "scene"] = "group"  # of the table that gets the groups
    out: str = ""  # the table with its groups; NAME-groups.csv, beside the table or here, if empty
    keep: str = ""  # an .npz that keeps the features, and gives them to the next run of the same pictures and weights
    workers: int | None = None  # threads that decode pictures; None: one a core


def main(s: Settings) -> None:
    if not 0 < s.threshold < 1:
        raise InputError(f"threshold should be between 0 and 1. Received: threshold={s.threshold}")
    if s.keep and not s.keep.endswith(".npz"):
        raise InputError(f"keep should be an .npz. Received: keep={s.keep!r}")
    ids, folder = datasets.pictures(s.table, s.images, s.metadata)
    seen = _features(ids, s)
    pairs = pairs_of(seen, s.threshold)
    ids[s.column] = pd.array(grouped(len(ids), pairs, ids.get(s.column)), "Int64")
    path = Path(s.table)
    out = Path(s.out or (path.with_name(f"{path.stem}-groups.csv") if path.suffix else f"{s.table}-groups.csv"))
    files.write_csv(ids.drop(columns="image_path"), out)
    print("\n".join(summary(ids, s.column, pairs, s.threshold)))
    if len(pairs.first):
        with atomic_path(out.with_suffix(".png")) as temporary:
            temporary.write_bytes(sheet(ids, pairs, folder))
        print(f"Look at the pairs in {out.with_suffix('.png')}: where they are no copies, give a higher --threshold")
    print(f"The table with its groups is {out}")


def _features(ids: pd.DataFrame, s: Settings) -> np.ndarray:
    """The features of the pictures of a table, those that `keep` has, or else computed, and kept there."""
    path, kept = find(s.weights), Path(s.keep) if s.keep else None
    about = {"names": ids.image_name.to_numpy(str), "weights": np.array(features.identity(path))}
    if kept and kept.is_file():
        with np.load(kept) as file:
            if all(key in file and np.array_equal(file[key], value) for key, value in about.items()):
                return file["features"]
        raise InputError(f"{kept} should hold the features of these pictures by these weights. Give another --keep")
    seen, rows = features.extract(features.start(path), ids.image_path.tolist(), s.workers)
    failed = {path.name: row.error for path, row in zip(ids.image_path, rows, strict=True) if row.status != "ok"}
    if failed:
        why = next(iter(failed.values()))
        print(f"{len(failed):,} pictures do not open, and are in no group: {first_few(failed)} ({why})")
    if kept:
        with atomic_path(kept) as temporary, temporary.open("wb") as file:
            np.savez(file, features=seen, **about)
    return seen
