"""Pictures as arrays: the one resize, patches, tiles, and chains of random changes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Real
from typing import Self

import numpy as np
from PIL import Image

from ku.arrays import mapmm
from ku.modes import as_image, as_uint8, opaque

Size = Real | Sequence[Real]  # (height, width), or one number for both; up to 1 a share, above it pixels

RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}


def _check_pixels(x: np.ndarray) -> None:
    if x.ndim not in (2, 3) or not x.size or not (x.dtype == np.uint8 or np.issubdtype(x.dtype, np.floating)):
        raise ValueError(f"x should be a uint8 or float array H x W (x C). Received: shape={x.shape}, dtype={x.dtype}")


def _by_channel(x: np.ndarray, change: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """`change` of a uint8 or float array H x W (x C); floats come back as float32.

    Bicubic and Lanczos overshoot at edges. As Pillow clips 8-bit pictures, floats are clipped to the first of
    these ranges that held them before: 0..1, 0..255, or that of their values and 0.
    """
    _check_pixels(x)
    if x.dtype == np.uint8 and (x.ndim == 2 or x.shape[2] == 3):
        return np.array(change(Image.fromarray(x)))
    if x.ndim == 3:
        return np.stack([_by_channel(x[..., c], change) for c in range(x.shape[2])], axis=-1)
    x = np.ascontiguousarray(x, dtype=np.float32)
    low, high = min(x.min(), 0), max(x.max(), 0)
    if low == 0 and high <= 255:
        high = 1 if high <= 1 else 255
    return np.clip(np.array(change(Image.fromarray(x))), low, high)


def resize_image(
    x: np.ndarray | Image.Image, size: Real | Sequence[int], resample: str = "lanczos"
) -> np.ndarray | Image.Image:
    """A picture at `size`, (height, width) or a number meaning a zoom, by one of Pillow's filters.

    The filters widen when they shrink, so nothing aliases but "nearest". A uint8 array H x W (x C) gives a uint8 array,
    a float array a float32 one, clipped to the range it came in: 0..1, 0..255, or that of its values and 0. A Pillow
    image gives a Pillow image, of mode L, LA, RGB or RGBA, see `ku.modes.as_image`: of others, palettes among them,
    Pillow would take the nearest pixel, or let values leave their range. A picture already of that size is not
    resampled.
    """
    if resample not in RESAMPLE:
        raise ValueError(f"resample should be one of {', '.join(RESAMPLE)}. Received: resample={resample!r}")
    is_image = isinstance(x, Image.Image)
    x = as_image(x) if is_image else np.asarray(x)
    if not is_image:
        _check_pixels(x)
    height, width = x.size[::-1] if is_image else x.shape[:2]
    if isinstance(size, Real):
        if not (size > 0 and math.isfinite(size)):
            raise ValueError(f"size should be a positive zoom or (height, width). Received: size={size}")
        to = max(1, round(height * size)), max(1, round(width * size))
    else:
        to = tuple(int(n) for n in size)
        if len(to) != 2 or min(to) < 1:
            raise ValueError(f"size should be a positive zoom or (height, width). Received: size={size}")

    def change(plane: Image.Image) -> Image.Image:
        return plane.resize(to[::-1], RESAMPLE[resample])

    if to == (height, width):
        return x if is_image or x.dtype == np.uint8 else x.astype(np.float32, copy=False)
    return change(x) if is_image else _by_channel(x, change)


def _pixels(size: Size, height: int, width: int, name: str) -> tuple[int, int]:
    """(height, width) in whole pixels of a size in a `height` x `width` picture; numbers to 1 are shares."""
    pair = (size, size) if isinstance(size, Real) else tuple(size)
    if len(pair) != 2 or not all(n > 0 and math.isfinite(n) for n in pair):
        raise ValueError(f"{name} should be positive, a number or (height, width). Received: {name}={size}")
    return tuple(max(1, round(n * whole if n <= 1 else n)) for n, whole in zip(pair, (height, width), strict=True))


def get_patch_dims(im: np.ndarray, patch_size: Size, patch_position: Sequence[float]) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a patch, for `im[top:bottom, left:right]`.

    `patch_position` is relative, (down, right): (0, 0) is the upper left patch, (1, 1) the lower right one.
    """
    height, width = im.shape[:2]
    h, w = _pixels(patch_size, height, width, "patch_size")
    if h > height or w > width:
        raise ValueError(f"patch_size should fit into {height} x {width}. Received: patch_size={patch_size}")
    if len(patch_position) != 2 or not all(0 <= p <= 1 for p in patch_position):
        raise ValueError(f"patch_position should be two shares. Received: patch_position={patch_position}")
    top, left = round((height - h) * patch_position[0]), round((width - w) * patch_position[1])
    return top, top + h, left, left + w


