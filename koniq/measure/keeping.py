"""What is kept in the record beside weights and holds for these alone: the map of their scores to MOS, intervals."""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from koniq.ground import InputError
from koniq.ground.typed import command
from koniq.network import Network, sidecar
from koniq.network.sidecar import FOR
from koniq.network.spec import FORMER

Found = TypeVar("Found")


def put(path: Path, key: str, facts: Mapping[str, object], network: Network, digest: str) -> None:
    """Keep `facts` under `key` in the record beside the weights at `path`, of which `digest` is the SHA-256.

    They hold for these weights, and for pictures that get to them as to `network`.
    """
    record = sidecar.record(path) or network.record()
    sidecar.write(path, record | {key: {**facts, FOR: {"weights": [digest], **network.seen()}}})


def forget(path: Path, key: str) -> bool:
    """Take `key` out of the record beside the weights at `path`. Returns whether it was there."""
    record = sidecar.record(path)
    found = record.pop(key, None)
    if found:
        sidecar.write(path, record)
    return bool(found)


def find(
    path: Path, key: str, network: Network, digest: str, made: Callable[[dict], Found], without: str
) -> tuple[Found | None, str]:
    """What `made` makes of the facts under `key` beside the weights at `path`, and why it is not for what is scored.

    The second is "" where it is for the weights of which `digest` is the SHA-256 and for pictures as `network` takes
    them; the first is None where nothing is kept. without: the option that does without. Raises InputError if what is
    there cannot be read.
    """
    found = sidecar.record(path).get(key)
    if not found:
        return None, ""
    try:
        found, now = dict(found), FORMER | network.seen()
        holds_for = FORMER | found.pop(FOR)
        several = holds_for["rules"]
        if isinstance(several, list) and now["rules"] in several:  # as was found of pictures that are alike by them
            holds_for["rules"] = now["rules"]
        files, was = holds_for["weights"], {name: holds_for[name] for name in now}
        kept = made(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{key} in {sidecar.record_path(path)} should be what `{command('calibrate')}` writes. "
            f"Received: {error!r}. Calibrate again, or give {without}"
        ) from error
    if digest not in files:
        return kept, f"made for other weights than {path.name} holds now"
    if was == now:
        return kept, ""
    told = {"input_size", "resize", *(name for name in now if was[name] != now[name])}
    return kept, "made for pictures of {}, not of {}".format(*(_said(facts, told) for facts in (was, now)))


def converted(record: Mapping[str, object], before: str, after: str) -> dict:
    """The record of weights that were converted: what holds for the file with the SHA-256 `before`, for `after`, too.

    Both, because files that differ in their endings only have one record.
    """

    def carried(entry: object) -> object:
        files = entry[FOR]["weights"] if isinstance(entry, Mapping) and FOR in entry else []
        if before not in files or after in files:
            return entry
        return {**entry, FOR: {**entry[FOR], "weights": [*files, after]}}

    return {key: carried(entry) for key, entry in record.items()}


def _said(facts: Mapping, told: Collection[str]) -> str:
    """How pictures got to the network, as a person reads it: 384x512 (lanczos, rules 1)."""
    more = "".join(f", {name} {facts[name]}" for name in FORMER if name in told)
    return f"{'x'.join(map(str, facts['input_size']))} ({facts['resize']}{more})"
