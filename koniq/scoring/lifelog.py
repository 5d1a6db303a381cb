"""Pictures scored into a CSV that nothing is lost from."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from koniq.engines.plan import Plan
from koniq.ground.log import LOG
from koniq.ground.machine import native_silence
from koniq.pictures import contents
from koniq.pictures.apart import Apart
from koniq.pictures.decoding import Score, decode
from koniq.pictures.faults import Place
from koniq.pictures.inputs import Inputs
from koniq.pictures.room import ROOM
from koniq.scoring.in_flight import InFlight
from koniq.scoring.loop import predict
from koniq.scoring.resume import Todo, todo
from koniq.scoring.score_file import ScoreFile

Opened = tuple[Score, np.ndarray | None]  # what koniq.pictures.decoding.decode gives
FEW = 10  # scores that are printed one by one


def score(
    pictures: Inputs,
    plan: Plan,
    out: Path,
    workers: int,
    overwrite: bool = False,
    retry: Sequence[str] | None = None,
    columns: str = "all",
) -> int:
    """Write the score of every picture to the CSV `out`, going on where an earlier run stopped. Prints what came out.

    A row for each, in order: image_path, MOS, status, width, height, error; or the first two, where `columns` is
    "study", or, where it is "intervals", with MOS_low and MOS_high after MOS. What is scored again,
    koniq.scoring.resume says. Returns how many rows of the file have no score. Raises InputError if `out` is another
    process's, or was begun with other facts or for other pictures; RunStopped if the disk is full, or the pictures'
    drive goes away. See ScoreFile.
    """
    with ScoreFile(out, {**plan.facts(), "roots": pictures.roots}, overwrite, columns) as file:
        rows = todo(file, pictures.pictures, retry, workers)
        if rows.kept:
            LOG.info(f"{len(rows.kept):,} of them are in {out} already")
        if rows.again:
            LOG.info(f"{len(rows.again):,} of them are scored again ({rows})")
        if len(pictures) <= FEW:
            for row, found in file.found([row for row, _ in rows.kept]).items():
                LOG.info(f"{row.image_path}: {found}")
        if rows.again or rows.new:
            _score(rows, pictures.places, plan, workers, file)
        LOG.info(file.summary())
        return len(file.unscored)


def _score(rows: Todo, places: Sequence[Path], plan: Plan, workers: int, file: ScoreFile) -> None:
    left = rows.again + rows.new
    names = [row.image_path for row, _ in left]
    place = Place(places)
    with (
        Apart(plan.network, place) as apart,
        InFlight(file.path, names, Inputs([item for _, item in left])) as paths,
    ):
        if suspects := len(paths.suspects):
            LOG.info(f"{suspects:,} that a run was at when it was killed are decoded apart, in a process of their own")

        def opened(path: Path) -> Opened:
            return apart.decode(path) if path in paths.suspects else decode(path, plan.network, place)

        engine = plan.start()
        scores = predict(engine, paths, workers, "scoring", lambda path: with_content(path, opened))
        with native_silence():
            for number, ((row, _), found) in enumerate(zip(left, scores, strict=True)):
                if number < len(rows.again):
                    file.replace(row, found)
                else:
                    file.append(row.image_path, found)
                paths.scored()
                if len(left) <= FEW:
                    LOG.info(f"{row.image_path}: {found.error or format(found.mos, '.2f')}")
        file.flush()


def with_content(path: Path, opened: Callable[[Path], Opened]) -> Opened:
    """What `opened` gives for a picture, its score with what was in the file."""
    with ROOM.entered():  # it opens the file, too
        content = contents.at(path)  # first: of what is edited meanwhile, the next run sees that it was
    found, pixels = opened(path)
    return replace(found, content=content), pixels
