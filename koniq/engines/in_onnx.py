"""ONNX: a network exported once, for whatever runs it elsewhere; and ONNX Runtime as an engine, to check it by."""

import logging
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from koniq.engines.engine import Engine
from koniq.ground import InputError
from koniq.ground.built import install
from koniq.network import Network, weights


def needs_onnx() -> None:
    """Raise InputError where what exports and runs ONNX is not installed."""
    if not all(map(find_spec, ("torch", "onnx", "onnxscript", "onnxruntime"))):
        raise InputError(f"ONNX should be installed for this: {install('onnx')}")


def export(path: Path, network: Network, target: Path) -> None:
    """Write the network with the weights at `path` as ONNX, by way of PyTorch on the processor, in one file.

    Its input `pictures` is uint8 (batch, height, width, 3), RGB, of any batch and of the network's size, its output
    `mos` is float32 (batch, 1).
    """
    import torch

    with torch.device("cpu"):  # whatever the default of this process is
        module = network.build_torch().eval()
    weights.load_module(module, path, network)
    example = torch.zeros((2, *network.input_size, 3), dtype=torch.uint8, device="cpu")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which is not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the exporter itself
        torch.onnx.export(
            module,
            (example,),
            target,
            input_names=["pictures"],
            output_names=["mos"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False,
            verbose=False,
        )


def start(path: Path, network: Network, batch_size: int = 8) -> Engine:
    """The engine that an ONNX file is, on the processor."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def score(pictures: np.ndarray) -> np.ndarray:
        return session.run(["mos"], {"pictures": pictures})[0][:, 0]

    return Engine(f"ONNX Runtime {onnxruntime.__version__}, float32", network, batch_size, score, any_batch=True)
