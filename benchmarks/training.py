"""A training step of KonCept512 in each framework, in one run: pictures a second and peak memory.

python -m benchmarks.training                                     # on a processor: float32, bfloat16, compiled
python -m benchmarks.training --batch-sizes 8 16 64 --steps 20    # on a GPU; the study's own way beside

Every case has a process of its own, and all take turns, `rounds` times. The study's way is eager float32 in PyTorch
with pictures opened one by one in the main process. On CUDA the share of the GPU's bfloat16 matrix rate is that of what
three forward passes (59.4 GFLOP each at 384x512; a backward pass is two) need, of what a large matrix product reaches.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from koniq import cli, devices
from koniq.errors import InputError
from koniq.network import KONCEPT512
from koniq.paths import ROOT
from koniq.report import markdown_table

GFLOP = 59.4  # a forward pass of one picture at 384x512, measured
CASES = {
    "study: PyTorch, eager float32, pictures opened one by one": ("torch", "float32", "study"),
    "PyTorch, float32": ("torch", "float32", ""),
    "PyTorch, bfloat16": ("torch", "mixed_bfloat16", ""),
    "PyTorch, bfloat16, compiled": ("torch", "mixed_bfloat16", "compiled"),
    "PyTorch, bfloat16, compiled, CUDA graphs": ("torch", "mixed_bfloat16", "graphs"),
    "Keras on TensorFlow, float32": ("tensorflow", "float32", ""),
    "Keras on TensorFlow, mixed_bfloat16": ("tensorflow", "mixed_bfloat16", ""),
    "Keras on torch, float32": ("keras-torch", "float32", ""),
    "kuti, Keras 2": ("kuti", "float32", ""),
}


@dataclass(frozen=True)
class Settings:
    cases: tuple[str, ...] = ()  # their names, as in CASES; all that can run here if empty
    input_size: tuple[int, int] = KONCEPT512.input_size  # (height, width)
    batch_sizes: tuple[int, ...] = (8,)
    steps: int = 3  # timed in each round
    rounds: int = 2  # of every case in turn
    kuti_python: str = "python3-of-kuti"  # the interpreter of the environment that requirements-kuti.txt makes
    one: str = ""  # used within: a case to run in this process


def main(s: Settings) -> None:
    if s.one:
        print(json.dumps(CASE_OF[CASES[s.one][0]](s, s.one)))
        return
    import torch

    cuda = torch.cuda.is_available()
    if unknown := set(s.cases) - CASES.keys():
        raise InputError(f"cases should be among {'; '.join(CASES)}. Received: {'; '.join(unknown)}")
    rows = []
    names = [name for name in CASES if can_run(name, s, cuda)]
    work = [(name, size) for _ in range(s.rounds) for size in s.batch_sizes for name in names]
    for name, size in tqdm(work, desc="cases", disable=None):
        rows.append({"case": name, "batch": size, **in_a_process(name, size, s)})
    print(f"\n{torch.cuda.get_device_name() if cuda else devices.machine()}; {devices.versions()}; {devices.commit()}")
    print(f"{s.input_size[0]}x{s.input_size[1]}, {s.rounds} rounds of {s.steps} steps; a training step\n")
    print(table(pd.DataFrame(rows), matrix_rate() if cuda else None, s))


def can_run(name: str, s: Settings, cuda: bool) -> bool:
    kind, _, way = CASES[name]
    if s.cases:
        return name in s.cases
    if kind == "kuti":
        return Path(s.kuti_python).is_file()
    return cuda or way not in ("graphs", "study")


def in_a_process(name: str, batch_size: int, s: Settings) -> dict:
    """Rate (pictures/s), memory (bytes), first (seconds that the first step takes); nan if it failed."""
    kind = CASES[name][0]
    python = s.kuti_python if kind == "kuti" else sys.executable
    command = [python, "-m", "benchmarks.training", "--one", name, "--batch-sizes", str(batch_size)]
    command += ["--steps", str(s.steps), "--input-size", *map(str, s.input_size)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        tqdm.write(f"{name}, batch {batch_size}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
        return {"rate": np.nan, "memory": np.nan, "first": np.nan}
    return json.loads(done.stdout.splitlines()[-1])


def timed(step: Callable[[], object], batch_size: int, s: Settings) -> dict:
    """Run `step`, which ends when its numbers are there: once to begin with, once more, then `s.steps` timed."""
    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    step()
    seconds = []
    for _ in range(s.steps):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    import resource

    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    return {"rate": batch_size / float(np.median(seconds)), "memory": memory, "first": first}


def batch(s: Settings) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (s.batch_sizes[0], *s.input_size, 3), np.uint8)
    return pictures, rng.uniform(0, 100, s.batch_sizes[0]).astype(np.float32)


def in_torch(s: Settings, name: str) -> dict:
    import torch

    from koniq.network import KONCEPT512
    from koniq.torch_engine import choose, precise, prepare

    _, precision, way = CASES[name]
    device = choose()
    module = KONCEPT512.build_torch(50.0)
    module = module.to(device) if way == "study" else prepare(module, device)
    if way == "compiled":
        module.compile()
    elif way == "graphs":
        module.compile(mode="reduce-overhead")
    module.train()
    parameters = [each for each in module.parameters() if each.requires_grad]
    adam = torch.optim.Adam(parameters, 1e-4, fused=way != "study")
    pictures, mos = batch(s)

    def step(pixels: np.ndarray = pictures) -> float:
        inputs, targets = (torch.from_numpy(array).to(device) for array in (pixels, mos))
        if way == "graphs":
            torch.compiler.cudagraph_mark_step_begin()
        with precise(device, precision):
            loss = torch.nn.functional.mse_loss(module(inputs)[:, 0], targets)
        loss.backward()
        adam.step()
        adam.zero_grad(set_to_none=True)
        return loss.item()

    if way != "study":
        found = timed(step, len(mos), s)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = timed(opened_one_by_one(step, pictures, Path(folder)), len(mos), s)
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


def in_keras(s: Settings, name: str) -> dict:
    import os

    kind, precision, _ = CASES[name]
    os.environ["KERAS_BACKEND"] = "torch" if kind == "keras-torch" else "tensorflow"
    devices.prepare(1, precision)

    from ku.optimizers import FusedAdam

    model = KONCEPT512.at(s.input_size).build(output_bias=50)
    model.compile(FusedAdam(1e-4), "mse", jit_compile=False)
    pictures, mos = batch(s)
    return timed(lambda: float(model.train_on_batch(pictures, mos[:, None])), len(mos), s)


def in_kuti(s: Settings, name: str) -> dict:
    """The study's network as kuti builds it on Keras 2, a step by `train_on_batch`."""
    from kuti import applications as apps
    from tensorflow.keras import Model, optimizers

    body, preprocess = apps.get_model_imagenet(apps.InceptionResNetV2, input_shape=(*s.input_size, 3), weights=None)
    head = apps.fc_layers(
        body.output, name="fc", fc_sizes=[2048, 1024, 256, 1], dropout_rates=[0.25, 0.25, 0.5, 0], batch_norm=2
    )
    model = Model(inputs=body.input, outputs=head)
    model.compile(optimizers.Adam(1e-4), "mse")
    pictures, mos = batch(s)
    return timed(lambda: model.train_on_batch(preprocess(pictures.astype(np.float32)), mos[:, None]), len(mos), s)


CASE_OF = {"torch": in_torch, "tensorflow": in_keras, "keras-torch": in_keras, "kuti": in_kuti}


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
    """Markdown: the median and range of each case's rate, its ratio to the peer's (kuti, else the first), memory."""
    rows = []
    flop = 3 * GFLOP * 1e9 * np.prod(s.input_size) / (384 * 512)
    for size, of_size in found.groupby("batch", sort=False):
        medians = of_size.groupby("case", sort=False).rate.median()
        peer = next((name for name in medians.index if "kuti" in name or "study" in name), medians.index[0])
        for name, case in of_size.groupby("case", sort=False):
            rate = case.rate.median()
            share = f"{rate * flop / peak:.1%}" if peak else ""
            cells = (f"{rate:.2f}", f"{case.rate.min():.2f} to {case.rate.max():.2f}", f"{rate / medians[peer]:.2f}")
            memory = f"{case.memory.max() / 2**30:.1f}"
            rows.append((name, str(size), *cells, memory, f"{case['first'].median():.0f}", share))
    heads = ("case", "batch", "pictures/s", "rounds", "ratio to the peer", "peak GiB", "first step, s", "of bf16 rate")
    return markdown_table(heads, rows)


if __name__ == "__main__":
    cli.run(main, Settings)
