"""Which pictures are to be scored: lists, folders, globs and files, as the paths of pictures in order."""

import glob
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path

from koniq.ground import InputError, first_few
from koniq.ground.log import LOG
from koniq.ground.urls import Remote, is_url, public
from koniq.pictures import stores
from koniq.pictures.faults import is_machine, said, stopped
from koniq.pictures.listed import Input, InShard, Joined, Listed, Named, Pictures
from koniq.pictures.shards import Shard
from ku.files import shown
from ku.opening import ENDINGS, is_picture

# Folders of systems and of other programs, beside those whose names begin with a dot: thumbnails, and what was thrown
# away. Of Synology and QNAP, of Windows, of Linux, of the Macintosh's archives.
OF_SYSTEMS = {"@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found", "__macosx"}


@dataclass(frozen=True)
class Inputs(Sequence[Path]):
    """The pictures to score, in order; as a sequence, their paths."""

    pictures: Sequence[Input]
    places: tuple[Path | Remote, ...] = ()  # the folders that were given: if one goes away, so do its pictures
    excluded: tuple[str, ...] = ()  # what lies in them and was left out: hidden, of a system, or as it was asked for
    shard: Shard | None = None  # that these are
    shard_of: "Inputs | None" = None  # the pictures that it is of

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, number: int) -> Path:
        return self.pictures[number].path

    def summary(self, named: bool = False) -> str:
        """How many there are, and how many were left out. named: these, too, a line each."""
        text = f"{len(self):,} pictures"
        if self.shard:
            text += f", shard {self.shard} of {len(self.whole):,}"
        if not self.excluded:
            return text
        text += f"; {len(self.excluded):,} left out: hidden, a system's, or excluded"
        return "\n  ".join([text, *map(shown, self.excluded)]) if named else f"{text} (--list-excluded names them)"

    @property
    def in_store(self) -> bool:
        """Whether they lie in a store, told by the folders and by the first of them."""
        return any(isinstance(place, Remote) for place in self.places) or is_url(self.whole.pictures[0].name)

    @property
    def roots(self) -> list[str]:
        """The folders that image_path starts from, absolute, and addresses of stores."""
        pictures = self.pictures
        folders = pictures.folders if isinstance(pictures, Pictures) else (item.folder for item in pictures)
        return [str(folder.resolve()) for folder in dict.fromkeys(folders)]

    @property
    def whole(self) -> "Inputs":
        """The pictures that these are a shard of; these themselves, if they are none."""
        return self.shard_of or self

    def part(self, shard: Shard) -> "Inputs":
        """Those of a shard, perhaps none."""
        return replace(self, pictures=InShard(self.pictures, shard), shard=shard, shard_of=self)

    def out(self, out: str, of_all: str) -> str:
        """The file to write: `out`, or, where that is `of_all`, as nothing else was asked for, one of the shard."""
        return str(self.shard.beside(Path(out))) if self.shard and out == of_all else out


@dataclass
class Found:
    """What is in a folder, as paths from there."""

    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # no pictures
    excluded: list[str] = field(default_factory=list)  # a folder stands for all that is in it


