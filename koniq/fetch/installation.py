"""Fetch data and weights: from the first of their sources that works, checked, and put in place only when right."""

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from koniq.data import datasets
from koniq.data.releases import RELEASES, Release
from koniq.fetch import archives, inspection, seen, transfer
from koniq.fetch.sources import Item, Part, Source
from koniq.fetch.transfer import SourceFailed
from koniq.ground import InputError, RunStopped
from koniq.ground.files import digest_of
from koniq.ground.log import LOG
from koniq.ground.paths import DOWNLOADS, HOME, METADATA
from koniq.network import KONCEPT512, sidecar, weights
from ku.files import atomic_path, lock_path, real_path, replace_file, turn

BROKEN = ("unreadable", "wrong size")  # findings that no fetched picture may have; others may be of the release
OTHER_SIZE = "1024x768"  # the folder of KonIQ-10k's full-size pictures, of the same names as those of 512x384


@dataclass(frozen=True)
class Options:
    """How something is fetched."""

    archive: str = ""  # a file that is on disk already, in place of a transfer
    mirror: str = ""  # the address of a folder with these files under their usual names, tried before all others
    allow_missing: bool = False  # take an archive that has not all of the pictures
    offline: bool = False  # use what is on disk only; so does KONIQ_OFFLINE=1 or HF_HUB_OFFLINE=1
    keep: bool = False  # keep a fetched archive after it was unpacked
    attempts: int = 5  # in a row that bring nothing new, before the next source is tried
    root: str = str(HOME)  # the folder that everything is put below (ImageNet's Keras file goes to ~/.keras)


def ensure(item: Item, part: Part, s: Options) -> None:
    """Have one part of an item in place and checked. Raises RunStopped, with what to do by hand, if it cannot be."""
    with _alone(item.name, Path(s.root)):
        if part.kind == "pictures":
            _ensure_pictures(item, part, s)
        else:
            _ensure_file(item, part, s)


# A file: a table, or weights


def _ensure_file(item: Item, part: Part, s: Options) -> None:
    target = Path(s.root) / part.target
    stated = part.sources[0].digest
    before = "" if stated else seen.digest(target)
    right = partial(check_file, part.kind, stated or before)
    if target.exists():
        try:
            right(target)
        except InputError as error:
            again = f" or, if it was replaced on purpose, take its line out of {seen.place(target)}," if before else ""
            raise RunStopped(f"{error} Move it away,{again} and give the command again.") from error
        _remember(target, stated or before)
        _note(part, target)
        LOG.info(f"{item.name}/{part.name} is there, and right: {target}")
        return
    if s.archive:
        right(Path(s.archive))
        with atomic_path(target) as temporary:
            shutil.copyfile(s.archive, temporary)
    else:

        def use(source: Source) -> None:
            try:
                transfer.fetch(source.url, target, source.digest or before, source.size, right, s.attempts)
            except SourceFailed as error:
                if not before:
                    raise
                raise SourceFailed(f"{error} (the file first seen is the one of {seen.place(target)})") from error

        _use_first(item, part, s, target.name, use)
    _remember(target, stated or before)
    _note(part, target)
    LOG.info(f"{item.name}/{part.name} is in place, and checked: {target}")


def _remember(target: Path, known: str) -> None:
    """Keep the hash of a file that was checked by its content, so that another in its place is noticed."""
    if not known:
        seen.keep(target, digest_of(target, "sha256:"))


def _note(part: Part, target: Path) -> None:
    """Put the record beside weights that do not tell their topology, unless there is one."""
    if part.topology and not sidecar.record(target):  # in PyTorch the study resized by Pillow's bilinear filter
        sidecar.write_record(target, KONCEPT512.built_as(part.topology).at(resize="bilinear"))


def check_file(kind: str, digest: str, path: Path) -> None:
    """Raise InputError unless a file has the known hash, or, where none is known, is KonCept512 layer by layer.

    Of PyTorch's files the layers are looked at where PyTorch is installed, else only whether the archive is whole.
    """
    if digest and (found := digest_of(path, digest)) != digest:
        raise InputError(f"{path} should have {digest}. Received: {found}.")
    if digest:
        return
    if kind == "keras":
        weights.check_keras(path, KONCEPT512)
    elif kind == "torch":
        try:
            with zipfile.ZipFile(path) as file:
                whole = file.testzip() is None
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path} should be a whole weights file. Received: {error}.") from error
        if not whole:
            raise InputError(f"{path} should be a whole weights file. Received: a broken one.")
        if find_spec("torch"):
            weights.check_torch(path, KONCEPT512)


