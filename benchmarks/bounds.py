"""What no rate on this machine can pass: a GPU's bfloat16 matrix product, and decoding by so many threads.

python -m benchmarks.bounds --workers 16

Other benchmarks set these beside what they find. The pictures are crops of scikit-image's photographs, quality 90.
"""

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from koniq.commands import cli
from koniq.data.sample import SCENES, crop, scene
from koniq.engines import gpus
from koniq.ground import machine
from koniq.ground.text import markdown_table
from koniq.network import KONCEPT512, Network, weight_files
from koniq.pictures.decoding import decode

SIZES = (384, 512), (768, 1024)  # (height, width) of the JPEGs: of training, and of a lifelog


@dataclass(frozen=True)
class Settings:
    pictures: int = 96  # JPEGs of each size
    input_size: tuple[int, int] = KONCEPT512.input_size  # (height, width) that they are decoded to
    workers: int = 2  # threads that decode
    rounds: int = 3


def main(s: Settings) -> None:
    card, rows = gpu(), []
    for _ in range(s.rounds if card else 0):
        rows.append((f"bf16 matrix product on {card}, TFLOP/s", matrix_rate() / 1e12))
    network = KONCEPT512.at(s.input_size)
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            paths = photographs(Path(folder) / str(size[0]), s.pictures, size)
            what = f"JPEGs of {size[1]}x{size[0]} decoded to {s.input_size[0]}x{s.input_size[1]}, pictures/s"
            rows += [(what, decoding(network, paths, s.workers)) for _ in range(s.rounds)]
    print(f"\n{machine.machine()}; {machine.versions()}; commit {machine.commit()}")
    print(f"{s.workers} threads decode, {s.rounds} rounds\n")
    print(table(rows))


def table(rows: Sequence[tuple[str, float]]) -> str:
    """Markdown of rates by what they are of: median and range."""
    found: dict[str, list[float]] = {}
    for what, rate in rows:
        found.setdefault(what, []).append(rate)
    shown = [
        (what, f"{np.median(rates):,.1f}", f"{min(rates):,.1f} to {max(rates):,.1f}") for what, rates in found.items()
    ]
    return markdown_table(("", "median", "rounds"), shown)


def gpu() -> str:
    """The name of the GPU that PyTorch computes on by CUDA; "" if there is none, or no PyTorch."""
    if not (gpus.shown() and weight_files.has_torch()):
        return ""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def matrix_rate(size: int = 8192, times: int = 20) -> float:
    """The FLOP a second that a bfloat16 product of two matrices of `size` x `size` reaches on the GPU."""
    import torch

    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(times):
        left @ right
    end.record()
    torch.cuda.synchronize()
    return 2 * size**3 * times / (begin.elapsed_time(end) / 1000)


def flop(network: Network) -> int:
    """The FLOP of a forward pass of one picture: of its convolutions and matrix products, as PyTorch counts them."""
    import torch
    from torch._subclasses import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    with FakeTensorMode(), FlopCounterMode(display=False) as counter, torch.no_grad():
        network.build_torch().eval()(torch.empty((1, *network.input_size, 3), dtype=torch.uint8))
    return counter.get_total_flops()


def photographs(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """JPEGs of photographs, of `size` (height, width), as scikit-image has them, each a crop of its own."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    scenes = [scene(name) for name in (*SCENES["training"], *SCENES["test"])]
    paths = [folder / f"{number:03}.jpg" for number in range(count)]
    for number, path in enumerate(tqdm(paths, desc="pictures", disable=None)):
        crop(scenes[number % len(scenes)], size, rng).save(path, quality=90)
    return paths


def decoding(network: Network, paths: Sequence[Path], workers: int) -> float:
    """Pictures a second of decoding alone, in threads."""
    began = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        done = list(pool.map(lambda path: decode(path, network), paths))
    return len(done) / (time.perf_counter() - began)


if __name__ == "__main__":
    cli.run(main, Settings)
