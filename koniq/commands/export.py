"""A network as ONNX, for whatever runs it elsewhere, checked against the framework that its weights came from.

python -m koniq export my_run mine.onnx
python -m koniq export koncept_lite lite.onnx --pictures my_photos      # checked on these

Its input `pictures` is uint8 (batch, height, width, 3), RGB, of any batch; its output `mos` is float32 (batch, 1).
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.engines.conversion import to_onnx
from koniq.ground import InputError
from koniq.network import find_or_default
from koniq.network.koncept512 import Pooling


@dataclass(frozen=True)
class Settings:
    source: tyro.conf.Positional[str]  # a weights file, a training run, or a name in trained_models
    target: tyro.conf.Positional[Path]  # the .onnx to write
    overwrite: bool = False  # replace it
    pictures: Path | None = None  # a folder of pictures to check it on; random ones if not given
    count: int = 8  # pictures that it is checked on, at most
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    pooling: Pooling | None = None  # of weights by PyTorch without a record: mean, or 8x8, the study's


def main(s: Settings) -> None:
    source = find_or_default(s.source)
    if s.target.suffix != ".onnx":
        raise InputError(f"target should end in .onnx. Received: {s.target}")
    if s.target.exists() and not s.overwrite:
        raise InputError(f"{s.target} is there already. Give --overwrite to replace it, or another target.")
    to_onnx(source, s.target, s.input_size, s.pictures, s.count, s.pooling)
    print(f"{source} is now {s.target}")
