"""OpenVINO as an engine: a network is built from its weights each time, in a second, by no framework that trains."""

import threading
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from koniq.engines.engine import Engine
from koniq.ground import InputError, machine
from koniq.ground.log import LOG
from koniq.network import Network, weights

if TYPE_CHECKING:
    from pathlib import Path

    import openvino

    from koniq.engines.plan import Plan

HINTS = {"float32": "f32", "mixed_bfloat16": "bf16", "mixed_float16": "f16"}
ABILITIES = {"float32": "FP32", "mixed_bfloat16": "BF16", "mixed_float16": "FP16", "int8": "INT8"}  # OpenVINO's names


@cache
def abilities() -> tuple[str, ...]:
    """What the processor computes well, in OpenVINO's words: FP32, BF16, FP16, INT8, ..."""
    import openvino

    return tuple(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def best_precision() -> str:
    """mixed_bfloat16 where the processor has it (AVX-512 BF16, AMX), else float32."""
    return "mixed_bfloat16" if ABILITIES["mixed_bfloat16"] in abilities() else "float32"


def settled(plan: "Plan") -> "Plan":
    """The plan with the best precision that there is here, if any will do."""
    return plan.changed(precision=best_precision()) if plan.precision == "auto" else plan


def start(plan: "Plan") -> Engine:
    """The engine that is planned. Says what it is. Raises InputError if the processor has no such precision."""
    check_able(plan.precision)
    bfloat16 = plan.precision == "mixed_bfloat16"
    engine = of_model(model_of(plan.weights, plan.network, bfloat16), plan.network, plan.precision, plan.batch_size)
    LOG.info(f"Device: {machine.machine()}, {engine.name}")
    return engine


def check_able(precision: str) -> None:
    """Raise InputError if the processor has no such precision."""
    if ABILITIES[precision] not in abilities():
        raise InputError(
            f"precision should be one that this processor has ({', '.join(abilities())}). Received: {precision}"
        )


def model_of(path: "Path", network: Network, bfloat16: bool = False) -> "openvino.Model":
    """The network with the weights at `path`. bfloat16: with kernels for that."""
    return network.build_openvino(weights.read_state(path, network), bfloat16)


def of_model(model: "openvino.Model", network: Network, precision: str, batch_size: int) -> Engine:
    """The engine that a model in memory is."""
    import openvino

    model.reshape([batch_size, *network.input_size, 3])
    # The layers of int8 in floating point, too, are at the best that the processor has.
    hint = HINTS[best_precision() if precision == "int8" else precision]
    config = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "THROUGHPUT"}
    compiled = openvino.Core().compile_model(model, "CPU", config)
    own = threading.local()  # a request works for one thread at a time

    def score(pictures: np.ndarray) -> np.ndarray:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        own.request.set_input_tensor(openvino.Tensor(pictures, shared_memory=True))
        own.request.infer()
        return own.request.get_output_tensor(0).data[:, 0].copy()

    name = f"OpenVINO {openvino.__version__.split('-')[0]}, {precision}"
    parallel = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    return Engine(name, network, batch_size, score, parallel)
