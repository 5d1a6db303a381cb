"""What a log of `koniq.xmp.tagging` tells put back: the last change first, and only where nobody changed it since."""

import base64
import json
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from koniq.ground import InputError
from koniq.xmp import sidecars
from koniq.xmp.packets import Edit, Packet, XmpError, inverse
from koniq.xmp.tagging import digest
from ku.files import atomic_path

FIELDS = {"sidecar", "before", "after"}


@dataclass
class Undone:
    """How many sidecars were `removed`, `restored`, or are as before (`already`); and what could not be, a sentence."""

    counts: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def undo(log: Path) -> Undone:
    """Put back what the log tells, and leave in it what could not be; the log is removed if there is nothing of that.

    Raises InputError if it is no such log.
    """
    lines = _lines(log)
    undone, left, odd = Undone(), [], {}
    for line in reversed(lines):
        path = Path(line["sidecar"])
        try:
            undone.counts[_back(path, line)] += 1
        except (XmpError, OSError) as error:
            left.append(line)
            odd.setdefault(path, str(error) if isinstance(error, XmpError) else f"stays: {error.strerror or error}")
    undone.problems = [f"{path} {why}." for path, why in odd.items()]
    if left:
        with atomic_path(log) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in reversed(left)), encoding="ascii")
    else:
        log.unlink()
    return undone


def _back(path: Path, line: dict) -> str:
    """Undo a change. Raises XmpError if the sidecar is not as it was left."""
    now = sidecars.read(path) if path.exists() else None
    if line["before"] == (None if now is None else digest(now)):
        return "already"
    if now is None or digest(now) != line["after"]:
        raise XmpError(f"was {'removed' if now is None else 'changed'} since, and is left as it is")
    if line["before"] is None:
        path.unlink()
        return "removed"
    edits = [Edit(start, *map(base64.b64decode, parts)) for start, *parts in line["edits"]]
    before = Packet(now).changed(inverse(edits))
    if digest(before) != line["before"]:
        raise XmpError("does not come out as it was, and is left as it is")
    with atomic_path(path) as temporary:
        temporary.write_bytes(before)
        shutil.copymode(path, temporary)
    return "restored"


def _lines(log: Path) -> list[dict]:
    if not log.is_file():
        raise InputError(f"The log of koniq tag should be at {log}, and is not there.")
    texts = log.read_text(encoding="utf-8", errors="replace").splitlines()
    lines = []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
            if not (isinstance(line, dict) and {*line} >= FIELDS and line["sidecar"].lower().endswith(".xmp")):
                raise ValueError(text)
        except (ValueError, AttributeError) as error:
            if number == len(texts) > 1:  # it was being written when the run was killed: nothing was changed by it
                continue
            raise InputError(f"{log} should be a log of koniq tag. Received: {text[:80]!r} in line {number}") from error
        lines.append(line)
    return lines
