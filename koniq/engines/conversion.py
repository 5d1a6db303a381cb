"""Weights from one framework's file into another's, and the whole network to ONNX and LiteRT.

The record of the network goes along as JSON beside the new file. InceptionResNetV2's own files (Keras's "notop" .h5,
timm's .safetensors) are converted, too: their body, to start a training from.
"""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

import numpy as np

from koniq.engines import gpus, in_litert, in_onnx
from koniq.engines.engine import Engine, numbers
from koniq.engines.plan import decide
from koniq.ground import InputError, RunStopped, files, machine
from koniq.ground.files import write_json
from koniq.ground.log import LOG
from koniq.measure import keeping
from koniq.network import TOLERANCE, Network, sidecar, weight_files, weights
from koniq.network.koncept512 import AS_KERAS, Pooling
from koniq.pictures.decoding import decode
from koniq.pictures.inputs import pictures_in
from ku.files import atomic_path


def convert(source: Path, target: Path, half: bool = False, body: bool = False, pooling: Pooling | None = None) -> None:
    """Write the weights of a file as another's, with the record of the network, if there is one or it needs one.

    half: in half precision. body: those of the body alone. pooling: see `network_of`. Raises InputError, naming the
    first layer that differs and both shapes, if they do not fit the network.
    """
    network = sidecar.network_of(source, pooling=pooling)
    state = weights.read_state(source, network, body=True)
    if body:
        state = {key: array for key, array in state.items() if key.startswith("base.")}
    if target.suffix == ".keras" and not any(key.startswith("fc.") for key in state):
        raise InputError(
            f"A .keras file should hold a whole network, and {source} holds its body. Give another ending."
        )
    weights.write_state(weights.halved(state) if half else state, target, network)
    carry_record(source, target, network)


def carry_record(source: Path, target: Path, network: Network) -> None:
    """Put the record beside `source` beside `target`; of a network that its weights do not tell one is made."""
    told = network.topology in (None, AS_KERAS)
    if record := sidecar.record(source) or ({} if told else network.record()):
        record = keeping.converted(record, files.file_hash(source), files.file_hash(target))
        write_json(record, sidecar.record_path(target))


def to_onnx(
    source: Path,
    target: Path,
    input_size: tuple[int, int] | None,
    folder: Path | None,
    count: int,
    pooling: Pooling | None = None,
) -> None:
    """Export a network to ONNX and check it against the framework that its weights came from, both on the processor.

    pooling: see `network_of`.

    GPUs are hidden from this process, and those that it starts, from here on, so that neither framework takes one; a
    framework that has found one before is held to the processor, too. Raises RunStopped, and leaves no file, if a score
    differs by more than TOLERANCE.
    """
    in_onnx.needs_onnx()
    _export(in_onnx, source, target, input_size, folder, count, pooling)


def to_litert(
    source: Path,
    target: Path,
    input_size: tuple[int, int] | None,
    folder: Path | None,
    count: int,
    pooling: Pooling | None = None,
) -> None:
    """The same as `to_onnx`, to LiteRT."""
    in_litert.needs_litert()
    _export(in_litert, source, target, input_size, folder, count, pooling)


def _export(
    by: ModuleType,
    source: Path,
    target: Path,
    input_size: tuple[int, int] | None,
    folder: Path | None,
    count: int,
    pooling: Pooling | None,
) -> None:
    """by: in_onnx or in_litert."""
    framework = "torch" if source.suffix in weight_files.TORCH and weight_files.has_torch() else "keras"
    gpus.hide()  # before a framework looks for them: on one, what is called float32 may be TF32, of three digits
    plan = decide(source, framework, "float32", min(count, 8), input_size, device="cpu", pooling=pooling)
    pixels = some_pictures(plan.network, folder, count)
    with atomic_path(target) as temporary:
        by.export(source, plan.network, temporary)
        with _on_the_processor(framework):
            largest = difference(plan.start(), by.start(temporary, plan.network), pixels)
        LOG.info(f"The scores of {len(pixels)} pictures differ by {largest:.1e} MOS at most from those of {framework}.")
        if not largest <= TOLERANCE:
            raise RunStopped(f"They should differ by {TOLERANCE} MOS at most; {target} was not written.")
    carry_record(source, target, plan.network)


def _on_the_processor(framework: str) -> AbstractContextManager:
    """The context in which a framework makes and computes everything on the processor, whatever its default is."""
    if framework == "torch":
        import torch

        return torch.device("cpu")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with machine.quiet():
        import keras
    return keras.device("cpu:0")


def some_pictures(network: Network, folder: Path | None, count: int) -> np.ndarray:
    """Pictures of a folder as the network takes them, or random ones, of all degrees of contrast."""
    if folder is None:
        rng = np.random.default_rng(0)
        colours = rng.integers(0, 256, (count, 1, 1, 3)) + rng.normal(0, 1, (count, *network.input_size, 3)) * (
            rng.uniform(1, 60, (count, 1, 1, 1))
        )
        return colours.clip(0, 255).astype(np.uint8)
    opened = (decode(folder / name, network).pixels for name in pictures_in(folder).pictures)
    pixels = [picture for picture, _ in zip((each for each in opened if each is not None), range(count), strict=False)]
    if not pixels:
        raise InputError(f"{folder} should hold pictures that open. Received: none")
    return np.stack(pixels)


def difference(first: Engine, second: Engine, pixels: np.ndarray) -> float:
    """The largest difference of two engines' scores of pictures (count, height, width, 3), in MOS."""
    return float(np.abs(numbers(first, pixels) - numbers(second, pixels)).max(initial=0))
