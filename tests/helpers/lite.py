"""koncept_lite with weights drawn at random, and pictures to score."""

import numpy as np

from koniq.network import KONCEPT_LITE
from koniq.network.layers import shapes_in_torch

SIZES = ((64, 80), (67, 93))  # of which the second is odd at every stage


def drawn(seed=1, network=KONCEPT_LITE):
    """Weights drawn at random, such that no stage dies out and scores are some MOS apart."""
    rng, state = np.random.default_rng(seed), {}
    unscaled = {f"{layer.name}.weight" for layer in network.layers if layer.unscaled}
    for key, array in shapes_in_torch(network.layers).items():
        shape, inputs = array.shape, max(int(np.prod(array.shape[1:])), 1)
        if key in unscaled:
            values = np.ones(shape)
        elif key.endswith("running_var") or (key.endswith("weight") and array.ndim == 1):
            values = rng.uniform(0.7, 1.5, shape)
        elif array.ndim > 1:
            values = rng.normal(0, (2 / inputs) ** 0.5, shape)
        else:
            values = rng.normal(0, 0.1, shape)
        state[key] = values.astype(np.float32)
    last = network.layers[-1].name
    state[f"{last}.weight"] *= 3
    state[f"{last}.bias"][:] = 50
    return state


def pictures(size, count=4):
    rng = np.random.default_rng(3)
    colours = rng.integers(0, 256, (count, 1, 1, 3)) + rng.normal(0, 1, (count, *size, 3)) * 40
    return colours.clip(0, 255).astype(np.uint8)
