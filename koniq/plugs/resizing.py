"""Pillow's filters as matrices: what resizes a picture by two products of matrices, and so has gradients."""

from functools import lru_cache

import numpy as np

from koniq.network.spec import Resize


def _triangle(x: np.ndarray) -> np.ndarray:
    return (1 - abs(x)).clip(0)


def _cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Keys's kernel. Source: Keys, Cubic convolution interpolation for digital image processing, 1981."""
    x = abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


def _box(x: np.ndarray) -> np.ndarray:
    return np.where((x > -0.5) & (x <= 0.5), 1.0, 0.0)


FILTERS = {"bilinear": _triangle, "bicubic": _cubic, "lanczos": _lanczos, "box": _box}


@lru_cache(maxsize=16)
def matrix(before: int, after: int, resize: Resize) -> np.ndarray:
    """What a side of `before` pixels is multiplied by to have `after`: float32 (after, before), rows that sum to 1.

    The filter widens when it shrinks a picture, as Pillow's do, so that nothing aliases but "nearest".
    """
    scale = before / after
    if resize == "nearest":  # Pillow adds up, and where a place is between two pixels its rounding decides
        places = np.cumsum([scale / 2, *[scale] * (after - 1)]).astype(int)
        return np.eye(before, dtype=np.float32)[places]
    centres = (np.arange(after) + 0.5) * scale
    places = np.arange(before) + 0.5
    weights = FILTERS[resize]((places - centres[:, None]) / max(scale, 1.0))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
