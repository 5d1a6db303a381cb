"""Which pictures are to be scored: lists, folders, globs and files, as the paths of pictures in order."""

import glob
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from koniq.ground import InputError, first_few, tables
from koniq.ground.facts import facts, placed
from koniq.ground.log import LOG
from koniq.pictures.faults import is_machine, said, stopped
from ku.files import shown

# Of pictures that Pillow does not read; they have rows, too, and these say so.
OTHER_ENDINGS = {".heic", ".heif", ".hif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf"}


class Input(NamedTuple):
    """A picture to score: what it is called, and where it is."""

    name: str  # image_path, as the CSV has it
    folder: Path  # that the name starts from

    @property
    def path(self) -> Path:
        """Its path, made when it is asked for, as paths take more than names."""
        return tables.place(self.name, self.folder)


@dataclass(frozen=True)
class Inputs(Sequence[Path]):
    """The pictures to score, in order; as a sequence, their paths."""

    pictures: list[Input]
    places: tuple[Path, ...] = ()  # the folders that were given: if one goes away, so do its pictures

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> Path:
        return self.pictures[number].path

    @property
    def roots(self) -> list[str]:
        """The folders that image_path starts from, absolute."""
        return [str(folder.resolve()) for folder in dict.fromkeys(item.folder for item in self.pictures)]


def of(sources: Sequence[str], images: str = "") -> Inputs:
    """The pictures that `sources` mean.

    A source is a list (.csv with the column image_path, relative to `images`, or else to the roots in the JSON beside
    it, as koniq.reports.selection writes one, or else to the folder `lsc21-image` beside it, or else to its own), a
    folder (see `pictures_in`; named from there, or, if there are other sources, with the folder), a glob, or a single
    file. A path in a list or a single file need not exist: that it is missing is a result. Raises InputError if there
    is nothing to score.
    """
    found: list[Input] = []
    places: list[Path] = []
    here = Path()
    for source in sources:
        path = Path(source)
        if path.is_dir():
            folder, prefix = (path, "") if len(sources) == 1 else (here, f"{source.rstrip('/')}/")
            found += [Input(prefix + name, folder) for name in pictures_in(path)]
            places.append(path)
        elif path.suffix.lower() == ".csv":
            found += (listed := _listed(path, images))
            places.append(listed[0].folder)
        elif glob.has_magic(source) and not path.exists():
            names = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  Path.glob takes no absolute pattern
            if not names:
                raise InputError(f"A glob should match pictures. Received: {source!r}, which matches nothing")
            found += [Input(name, here) for name in names]
            places.append(Path(*takewhile(lambda part: not glob.has_magic(part), path.parts)))
        else:
            found.append(Input(source, here))
    if not found:
        raise InputError("pictures should name a list (.csv), a folder, a glob or a file. Received: nothing")
    return Inputs(found, tuple(dict.fromkeys(places)))


def pictures_in(folder: Path) -> list[str]:
    """What is to be scored in a folder and the folders in it, links followed, each file named from there, sorted.

    That is everything with the ending of a picture, whatever it turns out to be (a folder called x.jpg is one), and
    every other file that Pillow takes for a picture. So is a folder within that may not be read. The number of
    files that are no pictures is printed. Raises InputError if nothing is left.
    """
    endings = OTHER_ENDINGS | Image.registered_extensions().keys()
    found, others, closed, seen = [], [], [], set()

    def named(at: str, name: str) -> str:
        below = os.path.relpath(at, folder)
        return name if below == "." else f"{below}/{name}".replace(os.sep, "/")

    def failed(error: OSError) -> None:
        if is_machine(error):
            raise stopped(error.filename, said(error)) from error
        closed.append(error.filename)

    for at, folders, files in os.walk(folder, followlinks=True, onerror=failed):
        status = os.stat(at)  # noqa: PTH116  Path is slow, and this is for every file of a life
        # Some file systems number no files: all folders would be one.
        place = (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(at)
        if place in seen:  # a link in a circle, or a second way to the same folder
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        for name in (*files, *(name for name in folders if _ending(name) in endings)):
            kind = found if _ending(name) in endings or _is_picture(f"{at}/{name}") else others
            kind.append(named(at, name))
    found += [named(path, "") for path in closed]  # a row each: what is in them is not scored
    if others:
        LOG.info(f"{len(others):,} other files in {folder} are no pictures ({first_few(map(shown, others))})")
    if not found:
        raise InputError(f"The folder {folder} should hold pictures. Received: {len(others):,} files, none a picture")
    return sorted(found)


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def _is_picture(path: str) -> bool:
    """Whether Pillow takes a file without the ending of a picture for one."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            return False
        with Image.open(path):
            return True
    except Image.DecompressionBombError:
        return True
    except Exception as error:  # Pillow's plugins raise anything
        if is_machine(error):
            raise stopped(path, said(error)) from error
        return False


def _listed(table: Path, images: str) -> list[Input]:
    if not table.is_file():
        raise InputError(
            f"The list of pictures should be {table}, which is not there. Name a list, a folder or a picture instead; "
            "the LSC'21 lifelog itself is given out by its organisers under a signed agreement."
        )
    listed = tables.read(table, any_bytes=True)
    if "image_path" not in listed or listed.empty:
        raise InputError(
            f"{table} should have the column image_path and rows. Received: {', '.join(listed)}; {len(listed)} rows"
        )
    beside = table.parent / "lsc21-image"
    folder = Path(images) if images else beside if beside.is_dir() else table.parent
    roots = [] if images else facts(table).get("roots", [])
    if not roots:
        return [Input(name, folder) for name in listed.image_path]
    found = (placed(name, [*roots, str(folder)]) or (name, roots[0]) for name in listed.image_path)
    folders = {root: Path(root) for root in (*roots, str(folder))}
    return [Input(name, folders[root]) for name, root in found]
