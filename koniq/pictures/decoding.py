"""A picture opened, as a network takes it; or the reason why not."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from koniq.network import Network
from koniq.pictures.contents import Content
from koniq.pictures.faults import Place, is_machine, is_missing, said, stopped, wants_memory, wants_room
from koniq.pictures.room import ROOM, size_in_memory
from ku.image_utils import resize_image, to_rgb
from ku.modes import as_rgb, upright

UNSCORED = ("missing", "unreadable", "truncated", "too_large", "not_finite")  # what a picture without a score may be


# A path; the bytes of a file; a file open for reading; a Pillow picture; uint8 (height, width, 3), RGB.
Picture = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray


@dataclass(frozen=True, slots=True)
class Opened:
    """What a picture is once it was opened; or the reason why it was not."""

    pixels: np.ndarray | None = None  # as a network takes them: uint8 (height, width, 3), RGB; None unless "ok"
    status: str = "ok"  # or one of UNSCORED
    width: int = 0  # as the picture is meant to be seen, pixels; 0 if that is not known
    height: int = 0
    error: str = ""  # the reason, if status is not "ok"
    content: Content | None = None  # what was in the file, where that was asked for


def decode(picture: Picture, network: Network, place: Place | None = None) -> Opened:
    """A picture as the network takes it. Whatever is wrong with it is a status, not an exception.

    A truncated picture is refused rather than scored: its grey lower part is not what its photographer took. A Pillow
    picture or a file of the caller's stays open and as it is. place: where the pictures of the run lie. Raises
    RunStopped if it is the machine's fault, see koniq.pictures.faults.
    """
    place = place or Place()
    failed: Exception | None = None
    for alone in (False, True):  # what found no room beside other pictures may find it without them
        try:
            opened, device = _opened(picture, network, alone)
        except Exception as error:  # Pillow's plugins raise anything on a broken file; the row says why
            failed = error.with_traceback(None)  # which would keep half a picture in memory
            if not wants_room(error):
                break
        else:
            if device is not None and opened.pixels is not None:
                place.opened = picture, device
            return opened
    if isinstance(picture, str | PathLike):
        place.check(picture, failed, lambda other: _opened(other, network, alone=True))
    elif is_machine(failed):
        raise stopped(name_of(picture) or "A picture", said(failed)) from failed
    status, reason = _why(failed)
    return Opened(status=status, error=reason)


def name_of(picture: Picture) -> str:
    """What a picture is called: its path as it was given, or that of the file it came from; "" if there is none."""
    if isinstance(picture, str | PathLike):
        return os.fspath(picture)
    name = getattr(picture, "name", getattr(picture, "filename", ""))  # of an open file; of a Pillow picture
    return os.fspath(name) if isinstance(name, str | PathLike) else ""


def _opened(picture: Picture, network: Network, alone: bool) -> tuple[Opened, int | None]:
    """See `decode`; of a path its device, too. Raises whatever the file system and Pillow do."""
    with ROOM.entered(alone):
        device = None
        if isinstance(picture, str | PathLike):
            status = os.stat(picture)  # noqa: PTH116  a picture may not be a Path
            device = status.st_dev
            if reason := _no_file(status):
                return Opened(status="unreadable", error=reason), device
        with _rgb(picture) as whole:
            return Opened(as_seen(whole, network), width=whole.width, height=whole.height), device


@contextmanager
def _rgb(picture: Picture) -> Iterator[Image.Image]:
    """A picture in RGB and upright. Raises TypeError or ValueError if it is none of `Picture`."""
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ValueError(
                f"an array should be uint8 (height, width, 3), RGB. Received: {picture.dtype} {picture.shape}"
            )
        yield Image.fromarray(np.ascontiguousarray(picture))
    elif isinstance(picture, Image.Image):
        with ROOM.taken(size_in_memory(picture)):
            yield as_rgb(upright(picture))
    else:
        source = BytesIO(picture) if isinstance(picture, bytes | bytearray | memoryview) else picture
        if not (isinstance(source, str | PathLike) or hasattr(source, "read")):
            raise TypeError(
                "a picture should be a path, bytes, an open file, a Pillow picture or an array. "
                f"Received: {type(picture).__name__}"
            )
        with ROOM.opened(source) as opened:
            yield to_rgb(opened)


def as_seen(picture: Image.Image, network: Network) -> np.ndarray:
    """An open picture in RGB as the network takes it: uint8 (height, width, 3)."""
    return np.asarray(resize_image(picture, network.input_size, network.resize))


def _no_file(status: os.stat_result) -> str:
    if stat.S_ISDIR(status.st_mode):
        return "a folder, not a picture"
    if not stat.S_ISREG(status.st_mode):  # to open a pipe could take for ever
        return "neither a file nor a link to one"
    return "" if status.st_size else "an empty file"


def _why(error: Exception) -> tuple[str, str]:
    """The status and the reason of a picture that `error` was raised for."""
    if is_missing(error):
        return "missing", "no such file"
    if isinstance(error, Image.DecompressionBombError):
        return "too_large", str(error)
    if isinstance(error, UnidentifiedImageError):
        return "unreadable", "not a picture in a format that Pillow reads"
    if wants_memory(error):
        return "too_large", "not enough memory to decode it"
    reason = said(error)
    return "truncated" if "truncated" in reason.lower() else "unreadable", reason
