"""Scores written beside pictures: what each sidecar comes to hold, and a log by which all of it is put back.

A change is planned whole before anything is written, so that a dry run says what a run does. It is written to the log
first and then renamed into place: what a killed run leaves is either not done, or in the log.
"""

import base64
import errno
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from koniq.ground import InputError
from koniq.ground.facts import locate
from koniq.scoring.score_tables import is_scored
from koniq.xmp import embedded, sidecars
from koniq.xmp.packets import EMPTY, NAMESPACE, RATING, Edit, Name, Packet, XmpError
from ku.files import atomic_path, real_path

SCORE, LOW, HIGH, MODEL = (Name(NAMESPACE, local) for local in ("score", "low", "high", "model"))
CLOSED = {errno.EACCES, errno.EROFS}  # what is so of a whole folder
NEW, WITHIN, OTHER, CHANGED = "new", "new, from the XMP within the picture", "new, from {}", "changed"
PERCENTILES = (10.0, 30.0, 70.0, 90.0)  # at and above each of which there is a star more


@dataclass(frozen=True)
class Tagging:
    """What is written for pictures. cuts: the four scores from which on there are 2, 3, 4 and 5 stars; None: no stars.

    over_rated: a rating that is there is replaced; over_unrated: one of 0, which is XMP's "unrated".
    """

    model: str = ""
    cuts: Sequence[float] | None = None
    over_rated: bool = False
    over_unrated: bool = False


@dataclass(frozen=True)
class Wish:
    """A picture and what its sidecar should say."""

    picture: Path
    score: float
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True)
class Change:
    """What becomes of a sidecar: `edits` of what was there, or of what a new one starts from; `after` is its content.

    seen: the file as it was read, see `_state`; None: there was none. start: what it starts from, in words. rated: the
    stars that it comes to have, and had; kept: a rating was there, and stays.
    """

    picture: Path
    path: Path
    seen: tuple | None
    before: bytes | None
    after: bytes
    edits: tuple[Edit, ...]
    start: str
    score: float
    rated: tuple[int | None, int | None] = (None, None)
    kept: int | None = None

    @property
    def what(self) -> str:
        """The change in a line."""
        rating = f"; xmp:Rating {self.rated[0]}" if self.rated[0] is not None else ""
        had = "" if self.rated[1] is None else f" in place of {self.rated[1]}"
        kept = "" if self.kept is None else f"; its xmp:Rating {self.kept} stays"
        return f"{self.path}: {self.start}; koniq:score {self.score!r}{rating}{had}{kept}"


@dataclass
class Outcome:
    """What came of tagging: how many of what, and the problems, a sentence each."""

    counts: Counter = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failed: int = 0


def cuts_at(mos: np.ndarray, percentiles: Sequence[float]) -> list[float]:
    """The scores at percentiles (0-100, interpolated) of the scores `mos`, shape (pictures,)."""
    return [float(cut) for cut in np.percentile(mos, percentiles)]


def stars(score: float, cuts: Sequence[float]) -> int:
    """1 to 5: one more than there are cuts at or below the score. Never 0 or -1, which mean something else."""
    return 1 + sum(score >= cut for cut in cuts)


def wishes(table: pd.DataFrame, roots: Sequence[str]) -> Iterator[tuple[str, Wish | None]]:
    """Each scored row of a table (of `koniq.scoring.score_tables.read`): its name, and what is wished; None: not there.

    roots: the folders in which pictures are looked for.
    """
    scored = table[is_scored(table)]
    ends = [scored[name] if name in scored else [float("nan")] * len(scored) for name in ("MOS_low", "MOS_high")]
    for name, *numbers in zip(scored.image_path, scored.MOS, *ends, strict=True):
        path = locate(name, roots)
        yield name, None if path is None else Wish(path, *map(float, numbers))


def tag(wanted: Iterable[tuple[str, Wish | None]], how: Tagging, log: Path | None, first: int = 5) -> Outcome:
    """Write sidecars, and each change into the file `log`; None: only see what would be written.

    What cannot be is in the outcome's problems, and the rest goes on. first: how many changes are told. Raises
    InputError if the log cannot be written.
    """
    outcome, taken, closed = Outcome(), {}, set()
    journal = _Journal(log)
    with journal:
        for name, wish in wanted:
            if wish is None:
                outcome.counts["missing"] += 1
                outcome.failed += 1
                if outcome.counts["missing"] <= first:
                    outcome.problems.append(f"{name} is not there.")
                continue
            try:
                path = real_path(sidecars.sidecar(wish.picture))
                if path in taken:
                    same = taken[path].samefile(wish.picture)
                    why = "comes twice" if same else f"would share the sidecar of {taken[path].name}"
                    raise XmpError(f"{wish.picture} {why}, and is left out.")
                taken[path] = wish.picture
                if path.parent in closed:
                    outcome.failed += 1
                    continue
                change = _changed(wish, path, how, journal)
            except XmpError as error:
                outcome.problems.append(str(error))
                outcome.failed += 1
            except OSError as error:
                outcome.failed += 1
                where = path
                if error.errno in CLOSED:  # said once, for all that is in it
                    closed.add(path.parent)
                    where = f"Sidecars in {path.parent}"
                outcome.problems.append(f"{where} cannot be written: {error.strerror or error}.")
            else:
                _count(outcome, change, first)
    if (more := outcome.counts["missing"] - first) > 0:
        outcome.problems.append(f"{more:,} more pictures are not there.")
    return outcome


