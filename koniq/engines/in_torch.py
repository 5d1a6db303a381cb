"""PyTorch as an engine: the device, the precision, and whether the network is compiled."""

import shutil
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from koniq.engines import gpus
from koniq.engines.engine import Engine
from koniq.ground import InputError, machine
from koniq.ground.log import LOG
from koniq.network import Network, weights

if TYPE_CHECKING:
    from koniq.engines.plan import Plan

DTYPES = {"float32": torch.float32, "mixed_bfloat16": torch.bfloat16, "mixed_float16": torch.float16}


def choose(device: str = "auto", training: bool = False) -> torch.device:
    """The device by name: cpu, cuda, mps; auto is the best there is.

    training: that days depend on it. Raises InputError for a device that is not there, and in training where auto would
    be the processor of a machine that shows a GPU; else a line says that this GPU is left idle.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    found = [name for name in there if there[name]]
    if device != "auto" and device not in found:
        raise InputError(f"device should be one that PyTorch has here: {', '.join(found)}. Received: device={device}")
    if device == "auto":
        gpus.check("torch", found[:-1], device, training)
    return torch.device(found[0] if device == "auto" else device)


def best_precision(device: torch.device) -> str:
    """mixed_bfloat16 where the hardware computes it natively, else float32.

    That is CUDA from Ampere, and processors with AMX or with AVX-512 BF16, which train twice as fast by it at 384x512
    (benchmarks/training.py, results/LOG.md).
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())
    return "mixed_bfloat16" if fast else "float32"


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` has what it needs: Triton on CUDA, a C++ compiler on a processor."""
    if device.type == "cuda":
        return torch.utils._triton.has_triton()
    return device.type == "cpu" and any(map(shutil.which, ("g++", "clang++")))


def resolved(device: torch.device, precision: str, compiled: bool) -> dict[str, Any]:
    """What settings came to on this device, see koniq.training.run.About."""
    how = {"precision": precision, "compile": compiled}
    return how | ({"tf32": tf32(device, precision)} if device.type == "cuda" else {})


def settle(device: torch.device, precision: str, compile: str) -> tuple[str, bool, str]:
    """For training: the precision, whether to compile, and both with the device in words; "auto" is decided here.

    compile: "yes", "no", or "auto", which is yes on CUDA: on a processor it takes minutes, which a short run never
    gets back. Raises InputError if it should be compiled and cannot be.
    """
    precision = best_precision(device) if precision == "auto" else precision
    able = can_compile(device)
    if compile == "yes" and not able:
        raise InputError("compile should have a C++ compiler here, or Triton on a GPU. Received: neither")
    compiled = compile == "yes" or (compile == "auto" and able and device.type == "cuda")
    return precision, compiled, f"{hardware(device)}, {describe(precision, compiled, tf32(device, precision))}"


def tf32(device: torch.device, precision: str) -> bool:
    """Whether convolutions in float32 are computed in TF32, of 10 bits of mantissa: PyTorch's default on CUDA."""
    return device.type == "cuda" and precision == "float32" and torch.backends.cudnn.allow_tf32


def precise(device: torch.device, precision: str) -> AbstractContextManager:
    """The context in which a network computes in `precision`; its weights stay float32."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "float32")


def prepare(module: torch.nn.Module, device: torch.device, compiled: bool = False) -> torch.nn.Module:
    """The module on its device, its filters laid out with the channels last, compiled if asked for."""
    torch.backends.cudnn.benchmark = device.type == "cuda"  # the fastest kernels are sought once for a size of batch
    module.to(device, memory_format=torch.channels_last)
    if compiled:
        module.compile()
    return module


def hardware(device: torch.device) -> str:
    """The name of the GPU or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else machine.machine()


def describe(precision: str, compiled: bool, tf32: bool = False) -> str:
    """Such as "PyTorch 2.13.0, mixed_bfloat16, compiled"."""
    rounded = " (convolutions in TF32)" if tf32 else ""
    return f"PyTorch {torch.__version__}, {precision}{rounded}{', compiled' if compiled else ''}"


def of_module(
    module: torch.nn.Module, network: Network, batch_size: int = 8, precision: str = "float32", compiled: bool = False
) -> Engine:
    """The engine that a module in memory is, on the device where it lies."""
    module.eval()
    device = next(module.parameters()).device
    on_gpu = device.type == "cuda"

    def score(pictures: np.ndarray) -> np.ndarray:
        pixels = torch.from_numpy(pictures)
        pixels = pixels.pin_memory() if on_gpu else pixels
        with torch.inference_mode(), precise(device, precision):
            return module(pixels.to(device, non_blocking=True))[:, 0].float().cpu().numpy()

    name, parallel = describe(precision, compiled, tf32(device, precision)), 1 + on_gpu  # one moves, one is computed
    return Engine(name, network, batch_size, score, parallel, any_batch=not compiled)


def settled(plan: "Plan") -> "Plan":
    """The plan with the device that there is, and the precision that suits it; see `choose` and `settle`."""
    device = choose(plan.device)
    precision, _, _ = settle(device, plan.precision, "yes" if plan.compiled else "no")
    return plan.changed(device=device.type, precision=precision)


def start(plan: "Plan") -> Engine:
    """The engine that is planned, for weights whoever wrote them. Says what it is."""
    device, module = choose(plan.device), plan.network.build_torch()
    weights.load_module(module, plan.weights, plan.network)
    module = prepare(module, device, plan.compiled)
    engine = of_module(module, plan.network, plan.batch_size, plan.precision, plan.compiled)
    LOG.info(f"Device: {hardware(device)}, {engine.name}")
    return engine
