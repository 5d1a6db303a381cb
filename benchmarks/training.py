"""A training step of KonCept512 in each framework, in one run: pictures a second and peak memory.

python -m benchmarks.training                                     # 384x512, batch 8; every case that can run here
python -m benchmarks.training --size 76 100 --cases kuti torch    # quicker
python -m benchmarks.training --batch-size 8 16 64 --steps 20     # on a GPU

Every case has a process of its own, and all take turns, `rounds` times. A step takes the network from uint8 pictures in
memory to its new weights, by MSE and Adam; the study's way in PyTorch also opens its pictures, one by one, in the main
process. On CUDA the share of the GPU's bfloat16 matrix rate is that of what three forward passes (59.4 GFLOP each at
384x512; a backward pass is two) need, of what a large matrix product reaches.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.processes import measured
from koniq.commands import cli
from koniq.engines import in_keras
from koniq.ground import InputError, RunStopped, machine
from koniq.ground.text import markdown_table
from koniq.network import KONCEPT512, weight_files
from koniq.training import in_kuti as through_kuti

GFLOP = 59.4  # a forward pass of one picture at 384x512, measured
WARM_UP = 2  # steps before those that are timed


@dataclass(frozen=True)
class Settings:
    cases: tuple[str, ...] = ()  # some of those in the table, by name; all that can run here if empty
    size: tuple[int, int] = KONCEPT512.input_size  # (height, width)
    batch_size: tuple[int, ...] = (8,)
    steps: int = 5  # timed in each round
    rounds: int = 2  # of every case in turn
    limit: float = 1800  # seconds that a case may take in each round
    here: bool = False  # used within: the one case in this process


def main(s: Settings) -> None:
    if s.here:
        print(json.dumps(CASES[s.cases[0]](s)))
        return
    weight_files.needs_torch()
    import torch

    cuda = torch.cuda.is_available()
    if min(*s.size, *s.batch_size, s.steps, s.rounds) < 1 or set(s.cases) - CASES.keys():
        raise InputError(f"cases should be among {', '.join(CASES)}, and numbers positive. Received: {s}")
    names = [name for name in CASES if can_run(name, s, cuda)]
    work = [(name, size) for _ in range(s.rounds) for size in s.batch_size for name in names]
    found = [in_a_process(name, size, s) for name, size in tqdm(work, desc="cases", disable=None)]
    found = pd.DataFrame([one for one in found if one])
    if found.empty:
        raise RunStopped("No case came to its end; the lines above say why.")
    print(f"\n{torch.cuda.get_device_name() if cuda else machine.machine()}; {machine.versions()}; {machine.commit()}")
    for name, device in dict(zip(found.case, found.device, strict=True)).items():
        print(f"{name}: {device}")
    print(f"{s.size[0]}x{s.size[1]}, {s.rounds} rounds of {s.steps} steps after {WARM_UP}\n")
    print(table(found, matrix_rate() if cuda else None, s))


def can_run(name: str, s: Settings, cuda: bool) -> bool:
    if s.cases:
        return name in s.cases
    if name == "kuti" and not through_kuti.PYTHON.is_file():
        print("kuti is left out, for its environment is not there: make kuti")
        return False
    return cuda or name != "torch-bf16-graphs"


def in_a_process(name: str, batch_size: int, s: Settings) -> dict:
    """What `timed` found, with the case, the batch and the peak memory; nothing, and a line printed, if it failed."""
    python = through_kuti.PYTHON if name == "kuti" else sys.executable
    command = [python, "-m", "benchmarks.training", "--here", "--cases", name, "--batch-size", batch_size]
    command += ["--steps", s.steps, "--size", *s.size]
    try:
        lines, peak = measured(command, s.limit)
    except subprocess.CalledProcessError as error:
        tqdm.write(f"{name}, batch {batch_size}: {(error.stderr.strip() or 'no message').splitlines()[-1]}")
        return {}
    return {"case": name, "batch": batch_size, "memory": peak, **json.loads(lines[-1])}


def timed(device: str, step: Callable[[], object], s: Settings) -> dict:
    """Run `step`, which ends when its numbers are there: the seconds of each, and of the first, which prepares much."""
    seconds = []
    for _ in range(WARM_UP + s.steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return {"device": device, "first": seconds[0], "seconds": seconds[WARM_UP:]}


def batch(s: Settings) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (s.batch_size[0], *s.size, 3), np.uint8)
    return pictures, rng.uniform(0, 100, (s.batch_size[0], 1)).astype(np.float32)


def in_kuti(s: Settings) -> dict:
    """The study's network as kuti builds it on Keras 2, a step by `train_on_batch`."""
    kuti = through_kuti.load(1)
    from tensorflow import keras

    model = through_kuti.build(kuti, KONCEPT512.at(s.size))
    model.compile(keras.optimizers.legacy.Adam(1e-4), "mse")
    preprocess, (pictures, mos) = through_kuti.preprocessing(kuti), batch(s)

    def step() -> float:
        return model.train_on_batch(np.stack([preprocess(picture.astype(np.float32)) for picture in pictures]), mos)

    return timed(through_kuti.device(), step, s)