def _count(outcome: Outcome, change: Change | None, first: int) -> None:
    if not change.edits:
        outcome.counts["same"] += 1
    else:
        outcome.counts["changed" if change.seen else "new"] += 1
        outcome.counts["within"] += change.seen is None and change.start != NEW
        if len(outcome.first) < first:
            outcome.first.append(change.what)
    outcome.counts["rated"] += change.rated[0] is not None
    outcome.counts["kept"] += change.kept is not None
    outcome.counts["unrated"] += change.kept == 0


def _changed(wish: Wish, path: Path, how: Tagging, journal: "_Journal") -> Change:
    """Plan and make a change; where another program writes meanwhile, once more."""
    for _ in range(2):
        change = planned(wish, path, how)
        if not change.edits:
            return change
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        if change.seen and not os.access(path, os.W_OK):
            raise XmpError(f"{path} is read-only, and is left as it is.")
        if journal.file is None or journal.make(change):
            return change
    raise XmpError(f"{path} is being written by another program, and is left as it is.")


def planned(wish: Wish, path: Path, how: Tagging) -> Change:
    """What becomes of the sidecar at `path`. Raises XmpError, a sentence, if nothing should; OSError."""
    seen, before = None, None
    try:
        if (seen := _state(path)) is not None:
            before, start = sidecars.read(path), CHANGED
            packet = Packet(before)
        else:
            data, start = _beginning(wish.picture)
            packet = Packet(data)
        wanted = dict(_wanted(wish, how))
        had = sidecars.rating_of(packet)
        there = packet.properties.get(RATING, [])
        kept = None
        if how.cuts is not None:
            if not there or packet.value(RATING) == "" or how.over_rated or (had == 0 and how.over_unrated):
                wanted[RATING] = str(stars(wish.score, how.cuts))
            else:
                kept = had
        edits = packet.edits(wanted)
        after = packet.changed(edits)
        _check(packet, Packet(after), wanted)
    except XmpError as error:
        raise XmpError(f"{path if seen else wish.picture} {error}; it is left as it is.") from error
    except OSError as error:
        raise XmpError(f"{path if seen else wish.picture} cannot be read: {error.strerror or error}.") from error
    new = int(wanted[RATING]) if RATING in wanted else None
    rated = (None, None) if new in (None, had) else (new, had)
    return Change(wish.picture, path, seen, before, after, tuple(edits), start, wish.score, rated, kept)


def _wanted(wish: Wish, how: Tagging) -> Iterator[tuple[Name, str | None]]:
    for name, number in ((SCORE, wish.score), (LOW, wish.low), (HIGH, wish.high)):
        yield name, repr(number) if np.isfinite(number) else None
    yield MODEL, how.model or None


def _beginning(picture: Path) -> tuple[bytes, str]:
    """What a new sidecar starts from. Programs that have one look no longer at what is within the picture."""
    if other := sidecars.shared(picture):
        data = sidecars.read(other)
        try:
            Packet(data)
        except XmpError as error:
            raise XmpError(f"has a sidecar {other.name} that {error}") from error
        return data, OTHER.format(other.name)
    within = embedded.whole(picture)
    return (EMPTY, NEW) if within is None else (within, WITHIN)


def _check(before: Packet, after: Packet, wanted: Mapping[Name, str | None]) -> None:
    """That an edit did what it should, and nothing else."""
    for name in {*before.properties, *after.properties, *wanted}:
        old, new = ([one.value for one in packet.properties.get(name, [])] for packet in (before, after))
        if new != (old if name not in wanted else [] if wanted[name] is None else [wanted[name]]):
            raise XmpError(f"would have another {name} than it should")


def _state(path: Path) -> tuple | None:
    """By what a file is known to be the one that was read; None: there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


class _Meanwhile(Exception):
    """Another program has written a sidecar since it was read."""


class _Journal:
    """The log of changes: a line of JSON each, on the disk before the change is made."""

    def __init__(self, path: Path | None):
        self.path, self.file = path, None
        if path is not None:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self.file: IO | None = path.open("a", encoding="ascii", newline="\n")
            except OSError as error:
                raise InputError(
                    f"The log should be a file that can be written; --log names another. Received: {path}, "
                    f"{error.strerror}"
                ) from error

    def __enter__(self) -> "_Journal":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()
            if not self.path.stat().st_size:
                self.path.unlink()

    def make(self, change: Change) -> bool:
        """Write a change down, and make it; False, and neither, if the sidecar is no longer the one that was read.

        What takes the place of somebody's sidecar is on the disk before it does.
        """
        with suppress(_Meanwhile), atomic_path(change.path, durable=change.seen is not None) as temporary:
            temporary.write_bytes(change.after)
            if _state(change.path) != change.seen:
                raise _Meanwhile
            if change.seen:
                shutil.copymode(change.path, temporary)
            print(json.dumps(_line(change)), file=self.file, flush=True)
            if change.seen:
                os.fsync(self.file.fileno())
            return True
        return False


def _line(change: Change) -> dict:
    line = {"sidecar": str(change.path.absolute()), "picture": str(change.picture.absolute())}
    line |= {"rating": change.rated[0], "had_rating": change.rated[1], "after": digest(change.after)}
    if change.before is None:
        return line | {"before": None}
    edits = [[start, *(base64.b64encode(part).decode() for part in parts)] for start, *parts in change.edits]
    return line | {"before": digest(change.before), "edits": edits}


def digest(data: bytes) -> str:
    """The SHA-256 of a file's content."""
    return hashlib.sha256(data).hexdigest()
