"""What is in the file of a picture, by which an edited one is known."""

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO, NamedTuple

HASH_BYTES = 16
LARGEST = 1 << 30  # bytes, of a file that is hashed; a larger one is known by its size and time alone


class Content(NamedTuple):
    """What was in a file."""

    size: int  # bytes
    modified: int  # nanoseconds since 1970
    digest: str = ""  # see `digest_of`, hexadecimal; "" if it was not taken

    def looks_like(self, status: os.stat_result) -> bool:
        """Whether a file has the same size and time."""
        return (self.size, self.modified) == (status.st_size, status.st_mtime_ns)


def digest_of(file: BinaryIO) -> bytes:
    """What tells the content of an open file from that of others: BLAKE2b, HASH_BYTES long."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)).digest()


def at(path: str | Path) -> Content | None:
    """What is in the file at `path`; None if it cannot be read, or is no file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  to open a pipe could take for ever
            return None
        with open(path, "rb") as file:  # noqa: PTH123  Path is slow, and this is for every file of a life
            status = os.fstat(file.fileno())  # first: what is written while it is read has another time
            digest = ""
            if status.st_size <= LARGEST:
                digest = digest_of(file).hex()
            return Content(status.st_size, status.st_mtime_ns, digest)
    except (OSError, ValueError):  # ValueError: of a name that no file can have
        return None
