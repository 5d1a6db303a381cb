"""Scores as Parquet or for Excel; or a network as ONNX or LiteRT, checked against where its weights came from.

python -m koniq export scores.csv scores.parquet        # or .xlsx; and from Parquet back to .csv
python -m koniq export my_run mine.onnx
python -m koniq export koncept_lite lite.onnx --pictures my_photos      # checked on these
python -m koniq export koncept_lite lite.tflite         # LiteRT, for phones and small boards

The network's input `pictures` is uint8 (batch, height, width, 3), RGB, of any batch; its output `mos` is float32
(batch, 1).
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.engines.conversion import to_litert, to_onnx
from koniq.ground import InputError
from koniq.network import find_or_default
from koniq.network.koncept512 import Pooling
from koniq.scoring import exporting

NETWORKS = {".onnx": to_onnx, ".tflite": to_litert}


@dataclass(frozen=True)
class Settings:
    source: tyro.conf.Positional[str]  # scores (.csv, .parquet, a folder of Parquet); or weights, a run, or a name
    target: tyro.conf.Positional[Path]  # what to write: .parquet, .xlsx or .csv of scores; .onnx, .tflite of a network
    overwrite: bool = False  # replace it
    column: str = ""  # of scores: where they stand; MOS, if empty
    pictures: Path | None = None  # a folder of pictures to check a network on; random ones if not given
    count: int = 8  # pictures that it is checked on, at most
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    pooling: Pooling | None = None  # of weights by PyTorch without a record: mean, or 8x8, the study's


def main(s: Settings) -> None:
    if s.target.suffix.lower() in exporting.ENDINGS:
        rows = exporting.export(Path(s.source), s.target, s.column, s.overwrite)
        print(f"{s.target}: {rows:,} rows of {s.source}")
        return
    if s.target.suffix not in NETWORKS:
        endings, scores = ", ".join(NETWORKS), ", ".join(exporting.ENDINGS)
        raise InputError(f"target should end in {endings}, or for scores in {scores}. Received: {s.target}")
    if Path(s.source).suffix.lower() in exporting.ENDINGS:
        raise InputError(f"source should be a network, to be written as {s.target}. Received: {s.source}, scores")
    source = find_or_default(s.source)
    if s.target.exists() and not s.overwrite:
        raise InputError(f"{s.target} is there already. Give --overwrite to replace it, or another target.")
    NETWORKS[s.target.suffix](source, s.target, s.input_size, s.pictures, s.count, s.pooling)
    print(f"{source} is now {s.target}")
