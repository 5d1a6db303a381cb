"""Room for pictures in memory: how many are open at a time, and how many bytes they may take together."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

# Bytes that a pixel takes at most between its file and the network, measured with Pillow 13.
USUAL = 8  # the picture as it is stored and as RGB, 4 bytes a pixel each
# Grey of more than 8 bits goes through float32; these formats are decoded outside of the picture, and copied into it.
DEEP, DEEP_FORMATS = 20, {"JPEG2000", "WEBP", "AVIF", "HEIF", "JXL", "RAW"}


class Room:
    """What threads share that decode pictures: `most` bytes of memory, the files that a process may have open.

    A picture that needs more than there is in all gets all, when nobody else has any.
    """

    def __init__(self, most: int):
        self.most = most
        self._changed = threading.Condition()
        self._taken = 0  # bytes
        self._open = 0  # pictures
        self._alone = False

    @contextmanager
    def entered(self, alone: bool = False) -> Iterator[None]:
        """For as long as a picture is open. alone: wait until no other is, and keep others out."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not (alone and self._open))
            self._open += 1
            self._alone = alone
        try:
            yield
        finally:
            with self._changed:
                self._open -= 1
                self._alone = False
                self._changed.notify_all()

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """For as long as `size` bytes are in use; waits until there are as many. Not to be asked for twice in one."""
        size = min(size, self.most)
        with self._changed:
            self._changed.wait_for(lambda: self._taken + size <= self.most)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


def size_in_memory(picture: Image.Image) -> int:
    """The bytes that it takes to decode a picture of which no more than the header was read."""
    deep = picture.mode == "F" or picture.mode.startswith("I") or picture.format in DEEP_FORMATS
    return picture.width * picture.height * (DEEP if deep else USUAL) + _coefficients(picture)


def _coefficients(picture: Image.Image) -> int:
    """The bytes that libjpeg holds of a progressive JPEG until its last scan is read, however small it is made."""
    if "progressive" not in picture.info or not (parts := getattr(picture, "layer", None)):
        return 0
    width, height = getattr(picture, "full_size", picture.size)
    most = max(part[1] for part in parts) * max(part[2] for part in parts)
    return round(width * height * 2 * sum(part[1] * part[2] for part in parts) / most)


# What may be decoded of a picture, as much as Pillow decodes by itself: so many small ones at a time, or that one.
MEGAPIXELS = 179
ROOM = Room(MEGAPIXELS * 1_000_000 * USUAL)
