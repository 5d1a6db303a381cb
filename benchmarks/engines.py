"""How near every engine and precision is to Keras in float32, on real pictures, with a trained network; and how fast.

python -m benchmarks.engines my_pictures --weights my_run
"""

import time
from dataclasses import dataclass

import numpy as np
import tyro

from koniq import cli, devices, engines, lifelog
from koniq.errors import InputError
from koniq.metrics import METRICS
from koniq.prediction import predict
from koniq.report import markdown_table
from koniq.weights import find

KINDS = ("keras/float32", "openvino/float32", "openvino/mixed_bfloat16", "openvino/int8")


@dataclass(frozen=True)
class Settings:
    pictures: tyro.conf.Positional[tuple[str, ...]]  # folders, lists, globs or files
    weights: str  # a file, a training run, or a name in trained_models; trained, as random scores hardly differ
    kinds: tuple[str, ...] = KINDS  # engine/precision; the first is what the others are compared with
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    batch_size: int | None = None  # None: each engine's own
    workers: int = 2  # threads that decode


def main(s: Settings) -> None:
    path, pictures = find(s.weights), lifelog.inputs(s.pictures)
    scores, rows = {}, []
    for kind in s.kinds:
        engine, _, precision = kind.partition("/")
        plan = engines.plan(path, engine, precision, s.batch_size, s.input_size, None, pictures)
        started = plan.start()
        began = time.perf_counter()
        scores[kind] = np.array([score.mos for score in predict(started, pictures, s.workers, kind)])
        rate = len(pictures) / (time.perf_counter() - began)
        opened = np.isfinite(scores[kind])
        if opened.sum() < 2:
            raise InputError(f"At least 2 of the pictures should open. Received: {opened.sum()} of {len(pictures)}")
        reference, received = scores[s.kinds[0]][opened], scores[kind][opened]
        srcc, plcc = (METRICS[name](reference, received) for name in ("srcc", "plcc"))
        apart = received - reference
        numbers = (f"{srcc:.6f}", f"{plcc:.6f}", f"{np.abs(apart).max():.5f}", f"{apart.mean():+.5f}", f"{rate:.1f}")
        rows.append((kind, *numbers))
    size, span = "x".join(map(str, plan.network.input_size)), f"{reference.min():.1f} to {reference.max():.1f}"
    print(f"\n{devices.machine()}; {devices.versions()}; commit {devices.commit()}")
    print(f"{plan.facts()['model']} at {size}, {opened.sum()} pictures, scores {span}\n")
    print(markdown_table(("", "SRCC", "PLCC", "largest difference", "mean difference", "pictures a second"), rows))


if __name__ == "__main__":
    cli.run(main, Settings)
