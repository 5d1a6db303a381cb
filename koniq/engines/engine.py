"""The contract of an engine: what computes scores of batches of pictures, whatever it is made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from koniq.network import Network


@dataclass(frozen=True)
class Engine:
    """What computes scores, ready to run. `koniq.engines.plan` makes them."""

    name: str  # such as "OpenVINO 2026.4.1, mixed_bfloat16"
    network: Network
    batch_size: int
    score: Callable[[np.ndarray], np.ndarray]  # uint8 (batch_size, height, width, 3), RGB, to float32 (batch_size,)
    parallel: int = 1  # calls of `score` that may run at a time, and should, to keep it busy
    any_batch: bool = False  # whether `score` takes smaller batches, too, and takes less time for them


def numbers(engine: Engine, pictures: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """The scores of pictures as the network gives them, float32 (pictures,), in batches of the engine's size.

    pictures: of each its pixels as the network takes them, uint8 (height, width, 3), RGB. The last batch is filled up
    with black where the engine wants it whole.
    """
    size, found = engine.batch_size, [np.empty(0, np.float32)]
    for start in range(0, len(pictures), size):
        batch = np.stack(pictures[start : start + size])
        room = 0 if engine.any_batch else size - len(batch)
        found.append(engine.score(np.pad(batch, [(0, room), (0, 0), (0, 0), (0, 0)]))[: len(batch)])
    return np.concatenate(found)