# A folder of pictures, and the tables that come with it


def _ensure_pictures(item: Item, part: Part, s: Options) -> None:
    root = Path(s.root)
    target, downloads = real_path(root / part.target), _below(root, DOWNLOADS)
    for left in target.parent.glob(f".{target.name}-fetch-*.tmp"):  # of a process that was killed
        shutil.rmtree(left)
    there = _there(item, target, _below(root, METADATA))
    if there and there.of(*BROKEN):
        raise RunStopped(f"{there.verdict()} Move what is wrong away from {target}, and give the command again.")
    if there and not there.of("absent"):
        LOG.info("\n".join(there.lines()))
        return
    by_hand = Path(s.archive) if s.archive else _by_hand(item, root)
    if by_hand.exists():
        install(item, part, by_hand, root, s.allow_missing)
        return

    def use(source: Source) -> None:
        archive = downloads / source.file_name
        fetched = not archive.exists()
        if fetched:
            transfer.fetch(source.url, archive, source.digest, source.size, attempts=s.attempts)
        elif source.digest and digest_of(archive, source.digest) != source.digest:
            raise SourceFailed(f"has another file than {archive}, which should be moved away")
        try:
            install(item, part, archive, root, s.allow_missing, source.content)
        except InputError as error:
            if fetched and not source.digest:
                archive.unlink()
            raise SourceFailed(f"sent something else: {error}") from error
        if fetched and not s.keep:
            archive.unlink()

    _use_first(item, part, s, "", use)


def install(item: Item, part: Part, archive: Path, root: Path, allow_missing: bool = False, content: str = "") -> None:
    """Unpack an archive, find the pictures of the table in it, open each of them, and only then put them in place.

    The pictures are found by their names, in whatever folder they lie; those that are in place already stay as they
    are. content: what koniq.fetch.archives.content says of the tables and pictures, where it is known. Raises
    InputError if the archive is refused, holds others, or lacks pictures (with `allow_missing`: if it has none of
    them).
    """
    target, metadata = real_path(root / part.target), _below(root, METADATA)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-fetch-", suffix=".tmp") as temporary:
        pictures, tables = Path(temporary) / "pictures", Path(temporary) / "tables"
        pictures.mkdir()
        tables.mkdir()
        files = archives.unpack(archive, Path(temporary) / "unpacked", _wanted(item, metadata))
        release = _release(item)
        for file in files:
            if file.name in release.tables:
                _check_table(archive, file, release.tables[file.name])
                file.replace(tables / file.name)
        brought = {table.name for table in tables.iterdir()} == {*release.tables}
        rated = _rated(item, tables if brought else metadata)
        names = [*rated, *release.unrated]
        there = datasets.found(names, target) if target.exists() else [None] * len(names)
        lacking = [name for name, path in zip(names, there, strict=True) if not path]
        # Of two files of one name, the one in the folder that is named as the target.
        folder_name = PurePosixPath(part.target).name
        by_name = {
            file.name.casefold(): file for file in sorted(files, key=lambda file: file.parent.name == folder_name)
        }
        came = [by_name[name.casefold()] for name in names if name.casefold() in by_name]
        if content and len(came) == len(names) and (found := archives.content([*tables.iterdir(), *came])) != content:
            raise InputError(f"{archive} should hold tables and pictures of {content}. Received: others, of {found}.")
        for name in lacking:
            if name.casefold() in by_name:
                by_name[name.casefold()].replace(pictures / name)
        report = inspection.inspect(
            item.name, [name for name in lacking if name not in release.unrated], pictures, release
        )
        absent, some = report.of("absent"), any(pictures.iterdir())
        if report.of(*BROKEN) or (absent and not (some and allow_missing)):
            hint = " Give --allow-missing to take it all the same." if some and not report.of(*BROKEN) else ""
            raise InputError(f"{archive} should hold the pictures of its table. {report.verdict()}{hint}")
        notices = [(file, notice_path(item, root)) for file in files if file.name == release.notice][:1]
        for file, place in (*((table, metadata / table.name) for table in tables.iterdir()), *notices):
            if not place.exists():
                with atomic_path(place) as path:
                    shutil.copyfile(file, path)
        if target.exists():
            for picture in pictures.iterdir():
                replace_file(picture, target / picture.name, durable=False)  # of thousands
        else:
            pictures.replace(target)
    count = len(lacking) - len(report.of("absent", "unrated"))
    LOG.info(f"{count:,} pictures were put in {target}, each of them opened once.")
    if len(lacking) < len(names):
        report = inspection.inspect(item.name, rated, target, release)
    LOG.info("\n".join(replace(report, folder=target).lines()))
    where = "".join(f"; the notice lies in {place}" for _, place in notices)
    LOG.info(f"Terms of {item.name}: {item.licence}{where}.")


