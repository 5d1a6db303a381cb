"""How near every engine and precision is to Keras in float32, on real pictures, with a trained network; and how fast.

python -m benchmarks.engines my_pictures --weights my_run
python -m benchmarks.engines my_pictures --weights my_run --kinds keras/float32 torch/float32    and the like

One file of weights goes through all of them. Two in float32 that are more than .001 MOS apart end it with exit code 1.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from koniq import engines
from koniq.commands import cli
from koniq.engines import in_onnx
from koniq.engines.engine import Engine
from koniq.ground import InputError, RunStopped, machine
from koniq.ground.files import write_csv
from koniq.ground.text import markdown_table
from koniq.measure.metrics import METRICS
from koniq.network import TOLERANCE, find, network_of, title
from koniq.pictures import inputs
from koniq.scoring.loop import predict

KINDS = (
    *("keras/float32", "torch/float32", "openvino/float32", "onnx/float32"),
    *("openvino/mixed_bfloat16", "openvino/int8"),
)


@dataclass(frozen=True)
class Settings:
    pictures: tyro.conf.Positional[tuple[str, ...]]  # folders, lists, globs or files
    weights: str  # a file, a training run, or a name in trained_models; trained, as random scores hardly differ
    kinds: tuple[str, ...] = KINDS  # engine/precision; the first is what the others are compared with
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    batch_size: int | None = None  # None: each engine's own
    workers: int = 2  # threads that decode
    out: Path | None = None  # a CSV of all the scores


def main(s: Settings) -> None:
    path, pictures = find(s.weights), inputs.of(s.pictures)
    scores, seconds = {}, {}
    for kind in s.kinds:
        engine = start(kind, path, pictures, s)
        began = time.perf_counter()
        scores[kind] = [score.mos for score in predict(engine, pictures, s.workers, kind)]
        seconds[kind] = time.perf_counter() - began
    scores = pd.DataFrame(scores, index=pd.Index(map(str, pictures), name="image_path"))
    if s.out:
        write_csv(scores.reset_index(), s.out)
    scores = scores.dropna()
    if len(scores) < 2:
        raise InputError(f"At least 2 of the pictures should open. Received: {len(scores)} of {len(pictures)}")
    size, first = "x".join(map(str, engine.network.input_size)), scores[s.kinds[0]]
    print(f"\n{machine.machine()}; {machine.versions()}; commit {machine.commit()}")
    print(f"{title(path)} at {size}, {len(scores)} pictures, scores {first.min():.1f} to {first.max():.1f}\n")
    print(table(scores, {kind: len(pictures) / took for kind, took in seconds.items()}))
    exact = scores[[kind for kind in s.kinds if kind.endswith("/float32")]]
    if np.ptp(exact.to_numpy(), axis=1).max(initial=0) > TOLERANCE:
        raise RunStopped(f"In float32 the scores should differ by {TOLERANCE} MOS at most; the table says where not.")


def start(kind: str, path: Path, pictures: Sequence[Path], s: Settings) -> Engine:
    """The engine of a kind. ONNX is exported for it, to a place that is gone afterwards."""
    name, _, precision = kind.partition("/")
    if name != "onnx":
        return engines.decide(path, name, precision, s.batch_size, s.input_size, None, pictures).start()
    if precision != "float32":
        raise InputError(f"onnx should go with float32. Received: {kind}")
    in_onnx.needs_onnx()
    network = network_of(path, s.input_size)
    with tempfile.TemporaryDirectory() as folder:
        in_onnx.export(path, network, Path(folder, "network.onnx"))
        return in_onnx.start(Path(folder, "network.onnx"), network, s.batch_size or 8)


def table(scores: pd.DataFrame, rates: dict[str, float]) -> str:
    """Markdown: of each kind its agreement with the first one, the differences in MOS, and its rate."""
    rows, first = [], scores.iloc[:, 0]
    for kind in scores:
        srcc, plcc = (METRICS[name](first.to_numpy(), scores[kind].to_numpy()) for name in ("srcc", "plcc"))
        apart = scores[kind] - first
        where = Path(apart.abs().idxmax()).name if apart.any() else ""
        numbers = (f"{srcc:.6f}", f"{plcc:.6f}", f"{apart.abs().max():.5f}", where, f"{apart.mean():+.5f}")
        rows.append((kind, *numbers, f"{rates[kind]:.1f}"))
    heads = ("", "SRCC", "PLCC", "largest difference, MOS", "of picture", "mean difference", "pictures a second")
    return markdown_table(heads, rows)


if __name__ == "__main__":
    cli.run(main, Settings)
