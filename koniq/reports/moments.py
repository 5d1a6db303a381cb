"""Pictures of one moment: taken within seconds of one another, or alike to a perceptual hash."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import pandas as pd

from koniq.data import linked
from koniq.ground import InputError, threads
from koniq.ground.built import install
from koniq.ground.facts import locate

AT_ONCE = 1 << 24  # pairs of hashes that are in memory at a time


def check(gap: float, near: int) -> None:
    """Raise InputError unless `bursts` may be asked for such, and what hashes pictures is there if it is needed."""
    if not gap >= 0:
        raise InputError(f"gap should be 0 seconds or more. Received: gap={gap}")
    if not -1 <= near <= 16:
        raise InputError(f"near should be 0 to 16 bits, or -1 for no hashes. Received: near={near}")
    if near >= 0 and not find_spec("imagehash"):
        raise InputError(
            f"ImageHash should be installed to find pictures that look alike: {install('culling')}. Or give --near -1, "
            "to go by times alone"
        )


def bursts(image_path: pd.Series, time: pd.Series, roots: Sequence[str], gap: float, near: int) -> np.ndarray:
    """Of each picture which moment it is of: int (pictures,), 0, 1, ...

    Of one moment are two pictures within `gap` seconds of one another, two whose hashes differ in `near` of 64 bits at
    most, and whatever is of one moment with either. time: NaT of a picture that has none. roots: the folders that
    image_path starts from; what is in none is not hashed. near: -1 leaves hashes out, and no picture is opened.
    """
    pairs = [within(time, gap)]
    if near >= 0:
        pairs.append(alike(hashes(image_path, roots), near))
    return linked.parts(len(image_path), *map(np.concatenate, zip(*pairs, strict=True)))


def within(time: pd.Series, gap: float) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of neighbours in time that are `gap` seconds apart at most: first and second, rows."""
    there = np.flatnonzero(time.notna())
    milliseconds = time.to_numpy("datetime64[ms]")[there].astype(np.int64)
    order = np.argsort(milliseconds, kind="stable")
    close = np.diff(milliseconds[order]) <= 1000 * gap
    return there[order[:-1][close]], there[order[1:][close]]


def hashes(image_path: pd.Series, roots: Sequence[str]) -> np.ma.MaskedArray:
    """The perceptual hash of each picture: uint64 (pictures,), masked where a picture cannot be read."""
    from koniq.pictures.in_imagehash import hash_of  # optional

    def work(name: str) -> np.uint64 | None:
        return hash_of(locate(name, roots))

    found = [*threads.each(None, work, image_path.tolist(), title="hashing")]
    return np.ma.array([value or 0 for value in found], np.uint64, mask=[value is None for value in found])


def alike(hashes: np.ma.MaskedArray, near: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of pictures whose hashes differ in `near` bits at most: first and second, rows."""
    there = np.flatnonzero(~np.ma.getmaskarray(hashes))
    bits = hashes.data[there]
    block = max(1, AT_ONCE // max(1, len(bits)))
    found = [(np.empty(0, int), np.empty(0, int))]
    for start in range(0, len(bits), block):
        differ = np.bitwise_count(bits[start : start + block, None] ^ bits[None, start:])
        first, second = np.nonzero(np.triu(differ <= near, 1))
        found.append((there[first + start], there[second + start]))
    first, second = map(np.concatenate, zip(*found, strict=True))
    return first, second
