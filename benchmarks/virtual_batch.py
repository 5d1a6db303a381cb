"""What the virtual batch costs: time per picture and peak memory of a training step, beside true and small batches.

python -m benchmarks.virtual_batch                                  # 76x100, 16 pictures, in micro-batches of 2
python -m benchmarks.virtual_batch --size 384 512 --batch-size 8    # the true batch needs 5 GiB

A step is from uint8 pictures in memory to new weights, by the PLCC loss and Adam, in PyTorch, float32. Every arm has a
process of its own, and all take turns, `rounds` times.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.processes import measured
from koniq.commands import cli
from koniq.ground import InputError, RunStopped, machine
from koniq.ground.text import markdown_table
from koniq.network import KONCEPT512

WARM_UP = 1  # steps before those that are timed


@dataclass(frozen=True)
class Settings:
    size: tuple[int, int] = (76, 100)  # (height, width)
    batch_size: int = 16
    micro_batch: int = 2
    steps: int = 3  # timed in each round
    rounds: int = 2  # of every arm in turn
    limit: float = 1800  # seconds that an arm may take in each round
    here: str = ""  # used within: the one arm in this process


def arms(s: Settings) -> dict[str, tuple[int, int, str]]:
    """By name: batch, micro-batch (0: none), statistics."""
    batch, micro = s.batch_size, s.micro_batch
    return {
        f"batch {batch}": (batch, 0, "moving"),
        f"batch {micro}": (micro, 0, "moving"),
        f"{batch} in micro-batches of {micro}": (batch, micro, "moving"),
        f"{batch} in micro-batches of {micro}, frozen": (batch, micro, "frozen"),
        f"{batch} in micro-batches of {micro}, trailing": (batch, micro, "trailing"),
    }


def main(s: Settings) -> None:
    if s.here:
        print(json.dumps(steps(*arms(s)[s.here], s)))
        return
    if min(*s.size, s.batch_size, s.micro_batch, s.steps, s.rounds) < 1 or s.batch_size % s.micro_batch:
        raise InputError(f"Numbers should be positive, and micro_batch divide batch_size. Received: {s}")
    found = [one for _ in range(s.rounds) for name in tqdm(arms(s), desc="arms", disable=None) if (one := run(name, s))]
    if not found:
        raise RunStopped("No arm came to its end; the lines above say why.")
    print(f"\n{machine.machine()}; {machine.versions()}; {machine.commit()}")
    print(f"{s.size[0]}x{s.size[1]}, {s.rounds} rounds of {s.steps} steps after {WARM_UP}\n")
    print(table(pd.DataFrame(found), next(iter(arms(s)))))


def run(name: str, s: Settings) -> dict:
    """What `steps` found, with the arm and its peak memory; nothing, and a line printed, if it failed."""
    command = [sys.executable, "-m", "benchmarks.virtual_batch", "--here", name, "--size", *s.size, "--steps", s.steps]
    command += ["--batch-size", s.batch_size, "--micro-batch", s.micro_batch]
    try:
        lines, peak = measured(command, s.limit)
    except subprocess.CalledProcessError as error:
        tqdm.write(f"{name}: {(error.stderr.strip() or 'no message').splitlines()[-1]}")
        return {}
    return {"arm": name, "memory": peak, "seconds": json.loads(lines[-1])}


def steps(batch_size: int, micro_batch: int, statistics: str, s: Settings) -> list[float]:
    """The seconds per picture of each step that is timed."""
    from contextlib import nullcontext

    import torch

    from koniq.engines.in_torch import prepare
    from koniq.training import in_torch_batch
    from koniq.training.in_torch import LOSSES

    torch.manual_seed(1)
    module = prepare(KONCEPT512.build_torch(50.0), torch.device("cpu")).train()
    if statistics != "moving":
        in_torch_batch.hold(module)
    trail = in_torch_batch.Trail(module) if statistics == "trailing" else nullcontext()
    adam = torch.optim.Adam([each for each in module.parameters() if each.requires_grad], 1e-4, fused=True)
    pictures = torch.randint(0, 256, (batch_size, *s.size, 3), dtype=torch.uint8)
    mos, seconds = torch.rand(batch_size) * 100, []
    for _ in range(WARM_UP + s.steps):
        began = time.perf_counter()
        if micro_batch:
            in_torch_batch.backward(
                module, pictures, micro_batch, lambda scores: LOSSES["plcc"](scores, mos), nullcontext, trail
            )
        else:
            LOSSES["plcc"](module(pictures)[:, 0], mos).backward()
        if statistics == "trailing":
            trail.update()
        adam.step()
        adam.zero_grad(set_to_none=True)
        seconds.append((time.perf_counter() - began) / batch_size)
    return seconds[WARM_UP:]


def table(found: pd.DataFrame, reference: str) -> str:
    """Markdown: time per picture (median, range, ratio of the medians to the true batch) and peak memory."""
    times = {arm: np.concatenate(rows.seconds.tolist()) for arm, rows in found.groupby("arm", sort=False)}
    rows = []
    for arm, seconds in times.items():
        ratio = f"{np.median(seconds) / np.median(times[reference]):.2f}" if reference in times else ""
        spread = f"{seconds.min():.3f} to {seconds.max():.3f}"
        peak = found[found.arm == arm].memory.max() / 2**30
        rows.append((arm, f"{np.median(seconds):.3f}", spread, ratio, f"{peak:.2f}"))
    return markdown_table(("arm", "seconds a picture", "range", "ratio to the true batch", "peak memory, GiB"), rows)


if __name__ == "__main__":
    cli.run(main, Settings)
