"""Engines behind one interface: Keras, PyTorch, OpenVINO on processors. One is chosen, then started."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from koniq import devices, openvino_engine, scale, seen, weights
from koniq.calibration import KEY, Calibration, kept
from koniq.errors import InputError
from koniq.network import Network
from koniq.prediction import Engine

if TYPE_CHECKING:
    import keras

EngineName = Literal["auto", "keras", "openvino", "torch"]
DeviceName = Literal["auto", "cuda", "mps", "cpu"]
Statistics = Literal["moving", "frozen", "trailing", "reestimated"]  # of batch normalisation, in training
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16", "int8"]

BATCH_SIZE = {"keras": 8, "openvino": 4, "torch": 8}  # OpenVINO works on several batches at a time


@dataclass(frozen=True)
class Plan:
    """An engine that is decided on and not started: what it will be, and what its scores depend on."""

    weights: Path
    network: Network
    engine: str  # keras, openvino or torch
    precision: str
    batch_size: int
    calibration: openvino_engine.Calibration | None = None  # of int8
    device: DeviceName = "auto"  # of PyTorch
    compiled: bool = False  # by PyTorch
    to_mos: Calibration | None = None  # applied to the network's scores

    @cached_property
    def about(self) -> dict:
        """The hash of the weights, which only those who ask for it wait for, and the record of the network."""
        found = file_hash(self.weights)
        seen.tell_if_replaced(self.weights, f"sha256:{found}")
        return {"weights": found, **self.network.record()}

    def facts(self) -> dict:
        """What a score depends on besides its picture; and, for the reader, the model's name, versions and device."""
        record = weights.record(self.weights)
        record.pop(KEY, None)
        if self.to_mos:  # first, where a message that shows the beginning shows it
            record.pop(scale.KEY, None)
            record = {KEY: str(self.to_mos), **record, **self.to_mos.scale.record()}
            if self.to_mos.label != record.get("label", "MOS"):  # it was made on other labels than the training's
                record["label"] = self.to_mos.label
        return {
            "model": weights.title(self.weights),
            **self.about,
            "record": record,
            "engine": self.engine,
            "precision": self.precision,
            "calibrated_on": self.calibration.key if self.calibration else None,
            "versions": devices.versions(),
            "device": devices.machine(),
        }

    def start(self) -> Engine:
        """The engine, ready to score. Prints what it is."""
        if self.to_mos:
            print(f"In {self.to_mos.label}: {self.to_mos}; --no-calibrate gives the network's own scores")
        return replace(self._start(), to_mos=self.to_mos)

    def _start(self) -> Engine:
        if self.engine == "keras":
            devices.prepare(precision=self.precision)
            model = self.network.build()
            weights.load(model, self.weights)
            return of_model(model, self.network, self.batch_size)
        if self.engine == "torch":
            from koniq import torch_engine

            return torch_engine.start(
                self.weights, self.network, self.precision, self.batch_size, self.compiled, self.device
            )
        engine = openvino_engine.start(
            self.weights, self.network, self.about, self.precision, self.batch_size, self.calibration
        )
        print(f"Device: {devices.machine()}, {engine.name}")
        return engine


def plan(
    path: Path,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    batch_size: int | None = None,
    input_size: tuple[int, int] | None = None,
    resize: str | None = None,
    pictures: Sequence[Path] = (),
    device: DeviceName = "auto",
    compiled: bool = False,
    calibrate: bool = False,
) -> Plan:
    """Decide on an engine for the weights at `path`, in a moment.

    engine: auto is Keras where there is an NVIDIA GPU, else OpenVINO where it is installed, else Keras.
    precision: auto is mixed_bfloat16 for OpenVINO and PyTorch on hardware that is fast at it, else float32. int8 is
    OpenVINO's, and is calibrated once on some of `pictures`. batch_size: None is BATCH_SIZE of the engine. device,
    compiled: of PyTorch. calibrate: scores in MOS, where the record beside the weights says how. Raises InputError if
    an engine is not there or has no such precision.
    """
    network = weights.network_of(path, input_size, resize)
    if engine == "auto":
        engine = "openvino" if find_spec("openvino") and not has_gpu() else "keras"
        if engine == "keras" and not has_gpu():
            print("OpenVINO would be several times as fast here: pip install -r requirements-openvino.txt")
    if engine == "openvino":
        needed = "nncf" if precision == "int8" else "openvino"
        if not find_spec(needed):
            raise InputError(f"{needed} should be installed for this: pip install -r requirements-openvino.txt")
        precision = openvino_engine.best_precision() if precision == "auto" else precision
    elif precision == "int8":
        raise InputError(f"precision=int8 should go with engine=openvino. Received: engine={engine}")
    elif engine == "torch":
        weights.needs_torch()
        from koniq import torch_engine

        found = torch_engine.choose(device)
        precision, _, _ = torch_engine.settle(found, precision, "yes" if compiled else "no")
    elif precision == "auto":
        precision = "float32"
    chosen = Plan(path, network, engine, precision, batch_size or BATCH_SIZE[engine], None, device, compiled)
    if precision == "int8":
        chosen = replace(chosen, calibration=openvino_engine.calibration(path, network, chosen.about, pictures))
    if calibrate and KEY in weights.record(path):
        chosen = replace(chosen, to_mos=kept(path, network, chosen.about["weights"]))
    return chosen


def of_model(model: "keras.Model", network: Network, batch_size: int = 8) -> Engine:
    """The engine that a Keras model in memory is."""
    import keras

    name = f"Keras {keras.__version__} on {keras.backend.backend()}, {keras.mixed_precision.dtype_policy().name}"
    return Engine(name, network, batch_size, lambda pictures: model.predict_on_batch(pictures)[:, 0].astype("float32"))


def has_gpu() -> bool:
    """Whether the system shows an NVIDIA GPU; asked of the system, because TensorFlow takes seconds to say."""
    return any(Path(path).exists() for path in ("/dev/nvidia0", "/dev/dxg"))


def file_hash(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
