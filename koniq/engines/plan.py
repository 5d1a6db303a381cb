"""Which engine computes the scores: decided on for weights, and then started, by one table of what there is."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Literal

from koniq.engines import gpus
from koniq.engines.engine import Engine
from koniq.fetch import seen
from koniq.ground import InputError, first_few, machine
from koniq.ground.built import install
from koniq.ground.files import file_hash
from koniq.ground.log import LOG
from koniq.measure import calibration, conformal
from koniq.network import Network, sidecar, weight_files
from koniq.network.koncept512 import Pooling
from koniq.network.spec import Fit, Resize, Rules

EngineName = Literal["auto", "keras", "openvino", "torch"]
DeviceName = Literal["auto", "cuda", "mps", "cpu"]
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16", "int8"]


# Of a record, what facts beside scores say by themselves, or leave out: files were begun before records had rules.
ELSEWHERE = (calibration.KEY, conformal.KEY, "rules")


@dataclass(frozen=True)
class Backend:
    """An engine that there may be: of the name NAME, it is koniq.engines.in_NAME, which has two functions.

    `settled(plan)` gives the plan with what only the framework can say, `start(plan)` the `Engine`.
    """

    needs: str  # what should be installed for it, in words
    extra: str  # by which that is installed, see koniq.ground.built
    is_there: Callable[[], object]  # whether it is; nothing is imported to say so
    batch_size: int
    framework: gpus.Framework | None = None  # by which it computes on GPUs
    devices: tuple[DeviceName, ...] = ("auto", "cpu")
    precision: str = "auto"  # what "auto" is without asking the framework


def has_keras() -> bool:
    """Whether Keras is installed, with what it computes by."""
    return bool(find_spec("keras") and find_spec(os.environ.get("KERAS_BACKEND", "tensorflow")))


BACKENDS: dict[str, Backend] = {
    "keras": Backend(
        *("Keras and TensorFlow", "tensorflow", lambda: has_keras(), 8, "tensorflow", ("auto", "cpu", "cuda")),
        precision="float32",
    ),
    "openvino": Backend("openvino", "", lambda: find_spec("openvino"), 4),  # which works on several batches at a time
    "torch": Backend(
        *("PyTorch", "torch", lambda: weight_files.has_torch(), 8, "torch", ("auto", "cpu", "cuda", "mps"))
    ),
}


@dataclass(frozen=True)
class Int8Sample:
    """The pictures that int8 is to be calibrated and checked on."""

    pictures: tuple[Path, ...]  # none if it was done before
    key: str  # a hash of their paths


@dataclass(frozen=True)
class Plan:
    """An engine that is decided on and not started: what it will be, and what its scores depend on."""

    weights: Path
    network: Network
    engine: str  # a name of BACKENDS
    precision: str
    batch_size: int
    sample: Int8Sample | None = None  # of int8
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
            "record": {key: said for key, said in record.items() if key not in ELSEWHERE},
            "engine": self.engine,
            "precision": self.precision,
            "calibrated_on": self.sample.key if self.sample else None,
            "versions": machine.versions(),
            "device": ", ".join(self._gpus()) or machine.machine(),
        }

    def changed(self, **what: object) -> "Plan":
        """With some fields otherwise; where weights and network stay, so does their hash, if it was taken."""
        plan = replace(self, **what)
        if "about" in vars(self) and (plan.weights, plan.network) == (self.weights, self.network):
            vars(plan)["about"] = self.about
        return plan

    def _gpus(self) -> tuple[str, ...]:
        framework = BACKENDS[self.engine].framework
        return gpus.ask(framework).gpus if framework and self.device != "cpu" else ()

    def settled(self) -> "Plan":
        """With what only its framework can say, which is imported for it: the best precision here, and the device.

        Raises InputError if there is no such precision or device.
        """
        return self._module().settled(self)

    def start(self) -> Engine:
        """The engine, ready to score. Says what it is."""
        plan = self.settled()
        return plan._module().start(plan)

    def _module(self) -> ModuleType:
        """What the engine is made of, imported when it is asked for, as its framework comes with it."""
        return import_module(f"koniq.engines.{'int8' if self.sample else f'in_{self.engine}'}")


def decide(
    path: Path,
    engine: EngineName = "auto",
    precision: Precision = "auto",
    batch_size: int | None = None,
    input_size: tuple[int, int] | None = None,
    resize: Resize | None = None,
    pictures: Sequence[Path] = (),
    device: DeviceName = "auto",
    compiled: bool = False,
    rules: Rules | None = None,
    fit: Fit | None = None,
    dct_scaling: bool = False,
    pooling: Pooling | None = None,
) -> Plan:
    """Decide on an engine for the weights at `path`, in a moment: no framework is imported (see `Plan.settled`).

    engine, device: see `auto`. precision: auto is mixed_bfloat16 for OpenVINO and PyTorch on hardware that is fast at
    it, else float32. int8 is OpenVINO's, and is calibrated once on some of `pictures`. batch_size: None is what suits
    the engine. compiled: of PyTorch. resize, rules, fit, dct_scaling: how pictures get to the network. pooling: see
    `network_of`. Raises InputError if an engine is not there, or does not go with the rest.
    """
    network = sidecar.network_of(path, input_size, resize, rules, fit, dct_scaling, pooling)
    if engine == "auto":
        engine, device = auto(precision, device)
    backend = BACKENDS[engine]
    if device not in backend.devices:
        raise InputError(f"device={device} should go with another engine, such as torch. Received: engine={engine}")
    if precision == "int8" and engine != "openvino":
        raise InputError(f"precision=int8 should go with engine=openvino. Received: engine={engine}")
    if not backend.is_there():
        raise InputError(f"{backend.needs} should be installed for this: {install(backend.extra)}")
    weight_files.needs_reader(path)
    precision = backend.precision if precision == "auto" else precision
    chosen = Plan(path, network, engine, precision, batch_size or backend.batch_size, None, device, compiled)
    if precision == "int8":
        if not find_spec("nncf"):
            raise InputError(f"nncf should be installed for this: {install('int8')}")
        int8 = import_module("koniq.engines.int8")
        chosen = chosen.changed(sample=int8.sample_of(path, network, chosen.about, pictures))
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
    LOG.info(f"OpenVINO would be several times as fast here: {install()}")
    return ("torch" if weight_files.has_torch() and not has_keras() else "keras"), "cpu"


def _on_gpus(device: DeviceName) -> dict[gpus.Framework, str]:
    """The engines that may score on a GPU, by the framework that is asked whether it computes on one."""
    by_tensorflow = os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow" and device != "mps"
    return {"tensorflow": "keras", "torch": "torch"} if by_tensorflow and has_keras() else {"torch": "torch"}


def scored_by(plan: Plan) -> dict[str, str]:
    """What a measurement says of its making that is made of scores: as `machine.here`, with engine and network."""
    size, device = str(list(plan.network.input_size)), plan.facts()["device"]
    about = {"network": plan.network.name, "input_size": size, "framework": plan.engine, "trained_on": ""}
    return {**machine.here(), **about, "device": device}
