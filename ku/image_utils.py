"""Pictures as files: decode, read, write, list, show, and work through folders of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from numbers import Real
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from ku.arrays import minmax
from ku.containers import chunks, force_list
from ku.decoding import decode_image
from ku.files import atomic_path
from ku.hdf5 import H5Helper
from ku.image_augmenter import RESAMPLE, ImageAugmenter, resize_image
from ku.modes import as_image, opaque
from ku.names import ShortNameBuilder
from ku.opening import Source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "RESAMPLE",
    "ImageAugmenter",
    "augment_folder",
    "check_images",
    "decode_image",
    "glob_images",
    "imv",
    "read_image",
    "read_image_batch",
    "resize_folder",
    "resize_image",
    "save_images_to_h5",
    "view_stack",
    "write_image",
]

IMAGE_TYPES = ("jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp", "gif")

log = logging.getLogger(__name__)


def read_image(path: Source, image_size: Real | Sequence[int] = 1) -> np.ndarray:
    """The picture as float32 H x W x 3 of 0..255, at `image_size`: (height, width), or a zoom."""
    return np.asarray(resize_image(decode_image(path), image_size), dtype=np.float32)


def read_image_batch(
    paths: Source | Sequence[Source],
    image_size: Real | Sequence[int] | None = None,
    as_list: bool = False,
) -> np.ndarray | list[np.ndarray]:
    """The pictures as one uint8 array N x H x W x 3, at `image_size` if given, or as a list of them."""
    size = 1 if image_size is None else image_size
    images = [np.asarray(resize_image(decode_image(path), size)) for path in force_list(paths)]
    if as_list:
        return images
    if len(shapes := {image.shape for image in images}) != 1:
        raise ValueError(
            "paths should be of pictures of one size, unless image_size or as_list is given. "
            f"Received: shapes={sorted(shapes)}"
        )
    return np.stack(images)


def write_image(
    arr: np.ndarray | Image.Image, dst_path: str | PathLike, fmt: str = "jpg", *, quality: int = 95
) -> None:
    """Write an array of 0..255 or a Pillow image in the format of the path's suffix, or else of `fmt`.

    The file holds 8-bit grey or RGB, whatever the mode of the image: what a viewer shows of it, alpha over white.
    quality: 0-100, of the lossy formats.
    """
    formats = Image.registered_extensions()
    kind = formats.get(Path(dst_path).suffix.lower()) or formats.get("." + fmt.lower().lstrip("."))
    if kind not in Image.SAVE:
        raise ValueError(f"fmt should be a format Pillow writes. Received: fmt={fmt!r}, dst_path={dst_path}")
    with atomic_path(dst_path, durable=False) as temporary:  # one of thousands, as a rule
        opaque(arr).save(temporary, format=kind, quality=quality)


def glob_images(
    image_path: str | PathLike,
    verbose: bool = False,
    split: bool = False,
    image_types: Iterable[str] = IMAGE_TYPES,
) -> list[str] | tuple[list[str], list[str]]:
    """The sorted paths of the pictures in a folder, or in whatever a pattern matches ("day*/", "**/*.jpg").

    Sub-folders count only where a pattern names them. `image_types` are suffixes, in either case.
    With `split`: (folders, names), two lists side by side.
    """
    suffixes = {"." + kind.lstrip("*.").lower() for kind in image_types}
    path = Path(image_path)
    if path.exists():
        found = [path]
    elif any(magic in str(path) for magic in "*?["):
        root = Path(path.anchor)
        found = root.glob(str(path.relative_to(root)))
    else:
        raise FileNotFoundError(f"image_path should be a folder or a pattern. Received: image_path={image_path}")
    files = {file for p in found for file in (p.iterdir() if p.is_dir() else [p])}
    paths = sorted(str(file) for file in files if file.suffix.lower() in suffixes and file.is_file())
    if verbose:
        print(f"{len(paths)} pictures in {image_path}")
    if split:
        return [str(Path(p).parent) for p in paths], [Path(p).name for p in paths]
    return paths


def _attempt(work: Callable[[str], Any], path: str) -> tuple[Any, bool]:
    """(`work(path)`, True), or (None, False) and a line in the log: one bad picture does not end a run."""
    try:
        return work(path), True
    except Exception as error:
        log.warning("%s: %s: %s", path, type(error).__name__, error)
        return None, False


def _claim(name: str, taken: set[str]) -> str:
    if name in taken:
        raise ValueError(f"Pictures of one run should not share a name. Received: name={name}")
    taken.add(name)
    return name


def check_images(image_dir: str | PathLike, image_types: Iterable[str] = IMAGE_TYPES) -> tuple[list[str], list[str]]:
    """Decode every picture of a folder: (the names of those that fail, all names)."""
    paths = glob_images(image_dir, image_types=image_types)
    failed = [p for p in tqdm(paths, desc="check", disable=None) if not _attempt(decode_image, p)[1]]
    return [Path(path).name for path in failed], [Path(path).name for path in paths]


def resize_folder(
    path_src: str | PathLike,
    path_dst: str | PathLike,
    image_size_dst: Real | Sequence[int] | None = None,
    overwrite: bool = False,
    format_dst: str = "jpg",
    process_fn: Callable[[np.ndarray], np.ndarray | Image.Image] | None = None,
    jpeg_quality: int = 95,
) -> list[str]:
    """Write every picture of a folder to another, resized, in `format_dst`; the names of those that failed.

    `process_fn` gets each picture as uint8 H x W x 3 before it is resized.
    Files already there are left as they are, unless `overwrite`.
    """
    taken: set[str] = set()

    def work(path: str) -> None:
        target = Path(path_dst, _claim(f"{Path(path).stem}.{format_dst}", taken))
        if target.exists() and not overwrite:
            return
        image = decode_image(path)
        if process_fn is not None:
            image = as_image(process_fn(np.array(image)))
        if image_size_dst is not None:
            image = resize_image(image, image_size_dst)
        write_image(image, target, format_dst, quality=jpeg_quality)

    paths = tqdm(glob_images(path_src), desc="resize", disable=None)
    return [Path(path).name for path in paths if not _attempt(work, path)[1]]


def save_images_to_h5(
    image_path: str | PathLike,
    h5_path: str | PathLike,
    overwrite: bool = False,
    batch_size: int = 32,
    image_size_dst: Real | Sequence[int] | None = None,
) -> list[str]:
    """Write the pictures of a folder to HDF5, uint8 H x W x 3, under their file names; the names that failed.

    An existing file gains the pictures that it lacks; with `overwrite` it is written anew. Where a pattern
    matches two pictures of one name, the second one fails.
    `batch_size` pictures are decoded at a time, in threads.
    """
    size = 1 if image_size_dst is None else image_size_dst

    def work(path: str) -> np.ndarray:
        return np.asarray(resize_image(decode_image(path), size))

    failed = []
    add = Path(h5_path).exists() and not overwrite
    with (
        nullcontext(h5_path) if add else atomic_path(h5_path) as target,
        H5Helper(target, "a") as h5,
        ThreadPoolExecutor() as pool,
    ):
        there = set(h5.dataset_names)
        paths = [path for path in glob_images(image_path) if Path(path).name not in there]
        for batch in tqdm(list(chunks(paths, batch_size)), desc="to HDF5", disable=None):
            images = {}
            for path, (image, ok) in zip(batch, pool.map(partial(_attempt, work), batch), strict=True):
                name = Path(path).name
                if ok and name not in there:
                    there.add(name)
                    images[name] = image
                else:
                    failed.append(name)
            h5.write_data(list(images.values()), list(images))
    return failed


def augment_folder(
    path_src: str | PathLike,
    path_dst: str | PathLike,
    process_gen: Callable[[], Iterable[tuple[Callable[..., np.ndarray | Image.Image], Mapping[str, Any]]]],
    format_dst: str = "jpg",
    overwrite: bool = False,
    verbose: bool = True,
    simulate: bool = False,
    file_list: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Write variants of every picture of a folder, or of those in `file_list`, and return a table of them.

    For each picture `process_gen()` yields (fn, arguments); `fn(image, **arguments)` gets uint8 H x W x 3 and
    returns an array of 0..255 or a Pillow image. Variants of the same arguments share a folder named by them.
    Files already there are left as they are, unless `overwrite`; `simulate` writes nothing.

    Columns: image_name (of the source), image_path (of the variant, inside `path_dst`), one an argument.
    Pictures that failed have no rows; `table.attrs["failed"]` names them.
    """
    paths = glob_images(path_src) if file_list is None else [str(Path(path_src, n)) for n in file_list]
    taken: set[str] = set()

    def work(path: str) -> list[dict[str, Any]]:
        rows = []
        image = None if simulate else decode_image(path)
        for fn, arguments in process_gen():
            folder = ShortNameBuilder(max_len=64)(**arguments) if arguments else ""
            image_path = _claim(Path(folder, f"{Path(path).stem}.{format_dst}").as_posix(), taken)
            target = Path(path_dst, image_path)
            if not simulate and (overwrite or not target.exists()):
                write_image(fn(np.array(image), **arguments), target, format_dst)
            rows.append({"image_name": Path(path).name, "image_path": image_path, **arguments})
        return rows

    done = [_attempt(work, path) for path in tqdm(paths, desc="augment", disable=None if verbose else True)]
    rows = [row for rows, ok in done if ok for row in rows]
    table = pd.DataFrame(rows, columns=None if rows else ["image_name", "image_path"])
    table.attrs["failed"] = [Path(path).name for path, (_, ok) in zip(paths, done, strict=True) if not ok]
    return table


