"""Where the sidecar of a picture lies, and what rating programs keep for it.

Two ways to name one are in use: IMG.ext.xmp (darktable, digiKam, immich), and IMG.xmp (Lightroom, of RAW alone), which
a RAW picture and a JPEG of one name would share.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from koniq.xmp.embedded import embedded
from koniq.xmp.packets import LONGEST, RATING, Packet, XmpError
from ku import raw

ENDINGS = (".xmp", ".XMP")
RAW = frozenset(raw.ENDINGS.split())


def sidecar(picture: Path) -> Path:
    """Where the sidecar of a picture is, or would be: IMG.ext.xmp; IMG.xmp where that is there, and it is RAW."""
    if found := _there(picture.name, picture):
        return found
    if is_raw(picture) and (found := _there(picture.stem, picture)):
        return found
    return picture.with_name(f"{picture.name}.xmp")


def shared(picture: Path) -> Path | None:
    """The IMG.xmp of a picture that is not RAW, if there is one and no RAW picture of that name beside it."""
    if is_raw(picture) or not (found := _there(picture.stem, picture)):
        return None
    endings = (ending for lower in sorted(RAW) for ending in (lower, lower.upper()))
    return None if any(picture.with_suffix(ending).exists() for ending in endings) else found


def is_raw(picture: Path) -> bool:
    """Whether a picture is RAW, by its ending."""
    return picture.suffix.lower() in RAW


def read(path: Path) -> bytes:
    """What is in a sidecar. Raises XmpError if it is too long for one, OSError if it cannot be read."""
    with path.open("rb") as file:
        data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise XmpError(f"should have at most {LONGEST:,} bytes")
    return data


def rating(picture: Path) -> int | None:
    """The xmp:Rating of a picture: -1 (rejected), 0 (unrated), 1 to 5 stars; None if it has none.

    It is that of IMG.ext.xmp, else of IMG.xmp, else of the XMP within the picture; what cannot be read has none. One
    with a fraction is rounded, and one that is none of these is none.
    """
    for packet in _packets(Path(picture)):
        if (found := rating_of(packet)) is not None:
            return found
    return None


def rating_of(packet: Packet) -> int | None:
    """The xmp:Rating of a packet, see `rating`."""
    with suppress(ValueError):
        value = float(packet.value(RATING) or "nan")
        if math.isfinite(value) and -1 <= (found := math.floor(value + 0.5)) <= 5:
            return found
    return None


def _packets(picture: Path) -> Iterator[Packet]:
    """The XMP of a picture, what programs ask first before the others."""
    for stem in (picture.name, picture.stem):
        if path := _there(stem, picture):
            with suppress(XmpError, OSError):
                yield Packet(read(path))
    with suppress(XmpError, OSError):
        if (data := embedded(picture)) is not None:
            yield Packet(data)


def _there(stem: str, picture: Path) -> Path | None:
    paths = (picture.with_name(f"{stem}{ending}") for ending in ENDINGS)
    return next((path for path in paths if path.is_file()), None)
