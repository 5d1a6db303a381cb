"""Perceptual hashes of pictures, by ImageHash (optional): alike where pictures look alike."""

from pathlib import Path

import imagehash
import numpy as np

from koniq.pictures.decoding import thumbnail

BITS = 64  # of a hash
SMALL = 128  # pixels, of the longer side of what is hashed: 32 x 32 are looked at


def hash_of(path: Path | None) -> np.uint64 | None:
    """The perceptual hash (pHash: the signs of 64 low frequencies) of the picture at `path`, upright and in sRGB.

    None if there is no picture, or none that can be read.
    """
    try:
        bits = imagehash.phash(thumbnail(path, SMALL)).hash if path else None
    except Exception:  # Pillow's plug-ins raise anything on a broken file; it is like no other picture then
        return None
    return None if bits is None else np.packbits(bits.ravel()).view(">u8")[0].astype(np.uint64)