def extract_patch(im: np.ndarray, patch_size: Size, patch_position: Sequence[float]) -> np.ndarray:
    """A copy of the patch of that size at that relative position."""
    top, bottom, left, right = get_patch_dims(im, patch_size, patch_position)
    return im[top:bottom, left:right].copy()


def get_random_patch_dims(
    im: np.ndarray,
    patch_size: Size = (224, 224),
    border: Size = (0, 0),
    *,
    rng: np.random.Generator | None = None,
) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a random patch, `border` pixels (below 1: a share) or more inside."""
    rng = np.random.default_rng() if rng is None else rng
    height, width = im.shape[:2]
    h, w = _pixels(patch_size, height, width, "patch_size")
    pair = (border, border) if isinstance(border, Real) else border
    above, beside = (math.ceil(n * whole if n < 1 else n) for n, whole in zip(pair, (height, width), strict=True))
    if min(above, beside) < 0 or h > height - 2 * above or w > width - 2 * beside:
        raise ValueError(
            f"patch_size should fit inside the borders of {height} x {width}. "
            f"Received: patch_size={patch_size}, border={border}"
        )
    top = int(rng.integers(above, height - above - h, endpoint=True))
    left = int(rng.integers(beside, width - beside - w, endpoint=True))
    return top, top + h, left, left + w


def extract_random_patch(
    im: np.ndarray,
    patch_size: Size = (224, 224),
    border: Size = (0, 0),
    *,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """A copy of a patch from anywhere inside the border; see `get_random_patch_dims`."""
    top, bottom, left, right = get_random_patch_dims(im, patch_size, border, rng=rng)
    return im[top:bottom, left:right].copy()


def cropout_patch(
    im: np.ndarray, patch_size: Size, patch_position: Sequence[float] = (0.5, 0.5), fill_val: float = 0
) -> np.ndarray:
    """A copy of the picture with a patch painted over in `fill_val` (a number, or one a channel)."""
    top, bottom, left, right = get_patch_dims(im, patch_size, patch_position)
    im = im.copy()
    im[top:bottom, left:right] = fill_val
    return im


def cropout_random_patch(
    im: np.ndarray,
    patch_size: Size = (224, 224),
    border: Size = (0, 0),
    fill_val: float = 0,
    *,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """A copy of the picture with a patch anywhere inside the border painted over in `fill_val`."""
    top, bottom, left, right = get_random_patch_dims(im, patch_size, border, rng=rng)
    im = im.copy()
    im[top:bottom, left:right] = fill_val
    return im


def largest_rotated_rect(w: float, h: float, angle: float) -> tuple[float, float]:
    """(width, height) of the largest upright rectangle in a w x h one rotated by `angle`, in radians."""
    if w <= 0 or h <= 0:
        return 0.0, 0.0
    sin, cos = abs(math.sin(angle)), abs(math.cos(angle))
    long, short = max(w, h), min(w, h)
    # Either two corners touch the long sides, anywhere along them, or all four touch a side each.
    if short <= 2 * sin * cos * long or abs(sin - cos) < 1e-10:
        half = short / 2
        return (half / sin, half / cos) if w >= h else (half / cos, half / sin)
    double = cos * cos - sin * sin
    return (w * cos - h * sin) / double, (h * cos - w * sin) / double


def _edges(im: np.ndarray, tiles: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Where the rows and the columns of tiles begin and end."""
    rows, cols = tiles
    if not (1 <= rows <= im.shape[0] and 1 <= cols <= im.shape[1]):
        raise ValueError(f"tiles should be (rows, cols) of at least a pixel each. Received: tiles={tiles}")
    return np.arange(rows + 1) * im.shape[0] // rows, np.arange(cols + 1) * im.shape[1] // cols


