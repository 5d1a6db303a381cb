"""How far the score of a tensor is from that of its file, by who resized it.

python -m benchmarks.tensors my_pictures

A picture is decoded at its full size into float32 in [0, 1], and given to the metric as it is, or after PyTorch's own
resizing to the network's size.
"""

from dataclasses import dataclass

import numpy as np
import tyro

from koniq import plugs
from koniq.commands import cli
from koniq.ground import InputError, machine
from koniq.ground.text import markdown_table
from koniq.measure.metrics import METRICS
from koniq.pictures import inputs
from koniq.pictures.decoding import whole

OTHERS = {
    "bicubic, antialiased": {"mode": "bicubic", "antialias": True},
    "bilinear, antialiased": {"mode": "bilinear", "antialias": True},
    "bilinear": {"mode": "bilinear", "antialias": False},
}


@dataclass(frozen=True)
class Settings:
    pictures: tyro.conf.Positional[tuple[str, ...]]  # folders, lists, globs or files
    weights: str = "koncept_lite"  # a file, a training run, or a name in trained_models
    count: int = 100  # pictures, at most


def main(s: Settings) -> None:
    import torch
    from torch.nn import functional

    metric, rows = plugs.metric(s.weights, device="cpu"), []
    network = metric.net.seen_by
    for path in [*inputs.of(s.pictures)][: s.count]:
        with whole(path) as found:
            pixels = np.array(found.in_srgb(found.picture), np.float32)
        picture = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        small = (functional.interpolate(picture, network.input_size, **how).clamp(0, 1) for how in OTHERS.values())
        rows.append([float(metric(each)) for each in (path, picture, *small)])
    if len(rows) < 2:
        raise InputError(f"At least 2 pictures should be given. Received: {len(rows)}")
    print(f"\n{machine.machine()}; {machine.versions()}; commit {machine.commit()}")
    print(f"{metric.metric_name}, {len(rows)} pictures\n")
    print(table(np.array(rows)))


def table(scores: np.ndarray) -> str:
    """Scores (pictures, 1 + ways), the files' first, as a table of how far the others are from these."""
    lines = []
    for name, found in zip(("by the metric, at full size", *OTHERS), scores.T[1:], strict=True):
        apart, srcc = np.abs(found - scores[:, 0]), METRICS["srcc"](scores[:, 0], found)
        lines.append((name, f"{apart.mean():.3f}", f"{apart.max():.3f}", f"{srcc:.5f}"))
    return markdown_table(("resized", "mean, MOS", "largest", "SRCC with the files' scores"), lines)


if __name__ == "__main__":
    cli.run(main, Settings)
