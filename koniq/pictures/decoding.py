"""A picture opened, as a network takes it; or the reason why not."""

import os
import stat
from dataclasses import dataclass
from math import nan
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from koniq.network import Network
from koniq.pictures.contents import Content
from koniq.pictures.faults import Place, is_missing, wants_memory, wants_room
from koniq.pictures.room import ROOM
from ku.image_utils import resize_image, to_rgb

UNSCORED = ("missing", "unreadable", "truncated", "too_large", "not_finite")  # what a picture without a score may be


@dataclass(frozen=True, slots=True)
class Score:
    """What became of one picture."""

    path: Path
    mos: float = nan  # nan unless status is "ok"
    status: str = "ok"  # or one of UNSCORED
    width: int = 0  # as the picture is meant to be seen, pixels; 0 if that is not known
    height: int = 0
    error: str = ""  # the reason, if status is not "ok"
    raw: float = nan  # the network's own score, where `mos` is a calibrated one
    low: float = nan  # the ends of the interval about `mos`, where intervals were asked for
    high: float = nan
    content: Content | None = None  # what was in the file, where that was asked for


def decode(path: Path, network: Network, place: Place | None = None) -> tuple[Score, np.ndarray | None]:
    """A picture as the network takes it: uint8 (height, width, 3), RGB. Where it has none, the score says why not.

    A truncated picture is refused rather than scored: its grey lower part is not what its photographer took.
    place: where the pictures of the run lie. Raises RunStopped if it is the machine's fault, see koniq.pictures.faults.
    """
    place = place or Place()
    failed: Exception | None = None
    for alone in (False, True):  # what found no room beside other pictures may find it without them
        try:
            score, pixels, device = _opened(path, network, alone)
        except Exception as error:  # Pillow's plugins raise anything on a broken file; the row says why
            failed = error.with_traceback(None)  # which would keep half a picture in memory
            if not wants_room(error):
                break
        else:
            if pixels is not None:
                place.opened = path, device
            return score, pixels
    place.check(path, failed, lambda other: _opened(other, network, alone=True))
    status, reason = _why(failed)
    return Score(path, status=status, error=reason), None


def _opened(path: Path, network: Network, alone: bool) -> tuple[Score, np.ndarray | None, int]:
    """See `decode`; the device that the picture is on, too. Raises whatever the file system and Pillow do."""
    with ROOM.entered(alone):
        status = os.stat(path)  # noqa: PTH116  a picture may not be a Path
        if reason := _no_file(status):
            return Score(path, status="unreadable", error=reason), None, status.st_dev
        with ROOM.opened(path) as picture:
            whole = to_rgb(picture)
            return Score(path, width=whole.width, height=whole.height), as_seen(whole, network), status.st_dev


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
    reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
    return "truncated" if "truncated" in reason.lower() else "unreadable", reason
