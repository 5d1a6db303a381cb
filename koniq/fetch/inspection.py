"""What is there of a data set, against its table: absent, unreadable, of a wrong size, twice there, or not of it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd
from PIL import UnidentifiedImageError

from koniq.data import datasets, splits
from koniq.data.releases import Release
from koniq.ground import InputError, files, first_few
from koniq.ground.paths import METADATA
from koniq.ground.threads import each
from koniq.pictures.decoding import whole
from koniq.pictures.faults import is_machine, said, stopped
from koniq.pictures.room import ROOM
from ku.opening import ENDINGS

Kind = Literal[
    "absent",
    "unrated",
    "unreadable",
    "wrong size",
    "odd size",
    "duplicate",
    "known duplicate",
    "near copies",
    "known near copies",
    "extra",
    "table",
]
HARMLESS = (
    "unrated",
    "odd size",
    "known duplicate",
    "known near copies",
)  # what a whole copy of the release shows, too
TITLES = {
    "absent": "absent",
    "unrated": "absent, and in no reported number, for they trained the raters",
    "unreadable": "unreadable",
    "wrong size": "of a wrong size",
    "odd size": "of an odd size, as in the release",
    "duplicate": "identical pictures",
    "known duplicate": "identical pictures, as in the release",
    "near copies": "groups of near copies in several sets",
    "known near copies": "groups of near copies in several sets, as in the release",
    "extra": "not in the table",
    "table": "the table",
}


@dataclass(frozen=True)
class Finding:
    """One thing about one picture, or about several that are the same. `fault`: a whole copy would not show it."""

    kind: Kind
    image_name: str
    detail: str = ""
    fault: bool = True

    def __str__(self) -> str:
        return f"{self.image_name} ({self.detail})" if self.detail else self.image_name


@dataclass(frozen=True)
class Report:
    """What was found in a folder that should hold `expected` pictures."""

    name: str
    folder: Path
    expected: int
    findings: tuple[Finding, ...]

    def of(self, *kinds: Kind) -> list[Finding]:
        return [finding for finding in self.findings if finding.kind in kinds]

    @property
    def faults(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.fault]

    def lines(self) -> Iterator[str]:
        """What was found, a line a kind, and the verdict in the last line."""
        absent = self.of("absent", "unrated")
        yield (
            f"{self.name}: {self.expected - len(absent):,} of the {self.expected:,} pictures of the table are in "
            f"{self.folder}; {len(absent):,} are absent."
        )
        for kind, title in TITLES.items():
            if found := self.of(kind):
                shown = first_few(found, 10 if kind in HARMLESS else 5)
                yield f"  {len(found):,} {title}: {shown}"
        yield self.verdict()

    def verdict(self) -> str:
        """One line: right, or how many faults of which kind."""
        counts = Counter(finding.kind for finding in self.faults)
        if not counts:
            return f"{self.name} is RIGHT: every picture that counts is there, opens, and has the size it should have."
        unrated = len(self.of("unrated"))
        faults = [f"{count:,} {TITLES[kind]}" for kind, count in counts.items() if kind != "absent"]
        if counts["absent"]:
            besides = f", {unrated} of which are in no reported number" if unrated else ""
            faults.insert(0, f"{counts['absent'] + unrated:,} of {self.expected:,} absent{besides}")
        return f"{self.name} is NOT right: {'; '.join(faults)}. No other fault."


def inspect(
    name: str,
    rated: Iterable[str],
    folder: Path,
    release: Release | None = None,
    sets: dict[str, str] | None = None,
    workers: int | None = None,
) -> Report:
    """Open every picture of `folder` and say what is not as it should be.

    rated: the names of the pictures that count. release: what is known of an official data set; without it any size
    will do, and pictures that are not in the table are no fault. sets: the set of each name, where identical pictures
    matter only if they lie in different ones (the scores of an own table may rightly name a picture twice).
    """
    unrated = release.unrated if release else ()
    names = [*rated, *unrated]
    places = [folder / "trainingImages", folder] if unrated else [folder]  # as LIVE-itW is released
    paths = {}
    for place in places:
        if place.is_dir():
            found = zip(names, datasets.found(names, place), strict=True)
            paths |= {picture: path for picture, path in found if path}
    absent = [picture for picture in names if picture not in paths]
    findings = [Finding("absent", picture) for picture in absent if picture not in unrated]
    findings += [Finding("unrated", picture, fault=False) for picture in absent if picture in unrated]
    opened = {}
    for picture, result in zip(paths, each(workers, _opened, [*paths.values()], title="opening"), strict=True):
        if isinstance(result, str):
            findings.append(Finding("unreadable", picture, result))
        else:
            opened[picture] = result
    if release:
        findings += _sizes({picture: size for picture, (size, _) in opened.items() if picture not in unrated}, release)
    findings += _duplicates({picture: mark for picture, (_, mark) in opened.items()}, release, sets or {})
    known = {path.resolve() for path in paths.values()}
    strangers = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS)
    findings += [
        Finding("extra", path.relative_to(folder).as_posix(), fault=release is not None)
        for path in strangers
        if path.resolve() not in known
    ]
    return Report(name, folder, len(names), tuple(findings))


def _opened(path: Path) -> tuple[tuple[int, int], str] | str:
    """A picture's (height, width) and what tells its pixels from others', or the reason why it does not open."""
    try:
        with ROOM.entered(), whole(path) as found:
            mark = hashlib.blake2b(found.picture.tobytes(), digest_size=16).hexdigest()
    except UnidentifiedImageError as error:
        return str(error)
    except Exception as error:  # Pillow's plugins raise anything on a broken file
        if is_machine(error):
            raise stopped(path, said(error)) from error
        return f"{type(error).__name__}: {error}"
    return found.size[::-1], mark + str(found.size)


def _sizes(found: dict[str, tuple[int, int]], release: Release) -> list[Finding]:
    counts = Counter(found.values())
    usual = max(release.sizes, key=lambda size: counts[size])  # a folder holds one of the sizes of the release
    odd = {name.casefold(): size for name, size in release.odd.items()}
    findings = []
    for name, size in found.items():
        width_by_height = f"{size[1]}x{size[0]}"
        if odd.get(name.casefold(), usual) != size:
            findings.append(Finding("wrong size", name, f"{width_by_height}, not {usual[1]}x{usual[0]}"))
        elif size != usual:
            findings.append(Finding("odd size", name, width_by_height, fault=False))
    return findings


def _duplicates(marks: dict[str, str], release: Release | None, sets: dict[str, str]) -> list[Finding]:
    groups = defaultdict(list)
    for name, mark in marks.items():
        groups[mark].append(name)
    findings = []
    for names in groups.values():
        if len(names) > 1 and release and frozenset(names) in release.same:
            findings.append(Finding("known duplicate", " = ".join(names), fault=False))
        elif len(names) > 1:
            within = {sets.get(name) for name in names}
            detail = f"in {' and '.join(sorted(map(str, within)))}" if len(within) > 1 else ""
            findings.append(Finding("duplicate", " = ".join(names), detail, fault=bool(release) or len(within) > 1))
    return findings


def check(dataset: str, table: str = "", images: str = "", workers: int | None = None) -> Report:
    """The report on a data set by name or from a CSV. Raises InputError if its table or its folder is not there."""
    name, ids, folder, _ = datasets.read(dataset, table, images)
    if not folder.is_dir():
        raise InputError(f"The pictures of {name} should lie in {folder}, which is not there.")
    release = datasets.RELEASES.get(dataset)
    sets = None if release else dict(zip(ids.image_name, ids.set, strict=True))
    report = inspect(dataset if release else name, ids.image_name.unique(), folder, release, sets, workers)
    others = (
        *_near_copies(ids, fault=release is None),
        *(_tables(release, Path(table or METADATA)) if release else ()),
    )
    return replace(report, findings=(*report.findings, *others))


def _near_copies(ids: pd.DataFrame, fault: bool) -> Iterator[Finding]:
    """The groups of a table that have pictures in several sets."""
    for names, sets in splits.across(ids):
        detail = f"in {' and '.join(sets)}"
        yield Finding("near copies" if fault else "known near copies", " ~ ".join(names), detail, fault)


def _tables(release: Release, place: Path) -> Iterator[Finding]:
    """The official tables with a known hash that are others. place: of the one, or the folder of several."""
    for name, digest in release.tables.items():
        path = place / name if place.is_dir() else place
        if digest and files.digest_of(path, digest) != digest:
            yield Finding("table", path.name, f"not the official one, {digest}")
