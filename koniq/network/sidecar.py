"""The JSON beside a weights file: which network it is for, and what else its scores depend on."""

import json
from pathlib import Path

from koniq.ground import InputError
from koniq.ground.files import write_json
from koniq.ground.paths import TRAINED_MODELS, is_packed
from koniq.network.finding import BEST
from koniq.network.spec import KONCEPT512, NETWORKS, Network
from koniq.network.weight_files import SUFFIXES
from ku.files import shown


def record_path(weights: Path) -> Path:
    """The JSON beside a weights file that says which network it is for."""
    name = weights.name
    for suffix in (*SUFFIXES, ".onnx"):
        name = name.removesuffix(suffix)
    return weights.with_name(f"{name}.json")


def record(weights: Path) -> dict:
    """What the JSON beside a weights file says; {} if there is none."""
    path = record_path(weights)
    return json.loads(path.read_text()) if path.is_file() else {}


def write_record(weights: Path, network: Network, /, **facts: object) -> None:
    """Write beside a weights file what its scores depend on, and any other facts.

    Raises InputError if the weights came along with the package: the next version would forget it.
    """
    if is_packed(weights):
        raise InputError(
            f"Weights that something is kept beside should be yours: copy {weights.parent} into {TRAINED_MODELS}, "
            f"where they are found first. Received: {weights}, of the package"
        )
    write_json(network.record() | facts, record_path(weights))


def network_of(weights: Path, input_size: tuple[int, int] | None = None, resize: str | None = None) -> Network:
    """The network that a weights file is for: by the record beside it, else KonCept512; arguments override it.

    The weights fit pictures of any size, but their scores are right only at the size that they were trained at.
    """
    found = record(weights) or KONCEPT512.record()
    if found.get("network") not in NETWORKS:
        raise InputError(
            f"{record_path(weights)} should name one of {', '.join(NETWORKS)}. Received: {found.get('network')!r}"
        )
    return NETWORKS[found["network"]].at(input_size or found["input_size"], resize or found["resize"])


def title(path: Path) -> str:
    """What reports call a weights file: the name of its run, or its own without the ending."""
    return shown(path.resolve().parent.name if any(map(path.match, BEST)) else record_path(path).stem)
