"""A training step of KonCept512 in each framework, and epochs of PyTorch's loop: pictures a second and peak memory.

python -m benchmarks.training                                     # 384x512, batch 8; every case that can run here
python -m benchmarks.training --size 76 100 --cases kuti torch    # quicker
python -m benchmarks.training --batch-size 8 16 64 --steps 20 --pictures 2048 --passes 3 --workers 16    # on a GPU
python -m benchmarks.training --batch-size 64 --pictures 2048 --passes 3 --workers 16 --rounds 1 \\
    --cases torch-bf16-compiled torch-bf16-compiled-prepared torch-bf16-compiled-jpeg    # there, in minutes

Every case has a process of its own, and all take turns, `rounds` times. A step takes the network from uint8 pictures in
memory to its new weights, by MSE and Adam; the study's way in PyTorch also opens its pictures, one by one, in the main
process. The loop is the one that trains (koniq.training.in_torch), with its feed and its means, on JPEGs of 512x384,
crops of scikit-image's photographs; files that were just written are in the system's memory. The first epoch, in which
it warms up and compiles, is not counted; of the others

  -prepared  the pictures come from a file of `koniq prepare`; on a GPU they lie there, if they fit
  -threads   the same, but read by threads in each epoch wherever they would fit
  -jpeg      they were decoded for it: the seconds until all were there are added to each epoch's

and what decoding alone reaches by as many threads stands beside the last. Validation is left out of the rate, and in
that of the whole epoch: a seventh as many pictures, as in KonIQ-10k. On CUDA the share of the GPU's bfloat16 matrix
rate is that of what three forward passes (59.4 GFLOP each at 384x512; a backward pass is two) need, of what a large
matrix product reaches.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.bounds import decoding, gpu, matrix_rate, photographs
from benchmarks.processes import measured
from koniq.commands import cli
from koniq.data.datasets import DataSet
from koniq.engines import in_keras
from koniq.ground import InputError, RunStopped, machine
from koniq.ground.text import markdown_table
from koniq.network import KONCEPT512, weight_files
from koniq.pictures.prepared import prepare as write_prepared
from koniq.pictures.prepared import prepared_path
from koniq.training import in_kuti as through_kuti

GFLOP = 59.4  # a forward pass of one picture at 384x512, measured
WARM_UP = 2  # steps before those that are timed
JPEG_SIZE = 384, 512  # (height, width) of the loop's pictures
Source = Literal["prepared", "threads", "jpeg"]  # where they come from
OF_LOOP = {"whole": "with validation, pictures/s", "decoding": "decoding alone, pictures/s"}


@dataclass(frozen=True)
class Settings:
    cases: tuple[str, ...] = ()  # some of those in the table, by name; all that can run here if empty
    size: tuple[int, int] = KONCEPT512.input_size  # (height, width)
    batch_size: tuple[int, ...] = (8,)
    steps: int = 5  # timed in each round
    pictures: int = 64  # of an epoch of the loop
    passes: int = 1  # of the loop over them, timed in each round
    workers: int = 2  # threads of the loop, that decode and make batches
    rounds: int = 2  # of every case in turn
    limit: float = 1800  # seconds that a case may take in each round
    here: bool = False  # used within: the one case in this process
    folder: str = ""  # used within: where the loop's pictures lie


def main(s: Settings) -> None:
    if s.here:
        print(json.dumps(CASES[s.cases[0]](s)))
        return
    weight_files.needs_torch()
    card = gpu()
    if min(*s.size, *s.batch_size, s.steps, s.pictures, s.passes, s.rounds) < 1 or set(s.cases) - CASES.keys():
        raise InputError(f"cases should be among {', '.join(CASES)}, and numbers positive. Received: {s}")
    if s.pictures < max(s.batch_size):
        raise InputError(f"pictures should be as many as a batch has. Received: {s.pictures} and {s.batch_size}")
    names = [name for name in CASES if can_run(name, s, bool(card))]
    work = [(name, size) for _ in range(s.rounds) for size in s.batch_size for name in names]
    with tempfile.TemporaryDirectory() as folder:
        if LOOPS & {*names}:
            write_pictures(Path(folder), s)
        found = [in_a_process(name, size, folder, s) for name, size in tqdm(work, desc="cases", disable=None)]
    found = pd.DataFrame([one for one in found if one])
    if found.empty:
        raise RunStopped("No case came to its end; the lines above say why.")
    peak = matrix_rate() if card else None
    print(f"\n{card or machine.machine()}; {machine.versions()}; {machine.commit()}")
    for name, device in dict(zip(found.case, found.device, strict=True)).items():
        print(f"{name}: {device}")
    print(f"{s.size[0]}x{s.size[1]}, {s.rounds} rounds of {s.steps} steps after {WARM_UP}")
    if LOOPS & {*found.case}:
        print(f"The loop: {s.pictures} pictures an epoch, {s.passes} timed after 1, {s.workers} threads")
    if peak:
        print(f"bf16 matrix product: {peak / 1e12:.0f} TFLOP/s on {card}")
    print(f"\n{table(found, peak, s)}")


def can_run(name: str, s: Settings, cuda: bool) -> bool:
    if s.cases:
        return name in s.cases
    if name == "kuti" and not through_kuti.PYTHON.is_file():
        print("kuti is left out, for its environment is not there: make kuti")
        return False
    return cuda or name not in ON_CUDA


def in_a_process(name: str, batch_size: int, folder: str, s: Settings) -> dict:
    """What the case found, with its name, the batch and the peak memory; nothing, and a line printed, if it failed.

    folder: where the loop's pictures lie.
    """
    python = through_kuti.PYTHON if name == "kuti" else sys.executable
    command = [python, "-m", "benchmarks.training", "--here", "--cases", name, "--batch-size", batch_size]
    command += ["--steps", s.steps, "--size", *s.size, "--pictures", s.pictures, "--passes", s.passes]
    command += ["--workers", s.workers, "--folder", folder]
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


def write_pictures(folder: Path, s: Settings) -> None:
    """The loop's pictures, as JPEGs and as a prepared file beside their folder."""
    photographs(folder / "images", s.pictures + validated(s), JPEG_SIZE)
    data, network = rated(folder, s), KONCEPT512.at(s.size)
    write_prepared(data, network, prepared_path(data.folder, network), s.workers)


