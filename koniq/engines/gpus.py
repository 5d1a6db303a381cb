"""Whether a framework computes on a GPU here. Where the system shows no GPU nothing is imported to say so.

Where it shows one, the framework is asked once, in a process of its own, and the answer is kept in the user's cache.
"""

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from koniq.engines import cuda_wheels
from koniq.ground import InputError, first_few
from koniq.ground.files import cache_place, keep
from koniq.ground.log import LOG
from koniq.ground.paths import text_of

Framework = Literal["tensorflow", "torch"]
TITLES: dict[Framework, str] = cuda_wheels.TITLES
# What mends a framework that finds none of the GPUs that the system shows.
MENDS: dict[Framework, str] = {
    "tensorflow": f"pip install {cuda_wheels.TENSORFLOW} for one of NVIDIA on Linux or in WSL2, else a build of "
    "PyTorch that has it",
    "torch": "the build of PyTorch that has it, by https://pytorch.org/get-started/locally",
}
DEVICES = Path("/dev")
DRIVERS = ("/proc/driver/nvidia/version", "/sys/module/amdgpu/srcversion")  # which tell their version
LIBRARIES = ("/usr/lib/wsl/lib/libcuda.so.1",)  # of a driver that has no such file: WSL2's lies in Windows
# Variables that list the GPUs that NVIDIA's and AMD's drivers show to a process, up to the first name of none.
HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
PROBE = Path(__file__).with_name("gpu_probe.py")
LIMIT = 120.0  # seconds that a framework has to answer; TensorFlow takes 5 to 60 from a cold disk
HELD = 24 * 3600.0  # seconds for which an answer holds that may be another next time


@dataclass(frozen=True)
class Answer:
    """What a framework said of the GPUs of this machine."""

    gpus: tuple[str, ...] = ()  # the names of those that it computes on
    reason: str = ""  # why there is none, as a sentence without its end
    certain: bool = True  # the framework said so itself; else it hung, crashed or failed, perhaps for now


