"""Weights from one framework's file into another's, and the whole network to ONNX.

python -m koniq.convert my_run mine.pth       # or .safetensors, .h5 (Keras 2), .weights.h5, .keras (Keras 3)
python -m koniq.convert my_run mine.safetensors --half     # in half precision, for half the size
python -m koniq.convert my_run mine.onnx      # checked against the framework that the weights came from

The record of the network goes along as JSON beside the new file. InceptionResNetV2's own files (Keras's "notop" .h5,
timm's .safetensors) are converted, too: their body, to start a training from.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from koniq import cli, engines, keeping, onnx_engine
from koniq.ground import InputError, RunStopped
from koniq.lifelog import pictures_in
from koniq.network import TOLERANCE, Network, finding, sidecar, weight_files, weights
from koniq.prediction import Engine, decode
from ku.files import atomic_path


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
        to_onnx(source, s.target, s.input_size, s.pictures, s.count)
    else:
        convert(source, s.target, s.half, s.body)
    print(f"{source} is now {s.target}")


def convert(source: Path, target: Path, half: bool = False, body: bool = False) -> None:
    """Write the weights of a file as another's, with the record of the network, if there is one.

    half: in half precision. body: those of the body alone. Raises InputError, naming the first layer that differs and
    both shapes, if they do not fit the network.
    """
    network = sidecar.network_of(source)
    state = weights.read_state(source, network, body=True)
    if body:
        state = {key: array for key, array in state.items() if key.startswith("base.")}
    if target.suffix == ".keras" and not any(key.startswith("fc.") for key in state):
        raise InputError(
            f"A .keras file should hold a whole network, and {source} holds its body. Give another ending."
        )
    weights.write_state(weights.halved(state) if half else state, target, network)
    carry_record(source, target)


def carry_record(source: Path, target: Path) -> None:
    """Put the record beside `source`, if there is one, beside `target`."""
    if record := sidecar.record(source):
        record = keeping.converted(record, engines.file_hash(source), engines.file_hash(target))
        with atomic_path(sidecar.record_path(target)) as path:
            path.write_text(json.dumps(record, indent=2) + "\n")


def to_onnx(source: Path, target: Path, input_size: tuple[int, int] | None, folder: Path | None, count: int) -> None:
    """Export a network to ONNX and check it against the framework that its weights came from.

    Raises RunStopped, and leaves no file, if a score differs by more than TOLERANCE.
    """
    onnx_engine.needs_onnx()
    framework = "torch" if source.suffix in weight_files.TORCH else "keras"
    # On a GPU what is called float32 may be TF32, which has three digits.
    plan = engines.plan(source, framework, "float32", min(count, 8), input_size, device="cpu")
    pixels = some_pictures(plan.network, folder, count)
    with atomic_path(target) as temporary:
        onnx_engine.export(source, plan.network, temporary)
        largest = difference(plan.start(), onnx_engine.start(temporary, plan.network), pixels)
        print(f"The scores of {len(pixels)} pictures differ by {largest:.1e} MOS at most from those of {framework}.")
        if not largest <= TOLERANCE:
            raise RunStopped(f"They should differ by {TOLERANCE} MOS at most; {target} was not written.")
    carry_record(source, target)


def some_pictures(network: Network, folder: Path | None, count: int) -> np.ndarray:
    """Pictures of a folder as the network takes them, or random ones, of all degrees of contrast."""
    if folder is None:
        rng = np.random.default_rng(0)
        colours = rng.integers(0, 256, (count, 1, 1, 3)) + rng.normal(0, 1, (count, *network.input_size, 3)) * (
            rng.uniform(1, 60, (count, 1, 1, 1))
        )
        return colours.clip(0, 255).astype(np.uint8)
    opened = (decode(folder / name, network)[1] for name in pictures_in(folder))
    pixels = [picture for picture, _ in zip((each for each in opened if each is not None), range(count), strict=False)]
    if not pixels:
        raise InputError(f"{folder} should hold pictures that open. Received: none")
    return np.stack(pixels)


def difference(first: Engine, second: Engine, pixels: np.ndarray) -> float:
    """The largest difference of two engines' scores of pictures (count, height, width, 3), in MOS."""
    apart = [0.0]
    for start in range(0, len(pixels), 8):
        batch = pixels[start : start + 8]
        apart.append(float(np.abs(first.score(batch) - second.score(batch)).max()))
    return max(apart)


if __name__ == "__main__":
    cli.run(main, Settings)
