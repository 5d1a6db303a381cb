"""What a CSV of scores says already of some inputs: which have a row, which are to be scored again, which are new.

A picture is known by its image_path from its root on. The root may lie elsewhere than it did, under another mount
point or as seen from another working directory.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from koniq.ground import InputError, first_few
from koniq.ground.bars import tqdm
from koniq.ground.facts import locate
from koniq.ground.threads import threads
from koniq.ground.urls import Remote, is_url, public
from koniq.pictures.contents import Content
from koniq.pictures.decoding import UNSCORED
from koniq.pictures.inputs import Input
from koniq.pictures.stores import at, is_there, may_be_other
from koniq.scoring.index import AGAIN, KEPT, NEW, Index, Said, Verdicts
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


class Part(Collection[Wanted]):
    """Those inputs of which it is to be `what`, each with its row, in order; all of one kind before the next."""

    def __init__(self, inputs: Collection[Input], verdicts: Verdicts, *what: int):
        self._inputs, self._verdicts, self._what = inputs, verdicts, what

    def __len__(self) -> int:
        return sum(self._verdicts.counts[what] for what in self._what)

    def __iter__(self) -> Iterator[Wanted]:
        for what in self._what:
            if self._verdicts.counts[what]:
                for item, said in zip(self._inputs, self._verdicts, strict=True):
                    if said.what == what:
                        yield Wanted(Row(said.name or item.image_path, said.nth), item)

    def __contains__(self, wanted: object) -> bool:
        return any(wanted == each for each in self)


class Todo:
    """What is to be done for inputs: rows that are `kept`, those that are replaced (`again`), and `new` ones."""

    def __init__(self, inputs: Collection[Input], verdicts: Verdicts, why: Counter[str]):
        self.kept, self.again, self.new = (Part(inputs, verdicts, what) for what in (KEPT, AGAIN, NEW))
        self.left = Part(inputs, verdicts, AGAIN, NEW)
        self.why = why  # of `again`

    def __str__(self) -> str:
        return ", ".join(f"{count:,} {reason}" for reason, count in self.why.items())


def todo(
    file: ScoreFile,
    inputs: Collection[Input],
    retry: Sequence[str] | None = None,
    workers: int = 2,
    progress: bool = True,
) -> Todo:
    """What is to be scored for each input to have its row in `file`, in which the roots are noted if they changed.

    An input has a row if its file is the one that the row was of, or, where its folder is none of the recorded roots,
    if its name is. Scored again are pictures that were missing and are there now, pictures whose content is another
    than when they were scored, and by `retry` rows without a score: of these statuses, or all of them by (). progress:
    with a bar, where files are compared for some time. The inputs are gone through several times; nothing of each is
    kept in memory. Raises InputError if `retry` names something else, or if the inputs are other pictures than those of
    the file.
    """
    there = {status for status, count in file.statuses.items() if count and status != "ok"}
    if retry and (unknown := set(retry) - {*UNSCORED, *there}):
        raise InputError(
            f"retry should be of {', '.join(UNSCORED)}, or without any be all of them. "
            f"Received: {', '.join(sorted(unknown))}. (Pictures stand before --retry.)"
        )
    places = _Places(file.roots)
    verdicts = Verdicts(KEPT if file.done else NEW)
    verdicts.name((item.image_path, *places.name(item, file.done)) for item in inputs)
    judging = _Judging(file, inputs, verdicts, places, retry)
    judging.judge(workers, progress)
    judging.check()
    for contents in verdicts.same():
        file.remember(contents)
    file.note(roots=places.now(judging.moved > 0))
    return Todo(inputs, verdicts, judging.why)


class _Judging:
    """What becomes of each input, by what is said of its row and by its picture."""

    def __init__(
        self,
        file: ScoreFile,
        inputs: Collection[Input],
        verdicts: Verdicts,
        places: "_Places",
        retry: Sequence[str] | None,
    ):
        self.file, self.inputs, self.verdicts, self.places, self.retry = file, inputs, verdicts, places, retry
        self.why: Counter[str] = Counter()
        self.kept = self.moved = 0  # inputs that have a row, and those of them whose folder has moved
        self.told: Counter[bool] = Counter()  # of those whether they are the pictures that they were

    def judge(self, workers: int, progress: bool) -> None:
        """Say it of all of them."""
        if self.file.done:
            self.file.done.know(self.file.journal.lines())
        twice, seen, inputs = self.verdicts.twice(), Counter(), iter(self.inputs)
        if not self.file.done and not twice:
            return
        bar = tqdm(total=len(self.inputs), desc="comparing", unit="pic", disable=not progress or None, delay=5)
        with bar, threads(workers) as pool:
            for numbers in self.verdicts.named():
                some = []
                for (number, name, moved), item in zip(numbers, islice(inputs, len(numbers)), strict=True):
                    row = Row(name or item.image_path, 0)
                    if hash(row.image_path) in twice:
                        row = row._replace(nth=seen[row.image_path])
                        seen[row.image_path] += 1
                    some.append((number, row, item, moved))
                self.verdicts.say(self._judged(some, pool))
                bar.update(len(some))

    def _judged(
        self, some: Sequence[tuple[int, Row, Input, bool]], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[int, int, int]]:
        """The number, what, and nth of some of the inputs."""
        whys: dict[int, str] = {}
        doubtful: list[tuple[int, Row, Input, Content]] = []
        told: list[int] = []  # those whose picture says whether it is the one that it was
        rows = [self._row(row) for _, row, _, _ in some]
        gone = [one for one, said in zip(some, rows, strict=True) if said and said.status == "missing"]
        there = pool.map(lambda one: _is_there(one[2]), gone)
        back = {number for (number, *_), is_there in zip(gone, there, strict=True) if is_there}
        for (number, row, item, moved), said in zip(some, rows, strict=True):
            if not said:
                continue
            self.kept += 1
            self.moved += moved
            if said.status != "ok" and self.retry is not None and (not self.retry or said.status in self.retry):
                whys[number] = "tried again"
            if said.content and number not in back:
                doubtful.append((number, row, item, said.content))
            if moved and said.content and _is_there(item):
                told.append(number)
        edited, same = _edited(doubtful, pool)
        whys |= dict.fromkeys(back, "no longer missing") | dict.fromkeys(edited, "edited since")
        self.verdicts.keep_same(same)
        self.told.update(number not in edited for number in told)
        self.why.update(whys.values())
        for (number, row, _, _), said in zip(some, rows, strict=True):
            yield number, AGAIN if number in whys else KEPT if said else NEW, row.nth

    def _row(self, row: Row) -> Said | None:
        rows = self.file.done.rows_of(row.image_path) if self.file.done else ()
        return rows[row.nth] if row.nth < len(rows) else None

    def check(self) -> None:
        """Raise InputError if these are other pictures than those that the file was begun for."""
        file, places = self.file, self.places
        if file.done and file.roots and places.foreign and not self.kept and not places.hold(file.done):
            raise _other(file, "and none of the pictures in the file lies there")
        if self.moved and not self.told:
            here = ((said, item) for item, said in zip(self.inputs, self.verdicts, strict=True) if said.moved)
            kept = ((said.name or item.image_path, item) for said, item in here if said.what != NEW)
            both = ((locate(name, places.recorded), _path(item)) for name, item in kept)
            self.told.update(islice(_alike(pair for pair in both if pair[0]), COMPARED))
        if self.told and not self.told[True]:
            raise _other(file, f"of the same names in {first_few(places.foreign)}")


class _Places:
    """The folders that image_path starts from: the recorded roots, and those of the inputs that are none of these."""

    def __init__(self, recorded: Sequence[str]):
        self.recorded = list(recorded)
        self.foreign: list[str] = []
        self._resolved: dict[Path | Remote, str] = {}

    def name(self, item: Input, done: Index) -> tuple[str, bool]:
        """The image_path that an input has, or would have, in the file; and whether its folder has moved."""
        if is_url(item[0]):  # a whole address, wherever a list of them lies
            path = public(item[0])
            return next((other for other in self._other_names(path) if other in done), shown(path)), False
        name, folder = shown(item[0]), self._resolve(item[1])
        if not done:
            return name, False
        if name in done and folder not in self.foreign:
            return name, False
        path = str(item.path) if is_url(folder) else os.path.normpath(os.path.join(folder, item[0]))  # noqa: PTH118
        for other in self._other_names(path):
            if other in done:
                return other, False
        return name, name in done

    def _resolve(self, folder: Path | Remote) -> str:
        if folder not in self._resolved:
            self._resolved[folder] = root = str(folder.resolve())
            if root not in (*self.recorded, *self.foreign):
                self.foreign.append(root)
        return self._resolved[folder]

    def _other_names(self, path: str) -> Iterator[str]:
        yield shown(path)
        for root in self.recorded:
            start = root.rstrip("/") + "/" if is_url(root) else root.rstrip(os.sep) + os.sep
            if path.startswith(start):
                yield shown(path[len(start) :])

    def hold(self, names: Iterable[str]) -> bool:
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


def _path(item: Input) -> str | Remote:
    name, folder = item
    if isinstance(folder, Path) and name.isascii() and not is_url(name) and "\\" not in name:
        return os.path.join(folder, name)  # noqa: PTH118  what `item.path` says, in a fifth of the time: for every row
    return path if isinstance(path := item.path, Remote) else str(path)


def _is_there(item: Input) -> bool:
    return is_there(_path(item))


def _edited(
    rows: Sequence[tuple[int, Row, Input, Content]], pool: ThreadPoolExecutor
) -> tuple[set[int], list[tuple[Row, Content]]]:
    """Of rows the numbers of those whose pictures were edited, and those whose pictures have another time only.

    Only files of another size or time are read. Of a picture that is not at hand nothing is said: it keeps its score.
    """
    suspects = [one for one in rows if may_be_other(one[3], _path(one[2]))]
    edited, same = set(), []
    contents = pool.map(lambda suspect: at(_path(suspect[2])), suspects)
    for (number, row, _, content), now in zip(suspects, contents, strict=True):
        if now and now.digest and now.digest == content.digest:
            same.append((row, now))
        elif now:
            edited.add(number)
    return edited, same


def _alike(pairs: Iterable[tuple[Path, str]]) -> Iterator[bool]:
    """Whether the two of each pair of files hold the same, where both can be read."""
    for old, new in pairs:
        before, now = at(str(old)), at(new)
        if before and now:
            yield bool(before.digest) and before.digest == now.digest
