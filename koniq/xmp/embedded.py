"""The XMP within a picture: read, never written. Of JPEG, TIFF and RAW like it, PNG, WebP, CR3; others by Pillow."""

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from koniq.xmp.packets import EXTENDED, LONGEST, EmptyError, Packet, XmpError, without_padding
from ku.opening import opened

APP1 = b"http://ns.adobe.com/xap/1.0/\0"  # XMP Specification Part 3, section 1.1.3
PNG, TEXT = b"\x89PNG\r\n\x1a\n", b"XML:com.adobe.xmp\0"
CR3 = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # of the box of ISO/IEC 14496-12 that Canon and Adobe have
TIFF_TAG, TYPES = 700, {1: 1, 2: 1, 7: 1}  # XMP; BYTE, ASCII, UNDEFINED
SIGNS = {b"II*\0": "<", b"MM\0*": ">"}
SEGMENT = re.compile(rb"\xff\xe1(..)" + re.escape(APP1), re.DOTALL)
LOST = 1 << 20  # bytes in which a JPEG is looked through whose segments do not follow on each other
GIF = b"!\xff\x0bXMP DataXMP"  # Part 3, section 1.1.2: the packet, and then bytes by which it is passed over
BY_PILLOW = {b"II+\0", b"MM\0+"}  # BigTIFF; and HEIF, AVIF and JPEG XL
ENTRIES = 4096  # of a directory of a TIFF


def embedded(picture: Path) -> bytes | None:
    """The packet of XMP in a picture, without its padding; None without one, or where none is looked for.

    Raises XmpError if it cannot be read whole, OSError if the file cannot be read.
    """
    with picture.open("rb") as file:
        try:
            found = _found(file)
        except (struct.error, zlib.error, EOFError, OverflowError) as error:
            raise XmpError(f"ends within what leads to its XMP ({error})") from error
    if found is None or not (found := without_padding(found)):
        return None
    if len(found) > LONGEST:
        raise XmpError(f"should have at most {LONGEST:,} bytes of XMP. Received: {len(found):,}")
    return found


def whole(picture: Path) -> bytes | None:
    """The same, if a sidecar may begin with it: None, too, if it says nothing.

    Raises XmpError, too, if it is no XMP, or goes on elsewhere.
    """
    found = embedded(picture)
    try:
        goes_on = found is not None and Packet(found).value(EXTENDED)
    except EmptyError:
        return None
    except XmpError as error:
        raise XmpError(f"has XMP within that {error}") from error
    if goes_on:
        raise XmpError("has XMP that goes on in other segments of the JPEG (Extended XMP), which are not joined here")
    return found


def _found(file: BinaryIO) -> bytes | None:
    head = file.read(32)
    if head.startswith(b"\xff\xd8"):
        return _of_jpeg(file)
    if head.startswith(PNG):
        return _of_png(file)
    if head[:4] in SIGNS:
        return _of_tiff(file, SIGNS[head[:4]])
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return next((_read(file, size) for kind, size in _of_riff(file) if kind == b"XMP "), None)
    if head[4:12] == b"ftypcrx ":
        return next((_read(file, size - 16) for size in _boxes(file) if _read(file, 16) == CR3), None)
    if head[:4] == b"GIF8":
        return _of_gif(file)
    return _by_pillow(file) if head[4:8] in (b"ftyp", b"JXL ") or head[:4] in BY_PILLOW else None


def _of_jpeg(file: BinaryIO) -> bytes | None:
    file.seek(2)
    while True:
        sign = file.read(1)
        if sign != b"\xff":  # the end of what there is, or a length before it was wrong
            lost = file.read(LOST)
            if not (found := SEGMENT.search(lost)):
                return None
            return lost[found.end() :][: struct.unpack(">H", found[1])[0] - 2 - len(APP1)]
        while (kind := file.read(1)) == b"\xff":  # fill
            continue
        if kind in (b"", b"\xda", b"\xd9"):
            return None
        (size,) = struct.unpack(">H", file.read(2))
        start = file.tell()
        if kind == b"\xe1" and file.read(len(APP1)) == APP1:
            return _read(file, size - 2 - len(APP1))
        file.seek(start + size - 2)


def _of_gif(file: BinaryIO) -> bytes | None:
    file.seek(0)
    _, sign, rest = file.read(2 * LONGEST).partition(GIF)
    return rest.partition(b"\x01\xff\xfe")[0] if sign else None


def _of_png(file: BinaryIO) -> bytes | None:
    """An iTXt, which may stand behind the pixels: exiftool puts it there."""
    file.seek(len(PNG))
    while len(head := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", head)
        start = file.tell()
        if kind == b"iTXt" and size <= LONGEST and file.read(len(TEXT)) == TEXT:
            rest = _read(file, size - len(TEXT))
            text = rest[2:].split(b"\0", 2)[-1]  # behind a language and a translated keyword
            return _inflated(text) if rest[:1] == b"\1" else text
        file.seek(start + size + 4)
    return None


def _inflated(data: bytes) -> bytes:
    return zlib.decompressobj().decompress(data, LONGEST + 1)


def _of_tiff(file: BinaryIO, order: str) -> bytes | None:
    """Tag 700 of the first directory."""
    file.seek(4)
    (at,) = struct.unpack(f"{order}I", file.read(4))
    file.seek(at)
    (count,) = struct.unpack(f"{order}H", file.read(2))
    for _ in range(min(count, ENTRIES)):
        tag, kind, size, at = struct.unpack(f"{order}HHII", file.read(12))
        if tag == TIFF_TAG and kind in TYPES and size > 4:
            file.seek(at)
            return _read(file, size)
    return None


def _of_riff(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    at = 12
    while True:
        file.seek(at)
        if len(head := file.read(8)) < 8:
            return
        kind, size = struct.unpack("<4sI", head)
        yield kind, size
        at += 8 + size + size % 2


def _boxes(file: BinaryIO) -> Iterator[int]:
    """The sizes of the uuid boxes of a file, at each of which it stands where its content begins."""
    at = 0
    while True:
        file.seek(at)
        if len(head := file.read(8)) < 8:
            return
        size, kind = struct.unpack(">I4s", head)
        more = 0
        if size == 1:
            (size,), more = struct.unpack(">Q", file.read(8)), 8
        if size < 8 + more:
            return
        if kind == b"uuid":
            yield size - 8 - more
        at += size


def _read(file: BinaryIO, size: int) -> bytes:
    """So many bytes. Raises XmpError if they are too many, EOFError if they are not there."""
    if size > LONGEST:
        raise XmpError(f"should have at most {LONGEST:,} bytes of XMP. Received: {size:,}")
    found = file.read(max(0, size))
    if len(found) < size:
        raise EOFError(f"{len(found):,} of {size:,} bytes are there")
    return found


def _by_pillow(file: BinaryIO) -> bytes | None:
    """What Pillow and its plug-ins find; None of what is no picture to them."""
    file.seek(0)
    try:
        with opened(file) as image:
            found = image.info.get("xmp")
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        raise XmpError(f"should be looked into for XMP by {name}, which is not installed") from error
    except Exception:  # plug-ins raise anything
        return None
    return found.encode("utf-8") if isinstance(found, str) else found
