"""What one machine of several does: a block of pictures scored, and written as a part that all of them see."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from koniq.ground import InputError, RunStopped
from koniq.ground.machine import native_silence
from koniq.ground.urls import is_url, place_of
from koniq.pictures.apart import Apart
from koniq.pictures.decoding import Opened
from koniq.pictures.faults import Place
from koniq.scoring.in_flight import InFlight, left_in
from koniq.scoring.lifelog import with_content
from koniq.scoring.parts import Parts, Planned
from koniq.scoring.score_file import differing
from koniq.scoring.scorer import load


@dataclass(frozen=True)
class Job:
    """What every worker of a run is told."""

    recipe: Mapping[str, object]  # what `koniq.load` takes, see Scorer.recipe
    facts: Mapping[str, object]  # what the scores should depend on
    folder: str  # of the parts, which all machines see
    run: int  # the parts' number
    here: str  # the working directory that paths start from
    places: Sequence[str] = ()  # the folders that were given, see Place


class Worker:
    """One model, and what it scores with it. Started by the first block, as an error of its own ends the run.

    Raises InputError if this machine lacks something, or would give other scores than the job says.
    """

    def __init__(self, job: Job):
        self.job, self._ready = job, False

    def start(self) -> None:
        """Find what the job needs on this machine, and start the engine."""
        job = self.job
        try:
            os.chdir(job.here)  # so that paths read, and are named in errors, as where the command was given
            Path(job.folder).stat()
        except OSError as error:
            raise InputError(
                f"{error.filename} should be seen by every machine: it is where the command was given, or the folder "
                f"of the parts. Received, on {socket.gethostname()}: {error.strerror}"
            ) from error
        self.scorer = load(**job.recipe)
        if changed := differing(job.facts, self.scorer.facts):
            ours, theirs = (
                ", ".join(f"{key}={side.get(key)!r}"[:80] for key in changed) for side in (self.scorer.facts, job.facts)
            )
            raise InputError(f"Every machine should score with {theirs}. Received, on {socket.gethostname()}: {ours}")
        self.place = Place(map(place_of, job.places))
        self.parts = Parts(Path(job.folder), self.scorer.facts, job.run)
        _ = self.scorer.engine
        self._ready = True

    def score(self, block: Sequence[Planned]) -> int:
        """Score a block and write it as a part; the number of its rows. A picture's error is its row.

        What a worker was at when it died is decoded apart, by whoever is given it then. Raises RunStopped if the
        machine fails, once what was scored before is written.
        """
        if not self._ready:
            self.start()
        at_work = Path(self.job.folder, "in_flight")
        at_work.mkdir(exist_ok=True)
        scorer, place, found = self.scorer, self.place, []
        died_at = left_in(at_work)
        with (
            Apart(scorer.network, place, scorer.max_megapixels) as apart,
            InFlight(at_work / f"{os.getpid()}-{uuid4().hex}", block, died_at) as pictures,
        ):

            def opened(one: Planned) -> Opened:
                if one in pictures.suspects:
                    return with_content(place_of(one.where), apart.decode)
                return with_content(place_of(one.where), lambda path: scorer.opened(path, place))

            try:
                with native_silence():
                    for one, score in scorer.run(pictures, opened, in_store=is_url(block[0].where)):
                        found.append((one, score))
                        pictures.scored()
            finally:
                if found:
                    self.parts.write(found)
        return len(found)


def said(error: InputError | RunStopped) -> str:
    """The sentence of an error, with the machine that it came from."""
    return f"{error} (on {socket.gethostname()})"
