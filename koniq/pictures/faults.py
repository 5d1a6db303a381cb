"""Whose fault it is that a picture was not read: its own, and it has a row that says so; the machine's ends the run."""

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from koniq.ground import InputError, RunStopped
from koniq.ground.urls import Remote


def _numbers(*names: str) -> frozenset[int]:
    return frozenset(getattr(errno, name) for name in names if hasattr(errno, name))  # a system has not all of them


# A process or a system that can open no more, a server or a drive that is not there: no picture does that.
FULL = _numbers("EMFILE", "ENFILE")
MACHINE = FULL | _numbers(
    *("ESTALE", "ENOTCONN", "ENODEV", "ENXIO", "ENOMEDIUM", "ESHUTDOWN", "ENOLINK", "ENOLCK"),
    *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENETRESET"),
    *("ETIMEDOUT", "ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EKEYEXPIRED", "EKEYREVOKED"),
)
# One bad block, one file of somebody else's; or a whole drive.
DOUBTFUL = _numbers("EIO", "EREMOTEIO", "EACCES", "ENOMEM")
# Without a number, and still sure of what they say.
SPEAKING = MemoryError | UnidentifiedImageError | Image.DecompressionBombError


def is_machine(error: BaseException) -> bool:
    """Whether an error is the machine's, whatever was being opened."""
    return isinstance(error, OSError) and error.errno in MACHINE


def wants_memory(error: BaseException) -> bool:
    """Whether there was no memory for a picture."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def wants_room(error: BaseException) -> bool:
    """Whether a picture may open once nothing else is open beside it."""
    return wants_memory(error) or (isinstance(error, OSError) and error.errno in FULL)


def is_missing(error: BaseException) -> bool:
    """Whether there is no file of that name."""
    return isinstance(error, FileNotFoundError | NotADirectoryError)


def stopped(what: object, cause: str) -> RunStopped:
    """The error that ends a run, for `what` could not be read because of `cause`, which lies in the machine."""
    return RunStopped(
        f"{what} could not be read, and that is no fault of its own: {cause}. What was written so far is whole; once "
        "that is mended, the same command goes on from there."
    )


class Place:
    """Where the pictures of a run lie: their folders as they were when it began, and the last picture that opened.

    Asked again when a picture fails, they tell a picture that is not there from a drive that is not there. Raises
    InputError if one of `folders` is not there to begin with, or holds nothing, as the mount point of an absent drive
    does; RunStopped if the machine fails at once.
    """

    def __init__(self, folders: Iterable[Path | Remote] = ()):
        self.opened: tuple[Path, int] | None = None  # the last picture that opened, and its device
        self.fetched: Remote | None = None  # the last that came from a store, see koniq.pictures.stores
        self.devices: dict[Path, int] = {}
        for folder in folders:
            if isinstance(folder, Remote):  # a store says by itself what is wrong with it
                continue
            try:
                empty, self.devices[folder] = _is_empty(folder), os.stat(folder).st_dev  # noqa: PTH116
            except OSError as error:
                if is_machine(error):
                    raise stopped(folder, said(error)) from error
                raise InputError(
                    f"The folder of the pictures should be {folder}. Received: {said(error)}; is its drive there?"
                ) from error
            if empty:
                raise InputError(
                    f"The folder of the pictures, {folder}, should hold them. Received: an empty folder; is its drive "
                    "there?"
                )

    def check(self, path: Path, error: Exception, again: Callable[[Path], object]) -> None:
        """Raise RunStopped if it was the machine that kept the picture at `path` from being read.

        again: opens a picture; what opened before is asked for again where an error alone does not say whose it is.
        """
        number = error.errno if isinstance(error, OSError) else None
        if number is None and not isinstance(error, SPEAKING):
            # libtiff and its like read by themselves, and say no more than that they failed.
            error = unread(path) or error
            number = error.errno if isinstance(error, OSError) else None
        cause = ""
        if number in MACHINE:
            cause = said(error)
            if number in FULL:
                cause += " (`ulimit -n` says how many there may be; fewer --workers need fewer)"
        elif is_missing(error):
            cause = self._gone()
        elif wants_memory(error) or number in DOUBTFUL:
            cause = self._gone() or self._fails(again)
        if cause:
            raise stopped(path, cause) from error

    def _gone(self) -> str:
        """What is not there any more of that which the pictures lie in; "" if all of it is."""
        for folder, device in self.devices.items():
            if there := _not_there(folder, device):
                return there
        if not self.opened:
            return ""
        path, device = self.opened
        try:
            os.stat(path)  # noqa: PTH116
        except OSError as error:
            # A picture that somebody took away once it was scored is no drive: its folder, with others, still is there.
            return _not_there(Path(path).parent, device) if is_missing(error) else f"{path}: {said(error)}"
        return ""

    def _fails(self, again: Callable[[Path], object]) -> str:
        """Why the last picture that opened does not open again; "" if it does."""
        if not self.opened:
            return ""
        path, _ = self.opened
        try:
            _forget(path)
            again(path)
        except Exception as error:
            if not is_missing(error):
                return f"{path}, which opened just before, does not any more ({said(error)})"
        return ""


def unread(path: Path) -> OSError | None:
    """What keeps a file from being read to its end, if anything does."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  a picture may not be a Path
            while file.read(1 << 20):
                pass
    except OSError as error:
        return error
    except ValueError:  # a name that no file can have
        return None
    return None


def _not_there(folder: Path, device: int) -> str:
    """What is wrong with a folder that was on `device` and held something; "" if it still is and does."""
    try:
        if _is_empty(folder):
            return f"{folder} is empty now"
        # Asked after what it holds: a folder that is mounted when it is used is so by now.
        return "" if os.stat(folder).st_dev == device else f"{folder} is on another drive now"  # noqa: PTH116
    except OSError as error:
        return f"{folder} is not there any more" if is_missing(error) else f"{folder}: {said(error)}"


def _is_empty(folder: Path) -> bool:
    try:
        with os.scandir(folder) as found:
            return next(found, None) is None
    except PermissionError:  # pictures in a folder that may not be listed can be opened by their names
        os.stat(folder)  # noqa: PTH116
        return False


def _forget(path: Path) -> None:
    """Have the system read a file anew, not from memory, in which it outlives its drive; where the system can."""
    if hasattr(os, "posix_fadvise"):
        with open(path, "rb") as file:  # noqa: PTH123
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def said(error: BaseException) -> str:
    """An error in the words of the system."""
    if isinstance(error, MemoryError):
        return "not enough memory"
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