def of(sources: Sequence[str], images: str = "", exclude: Sequence[str] = (), shard: str = "") -> Inputs:
    """The pictures that `sources` mean.

    A source is a list (.csv with the column image_path, relative to `images`, or else to the roots in the JSON beside
    it, as koniq.reports.selection writes one, or else to the folder `lsc21-image` beside it, or else to its own), a
    folder (see `pictures_in`; named from there, or, if there are other sources, with the folder), a glob, or a single
    file; or one of these in a store, by its address (see koniq.pictures.stores). A path in a list or a single file need
    not exist: that it is missing is a result. exclude: globs of what is to be left out of folders and globs, see
    `is_excluded`. shard: such as "3/8", the pictures of that part alone, perhaps none. Raises InputError if there is
    nothing to score, or no such shard.
    """
    part = Shard.read(shard) if shard else None
    found: list[Pictures] = []
    places: list[Path] = []
    excluded: list[str] = []
    here = Path()
    for source in sources:
        path = Path(source)
        if is_url(source):
            meant = stores.meant(source, lambda name: _is_out_below(name, exclude), alone=len(sources) == 1)
            listed = meant.table and Listed(meant.table, images or meant.folder.url)
            found.append(listed or Named(meant.names, meant.folder))
            excluded += map(public, meant.excluded)
            places.append(meant.folder)
        elif path.is_dir():
            folder, prefix = (path, "") if len(sources) == 1 else (here, f"{source.rstrip('/')}/")
            inside = pictures_in(path, exclude)
            found.append(Named(inside.pictures, folder, prefix))
            excluded += [f"{source.rstrip('/')}/{name}" for name in inside.excluded]
            places.append(path)
        elif path.suffix.lower() == ".csv":
            found.append(Listed(path, images))
            places.append(found[-1].folders[0])
        elif glob.has_magic(source) and not path.exists():
            names = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  Path.glob takes no absolute pattern
            if not names:
                raise InputError(f"A glob should match pictures. Received: {source!r}, which matches nothing")
            said = {*path.parts}  # what the glob itself names is not hidden
            out = {
                name for name in names if is_excluded(name, exclude) or any(map(_is_hidden, {*Path(name).parts} - said))
            }
            found.append(Named([name for name in names if name not in out], here))
            excluded += sorted(out)
            places.append(Path(*takewhile(lambda part: not glob.has_magic(part), path.parts)))
        else:
            found.append(Named([source], here))
    pictures = found[0] if len(found) == 1 else Joined(found)
    if not pictures:
        raise InputError(
            "pictures should name a list (.csv), a folder, a glob or a file. "
            f"Received: {f'{len(excluded):,}, all of them left out' if excluded else 'nothing'}"
        )
    inputs = Inputs(pictures, tuple(dict.fromkeys(places)), tuple(excluded))
    return inputs.part(part) if part else inputs


def is_excluded(name: str, exclude: Sequence[str] = ()) -> bool:
    """Whether a path is left out by one of the globs `exclude`: of the whole, of its file, or of a folder on its way.

    In "drafts/*" the star stands for slashes, too; upper and lower case differ.
    """
    parts = name.replace(os.sep, "/").split("/")
    return any(fnmatchcase(part, glob) for glob in exclude for part in ("/".join(parts), *parts))


def _is_out_below(name: str, exclude: Sequence[str]) -> bool:
    """Whether a path below a folder is left out, or a folder on its way is."""
    parts = name.split("/")
    ways = ("/".join(parts[:count]) for count in range(1, len(parts) + 1))
    return any(map(_is_hidden, parts)) or (bool(exclude) and any(is_excluded(way, exclude) for way in ways))


def _is_hidden(name: str) -> bool:
    """Whether a file or folder is not for people: its name begins with a dot, as AppleDouble's ._x.jpg, or says so."""
    return name.startswith(".") or name.casefold() in OF_SYSTEMS


def pictures_in(folder: Path, exclude: Sequence[str] = ()) -> Found:
    """What is to be scored in a folder and the folders in it, links followed, each file named from there, sorted.

    That is everything with the ending of a picture, whatever it turns out to be (a folder called x.jpg is one), and
    every other file that is one of a format of photographs. So is a folder within that may not be read. Left out are
    hidden files and folders, those of systems, and what `exclude` names. The number of files that are no pictures is
    printed. Raises InputError if nothing is left.
    """
    found, closed, seen = Found(), [], set()

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
        for names in (files, folders):
            out = [name for name in names if _is_hidden(name) or is_excluded(named(at, name), exclude)]
            found.excluded += [named(at, name) for name in out]
            names[:] = sorted(set(names) - set(out))
        for name in (*files, *(name for name in folders if _ending(name) in ENDINGS)):
            is_one = _ending(name) in ENDINGS or _is_picture(f"{at}/{name}")
            (found.pictures if is_one else found.others).append(named(at, name))
    found.pictures += [named(path, "") for path in closed]  # a row each: what is in them is not scored
    if found.others:
        number, some = len(found.others), first_few(map(shown, found.others))
        LOG.info(f"{number:,} other files in {folder} are no pictures ({some})")
    if not found.pictures:
        left_out = f", and {len(found.excluded):,} left out" if found.excluded else ""
        raise InputError(
            f"The folder {folder} should hold pictures. Received: {len(found.others):,} files, none a picture{left_out}"
        )
    found.pictures.sort()
    found.excluded.sort()
    return found


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def _is_picture(path: str) -> bool:
    """Whether a file without the ending of a picture is one."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
            return False
        return is_picture(path)
    except OSError as error:
        if is_machine(error):
            raise stopped(path, said(error)) from error
        return False
