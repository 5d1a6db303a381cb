"""The JSON beside a weights file: which network it is for, and what else its scores depend on."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import get_args

from koniq.ground import InputError
from koniq.ground.files import write_json
from koniq.ground.paths import TRAINED_MODELS, is_packed
from koniq.network.finding import BEST, HUB_RECORD, HUB_WEIGHTS
from koniq.network.koncept512 import PORT, Pooling, Topology
from koniq.network.spec import FIRST, KONCEPT512, NETWORKS, NEWEST, Fit, Network, Resize, Rules
from koniq.network.weight_files import SUFFIXES, TORCH
from ku.files import shown

FOR = "for"  # of what is kept beside weights: these, and how pictures got to them, that it was made with


def record_path(weights: Path) -> Path:
    """The JSON beside a weights file that says which network it is for."""
    name = weights.name
    if name == HUB_WEIGHTS and (of_hub := weights.with_name(HUB_RECORD)).is_file():
        return of_hub
    for suffix in (*SUFFIXES, ".onnx", ".tflite"):
        name = name.removesuffix(suffix)
    return weights.with_name(f"{name}.json")


def record(weights: Path) -> dict:
    """What the JSON beside a weights file says; {} if there is none."""
    path = record_path(weights)
    return json.loads(path.read_text()) if path.is_file() else {}


def write_record(weights: Path, network: Network, /, **facts: object) -> None:
    """Write beside a weights file what its scores depend on, and any other facts. Raises as `write` does."""
    write(weights, network.record() | facts)


def write(weights: Path, record: Mapping[str, object]) -> None:
    """Write the record of a weights file.

    Raises InputError if the weights came along with the package: the next version would forget it.
    """
    if is_packed(weights):
        raise InputError(
            f"Weights that something is kept beside should be yours: copy {weights.parent} into {TRAINED_MODELS}, "
            f"where they are found first. Received: {weights}, of the package"
        )
    write_json(record, record_path(weights))


def network_of(
    weights: Path,
    input_size: tuple[int, int] | None = None,
    resize: Resize | None = None,
    rules: Rules | None = None,
    fit: Fit | None = None,
    dct_scaling: bool = False,
    pooling: Pooling | None = None,
) -> Network:
    """The network that a weights file is for: by the record beside it, else KonCept512; arguments override it.

    The weights fit pictures of any size, but their scores are right only at the size that they were trained at. Rules
    that nothing tells are the newest, or, in an older record, those of the calibration that is kept there. pooling:
    that of a port to PyTorch without a record; it overrides no record. Raises InputError if a record does not say what
    is known here, or the file cannot be of such a port.
    """
    known = record(weights)
    found = known or KONCEPT512.record()
    if found.get("network") not in NETWORKS:
        raise InputError(
            f"{record_path(weights)} should name one of {', '.join(NETWORKS)}. Received: {found.get('network')!r}"
        )
    by = found.get("rules") or next((each[FOR].get("rules", FIRST) for each in _kept(found)), NEWEST)
    by = by if isinstance(by, str) else by[-1]  # of what holds for several
    if by not in get_args(Rules):
        raise InputError(
            f"{record_path(weights)} should name rules that are known here: {', '.join(get_args(Rules))}. "
            f"Received: {by!r}, of another version perhaps"
        )
    trained = NETWORKS[found["network"]].at(found["input_size"], found["resize"], fit=found.get("fit"))
    trained = trained.built_as(_topology(weights, known, pooling))
    return replace(trained, rules=by).at(input_size, resize, rules, fit, dct_scaling)


def _topology(weights: Path, known: Mapping[str, object], pooling: Pooling | None) -> Topology:
    """What the record beside weights, `known`, says of them, or, where there is none, what they are said to be."""
    said = Topology.of(known)
    if pooling and not known and weights.suffix in TORCH:
        return replace(PORT, pooling=pooling)
    if pooling and pooling != said.pooling:
        by = f"the record beside them ({record_path(weights)})" if known else "their format, Keras's"
        raise InputError(
            f"The weights in {weights} are of pooling={said.pooling}, by {by}. Received: pooling={pooling}"
        )
    return said


def _kept(record: Mapping[str, object]) -> Iterator[Mapping]:
    """What is kept in a record and holds for its weights alone: see koniq.measure.keeping."""
    return (each for each in record.values() if isinstance(each, Mapping) and isinstance(each.get(FOR), Mapping))


def title(path: Path) -> str:
    """What reports call a weights file: the name of its run, or its own without the ending."""
    if record_path(path).name == HUB_RECORD:
        return shown(record(path).get("name") or path.resolve().parent.name)
    return shown(path.resolve().parent.name if any(map(path.match, BEST)) else record_path(path).stem)
