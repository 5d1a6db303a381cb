"""Lifelogs: which pictures to score, and the CSV of their scores."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from PIL import Image

from koniq.errors import InputError
from koniq.prediction import Score
from koniq.report import write_csv


def inputs(sources: Sequence[str], images: str = "") -> pd.DataFrame:
    """The pictures that `sources` mean, in order: image_path (as the CSV shall name it) and path (where it lies).

    A source is a list (.csv with the column image_path, relative to `images`, or else to the folder `lsc21-image`
    beside the list, or else to the list's own), a folder (its pictures, also in folders within, named from there), a
    glob, or a single file. A path in a list or a single file need not exist: that it is missing is a result.
    Raises InputError if there is nothing to score.
    """
    found: list[tuple[str, Path]] = []
    for source in sources:
        path = Path(source)
        if path.suffix.lower() == ".csv":
            found += _listed(path, images)
        elif path.is_dir():
            endings = Image.registered_extensions()
            pictures = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in endings]
            if not pictures:
                raise InputError(f"The folder {path} should hold pictures. Received: none with an ending Pillow knows")
            found += [(file.relative_to(path).as_posix(), file) for file in pictures]
        elif glob.has_magic(source) and not path.exists():
            names = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  Path.glob takes no absolute pattern
            if not names:
                raise InputError(f"A glob should match pictures. Received: {source!r}, which matches nothing")
            found += [(name, Path(name)) for name in names]
        else:
            found.append((source, path))
    if not found:
        raise InputError("pictures should name a list (.csv), a folder, a glob or a file. Received: nothing")
    return pd.DataFrame(found, columns=["image_path", "path"])


def _listed(table: Path, images: str) -> list[tuple[str, Path]]:
    if not table.is_file():
        raise InputError(
            f"The list of pictures should be {table}, which is not there. Name a list, a folder or a picture instead; "
            "the LSC'21 lifelog itself is given out by its organisers under a signed agreement."
        )
    listed = pd.read_csv(table, dtype=str, keep_default_na=False)
    if "image_path" not in listed or listed.empty:
        raise InputError(
            f"{table} should have the column image_path and rows. Received: {', '.join(listed)}; {len(listed)} rows"
        )
    beside = table.parent / "lsc21-image"
    folder = Path(images) if images else beside if beside.is_dir() else table.parent
    return [(name, folder / name) for name in listed.image_path]


def write(pictures: pd.DataFrame, scores: Iterable[Score], out: Path) -> pd.DataFrame:
    """Write the CSV of `inputs`' pictures and their scores: image_path, MOS, status, width, height, error.

    Every picture has a row; one without a score has an empty MOS and the reason. Prints what came out.
    """
    scores = list(scores)
    table = pd.DataFrame(
        {
            "image_path": pictures.image_path,
            "MOS": [score.mos for score in scores],
            "status": [score.status for score in scores],
            "width": [score.width for score in scores],
            "height": [score.height for score in scores],
            "error": [score.error for score in scores],
        }
    )
    write_csv(table, out)
    if len(table) <= 10:
        for row in table.itertuples():
            print(f"{row.image_path}: {row.error or format(row.MOS, '.2f')}")
    counts = ", ".join(f"{count:,} {status}" for status, count in table.status.value_counts().items())
    print(f"{out}: {len(table):,} rows ({counts}); mean MOS {table.MOS.mean():.2f}, sd {table.MOS.std(ddof=0):.2f}")
    return table