def notice_path(item: Item, root: Path) -> Path:
    """Where the notice of a release is put, which should go wherever its pictures go."""
    return _below(root, METADATA) / f"{item.name}-{_release(item).notice}"


def _check_table(archive: Path, table: Path, digest: str) -> None:
    if digest and (found := digest_of(table, digest)) != digest:
        raise InputError(f"{archive} should hold the official {table.name}, {digest}. Received: {found}.")


def _wanted(item: Item, metadata: Path) -> Callable[[PurePosixPath], bool]:
    if item.name == "koniq10k":
        names = set(_rated(item, metadata))
        return lambda path: path.name in names and OTHER_SIZE not in path.parts
    release = _release(item)
    return lambda path: path.name in (*release.tables, release.notice) or path.suffix.lower() in (".bmp", ".jpg")


def _rated(item: Item, metadata: Path) -> list[str]:
    """The names of the pictures that count, from the tables in a folder."""
    table = metadata / PurePosixPath(item.parts[0].target).name if item.parts[0].kind == "table" else metadata
    return datasets.read(item.name, str(table))[1].image_name.tolist()


def _release(item: Item) -> Release:
    """What is known of the pictures, at the one size that is fetched."""
    release = RELEASES[item.name]
    return replace(release, sizes=release.sizes[:1])


def _there(item: Item, folder: Path, metadata: Path) -> inspection.Report | None:
    """What is in place already, None if that is nothing, or if there is no table to check it against."""
    if not folder.is_dir() or not any(folder.iterdir()):
        return None
    try:
        rated = _rated(item, metadata)
    except InputError:
        return None
    return inspection.inspect(item.name, rated, folder, _release(item))


# What both need


def _use_first(item: Item, part: Part, s: Options, file_name: str, use: Callable[[Source], None]) -> None:
    """Call `use` with one source after the other until it does not raise SourceFailed; RunStopped if it always does."""
    if s.offline or transfer.is_offline():
        raise not_fetched(item, part, s, "the network is not to be used (--offline, KONIQ_OFFLINE or HF_HUB_OFFLINE)")
    own = [replace(source, url=f"{s.mirror.rstrip('/')}/{file_name or source.file_name}") for source in part.sources]
    failures = []
    for source in dict.fromkeys((*(own if s.mirror else ()), *part.sources)):
        if failures:
            LOG.warning(f"{failures[-1]}; trying {source.url}")
        try:
            return use(source)
        except SourceFailed as error:
            failures.append(f"{urlsplit(source.url).netloc or source.url} {error}".rstrip("."))
    raise not_fetched(item, part, s, "; ".join(failures))


def not_fetched(item: Item, part: Part, s: Options, reason: str) -> RunStopped:
    """What ends a run that could not have a part, with what to do by hand."""
    root = Path(s.root)
    place = f"the archive, of whatever kind, in {_by_hand(item, root)}" if part.kind == "pictures" else ""
    return RunStopped(
        f"{item.name}/{part.name} could not be fetched: {reason}. Get it by hand at {part.page}, put "
        f"{place or f'it in {root / part.target}'}, and give the same command again."
    )


def _by_hand(item: Item, root: Path) -> Path:
    """Where a person puts an archive."""
    return _below(root, DOWNLOADS) / f"{item.name}.zip"


@contextmanager
def _alone(name: str, root: Path) -> Iterator[None]:
    """Waits until no other process fetches the same item."""
    path = lock_path(_below(root, DOWNLOADS) / name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with turn(path, lambda: LOG.warning(f"Another process is fetching {name}; waiting for it.")):
        yield


def _below(root: Path, place: Path) -> Path:
    """A place of koniq.ground.paths, below another root."""
    return root / place.relative_to(HOME)
