"""When a photograph was taken, as the EXIF of its file says it."""

import re
from datetime import datetime, timedelta
from pathlib import Path

from PIL import Image

from ku import opening

IFD = 0x8769  # where EXIF proper begins
ORIGINAL, OFFSET, FRACTION = 0x9003, 0x9011, 0x9291  # DateTimeOriginal, OffsetTimeOriginal, SubSecTimeOriginal
WRITTEN = re.compile(r"\s*(\d{4})[:\-/](\d\d)[:\-/](\d\d)[ T](\d\d):(\d\d):(\d\d)")
ZONE = re.compile(r"\s*([+-]\d\d:?\d\d|Z)")
YEARS = range(1900, 2100)


def taken_at(path: Path) -> tuple[datetime, bool] | None:
    """When the picture at `path` was taken, on the clock of its camera, and whether that says how far it is from UTC.

    None where nothing says so: no EXIF, a date that no calendar has, no picture, or none that can be read. No more
    than the headers of the file are read; of RAW those that are a TIFF's.
    """
    try:
        with opening.opened(path, mends=False) as picture:
            return of_exif(picture.getexif())
    except Exception:  # Pillow's plug-ins raise anything on a broken file; it says nothing then
        return None


def of_exif(tags: Image.Exif) -> tuple[datetime, bool] | None:
    """The same of EXIF that was read."""
    own = tags.get_ifd(IFD)
    written = WRITTEN.match(_text(own.get(ORIGINAL)))
    if not written:
        return None
    try:
        time = datetime(*map(int, written.groups()))
    except ValueError:  # 0000:00:00, of a camera whose clock was never set
        return None
    if time.year not in YEARS:
        return None
    fraction = re.match(r"\s*(\d+)", _text(own.get(FRACTION)))
    time += timedelta(milliseconds=int(fraction[1].ljust(3, "0")[:3])) if fraction else timedelta()
    return time, bool(ZONE.match(_text(own.get(OFFSET))))


def _text(value: object) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
