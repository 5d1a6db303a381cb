"""int8: a network quantised after training, for OpenVINO, calibrated on some of the pictures that it is to score.

That takes minutes, and is kept beside the weights. It is refused where it does not agree with float32.
"""

import hashlib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from koniq.engines import in_openvino
from koniq.engines.engine import Engine, numbers
from koniq.engines.plan import Int8Sample
from koniq.ground import InputError, RunStopped, machine
from koniq.ground.log import LOG
from koniq.ground.paths import folder_beside
from koniq.network import Network, sidecar
from koniq.pictures.apart import Apart
from koniq.pictures.faults import Place
from ku.files import atomic_folder, lock_path, turn
from ku.generic import srocc

if TYPE_CHECKING:
    import openvino

    from koniq.engines.plan import Plan

CALIBRATION, CHECK = 100, 100  # at most: pictures that set the ranges of int8, and others that it is checked on
FEWEST = 20  # of each
AGREEMENT = 0.999  # SRCC of int8 with float32, at least
# The layers that int8 leaves in floating point: the stem's convolutions and the head, which see the finest differences
# and take a tenth of the time; depthwise convolutions, of channels that have little range in common; and what deviates
# from a mean. What it costs to quantise them too is measured in results/LOG.md.
STEM, HEAD, TYPES = 5, 4, ("GroupConvolution", "ReduceMean", "Subtract")


def settled(plan: "Plan") -> "Plan":
    """The plan: in int8 there is nothing to settle."""
    return plan


def start(plan: "Plan") -> Engine:
    """The engine that is planned, calibrated first, unless it was before. Says what it is, and how well it agrees.

    Raises InputError if the processor has no int8 or there are too few pictures to calibrate on, RunStopped if it
    disagrees with float32.
    """
    in_openvino.check_able(plan.precision)
    folder, sample = kept(plan.weights, plan.network), plan.sample
    if sample.pictures:
        about = {**plan.about, "calibrated_on": sample.key}
        title = "Calibrating int8 on some of the pictures and checking it on others"
        _make(folder, about, title, _quantize, plan.weights, plan.network, sample.pictures, plan.batch_size)
    LOG.info(f"int8 against float32: {_about(folder)['agreement']}")
    engine = in_openvino.of_model(_read(folder), plan.network, plan.precision, plan.batch_size)
    LOG.info(f"Device: {machine.machine()}, {engine.name}")
    return engine