def in_tensorflow(s: Settings, precision: str) -> dict:
    device = in_keras.prepare(1, precision)
    from ku.optimizers import FusedAdam

    model = KONCEPT512.at(s.size).build(output_bias=50)
    model.compile(FusedAdam(1e-4), "mse", jit_compile=False)
    pictures, mos = batch(s)
    return timed(device, lambda: float(model.train_on_batch(pictures, mos)), s)


def in_torch(s: Settings, precision: str, way: str = "") -> dict:
    """way: "study" (as the study does it), "compiled", or "graphs" (compiled, by CUDA graphs)."""
    import torch

    from koniq.engines.in_torch import choose, describe, hardware, precise, prepare

    device = choose()
    module = KONCEPT512.build_torch(50.0)
    module = module.to(device) if way == "study" else prepare(module, device)
    if way in ("compiled", "graphs"):
        module.compile(mode="reduce-overhead" if way == "graphs" else None)
    module.train()
    parameters = [each for each in module.parameters() if each.requires_grad]
    adam = torch.optim.Adam(parameters, 1e-4, fused=way != "study")
    pictures, mos = batch(s)

    def step(pixels: np.ndarray = pictures) -> float:
        inputs, targets = (torch.from_numpy(array).to(device) for array in (pixels, mos))
        if way == "graphs":
            torch.compiler.cudagraph_mark_step_begin()
        with precise(device, precision):
            loss = torch.nn.functional.mse_loss(module(inputs), targets)
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        return loss.item()

    name = f"{hardware(device)}, {describe(precision, way in ('compiled', 'graphs'))}"
    with tempfile.TemporaryDirectory() as folder:
        found = timed(name, opened_one_by_one(step, pictures, Path(folder)) if way == "study" else step, s)
    if device.type == "cuda":
        found["memory"] = torch.cuda.max_memory_allocated()
    return found


def opened_one_by_one(step: Callable, pictures: np.ndarray, folder: Path) -> Callable[[], object]:
    """`step` on a batch whose pictures are opened for it, each by itself, as the study does."""
    from PIL import Image

    paths = [folder / f"{number}.jpg" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path, quality=90)
    return lambda: step(np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths]))


CASES: dict[str, Callable[[Settings], dict]] = {
    "kuti": in_kuti,  # the study's row, on Keras 2; what the others are compared with
    "study-torch": partial(in_torch, precision="float32", way="study"),  # eager, pictures opened one by one
    "tensorflow": partial(in_tensorflow, precision="float32"),
    "tensorflow-bf16": partial(in_tensorflow, precision="mixed_bfloat16"),
    "torch": partial(in_torch, precision="float32"),
    "torch-bf16": partial(in_torch, precision="mixed_bfloat16"),
    "torch-bf16-compiled": partial(in_torch, precision="mixed_bfloat16", way="compiled"),
    "torch-bf16-graphs": partial(in_torch, precision="mixed_bfloat16", way="graphs"),  # on CUDA
}


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


def table(found: pd.DataFrame, peak: float | None, s: Settings) -> str:
    """Markdown: the median and range of each case's rate over its steps, the ratio of the medians to kuti's, memory.

    peak: FLOP a second that the GPU reaches, for the last column.
    """
    heads = ["case", "batch", "pictures/s", "range", "ratio to kuti", "peak memory, GiB", "first step, s"]
    heads += ["share of bf16 rate"] if peak else []
    flop = 3 * GFLOP * 1e9 * np.prod(s.size) / (384 * 512)
    rates = {
        key: key[1] / np.concatenate(rows.seconds.tolist())
        for key, rows in found.groupby(["case", "batch"], sort=False)
    }
    rows = []
    for (name, size), rate in rates.items():
        ours, of_case = np.median(rate), found[(found.case == name) & (found.batch == size)]
        ratio = f"{ours / np.median(rates['kuti', size]):.2f}" if ("kuti", size) in rates else ""
        row = [name, str(size), f"{ours:.2f}", f"{rate.min():.2f} to {rate.max():.2f}", ratio]
        row += [f"{of_case.memory.max() / 2**30:.2f}", f"{of_case['first'].max():.1f}"]
        rows.append([*row, f"{ours * flop / peak:.1%}"] if peak else row)
    return markdown_table(heads, rows)


if __name__ == "__main__":
    cli.run(main, Settings)
