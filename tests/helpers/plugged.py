"""Weights and pictures for the metrics that others plug in."""

import numpy as np
from lite import drawn
from PIL import Image
from tiny import TINY

from koniq.network import sidecar, write_state

KNOTS = {"scores": (10.0, 40.0, 55.0, 90.0), "mos": (20.0, 30.0, 60.0, 70.0)}


def tiny_weights(folder, suffix=".safetensors", network=TINY, **facts):
    """The small network's weights, drawn at random, with their record."""
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"tiny{suffix}"
    state = drawn(2, network)
    state[f"{network.layers[-1].name}.weight"] *= 30  # lest all scores be alike
    write_state(state, path, network)
    sidecar.write_record(path, network, **facts)
    return path


def photos(folder, size=(24, 32), count=4):
    """Pictures in colours, in a format that changes no pixel: their paths."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(4)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        fine = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), np.float32)
        noisy = fine + rng.normal(0, 8 * number, fine.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return sorted(folder.glob("*.png"))


def tensor_of(*paths):
    """The pictures as others of PyTorch have them: float32 (pictures, 3, height, width) in [0, 1]."""
    import torch

    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
