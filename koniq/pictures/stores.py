"""Pictures in stores, s3://bucket/folder for instance: which ones an address means, each fetched, or why it was not."""

import atexit
import glob
import io
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from koniq.ground import InputError, first_few
from koniq.ground.log import LOG
from koniq.ground.urls import Known, Remote, protocol, public
from koniq.pictures import contents, in_fsspec, store_faults
from koniq.pictures.contents import Content
from koniq.pictures.faults import Place, stopped
from ku.files import shown
from ku.opening import ENDINGS

SECOND = 10**9  # nanoseconds: what stores tell times by


class Unread(Exception):
    """A picture that was not fetched by its own fault: what it is, and why."""

    def __init__(self, status: str, reason: str):
        super().__init__(reason)
        self.status = status


class Fetched(NamedTuple):
    """A picture in memory."""

    file: io.BytesIO  # with its name, by which RAW pictures are told
    content: Content


def fetch(picture: Remote, place: Place) -> Fetched:
    """A picture of a store. Raises Unread if it is its own fault that it is not read, RunStopped if it is the store's.

    What is refused is the picture's own fault if the one that came before still comes.
    """
    try:
        found = in_fsspec.fetch(picture)
    except InputError:
        raise
    except Exception as error:
        raise _told(picture, error, place) from error
    place.fetched = picture
    if not found.data:
        raise Unread("unreadable", "an empty file")
    file = io.BytesIO(found.data)
    file.name = picture.name
    digest = blake2b(found.data, digest_size=contents.HASH_BYTES).hexdigest()
    modified = found.modified or (picture.known.modified if picture.known else 0)
    return Fetched(file, Content(len(found.data), modified, digest))


def _told(picture: Remote, error: Exception, place: Place) -> Exception:
    whose, reason, _ = store_faults.fault(error)
    if whose == "machine":
        return stopped(picture, reason)
    if whose == "missing":
        return Unread("missing", reason)
    if isinstance(error, store_faults.TooMuch):
        return Unread("too_large", reason)
    if whose == "denied" and place.fetched:
        try:
            in_fsspec.is_there(place.fetched)
        except Exception as other:
            return stopped(picture, f"{place.fetched}, which came before, does not any more ({_reason(other)})")
    return Unread("unreadable", reason)


def _reason(error: Exception) -> str:
    return store_faults.fault(error).reason


def at(path: str | os.PathLike[str]) -> Content | None:
    """What is in the file at `path`, here or in a store; None if it cannot be read."""
    if not isinstance(path, Remote):
        return contents.at(path)
    try:
        return fetch(path, Place()).content
    except Unread:
        return None


def is_there(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file at `path`, here or in a store, if that says so."""
    if isinstance(path, Remote):
        if path.known:
            return True
        try:
            return in_fsspec.is_there(path)
        except InputError:
            raise
        except Exception as error:
            if store_faults.fault(error).whose == "machine":
                raise stopped(path, _reason(error)) from error
            return False
    try:
        os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return False
    return True


def may_be_other(content: Content, path: str | os.PathLike[str]) -> bool:
    """Whether the file at `path` has another size or time than when `content` was in it.

    Of one in a store that no list has told of, nothing is said, nor of one that is not at hand.
    """
    if isinstance(path, Remote):
        now = path.known
        if not now:
            return False
        times = (content.modified // SECOND, now.modified // SECOND)
        return content.size != now.size or (all(times) and times[0] != times[1])
    try:
        return not content.looks_like(os.stat(path))  # noqa: PTH116
    except (OSError, ValueError):
        return False


@dataclass
class Meant:
    """What an address means."""

    folder: Remote  # that the names start from
    names: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    table: Path | None = None  # of a list, its copy here


def meant(source: str, is_out: Callable[[str], bool], alone: bool = True) -> Meant:
    """The pictures that an address in a store means: a list (.csv), a glob, a picture, or a folder with all below it.

    is_out: whether a path is left out of folders and globs. alone: names start from the folder, else they are whole
    addresses. A server of HTTP gives no list of its files, so that what is no list there is a picture. Raises
    InputError if nothing is there to score, RunStopped if the store does not answer.
    """
    if "::" in source:
        raise InputError(f"An address of a store should name one. Received: {public(source)}, with ::")
    place = Remote(source)
    try:
        return _meant(place, is_out, alone)
    except InputError:
        raise
    except Exception as error:
        whose, reason, _ = store_faults.fault(error)
        if whose == "machine":
            raise stopped(place, reason) from error
        raise InputError(
            f"{place} should be a list, a folder or a picture that is there. Received: {reason}"
        ) from error


def _meant(place: Remote, is_out: Callable[[str], bool], alone: bool) -> Meant:
    in_fsspec.system(place)  # that there is no package is said first
    ending, lists = place.suffix.lower(), protocol(place.url) not in in_fsspec.HTTP
    if ending == ".csv":
        return Meant(place.parent, table=_copied(place))
    one = Meant(place.parent, [place.url])
    if not lists:
        return one
    if glob.has_magic(place.url) and not (ending in ENDINGS and in_fsspec.is_there(place)):
        return _matched(place, is_out)
    return one if ending in ENDINGS else _below(place, is_out, alone)


def _matched(place: Remote, is_out: Callable[[str], bool]) -> Meant:
    found = in_fsspec.matching(place)
    if not found:
        raise InputError(f"A glob should match pictures. Received: {str(place)!r}, which matches nothing")
    parts = place.url.split("/")  # what the glob itself names is not hidden
    listing: dict[str, Known] = {}
    excluded = []
    for one, known in found:
        if is_out("/".join(part for part in one.url.split("/") if part not in parts)):
            excluded.append(one.url)
        else:
            listing[one.url] = known
    folder = "/".join(takewhile(lambda part: not glob.has_magic(part), parts))
    return Meant(Remote(folder, listed=listing), [*listing], excluded)


def _below(place: Remote, is_out: Callable[[str], bool], alone: bool) -> Meant:
    root = place.url if place.url.endswith("://") else place.url.rstrip("/")
    start = "" if alone else f"{root}/"
    listing: dict[str, Known] = {}
    excluded, others = [], []
    for name, known in in_fsspec.listed(Remote(root)):
        if not name:
            return Meant(place.parent, [place.url])
        if is_out(name):
            excluded.append(start + name)
        elif os.path.splitext(name)[1].lower() in ENDINGS:  # noqa: PTH122
            listing[start + name] = known
        else:
            others.append(name)
    if others:
        LOG.info(f"{len(others):,} other files in {place} are no pictures ({first_few(map(shown, others))})")
    if not listing:
        left_out = f", and {len(excluded):,} left out" if excluded else ""
        raise InputError(
            f"The folder {place} should hold pictures. Received: {len(others):,} files, none a picture by its ending"
            f"{left_out}"
        )
    return Meant(Remote(root, listed=listing), sorted(listing), sorted(excluded))


def _copied(place: Remote) -> Path:
    """A copy on this machine of a list in a store, for as long as the process runs."""
    folder = tempfile.TemporaryDirectory(prefix="koniq-")
    atexit.register(folder.cleanup)
    path = Path(folder.name, place.name)
    in_fsspec.get(place, path)
    return path
