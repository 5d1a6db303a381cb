"""The contract of an engine: what computes scores of batches of pictures, whatever it is made of."""

from collections.abc import Callable
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
    to_mos: Callable[[float], float] | None = None  # from what `score` gives to MOS: see koniq.measure.calibration
    interval: Callable[[float], tuple[float, float]] | None = None  # about a MOS: see koniq.measure.conformal
