"""Pictures gathered in a folder, by links or as copies; the originals stay where they are, and as they are."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from koniq.ground import InputError, RunStopped
from koniq.ground.facts import locate
from koniq.ground.text import shortened
from ku.files import atomic_folder


def check(folder: Path) -> None:
    """Raise InputError unless pictures may be gathered in `folder`: a new or empty one."""
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise InputError(f"A folder to gather pictures in should be new or empty. Received: {folder}")


def gather(names: Sequence[str], roots: Sequence[str], folder: Path, copies: bool) -> int:
    """Put the pictures that a table calls `names` into `folder`, by links, or as `copies`. Returns how many are there.

    The folder appears whole or not at all. Names that collide are made distinct, whatever their capitals. roots: the
    folders that the names start from. Raises InputError if no picture is at hand, RunStopped if the disk fails.
    """
    check(folder)
    found = [path for path in (locate(name, roots) for name in names) if path]
    if names and not found:
        raise InputError(
            f"Pictures to gather should be where the table says, or in --images. Received: {shortened(names[0])}, "
            "which is not there"
        )
    try:
        with atomic_folder(folder, durable=False) as temporary:
            for path, name in zip(found, distinct(path.name for path in found), strict=True):
                if copies:
                    shutil.copy2(path, temporary / name)
                else:
                    (temporary / name).symlink_to(path.absolute())
    except OSError as error:
        instead = "" if copies else " Where a disk or Windows has no links, --copies takes copies."
        raise RunStopped(f"The pictures were not gathered in {folder}: {error}.{instead}") from error
    return len(found)


def distinct(names: Iterable[str]) -> list[str]:
    """Names of files, each once: the second a.jpg, or A.JPG, is a_2.jpg."""
    taken: set[str] = set()
    given = []
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        stem, suffix = (stem, dot + suffix) if stem else (name, "")
        number, own = 1, name
        while own.casefold() in taken:
            number += 1
            own = f"{stem}_{number}{suffix}"
        taken.add(own.casefold())
        given.append(own)
    return given
