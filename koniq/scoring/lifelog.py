"""Pictures scored into a CSV that nothing is lost from."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from koniq.ground.log import LOG
from koniq.ground.machine import native_silence
from koniq.ground.urls import Remote
from koniq.network import Network
from koniq.pictures import contents
from koniq.pictures.apart import Apart
from koniq.pictures.decoding import Opened
from koniq.pictures.faults import Place
from koniq.pictures.inputs import Inputs
from koniq.pictures.room import ROOM
from koniq.scoring.in_flight import InFlight
from koniq.scoring.index import room_for_rows
from koniq.scoring.loop import Item
from koniq.scoring.resume import Todo, Wanted, todo
from koniq.scoring.score import Score
from koniq.scoring.score_file import ABOUT, ScoreFile

FEW = 10  # scores that are printed one by one


class Scoring(Protocol):
    """What scores: a koniq.scoring.scorer.Scorer."""

    workers: int
    max_megapixels: float

    @property
    def network(self) -> Network: ...

    @property
    def facts(self) -> Mapping[str, object]: ...

    def opened(self, picture: Path, place: Place) -> Opened: ...

    def run(
        self,
        items: Iterable[Item],
        opened: Callable[[Item], Opened],
        progress: str = "",
        total: int | None = None,
        in_store: bool = False,
    ) -> Iterator[tuple[Item, Score]]: ...


def score(
    pictures: Inputs,
    scorer: Scoring,
    out: Path,
    overwrite: bool = False,
    retry: Sequence[str] | None = None,
    columns: str = "all",
    progress: str = "",
) -> ScoreFile:
    """Write the score of every picture to the CSV `out`, going on where an earlier run stopped. Says what came out.

    A row for each, in order: image_path, MOS, status, width, height, error; or the first two, where `columns` is
    "study", or, where it is "intervals", with MOS_low and MOS_high after MOS. What is scored again,
    koniq.scoring.resume says. progress: a bar's title, or none. Returns the file, closed. Raises InputError if `out` is
    another process's, or was begun with other facts or for other pictures; RunStopped if the disk is full, or the
    pictures' drive goes away. See ScoreFile.
    """
    shard = {"shard": str(pictures.shard), "shard_pictures": len(pictures)} if pictures.shard else {}
    about = {**scorer.facts, **shard, "roots": pictures.whole.roots}
    with room_for_rows(), ScoreFile(out, about, overwrite, columns) as file:
        rows = todo(file, pictures.pictures, retry, scorer.workers, bool(progress))
        file.note(**{key: said for key, said in shard.items() if key in ABOUT})
        if rows.kept:
            LOG.info(f"{len(rows.kept):,} of them are in {out} already")
        if rows.again:
            LOG.info(f"{len(rows.again):,} of them are scored again ({rows})")
        if len(pictures) <= FEW:
            for row, found in file.found([row for row, _ in rows.kept]).items():
                LOG.info(f"{row.image_path}: {found}")
        if rows.left:
            _score(rows, pictures, scorer, file, progress)
        LOG.info(file.summary())
    return file


def _score(rows: Todo, inputs: Inputs, scorer: Scoring, file: ScoreFile, progress: str) -> None:
    left = rows.left
    place = Place(inputs.places)
    with Apart(scorer.network, place, scorer.max_megapixels) as apart, InFlight(file.path, left) as pictures:
        if suspects := len(pictures.suspects):
            LOG.info(f"{suspects:,} that a run was at when it was killed are decoded apart, in a process of their own")

        def opened(wanted: Wanted) -> Opened:
            path = wanted.input.path
            if wanted in pictures.suspects:
                return with_content(path, apart.decode)
            return with_content(path, lambda path: scorer.opened(path, place))

        scores = scorer.run(pictures, opened, progress, len(left), inputs.in_store)
        with native_silence():
            for wanted, found in scores:
                file.put(wanted.row, found)
                pictures.scored()
                if len(left) <= FEW:
                    note = f" ({found.note})" if found.note else ""
                    LOG.info(f"{wanted.name}: {found.error or format(found.mos, '.2f') + note}")
        file.flush()


def with_content(path: Path, opened: Callable[[Path], Opened]) -> Opened:
    """What `opened` gives for a picture, with what was in the file."""
    if isinstance(path, Remote):  # fetched once: it has its content already
        return opened(path)
    with ROOM.entered():  # it opens the file, too
        content = contents.at(path)  # first: of what is edited meanwhile, the next run sees that it was
    return replace(opened(path), content=content)
