"""A picture opened, as a network takes it; or the reason why not.

Files of photographs are decoded here and nowhere else: by which rules, a network says (`RULES`); how, `ku.decoding`.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from os import PathLike
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from koniq.ground.built import install
from koniq.ground.urls import Remote, is_url, public
from koniq.network import Network
from koniq.network.spec import FIRST, NEWEST, STUDY, Rules
from koniq.pictures import stores
from koniq.pictures.contents import Content
from koniq.pictures.faults import Place, is_machine, is_missing, said, stopped, wants_memory, wants_room
from koniq.pictures.room import MEGAPIXELS, ROOM, USUAL, size_in_memory
from ku import decoding, opening
from ku.image_utils import resize_image

# The rules by which a network has its pictures decoded, as ku calls them. Those of the study take the nearest pixel
# besides, see `Network.at`: its lifelog was read by Keras's load_img.
RULES = MappingProxyType({NEWEST: "2", FIRST: "1", STUDY: "plain"})
EXTRAS = MappingProxyType({"RAW": "raw", "HEIF": "heif", "JXL": "jxl"})  # that open these formats
GREY = 128  # what `pad` fills up with
SCALE = 2  # a JPEG is scaled while it is decoded to no less than so many times what it will have

UNSCORED = ("missing", "unreadable", "truncated", "too_large", "not_finite")  # what a picture without a score may be


# A path, or an address in a store; the bytes of a file; a file open for reading; a Pillow picture; uint8 (height,
# width, 3), RGB.
Picture = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image | np.ndarray


@dataclass(frozen=True, slots=True)
class Opened:
    """What a picture is once it was opened; or the reason why it was not."""

    pixels: np.ndarray | None = None  # as a network takes them: uint8 (height, width, 3), RGB; None unless "ok"
    status: str = "ok"  # or one of UNSCORED
    width: int = 0  # as the picture is meant to be seen, pixels; 0 if that is not known
    height: int = 0
    error: str = ""  # the reason, if status is not "ok"
    note: str = ""  # what there is to say of a picture that is "ok"
    content: Content | None = None  # what was in the file, where that was asked for


class TooLarge(Exception):
    """A picture would take more memory than pictures may."""


def decode(
    picture: Picture, network: Network, place: Place | None = None, max_megapixels: float = MEGAPIXELS
) -> Opened:
    """A picture as the network takes it. Whatever is wrong with it is a status, not an exception.

    A truncated picture is refused rather than scored: its grey lower part is not what its photographer took. A Pillow
    picture or a file of the caller's stays open and as it is. place: where the pictures of the run lie. max_megapixels:
    what may be decoded of a picture, see `check_size`. Raises RunStopped if it is the machine's fault, see
    koniq.pictures.faults.
    """
    place = place or Place()
    if isinstance(picture, Remote) or is_url(picture):
        return _from_store(Remote(os.fspath(picture)) if is_url(picture) else picture, network, place, max_megapixels)
    failed: Exception | None = None
    for alone in (False, True):  # what found no room beside other pictures may find it without them
        try:
            opened, device = _opened(picture, network, alone, max_megapixels)
        except Exception as error:  # Pillow's plugins raise anything on a broken file; the row says why
            failed = error.with_traceback(None)  # which would keep half a picture in memory
            if not wants_room(error):
                break
        else:
            if device is not None and opened.pixels is not None:
                place.opened = picture, device
            return opened
    if isinstance(picture, str | PathLike):
        place.check(picture, failed, lambda other: _opened(other, network, True, max_megapixels))
    elif is_machine(failed):
        raise stopped(name_of(picture) or "A picture", said(failed)) from failed
    status, reason = _why(failed)
    return Opened(status=status, error=reason)


def _from_store(picture: Remote, network: Network, place: Place, max_megapixels: float) -> Opened:
    try:
        fetched = stores.fetch(picture, place)
    except stores.Unread as error:
        return Opened(status=error.status, error=str(error))
    return replace(decode(fetched.file, network, place, max_megapixels), content=fetched.content)


def name_of(picture: Picture) -> str:
    """What a picture is called: its path as it was given, or that of the file it came from; "" if there is none.

    Of an address what may be seen of it.
    """
    if isinstance(picture, str | PathLike):
        return public(name) if isinstance(name := os.fspath(picture), str) else name
    name = getattr(picture, "name", getattr(picture, "filename", ""))  # of an open file; of a Pillow picture
    return os.fspath(name) if isinstance(name, str | PathLike) else ""


def _opened(picture: Picture, network: Network, alone: bool, max_megapixels: float) -> tuple[Opened, int | None]:
    """See `decode`; of a path its device, too. Raises whatever the file system and Pillow do."""
    with ROOM.entered(alone):
        device = None
        if isinstance(picture, str | PathLike):
            status = os.stat(picture)  # noqa: PTH116  a picture may not be a Path
            device = status.st_dev
            if reason := _no_file(status):
                return Opened(status="unreadable", error=reason), device
        at_least = [SCALE * side for side in network.input_size] if network.dct_scaling else None
        with whole(picture, network.rules, at_least, max_megapixels) as found:
            width, height = found.size
            pixels = as_seen(found.picture, network, found)
            return Opened(pixels, width=width, height=height, note=found.note), device


@contextmanager
def whole(
    picture: Picture,
    rules: Rules = NEWEST,
    at_least: tuple[int, int] | None = None,
    max_megapixels: float = MEGAPIXELS,
) -> Iterator[decoding.Decoded]:
    """A picture decoded by rules, with the room in memory that it takes.

    at_least: (height, width), to which it may be scaled while it is decoded, see `ku.decoding.scale`. Raises TypeError
    or ValueError if it is none of `Picture`, TooLarge, and whatever Pillow does.
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
            raise ValueError(
                f"an array should be uint8 (height, width, 3), RGB. Received: {picture.dtype} {picture.shape}"
            )
        image = Image.fromarray(np.ascontiguousarray(picture))
        yield decoding.Decoded(image, image.size)
    elif isinstance(picture, Image.Image):
        with ROOM.taken(size_in_memory(picture)):
            yield decoding.decoded(_copied(picture), RULES[rules])
    elif not isinstance(picture, opening.Source) and not hasattr(picture, "read"):
        raise TypeError(
            "a picture should be a path, bytes, an open file, a Pillow picture or an array. "
            f"Received: {type(picture).__name__}"
        )
    else:
        with opening.opened(picture, mends=rules == NEWEST) as image:
            if at_least:
                decoding.scale(image, at_least)
            check_size(image, max_megapixels)
            with ROOM.taken(size_in_memory(image)):
                yield decoding.decoded(image, RULES[rules])


