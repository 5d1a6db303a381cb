"""Whether the limits of `make test-portable` are heeded: else it would run again what `make test` ran."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

pytestmark = [
    pytest.mark.numerical,
    pytest.mark.skipif("ONEDNN_MAX_CPU_ISA" not in os.environ, reason="only make test-portable sets limits"),
]

# Of instruction sets and kernels, as oneDNN and OpenVINO name them: "Intel AVX-512", "brgconv_avx512_f32", "Intel AMX".
NEWER = re.compile("avx-?512|avx10|amx", re.IGNORECASE)

CONVOLUTIONS = """
import numpy as np, tensorflow as tf
pictures, filters = np.ones((1, 24, 32, 16), np.float32), np.ones((3, 3, 16, 16), np.float32)
tf.nn.conv2d(pictures, filters, 1, "SAME")
try:
    import torch
except ImportError:
    raise SystemExit
torch.nn.Conv2d(16, 16, 3)(torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous())
"""


def test_onednn_in_tensorflow_and_pytorch_keeps_to_its_limit_and_tensorflow_can_do_without():
    """By what both say as they load and compute, in a process of their own."""
    talkative = os.environ | {"ONEDNN_VERBOSE": "1", "TF_CPP_MIN_LOG_LEVEL": "0"}
    command = [sys.executable, "-c", CONVOLUTIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=talkative)
    lines = [line for line in done.stdout.splitlines() if line.startswith("onednn_verbose")]
    assert any("cpu,isa:" in line for line in lines)
    assert [line for line in lines if NEWER.search(line)] == []
    assert ("oneDNN custom operations are on" in done.stderr) == (os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1")


def test_pytorchs_own_kernels_keep_to_their_limit():
    torch = pytest.importorskip("torch")
    assert torch.backends.cpu.get_cpu_capability() == os.environ["ATEN_CPU_CAPABILITY"].upper()


def test_openvino_keeps_to_its_limit():
    """oneDNN's kernels heed ONEDNN_MAX_CPU_ISA, its own OV_CPU_MAX_ISA; those of MLAS have no limit."""
    openvino = pytest.importorskip("openvino")
    from openvino import opset13 as ops

    pictures = ops.parameter([4, 16, 24, 32], np.float32)
    convolved = ops.convolution(pictures, np.ones((16, 16, 3, 3), np.float32), [1, 1], [1, 1], [1, 1], [1, 1])
    pooled = ops.reduce_mean(ops.relu(convolved), np.array([2, 3]), False)
    core = openvino.Core()
    assert not {"BF16", "FP16"} & set(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    compiled = core.compile_model(openvino.Model([pooled], [pictures]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kernels = [node.get_rt_info()["primitiveType"].value for node in compiled.get_runtime_model().get_ordered_ops()]
    assert any("avx2" in kernel for kernel in kernels)
    assert not any(NEWER.search(kernel) for kernel in kernels)
