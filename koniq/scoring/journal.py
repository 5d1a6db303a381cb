"""What was in the scored pictures: kept beside their CSV, a line a row, appended."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from koniq.pictures.contents import Content


class Row(NamedTuple):
    """A row of a CSV of scores, whatever stands before it: `nth` (from 0) of those with this image_path."""

    image_path: str
    nth: int = 0


def contents_path(out: Path) -> Path:
    """The file beside a CSV of scores that says what was in the pictures."""
    return out.with_name(out.name + ".contents")


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
        self.path = contents_path(out)
        self._file = self.path.open("ab", buffering=0)
        self._end = _end_of_lines(self.path)
        self._file.truncate(self._end)

    def append(self, contents: Iterable[tuple[Row, Content]]) -> None:
        """Write lines, at once. Raises OSError, the file whole, if there is no room for them."""
        lines = "".join(json.dumps([*row, *content], ensure_ascii=False) + "\n" for row, content in contents)
        self._end = append_whole(self._file, self._end, lines.encode())

    def lines(self) -> Iterator[tuple[Row, Content]]:
        """What is known of the contents of rows, a line after the other, but for those that somebody damaged."""
        with self.path.open("rb") as lines:
            for line in lines:
                try:
                    name, nth, *content = json.loads(line)
                    known = Content(*content)
                    if (
                        isinstance(name, str)
                        and isinstance(known.digest, str)
                        and max(map(abs, (nth, *known[:2]))) < 2**63
                    ):
                        yield Row(name, nth), known
                except (ValueError, TypeError):
                    continue

    def clear(self) -> None:
        """Forget everything."""
        self._file.truncate(0)
        self._end = 0

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


def _end_of_lines(path: Path) -> int:
    """Where the last whole line of a file ends, which is looked for from its end."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(end - 65536, 0)
            file.seek(start)
            if found := file.read(end - start).rfind(b"\n") + 1:
                return start + found
            end = start
    return 0