def _copied(picture: Image.Image) -> Image.Image:
    """A Pillow picture to work on in place, with what says how its pixels are to be read."""
    copy = picture.copy()
    copy.format, copy.orientation = picture.format, decoding.orientation_of(picture)
    if tags := getattr(picture, "tag_v2", None):
        copy.tag_v2 = tags
    return copy


def check_size(image: Image.Image, max_megapixels: float) -> None:
    """Raise TooLarge if decoding an open picture would take more than so many megapixels do, at 8 bytes a pixel."""
    width, height = image.full_size
    needs = max(image.width * image.height, (size_in_memory(image) if image.format == "JPEG" else 0) / USUAL) / 1e6
    if needs > max_megapixels:
        raise TooLarge(
            f"{width} x {height}, {_number(width * height / 1e6)} megapixels: to decode it would take "
            f"{_number(size_in_memory(image) / 1e9)} GB of memory, and --max-megapixels {ceil(needs)}"
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def as_seen(picture: Image.Image, network: Network, found: decoding.Decoded | None = None) -> np.ndarray:
    """An open picture in RGB as the network takes it: uint8 (height, width, 3).

    found: what it was decoded as, if its colours are still to be converted.
    """
    height, width = network.input_size
    if network.fit == "crop":
        picture = picture.crop(centred(picture.size, (width, height)))
    if network.fit != "pad":
        small = resize_image(picture, (height, width), network.resize)
        return np.asarray(found.in_srgb(small) if found else small)
    share = min(width / picture.width, height / picture.height)
    inner = tuple(max(1, round(share * side)) for side in picture.size)
    small = resize_image(picture, inner[::-1], network.resize)
    canvas = Image.new("RGB", (width, height), (GREY, GREY, GREY))
    canvas.paste(found.in_srgb(small) if found else small, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return np.asarray(canvas)


def centred(size: tuple[int, int], shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box of the proportions of `shape` that is the largest in a picture, from its middle. (width, height)."""
    share = min(size[0] / shape[0], size[1] / shape[1])
    inner = [max(1, round(share * side)) for side in shape]
    left, top = ((side - own) // 2 for side, own in zip(size, inner, strict=True))
    return left, top, left + inner[0], top + inner[1]


def thumbnail(picture: Picture, longest: int) -> Image.Image:
    """A small picture of one, upright, in sRGB, as pages show it: its longer side has `longest` pixels at most.

    Raises whatever `whole` does.
    """
    with whole(picture, at_least=(SCALE * longest, SCALE * longest)) as found:
        small = found.picture
        small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        return found.in_srgb(small)


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
    if isinstance(error, TooLarge | Image.DecompressionBombError):
        return "too_large", str(error)
    if isinstance(error, ModuleNotFoundError) and (kind := _opened_by((error.name or "").partition(".")[0])):
        return "unreadable", f"{kind}, which {opening.PACKAGES[kind]} opens: {install(EXTRAS[kind])}"
    if isinstance(error, UnidentifiedImageError):
        return "unreadable", str(error)
    if wants_memory(error):
        return "too_large", "not enough memory to decode it"
    if isinstance(error, decoding.Truncated):
        return "truncated", str(error)
    reason = said(error)
    return "truncated" if "truncated" in reason.lower() else "unreadable", reason


def _opened_by(package: str) -> str:
    """The format that an optional package opens; "" if it opens none."""
    return next((kind for kind, name in opening.PACKAGES.items() if name == package), "")
