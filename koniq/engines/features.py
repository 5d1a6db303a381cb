"""What the body of a network sees in pictures: its features, by which pictures are compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from koniq.ground.bars import tqdm
from koniq.ground.files import digest_of
from koniq.ground.threads import ahead, threads
from koniq.network import Network, network_of, weights
from koniq.pictures.decoding import Opened, decode
from koniq.pictures.faults import Place

BATCH = 8  # pictures at a time


@dataclass(frozen=True)
class Body:
    """What computes features. `see`: uint8 (batch, height, width, 3), RGB, to float32 (batch, features)."""

    network: Network
    see: Callable[[np.ndarray], np.ndarray]


def identity(path: Path) -> str:
    """What the features by the weights at `path` depend on besides the pictures, as one line of text."""
    return f"{digest_of(path, 'sha256:')} {network_of(path).record()}"


def start(path: Path, dct_scaling: bool = False) -> Body:
    """The body of the weights at `path`, whose record says which network they are of. Raises InputError if none is.

    OpenVINO computes it. dct_scaling: whether large JPEGs are decoded at a half or less, as they are to be scored.
    """
    import openvino

    network = network_of(path, dct_scaling=dct_scaling)
    whole = network.build_openvino(weights.read_state(path, network))
    (features,) = (node for node in whole.get_ops() if node.get_friendly_name() == "features")
    body = openvino.Model([features.output(0)], whole.get_parameters(), "body")
    compiled = openvino.Core().compile_model(body, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return Body(network, lambda pictures: compiled(pictures)[0].copy())


def extract(body: Body, paths: Sequence[Path], workers: int = 2) -> tuple[np.ndarray, list[Opened]]:
    """The features of pictures, float32 (pictures, features), and what became of each; nan where one did not open.

    Threads decode the next pictures while these are seen, so that the memory depends on the features alone. Raises
    RunStopped if that the pictures do not open is the machine's fault.
    """
    place, rows, found = Place(), [], None
    bar = tqdm(total=len(paths), desc="features", unit="pic", disable=None, smoothing=0.05)
    with bar, threads(workers) as pool:
        opening = ahead(pool, lambda path: decode(path, body.network, place), paths, 2 * BATCH)
        while batch := list(islice(opening, BATCH)):
            opened = [number for number, row in enumerate(batch, len(rows)) if row.pixels is not None]
            rows += [replace(row, pixels=None) for row in batch]
            if opened:
                seen = body.see(np.stack([row.pixels for row in batch if row.pixels is not None]))
                if found is None:
                    found = np.full((len(paths), seen.shape[1]), np.nan, np.float32)
                found[opened] = seen
            bar.update(len(batch))
    return np.empty((len(paths), 0), np.float32) if found is None else found, rows