def sample_of(path: Path, network: Network, about: dict, pictures: Sequence[Path]) -> Int8Sample:
    """Some of `pictures`, evenly spread, to calibrate int8 on; or none if it was done for the same weights before."""
    folder = kept(path, network)
    if _is_of(folder, about):
        return Int8Sample((), _about(folder)["calibrated_on"])
    wanted = 2 * (CALIBRATION + CHECK)  # some may not open
    chosen = tuple(pictures[number] for number in range(0, len(pictures), max(len(pictures) // wanted, 1)))[:wanted]
    if len(chosen) < 2 * FEWEST:
        raise InputError(
            f"precision=int8 should have {2 * FEWEST} pictures at least to calibrate on and be checked on. "
            f"Received: {len(chosen)}; give more, or another precision"
        )
    return Int8Sample(
        chosen, hashlib.sha256("\n".join(map(str, chosen)).encode("utf-8", "surrogateescape")).hexdigest()
    )


def kept(path: Path, network: Network) -> Path:
    """The folder of the int8 model: beside the weights, or in the user's cache where that is not to be written."""
    size = "x".join(map(str, network.input_size))
    return folder_beside(path) / f"{sidecar.record_path(path).stem}-{size}-int8.openvino"


def _about(folder: Path) -> dict:
    path = folder / "about.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def _is_of(folder: Path, about: dict) -> bool:
    return _about(folder).items() >= about.items()


def _make(folder: Path, about: dict, title: str, work: Callable, *arguments: Any) -> None:
    """Have `work(*arguments, temporary folder)` fill `folder`, whole or not at all, unless it is of `about` already.

    One process at a time; a second waits. What `work` returns stands in about.json, too.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    waiting = "Waiting for another process that prepares the same network ..."
    with turn(lock_path(folder), lambda: LOG.info(waiting)):
        if _is_of(folder, about):
            return
        LOG.info(f"{title}, once ...")
        with atomic_folder(folder) as temporary:
            found = _apart(work, *arguments, temporary)
            (temporary / "about.json").write_text(json.dumps({**about, **(found or {})}, indent=2) + "\n")


def _apart(work: Callable, *arguments: Any) -> Any:
    """`work(*arguments)`, in a process of its own: what it takes of memory and threads is given back."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(work, *arguments).result()
        except BrokenProcessPool as error:
            raise RunStopped(
                "The process that calibrates int8 was killed, perhaps for want of memory. Give --precision auto to do "
                "without."
            ) from error


def _read(folder: Path) -> "openvino.Model":
    import openvino

    return openvino.Core().read_model(folder / "model.xml")


def _quantize(path: Path, network: Network, pictures: Sequence[Path], batch_size: int, folder: Path) -> dict:
    """Write the int8 model (post-training quantisation of NNCF), and say how well it agrees with float32."""
    _keep_to_ourselves()
    import nncf
    import openvino
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    opened = _opened(pictures, network)
    known, unknown = opened[::2][:CALIBRATION], opened[1::2][:CHECK]
    if len(unknown) < FEWEST:
        raise InputError(
            f"precision=int8 should have {2 * FEWEST} pictures that open. Received: {len(opened)} of {len(pictures)}"
        )
    model = in_openvino.model_of(
        path, network, in_openvino.best_precision() == "mixed_bfloat16"
    )  # what is left in floating point is in that
    names = [layer.get_friendly_name() for layer in _layers(model)]
    others = [node.get_friendly_name() for node in model.get_ops() if node.get_type_name() in TYPES]
    model = nncf.quantize(
        model,
        nncf.Dataset(known, lambda pixels: pixels[None]),
        subset_size=len(known),
        ignored_scope=nncf.IgnoredScope(names=sorted({*names[:STEM], *names[-HEAD:], *others})),
        # The mean of the maxima, NNCF's default, clips what is out of the ordinary: the best and the worst pictures.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
        ),
    )
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    float32 = in_openvino.of_model(in_openvino.model_of(path, network), network, "float32", batch_size)
    expected = numbers(float32, unknown)
    received = numbers(in_openvino.of_model(_read(folder), network, "int8", batch_size), unknown)
    srcc = srocc(expected, received)
    if not srcc >= AGREEMENT:
        raise RunStopped(
            f"int8 should agree with float32 at an SRCC of {AGREEMENT} on pictures like these. Received: {srcc:.5f} on "
            f"{len(unknown)} of them; give --precision auto"
        )
    apart = np.abs(expected - received)
    return {
        "agreement": f"SRCC {srcc:.5f}, {apart.mean():.2f} MOS apart in the mean and {apart.max():.2f} at most, on "
        f"{len(unknown)} pictures that it was not calibrated on"
    }


def _opened(pictures: Sequence[Path], network: Network) -> list[np.ndarray]:
    """The pixels of those pictures that have any. One that ends the process that decodes it has none."""
    with Apart(network, Place()) as apart:
        return [pixels for path in pictures if (pixels := apart.decode(path).pixels) is not None]


def _keep_to_ourselves() -> None:
    """OpenVINO's tools and NNCF report their use to their makers where this package is found; a scorer should not."""
    sys.modules["openvino_telemetry"] = None


def _layers(model: "openvino.Model") -> list["openvino.Node"]:
    """The convolutions and matrix products, in order."""
    return [node for node in model.get_ordered_ops() if node.get_type_name() in ("Convolution", "MatMul")]