def validated(s: Settings) -> int:
    return max(s.pictures // 7, 2)


def rated(folder: Path, s: Settings) -> DataSet:
    """The loop's pictures with random MOS."""
    paths = [folder / "images" / f"{number:03}.jpg" for number in range(s.pictures + validated(s))]
    ids = pd.DataFrame({"image_name": [path.name for path in paths], "image_path": paths})
    mos = np.random.default_rng(1).uniform(20, 80, len(ids))
    ids = ids.assign(MOS=mos, set=["training"] * s.pictures + ["validation"] * validated(s))
    return DataSet("made up", ids, folder=folder / "images")


def in_the_loop(s: Settings, source: Source, precision: str = "float32", compile: str = "no") -> dict:
    """Epochs of the loop that trains: seconds a batch, without validation and with it, and of the first epoch."""
    import torch

    from koniq.engines.in_torch import choose, prepare, settle
    from koniq.pictures.memory import of_training
    from koniq.training import in_torch, in_torch_feed
    from koniq.training.in_torch_processes import Group
    from koniq.training.stages import Stage
    from pytorch_train_koncept512 import Settings as Recipe

    if source == "threads":
        in_torch_feed.SHARE_OF_DEVICE = 0
    data, network, group = rated(Path(s.folder), s), KONCEPT512.at(s.size), Group(0, 1, choose())
    how = {"batch_size": s.batch_size[0], "workers": s.workers, "precision": precision, "compile": compile}
    recipe = Recipe(**how, weights="none", input_size=s.size)
    precision, compiled, device = settle(group.device, precision, compile)
    with tempfile.TemporaryDirectory() as folder:
        run = in_torch.TorchRun(folder, asdict(recipe))
        module = prepare(in_torch.start(network, data, recipe), group.device)
        learner = in_torch.TorchLearner(run, group, network, module, recipe, precision)
        began = time.perf_counter()
        seen = replace(data, folder=None) if source == "jpeg" else data  # without a folder nothing prepared is sought
        learner.ready(*of_training(seen, network, run.folder, s.workers), compiled)
        ready = time.perf_counter() - began
        passes, epochs, train = [], [], learner._train

        def timed_train(*of: object) -> dict[str, float]:
            began = time.perf_counter()
            values = train(*of)  # the means are there when it ends, so all is done
            passes.append(time.perf_counter() - began)
            return values

        def note(epoch: int, values: object, seconds: float) -> bool:
            epochs.append(seconds)
            return epoch == s.passes

        learner._train, stage = timed_train, Stage(0, 1, s.passes + 1, 1e-4)
        learner.begin(stage, resumed=False)
        learner.fit(stage, 0, note)
    count, before = s.pictures // s.batch_size[0], ready if source == "jpeg" else 0.0
    lie = "on the GPU" if isinstance(learner.feed, in_torch_feed.OnDevice) else "read by threads"
    found = {"device": f"{device}, pictures {lie}", "first": epochs[0]}
    found |= {"seconds": [(before + each) / count for each in passes[1:]]}
    found |= {"whole": [(before + each) / count for each in epochs[1:]]}
    if group.device.type == "cuda":
        found["memory"] = torch.cuda.max_memory_allocated()
    if source == "jpeg":
        found["decoding"] = decoding(network, list(data.ids.image_path), s.workers)
    return found


COMPILED = {"precision": "mixed_bfloat16", "compile": "yes"}
CASES: dict[str, Callable[[Settings], dict]] = {
    "kuti": in_kuti,  # the study's row, on Keras 2; what the others are compared with
    "study-torch": partial(in_torch, precision="float32", way="study"),  # eager, pictures opened one by one
    "tensorflow": partial(in_tensorflow, precision="float32"),
    "tensorflow-bf16": partial(in_tensorflow, precision="mixed_bfloat16"),
    "torch": partial(in_torch, precision="float32"),
    "torch-bf16": partial(in_torch, precision="mixed_bfloat16"),
    "torch-bf16-compiled": partial(in_torch, precision="mixed_bfloat16", way="compiled"),
    "torch-bf16-graphs": partial(in_torch, precision="mixed_bfloat16", way="graphs"),
    "torch-prepared": partial(in_the_loop, source="prepared"),
    "torch-jpeg": partial(in_the_loop, source="jpeg"),
    "torch-bf16-compiled-prepared": partial(in_the_loop, source="prepared", **COMPILED),
    "torch-bf16-compiled-threads": partial(in_the_loop, source="threads", **COMPILED),
    "torch-bf16-compiled-jpeg": partial(in_the_loop, source="jpeg", **COMPILED),
}
LOOPS = {name for name in CASES if name.endswith(("-prepared", "-threads", "-jpeg"))}
# On a processor they run if they are named, but for graphs.
ON_CUDA = {"torch-bf16-graphs", *(name for name in LOOPS if "compiled" in name)}


def table(found: pd.DataFrame, peak: float | None, s: Settings) -> str:
    """Markdown: the median and range of each case's rate over its steps, the ratio of the medians to kuti's, memory.

    peak: FLOP a second that the GPU reaches, for the last column. What only the loop has stands in columns of its own.
    """
    heads = ["case", "batch", "pictures/s", "range", "ratio to kuti", "peak memory, GiB", "first step or epoch, s"]
    heads += [title for name, title in OF_LOOP.items() if name in found]
    heads += ["share of bf16 rate"] if peak else []
    flop = 3 * GFLOP * 1e9 * np.prod(s.size) / (384 * 512)
    cases = dict(iter(found.groupby(["case", "batch"], sort=False)))
    rates = {key: key[1] / np.concatenate(rows.seconds.tolist()) for key, rows in cases.items()}
    rows = []
    for (name, size), rate in rates.items():
        ours, of_case = np.median(rate), cases[name, size]
        ratio = f"{ours / np.median(rates['kuti', size]):.2f}" if ("kuti", size) in rates else ""
        row = [name, str(size), f"{ours:.2f}", f"{rate.min():.2f} to {rate.max():.2f}", ratio]
        row += [f"{of_case.memory.max() / 2**30:.2f}", f"{of_case['first'].max():.1f}"]
        if "whole" in found:
            seconds = [each for of_round in of_case.whole.dropna() for each in of_round]
            row.append(f"{size / np.median(seconds):.2f}" if seconds else "")
        if "decoding" in found:
            alone = of_case.decoding.median()
            row.append("" if np.isnan(alone) else f"{alone:.2f}")
        rows.append([*row, f"{ours * flop / peak:.1%}"] if peak else row)
    return markdown_table(heads, rows)


if __name__ == "__main__":
    cli.run(main, Settings)
