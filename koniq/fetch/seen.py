"""Hashes of files whose hosts state none, kept when a file was first seen and checked, in a JSON in its folder."""

import json
from pathlib import Path

from koniq.ground import InputError
from koniq.ground.files import write_json
from koniq.ground.log import LOG
from koniq.ground.typed import command


def place(path: Path) -> Path:
    """Where the hashes of the files of a folder are kept: {name: "sha256:..."}."""
    return path.with_name("fetched_hashes.json")


def digest(path: Path) -> str:
    """The hash ("sha256:...") that the file at `path` had when it was first seen; "" if none is kept.

    Raises InputError if what is kept cannot be read.
    """
    return _kept(path).get(path.name, "")


def keep(path: Path, found: str) -> None:
    """Keep the hash of a file that was checked, whole or not at all."""
    if (kept := _kept(path)).get(path.name) != found:
        write_json({**kept, path.name: found}, place(path), sort_keys=True)


def tell_if_replaced(path: Path, found: str) -> None:
    """Print it if the file at `path`, whose hash is `found` now, is not the one that was first seen there."""
    if (was := digest(path)) not in ("", found):
        LOG.info(
            f"{path} is another file than the one that was fetched: it has {found}, and {place(path)} says {was}. "
            "If it was replaced on purpose, take its line out there."
        )


def _kept(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(place(path).read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in kept.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"{place(path)} should hold the hashes that {command('fetch')} keeps. Received: {error}. Move it away."
        ) from error
