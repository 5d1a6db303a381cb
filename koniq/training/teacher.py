"""Distillation: a network learns the scores of another, over pictures that nobody rated.

The teacher scores the pictures first, through the prediction loop of lifelog_predict.py and in float32, so that labels
do not hang on the processor; in MOS where a calibration is kept beside it, for a scale should be learnt that people
know. What it said lies in the run's folder and is not made again: teacher.csv, a row for every picture with the reason
where it has no score, and teacher_table.csv, image_name, MOS and set, which the training then takes as its data set.

Source: Hinton et al., Distilling the knowledge in a neural network, 2015; of scores alone, without soft classes.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pandas as pd

from koniq.data import datasets, splits
from koniq.data.datasets import DataSet
from koniq.data.scale import Scale
from koniq.ground import InputError, first_few, tables
from koniq.ground.facts import facts
from koniq.ground.files import write_csv
from koniq.ground.log import LOG
from koniq.network import find, title
from koniq.pictures.inputs import Input, Inputs, pictures_in
from koniq.scoring import score_file, scorer
from koniq.scoring.score_tables import is_scored
from ku.files import lock_path, shown, turn

SCORES, TABLE = "teacher.csv", "teacher_table.csv"  # in the run's folder


class Chosen(Protocol):
    """The settings of a training script that say what is learnt."""

    dataset: str
    table: str
    images: str
    skip_missing: bool
    scale: tuple[float, float] | None
    teacher: str
    device: str
    seed: int
    workers: int


def load(s: Chosen) -> DataSet:
    """What to train on: as `datasets.load`, or, with a teacher, pictures that it is yet to score (see `taught`).

    These are the pictures of the table, whose own scores are of no account; or, where s.images is a folder that no
    table was given for, every picture in it, the sets drawn by s.seed. Raises InputError as `koniq.data.datasets.load`,
    and if there is no teacher of that name or no picture in the folder.
    """
    if not s.teacher:
        return datasets.load(s.dataset, s.table, s.images, s.skip_missing, s.scale)
    by = title(find(s.teacher))
    if s.images and not s.table and not s.dataset.lower().endswith(".csv"):
        data = _of_folder(Path(s.images), s.seed)
    else:
        data = datasets.load(s.dataset, s.table, s.images, s.skip_missing, s.scale)
    return replace(data, name=f"{data.name} by {by}", label=f"scores of {by}")


def _of_folder(folder: Path, seed: int) -> DataSet:
    if not folder.is_dir():
        raise InputError(f"images should be a folder of pictures for the teacher. Received: {folder}, which is none")
    names = pictures_in(folder).pictures
    ids = pd.DataFrame({"image_name": names, "MOS": 0.0, "image_path": [folder / name for name in names]})
    return DataSet(folder.resolve().name, ids.assign(set=splits.split(ids, seed=seed)), folder=folder, skips=True)


def taught(data: DataSet, run: Path, s: Chosen) -> DataSet:
    """What `load` gave, with the teacher's scores in place of the MOS; without a teacher as it is.

    run: the folder of the run, where the scores are kept; a run that is gone on with, and each process of several,
    takes them from there. Pictures without a score are left out and named. Raises InputError if pictures that have
    been scored are not there any more, or if none has a score.
    """
    if not s.teacher:
        return data
    table = run / TABLE
    with turn(lock_path(table), lambda: LOG.info("Another process is at the teacher's scores; waiting for it.")):
        if not table.is_file():
            with _as_before(s.seed):
                _score(data, run, s)
    found = tables.read_typed(table)
    ids = found.merge(data.ids.drop(columns=["MOS", "set"]), on="image_name", how="left")
    if gone := ids.image_name[ids.image_path.isna()].tolist():
        raise InputError(
            f"The pictures that the teacher scored should still be there. Received: {len(gone):,} that are not "
            f"({first_few(gone)})"
        )
    about = facts(run / SCORES)
    without = data.ids.image_name[~data.ids.image_name.isin(found.image_name)]
    scale = Scale.of(about["record"])
    return replace(data, ids=ids, broken=(*data.broken, *without), scale=scale, teacher=about)


def _score(data: DataSet, run: Path, s: Chosen) -> None:
    below = [path.relative_to(data.folder).as_posix() for path in data.ids.image_path]
    pictures = Inputs([Input(name, data.folder) for name in below], (data.folder,))
    teacher = scorer.load(find(s.teacher), precision="float32", device=s.device, workers=s.workers)
    LOG.info(f"The teacher, {title(teacher.plan.weights)}, scores {len(pictures):,} pictures")
    teacher.write(pictures, run / SCORES, progress="scoring")
    said = score_file.read(run / SCORES)
    said = said.assign(image_name=said.image_path.map(dict(zip(map(shown, below), data.ids.image_name, strict=True))))
    ok = is_scored(said)
    if not ok.any():
        raise InputError(f"The teacher should have scored pictures. Received: none; {run / SCORES} says why")
    if not ok.all():
        LOG.info(f"{(~ok).sum():,} have no score and are left out ({first_few(said.image_name[~ok])})")
    sets = data.ids.set_index("image_name").set
    write_csv(said.assign(set=said.image_name.map(sets)).loc[ok, ["image_name", "MOS", "set"]], run / TABLE)


@contextmanager
def _as_before(seed: int) -> Iterator[None]:
    """Leaves Keras, where it trains, as `koniq.engines.in_keras.prepare` left it, whatever a teacher does to it."""
    keras = sys.modules.get("keras")
    policy = keras.mixed_precision.dtype_policy() if keras else None
    yield
    if keras:
        keras.mixed_precision.set_dtype_policy(policy)
        keras.utils.set_random_seed(seed)
