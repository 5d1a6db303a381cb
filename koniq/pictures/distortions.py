"""Known distortions of photographs, each with a strength: what a score of quality should fall with.

`STEPS` has five strengths of each kind, from none (of `jpeg`: nearly none) to strong. Lengths are in pixels of the
picture that is given, grey levels those of 0..255.
"""

import io
from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from koniq.ground import InputError
from ku.modes import as_uint8

STEPS = MappingProxyType(
    {
        "blur": (0, 1, 2, 4, 8),  # the standard deviation of a Gaussian, pixels
        "jpeg": (95, 40, 20, 10, 5),  # Pillow's quality
        "noise": (0, 10, 25, 50, 80),  # the standard deviation of white Gaussian noise in each channel, grey levels
        "darken": (1, 1.6, 2.4, 3.5, 5),  # gamma: 255 (value / 255) ^ gamma
        "brighten": (1, 1.6, 2.4, 3.5, 5),  # its inverse: 255 (value / 255) ^ (1 / gamma)
        "rescale": (1, 2, 4, 8, 12),  # by how much it is scaled down before it is scaled up again, Lanczos both ways
    }
)


def distorted(pixels: np.ndarray, kind: str, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A picture, uint8 (height, width, 3), with one distortion; one of no strength returns it as it is.

    kind: of STEPS. strength: between its steps as well, and beyond the strongest. rng: what noise is drawn from; the
    other kinds draw nothing. The same arguments give the same bytes with the same NumPy, SciPy and Pillow.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InputError(f"pixels should be uint8 (height, width, 3). Received: {pixels.dtype} {pixels.shape}")
    if kind not in STEPS:
        raise InputError(f"kind should be one of {', '.join(STEPS)}. Received: kind={kind!r}")
    lowest, highest = (1, 100) if kind == "jpeg" else (STEPS[kind][0], float("inf"))
    if not lowest <= strength <= highest:
        raise InputError(f"strength of {kind} should be {lowest} to {highest}. Received: strength={strength}")
    if kind != "jpeg" and strength == lowest:
        return pixels
    return _DISTORTIONS[kind](pixels, strength, rng)


def _blurred(pixels: np.ndarray, sigma: float, rng) -> np.ndarray:
    return as_uint8(gaussian_filter(pixels.astype(np.float32), (sigma, sigma, 0), mode="nearest"))


def _jpeg(pixels: np.ndarray, quality: float, rng) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=round(quality))
    return np.asarray(Image.open(buffer))


def _noisy(pixels: np.ndarray, sd: float, rng: np.random.Generator) -> np.ndarray:
    return as_uint8(pixels + np.float32(sd) * rng.standard_normal(pixels.shape, np.float32))


def _to_the_power(pixels: np.ndarray, power: float) -> np.ndarray:
    return as_uint8(255 * (np.arange(256) / 255) ** power)[pixels]


def _rescaled(pixels: np.ndarray, factor: float, rng) -> np.ndarray:
    height, width = pixels.shape[:2]
    small = max(1, round(width / factor)), max(1, round(height / factor))
    picture = Image.fromarray(pixels).resize(small, Image.Resampling.LANCZOS)
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


_DISTORTIONS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "blur": _blurred,
    "jpeg": _jpeg,
    "noise": _noisy,
    "darken": lambda pixels, gamma, rng: _to_the_power(pixels, gamma),
    "brighten": lambda pixels, gamma, rng: _to_the_power(pixels, 1 / gamma),
    "rescale": _rescaled,
}
