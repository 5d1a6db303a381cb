"""What is kept in the record beside weights and holds for these alone: the map of their scores to MOS, intervals."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from koniq.ground import InputError
from koniq.ground.typed import command
from koniq.network import Network, sidecar

Found = TypeVar("Found")
FOR = "for"  # of what is kept: the weights, and the size and the resize of the pictures, that it was made with


def put(path: Path, key: str, facts: Mapping[str, object], network: Network, digest: str) -> None:
    """Keep `facts` under `key` in the record beside the weights at `path`, of which `digest` is the SHA-256.

    They hold for these weights, and for pictures of the size and the resize of `network`.
    """
    entry = {**facts, FOR: {"weights": [digest], **_pictures(network)}}
    sidecar.write_record(path, sidecar.network_of(path), **sidecar.record(path) | {key: entry})


def forget(path: Path, key: str) -> bool:
    """Take `key` out of the record beside the weights at `path`. Returns whether it was there."""
    record = sidecar.record(path)
    found = record.pop(key, None)
    if found:
        sidecar.write_record(path, sidecar.network_of(path), **record)
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
        found, now = dict(found), _pictures(network)
        holds_for = found.pop(FOR)
        files, was = holds_for["weights"], {name: holds_for[name] for name in now}
        kept = made(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{key} in {sidecar.record_path(path)} should be what `{command('calibrate')}` writes. "
            f"Received: {error!r}. Calibrate again, or give {without}"
        ) from error
    if digest not in files:
        return kept, f"made for other weights than {path.name} holds now"
    return kept, "" if was == now else f"made for pictures of {_size(was)}, not of {_size(now)}"


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


def _pictures(network: Network) -> dict:
    return {"input_size": list(network.input_size), "resize": network.resize}


def _size(facts: Mapping) -> str:
    return f"{'x'.join(map(str, facts['input_size']))} ({facts['resize']})"