def imv(im: np.ndarray | Image.Image, remap: bool = True, figsize: Sequence[float] | None = None, **kw) -> Figure:
    """Draw one picture. remap: stretch its values over the whole range; else they are taken as 0..255."""
    return view_stack([im], figsize, vrange="all" if remap else (0, 255), **kw)


def view_stack(
    ims: Sequence[np.ndarray | Image.Image],
    figsize: Sequence[float] | None = (20, 20),
    figshape: Sequence[int] | None = None,
    cmap: str = "gray",
    vrange: str | Sequence[float] = "all",
    **kw,
) -> Figure:
    """Draw pictures on a grid of `figshape`, (rows, columns), near square by default.

    vrange: the values drawn as black and white: (low, high), or the extremes of "all" or of "each" picture.
    kw: for matplotlib's `imshow`.
    """
    import matplotlib.pyplot as plt

    ims = [np.asarray(opaque(im) if isinstance(im, Image.Image) else im) for im in ims]
    if not ims:
        raise ValueError("ims should hold a picture or more. Received: ims=[]")
    columns = math.ceil(math.sqrt(len(ims)))
    rows, columns = figshape or (math.ceil(len(ims) / columns), columns)
    if rows * columns < len(ims):
        raise ValueError(f"figshape should hold {len(ims)} pictures. Received: figshape={figshape}")
    if isinstance(vrange, str) and vrange not in ("all", "each"):
        raise ValueError(f"vrange should be 'all', 'each' or (low, high). Received: vrange={vrange!r}")
    if vrange == "all":
        vrange = minmax([minmax(im) for im in ims])
    figure, axes = plt.subplots(rows, columns, figsize=figsize, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, im in zip(axes.flat, ims, strict=False):
        low, high = (float(v) for v in (minmax(im) if vrange == "each" else vrange))
        unit = np.clip((im - low) / ((high - low) or 1), 0, 1)
        axis.imshow(unit, **{"cmap": cmap, "vmin": 0, "vmax": 1, **kw})
    figure.tight_layout()
    return figure