def image_to_tiles(im: np.ndarray, tiles: Sequence[int]) -> list[np.ndarray]:
    """The (rows, cols) tiles of a picture, row by row; where it does not divide, sides differ by a pixel."""
    down, across = _edges(im, tiles)
    return [im[top:bottom, left:right] for top, bottom in pairwise(down) for left, right in pairwise(across)]


def tiles_to_image(tiles_list: Sequence[np.ndarray], tiles: Sequence[int]) -> np.ndarray:
    """The picture that `image_to_tiles` cut into (rows, cols) tiles."""
    rows, cols = tiles
    if len(tiles_list) != rows * cols:
        raise ValueError(f"tiles should be (rows, cols) of {len(tiles_list)} tiles. Received: tiles={tiles}")
    return np.concatenate([np.concatenate(tiles_list[i * cols : (i + 1) * cols], axis=1) for i in range(rows)])


def _shuffled(pieces: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """The tiles in random order, each in a place of its own shape, so that they still fit together."""
    places: dict[tuple[int, ...], list[int]] = {}
    for i, piece in enumerate(pieces):
        places.setdefault(piece.shape, []).append(i)
    order = np.empty(len(pieces), dtype=int)
    for same in places.values():
        order[same] = rng.permutation(same)
    return [pieces[i] for i in order]


def imshuffle(im: np.ndarray, tiles: Sequence[int], *, rng: np.random.Generator | None = None) -> np.ndarray:
    """The picture with its (rows, cols) tiles in random order; every pixel is kept."""
    rng = np.random.default_rng() if rng is None else rng
    return tiles_to_image(_shuffled(image_to_tiles(im, tiles), rng), tiles)


def imshuffle_pair(
    im1: np.ndarray,
    im2: np.ndarray,
    tiles: Sequence[int],
    ratio: float = 0.5,
    flip: bool = False,
    *,
    rng: np.random.Generator | None = None,
) -> np.ndarray:
    """Tiles of two pictures of one shape in random order: a share `ratio` from `im1`, the rest from `im2`.

    With `flip` each tile is mirrored left to right or not, at random.
    """
    if im1.shape != im2.shape or not 0 <= ratio <= 1:
        raise ValueError(
            "im1 and im2 should have one shape, and ratio be a share. "
            f"Received: im1.shape={im1.shape}, im2.shape={im2.shape}, ratio={ratio}"
        )
    rng = np.random.default_rng() if rng is None else rng
    pairs = list(zip(image_to_tiles(im1, tiles), image_to_tiles(im2, tiles), strict=True))
    from_im1 = rng.permutation(len(pairs)) < round(ratio * len(pairs))
    pieces = [a if first else b for (a, b), first in zip(pairs, from_im1, strict=True)]
    if flip:
        pieces = [piece[:, ::-1] if rng.random() < 0.5 else piece for piece in pieces]
    return tiles_to_image(_shuffled(pieces, rng), tiles)


class ImageAugmenter:
    """A chain of changes to one picture: `ImageAugmenter(im, rng=rng).rotate(5).crop(224).fliplr().result`.

    image: a uint8 or float array H x W (x C), which is copied, uint8 stays uint8; or a Pillow image of any mode, taken
        as grey where it is L, else as the RGB that a viewer shows.
    remap: first stretch its values to 0..255, as uint8.
    verbose: print each step and the shape it gives.
    rng: where chance comes from.
    """

    def __init__(
        self,
        image: np.ndarray | Image.Image,
        remap: bool = False,
        verbose: bool = False,
        *,
        rng: np.random.Generator | None = None,
    ):
        image = np.array(opaque(image) if isinstance(image, Image.Image) else image)
        self.result: np.ndarray = as_uint8(mapmm(image, (0, 255))) if remap else image
        self.verbose = verbose
        self.rng = np.random.default_rng() if rng is None else rng
        # (height, width) of the centred part that rotations have filled; a plain crop starts afresh.
        self._clean = self._size

    @property
    def result_image(self) -> Image.Image:
        """The result as a Pillow image."""
        return as_image(self.result)

    @property
    def _size(self) -> tuple[int, int]:
        return self.result.shape[:2]

    def _step(self, result: np.ndarray, name: str, clean: tuple[float, float] | None = None) -> Self:
        self.result = result
        self._clean = self._size if clean is None else clean
        if self.verbose:
            print(f"{name} -> {result.shape}")
        return self

    def rotate(self, angle: float, random: bool = True) -> Self:
        """Rotate by `angle` degrees anticlockwise (random: -angle..angle); the size stays, corners go 0."""
        if random:
            angle = self.rng.uniform(-abs(angle), abs(angle))
        height, width = self._clean_within(2)  # bicubic
        w, h = largest_rotated_rect(width, height, math.radians(angle))
        clean = min(h, self._size[0]), min(w, self._size[1])
        result = _by_channel(self.result, lambda plane: plane.rotate(angle, Image.Resampling.BICUBIC))
        return self._step(result, f"rotate {angle:.2f}", clean)

    def crop(self, crop_size: Size, crop_pos: Sequence[float] | None = None, clip_rotation: bool = False) -> Self:
        """Cut out a patch at a relative position (None: anywhere).

        With `clip_rotation` it comes from the largest centred part without the empty corners of rotations.
        """
        im = self.result
        if clip_rotation:
            # Margins alike on opposite sides keep the part centred where the picture was rotated.
            down, across = (math.ceil((n - part) / 2 - 1e-6) for n, part in zip(self._size, self._clean, strict=True))
            im = im[down : im.shape[0] - down, across : im.shape[1] - across]
        if crop_pos is None:
            patch = extract_random_patch(im, crop_size, rng=self.rng)
        else:
            patch = extract_patch(im, crop_size, crop_pos)
        return self._step(patch, "crop")

    def cropout(self, crop_size: Size, crop_pos: Sequence[float] | None = None, fill_val: float = 0) -> Self:
        """Paint over a patch at a relative position (None: anywhere)."""
        if crop_pos is None:
            result = cropout_random_patch(self.result, crop_size, fill_val=fill_val, rng=self.rng)
        else:
            result = cropout_patch(self.result, crop_size, crop_pos, fill_val)
        return self._step(result, "cropout", self._clean)

    def fliplr(self, do: bool | None = None) -> Self:
        """Mirror left to right (None: in half of all cases)."""
        do = self.rng.random() < 0.5 if do is None else do
        return self._step(self.result[:, ::-1].copy() if do else self.result, f"fliplr {do}", self._clean)

    def rescale(self, target: Size, proportion: float = 1, min_dim: bool = False) -> Self:
        """Scale, keeping the aspect ratio, to fit into `target` x `proportion` (min_dim: to cover it)."""
        height, width = self._size
        h, w = _pixels(target, height, width, "target")
        zoom = proportion * (max if min_dim else min)(h / height, w / width)
        return self._resized(zoom, "rescale")

    def resize(self, size: Size, ensure_min: bool = False, fit_frame: bool = False) -> Self:
        """Resize to `size` exactly, or keep the aspect ratio.

        ensure_min: only enlarge, and only as far as needed for both sides to reach `size`.
        fit_frame: to the largest picture that fits into `size`.
        """
        if ensure_min and fit_frame:
            raise ValueError("ensure_min and fit_frame exclude each other. Received: ensure_min=True, fit_frame=True")
        height, width = self._size
        h, w = _pixels(size, height, width, "size")
        if ensure_min:
            return self._resized(max(1, h / height, w / width), "resize")
        if fit_frame:
            return self._resized(min(h / height, w / width), "resize")
        return self._resized((h, w), "resize")

    def _resized(self, size: float | tuple[int, int], name: str) -> Self:
        before, result = self._size, resize_image(self.result, size)
        ratios = [new / old for new, old in zip(result.shape[:2], before, strict=True)]
        clean = self._clean_within(3 * max(1, *(1 / ratio for ratio in ratios)))  # Lanczos
        return self._step(result, name, tuple(n * ratio for n, ratio in zip(clean, ratios, strict=True)))

    def _clean_within(self, reach: float) -> tuple[float, float]:
        """The clean part without the pixels that a filter of that reach mixes with what lies outside."""
        if self._clean == self._size:
            return self._size
        return tuple(max(0, n - 2 * reach) for n in self._clean)
