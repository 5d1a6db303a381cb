"""Archives unpacked with care: nothing leaves the folder, nothing is a link, nothing grows without bound."""

import bz2
import gzip
import hashlib
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from koniq.ground import InputError
from koniq.ground.bars import tqdm

BLOCK = 1 << 20
SLACK = 64 << 20  # bytes that even the smallest archive may hold
PACKED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ", lzma.open))
UNSOUND = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
# ^ OSError: gzip's and bz2's own words for broken data; RuntimeError: an unknown method of compression


@dataclass(frozen=True)
class Limits:
    """What an archive may hold, counted while it is unpacked and not by what it says of itself."""

    bytes: int = 64 << 30
    files: int = 200_000
    ratio: int = 100  # bytes out of a byte in; pictures are packed already, so an honest archive has 1 to 5


def unpack(
    archive: Path, folder: Path, wanted: Callable[[PurePosixPath], bool] = lambda path: True, limits: Limits = Limits()
) -> list[Path]:
    """Write the `wanted` files of a zip or a tar (plain, gzip, bzip2, xz) below `folder`, and return their paths.

    The kind is told by the content, not by the name. Raises InputError if it is neither, if it is broken or
    encrypted, if any of its names leads out of the folder or stands twice, if anything in it is neither a file nor a
    folder, or if it goes beyond `limits`; what was written by then is the caller's to remove.
    """
    with archive.open("rb") as file:
        head = file.read(512)
    opened = _zip_files if head.startswith(b"PK") else _tar_files
    written, bound = [], _Bound(archive, limits)
    try:
        members = opened(archive, head, _Bound(archive, limits))
        for path, content in tqdm(members, desc=f"unpacking {archive.name}", unit=" files", disable=None):
            if content is None or not wanted(path):
                continue
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                while block := content.read(BLOCK):
                    bound.add(len(block))
                    file.write(block)
            written.append(target)
    except FileExistsError as error:
        raise InputError(f"{archive} should hold every file once. Received: {error.filename} again") from error
    except UNSOUND as error:
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, such as "no space left"
            raise
        raise InputError(f"{archive} should be a whole zip or tar archive. Received: {error or 'a part of one'}") from (
            error
        )
    return written


def content(files: Iterable[Path]) -> str:
    """One hash, "sha256:...", of files whichever archive they came in: of their names in lower case and their bytes.

    It is that of what `sha256sum` prints of them, a line a file, in the order of the names.
    """
    whole = hashlib.sha256()
    for name, file in sorted((file.name.lower(), file) for file in files):
        with file.open("rb") as opened:
            whole.update(f"{hashlib.file_digest(opened, 'sha256').hexdigest()}  {name}\n".encode())
    return f"sha256:{whole.hexdigest()}"


class _Bound:
    def __init__(self, archive: Path, limits: Limits):
        self.archive, self.limits = archive, limits
        self.count = self.files = 0
        self.most = min(limits.bytes, SLACK + limits.ratio * archive.stat().st_size)

    def add(self, count: int) -> None:
        self.count += count
        if self.count > self.most:
            raise InputError(
                f"{self.archive} should hold pictures or tables, and unpacks to over {self.most:,} bytes, "
                f"{self.limits.ratio} times its size: it is refused."
            )

    def add_file(self) -> None:
        self.files += 1
        if self.files > self.limits.files:
            raise InputError(f"{self.archive} should hold at most {self.limits.files:,} files. Received: more")


class _Counted:
    """A stream that is read within a bound: what a tar skips counts too, for it is decompressed all the same."""

    def __init__(self, file: IO[bytes], bound: _Bound):
        self.file, self.bound = file, bound

    def read(self, count: int = -1) -> bytes:
        block = self.file.read(count)
        self.bound.add(len(block))
        return block


def _zip_files(archive: Path, head: bytes, bound: _Bound) -> Iterator[tuple[PurePosixPath, IO[bytes] | None]]:
    with zipfile.ZipFile(archive) as file:
        members = file.infolist()
        for member in members:  # all of them before anything is written
            bound.add_file()
            _inside(archive, member.orig_filename)
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _strange(archive, member.orig_filename)
            if member.flag_bits & 1:
                raise InputError(f"{archive} should not be encrypted. Received: {member.orig_filename}, which is")
        for member in members:
            if not member.is_dir():
                with file.open(member) as content:
                    yield _inside(archive, member.orig_filename), content


def _tar_files(archive: Path, head: bytes, bound: _Bound) -> Iterator[tuple[PurePosixPath, IO[bytes] | None]]:
    opener = next((opener for magic, opener in PACKED if head.startswith(magic)), open)
    if opener is open and head[257:262] != b"ustar":
        kind = "a web page" if b"<html" in head.lower() or b"<!doctype html" in head.lower() else "another kind of file"
        raise InputError(f"{archive} should be a zip or tar archive. Received: {kind}")
    with ExitStack() as stack:
        stream = _Counted(stack.enter_context(opener(archive, "rb")), bound)
        file = stack.enter_context(tarfile.open(fileobj=stream, mode="r|"))
        for member in file:
            bound.add_file()
            path = _inside(archive, member.name)
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise _strange(archive, member.name)
            if member.isreg():
                yield path, file.extractfile(member)
        while stream.read(BLOCK):  # to the checksum at the end
            pass


def _inside(archive: Path, name: str) -> PurePosixPath:
    """The path of a member, which should lead to a place below the folder on any system."""
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or "\\" in name or ":" in (path.parts or ("",))[0]
    if outside or any(ord(letter) < 32 for letter in name):
        raise InputError(f"{archive} should keep to the folder it is unpacked in. Received: a file named {name!r}")
    return path


def _strange(archive: Path, name: str) -> InputError:
    return InputError(f"{archive} should hold files and folders only. Received: {name}, a link or a device")
