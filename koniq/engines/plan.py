"""Engines behind one interface: Keras, PyTorch, OpenVINO on processors. One is chosen, then started."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from koniq.engines import gpus, in_keras, in_openvino
from koniq.engines.engine import Engine
from koniq.fetch import seen
from koniq.ground import InputError, first_few, machine
from koniq.ground.log import LOG
from koniq.measure import calibration, conformal
from koniq.network import Network, sidecar, weight_files, weights

if TYPE_CHECKING:
    pass
from koniq.engines.in_keras import of_model
from koniq.ground.files import file_hash

EngineName = Literal["auto", "keras", "openvino", "torch"]
DeviceName = Literal["auto", "cuda", "mps", "cpu"]
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
    calibration: in_openvino.Calibration | None = None  # of int8
    device: DeviceName = "auto"  # of Keras and PyTorch
    compiled: bool = False  # by PyTorch

    @cached_property
    def about(self) -> dict:
        """The hash of the weights, which only those who ask for it wait for, and the record of the network."""
        found = file_hash(self.weights)
        seen.tell_if_replaced(self.weights, f"sha256:{found}")
        return {"weights": found, **self.network.record()}

    def facts(self) -> dict:
        """What a score depends on besides its picture; and, for the reader, the model's name, versions and device.

        That is the network's own score: what is kept beside the weights to be made of it is left out.
        """
        record = sidecar.record(self.weights)
        return {
            "model": sidecar.title(self.weights),
            **self.about,
            "record": {key: said for key, said in record.items() if key not in (calibration.KEY, conformal.KEY)},
            "engine": self.engine,
            "precision": self.precision,
            "calibrated_on": self.calibration.key if self.calibration else None,
            "versions": machine.versions(),
            "device": ", ".join(self._gpus()) or machine.machine(),
        }

    def _gpus(self) -> tuple[str, ...]:
        framework: gpus.Framework | None = {"keras": "tensorflow", "torch": "torch"}.get(self.engine)
        return gpus.ask(framework).gpus if framework and self.device != "cpu" else ()

    def settled(self) -> "Plan":
        """With what only its framework can say, which is imported for it: the best precision here, and the device.

        Raises InputError if there is no such precision or device.
        """
        if self.engine == "openvino" and self.precision == "auto":
            return replace(self, precision=in_openvino.best_precision())
        if self.engine == "torch":
            from koniq.engines import in_torch

            found = in_torch.choose(self.device)
            precision, _, _ = in_torch.settle(found, self.precision, "yes" if self.compiled else "no")
            return replace(self, device=found.type, precision=precision)
        return self

    def start(self) -> Engine:
        """The engine, ready to score. Prints what it is."""
        if self.engine == "keras":
            in_keras.prepare(precision=self.precision, device=self.device)
            model = self.network.build()
            weights.load(model, self.weights)
            return of_model(model, self.network, self.batch_size)
        if self.engine == "torch":
            from koniq.engines import in_torch

            return in_torch.start(
                self.weights, self.network, self.precision, self.batch_size, self.compiled, self.device
            )
        engine = in_openvino.start(
            self.weights, self.network, self.about, self.precision, self.batch_size, self.calibration
        )
        LOG.info(f"Device: {machine.machine()}, {engine.name}")
        return engine


def decide(
    path: Path,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    batch_size: int | None = None,
    input_size: tuple[int, int] | None = None,
    resize: str | None = None,
    pictures: Sequence[Path] = (),
    device: DeviceName = "auto",
    compiled: bool = False,
) -> Plan:
    """Decide on an engine for the weights at `path`, in a moment.

    engine, device: see `auto`. precision: auto is mixed_bfloat16 for OpenVINO and PyTorch on hardware that is fast at
    it, else float32. int8 is OpenVINO's, and is calibrated once on some of `pictures`. batch_size: None is BATCH_SIZE
    of the engine. compiled: of PyTorch. Raises InputError if an engine is not there or has no such precision or device.
    """
    return outline(path, engine, precision, batch_size, input_size, resize, pictures, device, compiled).settled()


def outline(
    path: Path,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    batch_size: int | None = None,
    input_size: tuple[int, int] | None = None,
    resize: str | None = None,
    pictures: Sequence[Path] = (),
    device: DeviceName = "auto",
    compiled: bool = False,
) -> Plan:
    """As `decide`, and no framework is imported: what takes one to say, `Plan.settled` says."""
    network = sidecar.network_of(path, input_size, resize)
    if engine == "auto":
        engine, device = auto(precision, device)
    if (engine, device) in {("openvino", "cuda"), ("openvino", "mps"), ("keras", "mps")}:
        raise InputError(f"device={device} should go with another engine, such as torch. Received: engine={engine}")
    if engine == "openvino":
        if not find_spec("openvino"):
            raise InputError("openvino should be installed for this: pip install -r requirements.txt")
        if precision == "int8" and not find_spec("nncf"):
            raise InputError("nncf should be installed for this: pip install -r requirements-int8.txt")
        weight_files.needs_reader(path)
    elif precision == "int8":
        raise InputError(f"precision=int8 should go with engine=openvino. Received: engine={engine}")
    elif engine == "keras" and not has_keras():
        raise InputError("Keras and TensorFlow should be installed for this: pip install -r requirements.txt")
    elif engine == "torch":
        weight_files.needs_torch()
    elif precision == "auto":
        precision = "float32"
    chosen = Plan(path, network, engine, precision, batch_size or BATCH_SIZE[engine], None, device, compiled)
    if precision == "int8":
        chosen = replace(chosen, calibration=in_openvino.calibration(path, network, chosen.about, pictures))
    return chosen


def auto(precision: str = "auto", device: DeviceName = "auto") -> tuple[str, DeviceName]:
    """The engine that suits this machine (keras, torch or openvino), and the device that it is for.

    In this order: Keras on a GPU that TensorFlow computes on, PyTorch on a GPU, OpenVINO, Keras on the processor, and
    PyTorch there where Keras is not installed. int8 is OpenVINO's wherever it is. Where the system shows a GPU that
    Keras does not score on, a line says why. `gpus` asks the frameworks; none is imported here. Raises InputError where
    `device` is a GPU and neither computes on it.
    """
    refused = []
    signs = gpus.shown() if device != "cpu" and precision != "int8" else ()
    for framework, engine in _on_gpus(device).items() if signs else ():
        answer = gpus.ask(framework)
        if answer.gpus:
            if refused:
                LOG.info(f"PyTorch scores, on {', '.join(answer.gpus)}: {'; '.join(refused)}")
            return engine, device
        refused.append(answer.reason)
    if device in ("cuda", "mps"):
        why = f"precision={precision}" if precision == "int8" else "; ".join(refused) or "the system shows no GPU"
        raise InputError(f"device={device} should be a GPU that TensorFlow or PyTorch computes on. Received: {why}")
    if refused:
        LOG.info(
            f"The processor scores, though the system shows a GPU ({first_few(signs)}): {'; '.join(refused)}. "
            f"What may help: {gpus.MENDS['tensorflow']}"
        )
    if precision == "int8" or find_spec("openvino"):
        return "openvino", "cpu"
    if not find_spec("openvino"):
        LOG.info("OpenVINO would be several times as fast here: pip install -r requirements.txt")
    return ("torch" if weight_files.has_torch() and not has_keras() else "keras"), "cpu"


def _on_gpus(device: DeviceName) -> dict[gpus.Framework, str]:
    """The engines that may score on a GPU, by the framework that is asked whether it computes on one."""
    by_tensorflow = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" and device != "mps"
    return {"tensorflow": "keras", "torch": "torch"} if by_tensorflow and has_keras() else {"torch": "torch"}


def has_keras() -> bool:
    """Whether Keras is installed, with what it computes by."""
    return bool(find_spec("keras") and find_spec(os.environ.get("KERAS_BACKEND", "tensorflow")))


def scored_by(plan: Plan) -> dict[str, str]:
    """What a measurement says of its making that is made of scores: as `machine.here`, with engine and network."""
    size, device = str(list(plan.network.input_size)), plan.facts()["device"]
    about = {"network": plan.network.name, "input_size": size, "framework": plan.engine, "trained_on": ""}
    return {**machine.here(), **about, "device": device}
