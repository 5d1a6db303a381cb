"""The JSON beside a table of scores: what these depend on, and where the pictures lie that its rows name."""

import json
from collections.abc import Iterable
from pathlib import Path

from koniq.ground import tables
from koniq.ground.errors import InputError


def facts_path(out: Path) -> Path:
    """The JSON beside a CSV of scores that says what they depend on."""
    return out.with_name(out.name + ".json")


def facts(out: Path) -> dict:
    """What the scores of a CSV depend on: model, weights, network, input_size, resize, engine, precision, roots, ...

    {} if nothing beside the CSV says so.
    """
    path = facts_path(out)
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except ValueError as error:
        raise InputError(f"{path} should be JSON that lifelog_predict.py wrote. Received: {error}") from error


def locate(image_path: str, roots: Iterable[str]) -> Path | None:
    """The picture that a CSV calls `image_path`, in the first of the folders `roots` that has it; None if none has."""
    found = placed(image_path, roots)
    return found and Path(found[1], found[0])


def placed(image_path: str, roots: Iterable[str]) -> tuple[str, str] | None:
    """The same as the file's own name, from that folder on, and the folder."""
    for root in roots:
        for name in tables.spellings(image_path):
            try:
                if Path(root, name).is_file():
                    return name, root
            except (OSError, ValueError):  # a name that no file can have
                continue
    return None