def shown() -> tuple[str, ...]:
    """The signs of a GPU that the system shows, such as ("/dev/nvidia0",); none if the user hides all GPUs (HIDING).

    NVIDIA's driver makes /dev/nvidia0 and so on, or /dev/nvhost-gpu; Windows shows its GPUs to WSL2 as /dev/dxg; AMD's
    driver makes /dev/kfd, and a render node for a GPU; on Windows NVIDIA's brings nvcuda.dll; a Mac has Metal.
    """
    if sys.platform == "darwin":
        return ("Metal",)
    if any(not re.match(r"\s*(\d|GPU-|MIG-)", os.environ.get(name, "0")) for name in HIDING):
        return ()
    if sys.platform == "win32":
        found = [Path(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll")]
    else:
        found = [path for pattern in ("nvidia[0-9]*", "nvhost-gpu", "dxg") for path in sorted(DEVICES.glob(pattern))]
        if any(DEVICES.glob("dri/renderD*")):
            found.append(DEVICES / "kfd")
    return tuple(str(path) for path in found if path.exists())


def hide() -> None:
    """Keep this process, and those that it starts, from GPUs, where no framework has looked for one in it yet."""
    os.environ |= dict.fromkeys(HIDING, "-1") | {"KERAS_TORCH_DEVICE": "cpu"}


def ask(framework: Framework) -> Answer:
    """Whether a framework computes on a GPU here: as it said before, or asked now, which takes seconds.

    A framework that hangs, crashes, or fails on a GPU that it lists has none, and is asked again after a day. Any other
    answer holds as long as what it depends on is the same: the devices, the driver, the packages, the environment.
    """
    signs, title = shown(), TITLES[framework]
    if not signs:
        return Answer(reason="the system shows no GPU")
    if not find_spec(framework):
        return Answer(reason=f"{title} is not installed")
    if why := cuda_wheels.fault(framework):
        return Answer(reason=why)
    path = _place(framework, signs)
    answer = _kept(path)
    if answer is None:
        LOG.info(f"The system shows a GPU ({first_few(signs)}). Asking {title}, once, whether it computes on it ...")
        answer = _asked(framework)
        keep({**asdict(answer), "asked": time.time()}, path)
    if answer.certain or not path:
        return answer
    return Answer((), f"{answer.reason}; it is asked again in a day, or without {path}", False)


def check(framework: Framework, found: Collection[str], device: str, training: bool = False) -> None:
    """Raise InputError, or say it in a line, where a framework leaves a GPU idle that is shown or that was asked for.

    found: the GPUs that the framework, imported by now, has found. device: as asked for; cpu is always right. training:
    whether days depend on it; then it is an error that the system shows a GPU, `device` is auto, and nothing is found.
    Alike where its libraries are another's (`cuda_wheels`): it would fail on the GPU that it finds.
    """
    signs = shown()
    if signs and device != "cpu" and (why := cuda_wheels.fault(framework)):
        if training or device != "auto":
            raise InputError(f"{why}. To compute on the processor all the same, give --device cpu")
        LOG.info(why)
    if found or device == "cpu" or (device == "auto" and not signs):
        return
    seen = f"the system shows one ({first_few(signs)})" if signs else "the system shows none"
    if device != "auto":
        raise InputError(
            f"device={device} should be a GPU that {TITLES[framework]} finds. Received: it finds none, and {seen}. "
            f"What may help: {MENDS[framework]}"
        )
    idle = f"{TITLES[framework]} finds no GPU, though {seen}. What may help: {MENDS[framework]}"
    if training:
        raise InputError(f"{idle}. To train on the processor all the same, which may take days, give --device cpu")
    LOG.info(idle)


def _place(framework: Framework, signs: Sequence[str]) -> Path | None:
    """Where the answer is kept: by a hash of all that it depends on. None where a user has no home."""
    # The libraries of CUDA are packages, too, and come later than the framework without a change of its version.
    names = ("tensorflow", "tf-", "tf_", "keras", "torch", "triton", "nvidia", "rocm", "jax")
    variables = (*HIDING, "LD_LIBRARY_PATH", "PYTHONPATH")
    about = {
        "framework": framework,
        "shown": signs,
        "python": (sys.executable, platform.python_version()),
        "packages": sorted(
            (one.name, one.version) for one in distributions() if (one.name or "").lower().startswith(names)
        ),
        "drivers": [text_of(Path(path)) for path in DRIVERS],
        "libraries": [_changed(Path(path)) for path in (*LIBRARIES, *signs) if not path.startswith(str(DEVICES))],
        "environment": {name: os.environ.get(name) for name in variables},
        "probe": PROBE.read_text(),
    }
    return cache_place(f"gpu-{framework}", about)


def _changed(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _kept(path: Path | None) -> Answer | None:
    """The answer in the file at `path`; None where there is none that holds."""
    try:
        kept = json.loads(path.read_text()) if path else {}
        answer = Answer(tuple(kept["gpus"]), str(kept["reason"]), bool(kept["certain"]))
        return answer if answer.certain or 0 <= time.time() - kept["asked"] < HELD else None
    except (OSError, ValueError, TypeError, KeyError):  # not there, or not ours
        return None


def _asked(framework: Framework) -> Answer:
    """The answer of a framework in a process of its own."""
    title = TITLES[framework]
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    nowhere = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        with TemporaryDirectory(prefix="koniq-", ignore_cleanup_errors=True) as folder:
            answer = Path(folder, "answer.json")
            # -P: what lies beside the probe, koniq/select.py for one, is not what a framework means by that name.
            command = [sys.executable, "-P", str(PROBE), framework, str(answer)]
            process = subprocess.Popen(command, env=os.environ | quiet, **nowhere)
            try:
                code = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                return Answer((), f"{title} did not say within {LIMIT:.0f} seconds whether it computes on a GPU", False)
            finally:
                _end(process)
            if code:
                return Answer((), f"{title} crashed over the GPU (its process ended with code {code})", False)
            said = json.loads(answer.read_text())
            gpus, error = tuple(map(str, said["gpus"])), said.get("error")
    except (OSError, ValueError, TypeError, KeyError) as error:
        return Answer((), f"{title} could not be asked about GPUs ({error})", False)
    if error:
        return Answer((), f"{title} failed over the GPU ({error})", False)
    return Answer(gpus, "" if gpus else f"{title} finds no GPU")


def _end(process: subprocess.Popen) -> None:
    """End a process that has not ended; not waited for long, because one that hangs in a driver does not end."""
    if process.poll() is None:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
