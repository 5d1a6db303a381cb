"""The same weights through TensorFlow, PyTorch, OpenVINO and ONNX Runtime: how far apart the scores of pictures are.

python -m benchmarks.parity my_run koniq/images/live_500x500
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from koniq import cli, devices, engines, onnx_engine, weights
from koniq.errors import RunStopped
from koniq.lifelog import pictures_in
from koniq.prediction import Engine, predict
from koniq.report import markdown_table, write_csv

TOLERANCE = 1e-3  # MOS


@dataclass(frozen=True)
class Settings:
    weights: tyro.conf.Positional[str]  # a file, a training run, or a name in trained_models
    folder: tyro.conf.Positional[Path]  # of pictures
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    count: int | None = None  # pictures, evenly spread; None: all
    batch_size: int = 8
    workers: int = 2  # threads that decode
    out: Path | None = None  # a CSV of all the scores


def main(s: Settings) -> None:
    names = pictures_in(s.folder)
    names = names[:: max(1, len(names) // (s.count or len(names)))][: s.count]
    path = weights.find(s.weights)
    network = weights.network_of(path, s.input_size)
    scores = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("keras", "torch", "openvino", "onnx"):
            engine = start(name, path, s, Path(folder))
            scores[engine.name] = [
                score.mos for score in predict(engine, [s.folder / name for name in names], s.workers, engine.name)
            ]
    table = pd.DataFrame(scores, index=names).dropna()
    print(f"\n{devices.machine()}; {devices.versions()}; commit {devices.commit()}")
    size = "x".join(map(str, network.input_size))
    print(f"{path}, {len(table):,} pictures of {s.folder} at {size}; differences in MOS\n")
    print(differences(table))
    if s.out:
        write_csv(table.rename_axis("image_name").reset_index(), s.out)
    if not np.ptp(table.to_numpy(), axis=1).max() <= TOLERANCE:
        raise RunStopped(f"The scores should differ by {TOLERANCE} MOS at most; the table says where they do not.")


def start(name: str, path: Path, s: Settings, folder: Path) -> Engine:
    """An engine in float32."""
    if name != "onnx":
        return engines.plan(path, name, "float32", s.batch_size, s.input_size).start()
    onnx_engine.needs_onnx()
    network = weights.network_of(path, s.input_size)
    onnx_engine.export(path, network, folder / "network.onnx")
    return onnx_engine.start(folder / "network.onnx", network, s.batch_size)


def differences(table: pd.DataFrame) -> str:
    """Markdown: of each engine the range of its scores, how far they are from the first's, and for which picture."""
    first = table.columns[0]
    rows: list[Sequence[str]] = []
    for name in table:
        apart = (table[name] - table[first]).abs()
        spread = f"{table[name].min():.2f} to {table[name].max():.2f}"
        rows.append((name, spread, f"{apart.max():.1e}", f"{apart.mean():.1e}", apart.idxmax() if apart.max() else ""))
    return markdown_table(("engine", "scores", "largest difference", "mean", "of picture"), rows)


if __name__ == "__main__":
    cli.run(main, Settings)
