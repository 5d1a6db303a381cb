"""What a CSV of scores says already of some inputs: which have a row, which are to be scored again, which are new.

A picture is known by its image_path from its root on. The root may lie elsewhere than it did, under another mount
point or as seen from another working directory.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from koniq.ground import InputError, first_few
from koniq.ground.facts import locate
from koniq.ground.threads import each
from koniq.pictures.contents import Content, at
from koniq.pictures.decoding import UNSCORED
from koniq.pictures.inputs import Input
from koniq.scoring.journal import Row
from koniq.scoring.score_file import ScoreFile
from ku.files import shown

COMPARED = 10  # pictures whose old and new files are compared where nothing else is known of them


class Wanted(NamedTuple):
    """An input and its row."""

    row: Row
    input: Input

    @property
    def name(self) -> str:
        """Its image_path, as the row has it."""
        return self.row.image_path


@dataclass(frozen=True)
class Todo:
    """Inputs and their rows, in the order of the inputs."""

    kept: list[Wanted]  # these rows stay as they are
    again: list[Wanted]  # these rows are to be replaced
    new: list[Wanted]  # these rows are not there yet
    why: Counter[str]  # of `again`

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {reason}" for reason, count in self.why.items())


def todo(
    file: ScoreFile,
    inputs: Sequence[Input],
    retry: Sequence[str] | None = None,
    workers: int = 2,
    progress: bool = True,
) -> Todo:
    """What is to be scored for each input to have its row in `file`, in which the roots are noted if they changed.

    An input has a row if its file is the one that the row was of, or, where its folder is none of the recorded roots,
    if its name is. Scored again are pictures that were missing and are there now, pictures whose content is another
    than when they were scored, and by `retry` rows without a score: of these statuses, or all of them by (). progress:
    with a bar, where files are read. Raises InputError if `retry` names something else, or if the inputs are other
    pictures than those of the file.
    """
    if retry and (unknown := set(retry) - {*UNSCORED, *file.unscored.values()}):
        raise InputError(
            f"retry should be of {', '.join(UNSCORED)}, or without any be all of them. "
            f"Received: {', '.join(sorted(unknown))}. (Pictures stand before --retry.)"
        )
    places = _Places(file.roots)
    rows, moved = [], set()
    seen: Counter[str] = Counter()
    for item in inputs:
        name, has_moved = places.name(item, file.done)
        row = Row(name, seen[name])
        seen[name] += 1
        rows.append(Wanted(row, item))
        if has_moved and row.nth < file.done[name]:
            moved.add(row)
    kept = [wanted for wanted in rows if wanted.row.nth < file.done[wanted.name]]
    if file.done and file.roots and places.foreign and not kept and not places.hold(file.done):
        raise _other(file, "and none of the pictures in the file lies there")
    known = file.journal.read()
    why = {row: "no longer missing" for row, item in kept if file.unscored.get(row) == "missing" and _is_there(item)}
    doubtful = [(row, item, known[row]) for row, item in kept if row in known and row not in why]
    edited, same = _edited(doubtful, workers, progress)
    _check_moved(file, {row: item for row, item in kept if row in moved}, known, {row for row, _ in edited}, places)
    why |= dict.fromkeys((row for row, _ in edited), "edited since")
    if retry is not None:
        wanted = {row for row, status in file.unscored.items() if not retry or status in retry}
        why = {row: "tried again" for row, _ in kept if row in wanted} | why
    file.remember(same)
    file.note(roots=places.now(bool(moved)))
    return Todo(
        [wanted for wanted in kept if wanted.row not in why],
        [wanted for wanted in kept if wanted.row in why],
        [wanted for wanted in rows if wanted.row.nth >= file.done[wanted.name]],
        Counter(why.values()),
    )


class _Places:
    """The folders that image_path starts from: the recorded roots, and those of the inputs that are none of these."""

    def __init__(self, recorded: Sequence[str]):
        self.recorded = list(recorded)
        self.foreign: list[str] = []
        self._resolved: dict[Path, str] = {}

    def name(self, item: Input, done: Counter[str]) -> tuple[str, bool]:
        """The image_path that an input has, or would have, in the file; and whether its folder has moved."""
        name, folder = shown(item[0]), self._resolve(item[1])
        if name in done and folder not in self.foreign:
            return name, False
        for other in self._other_names(os.path.normpath(os.path.join(folder, item[0]))):  # noqa: PTH118
            if other in done:
                return other, False
        return name, name in done

    def _resolve(self, folder: Path) -> str:
        if folder not in self._resolved:
            self._resolved[folder] = root = str(folder.resolve())
            if root not in (*self.recorded, *self.foreign):
                self.foreign.append(root)
        return self._resolved[folder]

    def _other_names(self, path: str) -> Iterator[str]:
        yield shown(path)
        for root in self.recorded:
            start = root.rstrip(os.sep) + os.sep
            if path.startswith(start):
                yield shown(path[len(start) :])

    def hold(self, names: Counter[str]) -> bool:
        """Whether any of the pictures lies in a folder that is none of the recorded roots."""
        return any(locate(name, self.foreign) for name in names)

    def now(self, moved: bool) -> list[str]:
        """The roots to record. Where pictures have moved to is looked at first."""
        return self.foreign + self.recorded if moved else self.recorded + self.foreign


def _other(file: ScoreFile, why: str) -> InputError:
    return InputError(
        f"{file.path} should be gone on with for the pictures that it was begun for, in "
        f"{first_few(file.roots)}. Received: others, {why}. Give another --out, or --overwrite to begin anew"
    )


def _path(item: Input) -> str:
    return str(item.path)


def _is_there(item: Input) -> bool:
    try:
        os.stat(_path(item))  # noqa: PTH116
    except (OSError, ValueError):
        return False
    return True


def _edited(
    rows: Sequence[tuple[Row, Input, Content]], workers: int, progress: bool
) -> tuple[list[tuple[Row, Content]], list[tuple[Row, Content]]]:
    """The rows whose pictures were edited, and those whose pictures have another time only, each with the content now.

    Only files of another size or time are read. Of a picture that is not at hand nothing is said: it keeps its score.
    """
    suspects = []
    for row, item, content in rows:
        try:
            if not content.looks_like(os.stat(_path(item))):  # noqa: PTH116
                suspects.append((row, item, content))
        except (OSError, ValueError):
            continue
    edited, same = [], []
    title = "comparing" if suspects and progress else ""
    contents = each(workers, lambda suspect: at(_path(suspect[1])), suspects, title=title)
    for (row, _, content), now in zip(suspects, contents, strict=True):
        if now:
            (same if now.digest and now.digest == content.digest else edited).append((row, now))
    return edited, same


def _check_moved(
    file: ScoreFile, moved: dict[Row, Input], known: dict[Row, Content], edited: set[Row], places: _Places
) -> None:
    """Raise InputError if of the pictures that are said to have moved, none is the picture that it was."""
    told = [row not in edited for row in moved if row in known and _is_there(moved[row])]
    if not told:
        both = ((locate(row.image_path, places.recorded), _path(item)) for row, item in moved.items())
        told = list(islice(_alike(pair for pair in both if pair[0]), COMPARED))
    if told and not any(told):
        raise _other(file, f"of the same names in {first_few(places.foreign)}")


def _alike(pairs: Iterable[tuple[Path, str]]) -> Iterator[bool]:
    """Whether the two of each pair of files hold the same, where both can be read."""
    for old, new in pairs:
        before, now = at(str(old)), at(new)
        if before and now:
            yield bool(before.digest) and before.digest == now.digest
