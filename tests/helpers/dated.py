"""Photographs whose EXIF says when they were taken."""

from pathlib import Path

import numpy as np
from PIL import Image

MAKE, EXIF, ORIGINAL, OFFSET, FRACTION = 0x010F, 0x8769, 0x9003, 0x9011, 0x9291


def photograph(
    path: Path, time: str | bytes = "", offset: str = "", fraction: str = "", pixels: np.ndarray | None = None
) -> Path:
    """A picture at `path`, grey if there are no pixels, with what is given of its time in its EXIF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[MAKE] = "a camera"
    exif[EXIF] = {tag: text for tag, text in ((ORIGINAL, time), (OFFSET, offset), (FRACTION, fraction)) if text}
    written = Image.Exif()
    written.load(exif.tobytes())  # as it is once it was read, which of a TIFF is the one that Pillow writes
    picture = Image.new("RGB", (64, 48), "grey") if pixels is None else Image.fromarray(pixels)
    picture.save(path, exif=written)
    return path
