"""Whether the pixels of a file are all there, and files whose pixels are, though something else in them is not.

Pillow says neither: libjpeg fills what is missing with grey, and a PNG whose text is too long does not open at all.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

END = b"\xff\xd9"  # of a JPEG: EOI
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # what ends a scan: ITU-T T.81, B.1.1
START_OF_SCAN, ALONE = 0xDA, {0x01, *range(0xD0, 0xD9)}  # of a JPEG; markers without a length
LITTLE = 0.01  # of the pixels: so many may be missing before the end marker of a file in which a bit was flipped
NOISE = bytes((37 * step + 11) % 251 for step in range(4096))  # no 255 in it, which would be a marker

PNG = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
NEEDED = {b"IHDR": 13, b"PLTE": 3, b"IDAT": 0}  # chunks of a PNG without which it is none: their least sizes
USEFUL = {b"tRNS": 1, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4, b"eXIf": 8}  # those that change what is seen
LARGEST_PROFILE = 32 << 20  # bytes, unpacked


def last_scan(data: bytes) -> tuple[int, bool]:
    """Where the last scan of a JPEG ends, and whether the end marker stands there."""
    at, end = 2, len(data)
    while 0 <= (at := data.find(b"\xff", at)) < len(data) - 1:
        kind = data[at + 1]
        if kind == END[1]:
            return at if end == len(data) else end, True
        if kind in ALONE or kind in (0x00, 0xFF):
            at += 1 if kind == 0xFF else 2
            continue
        after = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        if kind == START_OF_SCAN:
            found = MARKER.search(data, after)
            if not found:
                return len(data), False
            after = end = found.start()
        at = after
    return end, False


def may_lack_its_end(pixels: Image.Image, progressive: bool) -> bool:
    """Whether a JPEG that was decoded may have been cut: its last corner is the grey that libjpeg fills with.

    Of a progressive one nothing shows, for all of it is there, if roughly.
    """
    if progressive:
        return True
    width, height = pixels.size
    corner = np.asarray(pixels.crop((max(width - 8, 0), max(height - 8, 0), width, height)))
    return bool((np.ptp(corner, axis=(0, 1)) == 0).all() and (abs(corner.astype(int) - 128) <= 1).all())


def missing(data: bytes, pixels: Image.Image, decoded: Callable[[BytesIO], Image.Image]) -> float:
    """The share of the pixels of a JPEG that its file does not have, and that libjpeg made up.

    They are those that change when noise stands after what is there, and those below them, where the noise has ended.
    data: the file, with an end marker. pixels: what `decoded` makes of it, which is asked once more.
    """
    end, _ = last_scan(data)
    try:
        noisy = decoded(BytesIO(b"".join((data[:end], NOISE, data[end:]))))
    except OSError:  # which the noise is read for, and makes no sense
        return 1.0
    (width, height), changed, last = pixels.size, 0, None
    rows = max((1 << 20) // width, 1)
    for top in range(0, height, rows):  # an array of all of a huge one may not fit
        box = (0, top, width, min(top + rows, height))
        differs = (np.asarray(noisy.crop(box)) != np.asarray(pixels.crop(box))).reshape(box[3] - top, width, -1)
        differs = differs.any(axis=2)
        if differs.any():
            changed, last = changed + np.count_nonzero(differs), top + np.flatnonzero(differs.any(axis=1))[-1]
    return 0.0 if last is None else changed / (width * height) + (height - 1 - last) / height


def mended_png(data: bytes) -> tuple[BytesIO, bytes | None]:
    """A PNG of those chunks that its pixels need, and of those that matter to them and are whole; and its profile."""
    parts, profile, at = [PNG], None, len(PNG)
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind == b"IEND":
            break
        body, whole = data[at + 8 : at + 8 + size], data[at : at + 12 + size]
        least = (NEEDED | USEFUL).get(kind)
        if (kind in NEEDED and (body or not size)) or (least is not None and size >= least and len(whole) == size + 12):
            parts.append(whole)
        elif kind == b"iCCP":
            profile = _unpacked(body)
        at += 12 + size
    if at <= len(data):  # else the last of them is cut
        parts.append(PNG_END)
    return BytesIO(b"".join(parts)), profile


def _unpacked(body: bytes) -> bytes | None:
    """The profile in an iCCP chunk; None if it is broken, or larger than any."""
    _, _, packed = body.partition(b"\0")
    try:
        profile = zlib.decompressobj().decompress(packed[1:], LARGEST_PROFILE)
    except zlib.error:
        return None
    return profile if len(profile) < LARGEST_PROFILE else None


def cicp_of(data: bytes) -> tuple[int, ...] | None:
    """The four codes of the cICP chunk among the first bytes of a PNG, of which Pillow does not tell."""
    at = len(PNG)
    while at + 8 <= len(data) and (kind := data[at + 4 : at + 8]) != b"IDAT":
        size = int.from_bytes(data[at : at + 4])
        if kind == b"cICP" and size == 4 and at + 12 <= len(data):
            return tuple(data[at + 8 : at + 12])
        at += 12 + size
    return None
