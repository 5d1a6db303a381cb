"""What was in a scored picture, by which an edited one is known: kept beside the scores, a line a row, appended."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

HASH_BYTES = 16
LARGEST = 1 << 30  # bytes, of a file that is hashed; a larger one is known by its size and time alone


class Row(NamedTuple):
    """A row of a CSV of scores, whatever stands before it: `nth` (from 0) of those with this image_path."""

    image_path: str
    nth: int = 0


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


def append_whole(file: IO[bytes], end: int, data: bytes) -> int:
    """Write `data` at the offset `end` of an open file, and return the end it then has.

    Raises OSError, the file as it was, if there is no room.
    """
    number = file.fileno()  # past Python's buffer, which would keep what a full disk did not take
    os.lseek(number, end, os.SEEK_SET)
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(number, rest) :]
    except OSError:
        os.ftruncate(number, end)
        raise
    return end + len(data)


class Journal:
    """The file of contents beside a CSV of scores: [image_path, nth, size, modified, digest] in JSON, a line each.

    The last line of a row counts. There may be lines without a row, as a row is written after its line, and rows
    without a line: nothing is known of those. A torn last line is dropped. out: the CSV, which nobody else writes.
    """

    def __init__(self, out: Path):
        self.path = out.with_name(out.name + ".contents")
        self._file = self.path.open("ab", buffering=0)
        self._end = self.path.read_bytes().rfind(b"\n") + 1
        self._file.truncate(self._end)

    def append(self, contents: Iterable[tuple[Row, Content]]) -> None:
        """Write lines, at once. Raises OSError, the file whole, if there is no room for them."""
        lines = "".join(json.dumps([*row, *content], ensure_ascii=False) + "\n" for row, content in contents)
        self._end = append_whole(self._file, self._end, lines.encode())

    def read(self) -> dict[Row, Content]:
        """What is known of the content of each row; nothing by a line that somebody damaged."""
        known = {}
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    name, nth, size, modified, digest = json.loads(line)
                    known[Row(name, nth)] = Content(size, modified, digest)
                except (ValueError, TypeError):
                    continue
        return known

    def clear(self) -> None:
        """Forget everything."""
        self._file.truncate(0)
        self._end = 0

    def close(self) -> None:
        """Give the file back."""
        self._file.close()
