"""This machine and what runs on it: its processor, its free memory, versions, the commit; native code kept silent."""

import math
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile

import koniq
from koniq.ground import cgroups
from koniq.ground.built import commit as commit  # part of what a record says, as what is below

PACKAGES = (
    *("keras", "tensorflow", "tf-keras", "kuti", "torch", "openvino", "onnxruntime"),
    *("numpy", "pandas", "scipy", "pillow", "h5py", "rawpy", "pillow-heif", "pillow-jxl-plugin"),
    *("fsspec", "s3fs", "gcsfs", "pyarrow", "duckdb", "ray"),
)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what native code writes to stderr (TensorFlow a page, as it loads), unless it ends in an error."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(stderr, kept.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextmanager
def native_silence() -> Iterator[None]:
    """Drops what native code writes to stderr (libtiff lines for each odd file); what Python writes goes on."""
    sys.stderr.flush()
    python, stderr, nowhere = sys.stderr, os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    if python is sys.__stderr__:  # else somebody collects it elsewhere already
        like = {"encoding": python.encoding, "errors": python.errors}
        sys.stderr = open(stderr, "w", buffering=1, closefd=False, **like)  # noqa: SIM115  a descriptor has no path
    try:
        yield
    finally:
        sys.stderr = python
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def machine() -> str:
    """The processor and the number of its cores that this process may use."""
    name = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open() as lines:
            name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name} ({cores()} cores)"


def cores(root: Path = cgroups.ROOT) -> int:
    """The number of the processor's cores that this process may use, as many as a container has the time of at most.

    root: where proc and sys lie.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(there, max(1, math.ceil(cgroups.processors(root) or there)))


def versions() -> dict[str, str]:
    """The versions of Python, of koniq, and of the packages that a result depends on."""
    found = {"python": platform.python_version(), "koniq": koniq.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def free_memory(root: Path = cgroups.ROOT) -> int:
    """Bytes of memory that may be taken: what is available, by Linux's own word, else half of what the machine has.

    In a container, or wherever a control group has a limit, no more than is left of it. root: where proc and sys lie.
    """
    try:
        with (root / "proc/meminfo").open() as lines:
            available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
        except (AttributeError, ValueError, OSError):  # Windows
            return 4 << 30
    left = cgroups.free_memory(root)
    return available if left is None else min(available, left)


def in_words(versions: Mapping[str, str]) -> str:
    """Versions as the table has them: "python 3.11.7 keras 3.15.1"."""
    return " ".join(f"{package} {version}" for package, version in versions.items())


def here() -> dict[str, str]:
    """What a measurement that is made now says of its making: device, versions, commit."""
    return {"device": machine(), "versions": in_words(versions()), "commit": commit()}
