"""Weights from one framework's file into another's, and the whole network to ONNX.

python -m koniq convert my_run mine.pth       # or .safetensors, .h5 (Keras 2), .weights.h5, .keras (Keras 3)
python -m koniq convert my_run mine.safetensors --half     # in half precision, for half the size
python -m koniq convert my_run mine.onnx      # checked against the framework that the weights came from

The record of the network goes along as JSON beside the new file. InceptionResNetV2's own files (Keras's "notop" .h5,
timm's .safetensors) are converted, too: their body, to start a training from.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.engines.conversion import convert, to_onnx
from koniq.ground import InputError
from koniq.network import finding, weight_files
from koniq.network.koncept512 import Pooling


@dataclass(frozen=True)
class Settings:
    source: tyro.conf.Positional[str]  # a weights file, a training run, or a name in trained_models
    target: tyro.conf.Positional[Path]  # the file to write; its ending says what it will be
    overwrite: bool = False  # replace it
    half: bool = False  # of .safetensors: numbers in half precision, in half the size; every reader takes them
    body: bool = False  # the body alone, such as to train a new head from it
    pictures: Path | None = None  # of .onnx: a folder of pictures to check it on; random ones if not given
    count: int = 8  # of .onnx: pictures that it is checked on, at most
    input_size: tuple[int, int] | None = None  # of .onnx: (height, width); None: what the weights were trained at
    pooling: Pooling | None = None  # of weights by PyTorch without a record: mean, or 8x8, the study's


def main(s: Settings) -> None:
    source, endings = finding.find(s.source), (*weight_files.SUFFIXES, ".onnx")
    if not s.target.name.endswith(endings):
        raise InputError(f"target should end in one of {', '.join(endings)}. Received: {s.target}")
    if s.target.exists() and not s.overwrite:
        raise InputError(f"{s.target} is there already. Give --overwrite to replace it, or another target.")
    if s.target.exists() and s.target.samefile(source):
        raise InputError(f"target should be another file than the source. Received: {s.target}")
    if s.half and s.target.suffix != ".safetensors":
        raise InputError(f"half should go with a target that ends in .safetensors. Received: {s.target}")
    if s.body and s.target.suffix == ".onnx":
        raise InputError(f"body should go with a target to train from. Received: {s.target}")
    if s.target.suffix == ".onnx":
        to_onnx(source, s.target, s.input_size, s.pictures, s.count, s.pooling)
    else:
        convert(source, s.target, s.half, s.body, s.pooling)
    print(f"{source} is now {s.target}")
