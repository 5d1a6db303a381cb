"""What is done with files everywhere: hashed, or written whole or not at all."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pandas as pd

from koniq.ground.paths import user_cache
from ku.files import atomic_path


def file_hash(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """A table as CSV, whole or not at all."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)


def write_json(content: object, path: Path, **how: object) -> None:
    """Something as JSON that people can read, whole or not at all. how: of json.dumps."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, **how) + "\n", encoding="utf-8")


def cache_place(stem: str, about: Mapping[str, object]) -> Path | None:
    """Where an answer is kept in the user's cache, by a hash of what it depends on; None where a user has no home."""
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    with suppress(RuntimeError):
        return user_cache() / f"{stem}-{key}.json"
    return None


def keep(content: object, path: Path | None) -> None:
    """Write an answer to its `cache_place`; where nothing may be written it is asked for every time."""
    with suppress(OSError):
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(content, path)


def digest_of(path: Path, like: str) -> str:
    """The hash of a file, of the same kind as `like` and written as it is ("sha256:...")."""
    kind = like.partition(":")[0]
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"
