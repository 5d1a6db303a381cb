"""Whether the packages of NVIDIA's libraries that a framework goes by are whole, or another's were put over them.

TensorFlow 2.21 brings CUDA 12 (tensorflow[and-cuda]: nvidia-cudnn-cu12, nvidia-nccl-cu12, ...), PyTorch 2.13 CUDA 13
(nvidia-cudnn-cu13, ...). In one environment those of cuDNN and NCCL have the same files, nvidia/cudnn/lib/libcudnn.so.9
for one: what is installed last lies there, and the other framework loads it and fails in the midst of a computation.
That is told by importlib.metadata alone, from the sizes that packages record of their files; no framework is imported.
"""

import re
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions

from koniq.ground.built import IN_CLONE, install

TENSORFLOW = '"tensorflow[and-cuda]==2.21.0"'
TITLES = {"tensorflow": "TensorFlow", "torch": "PyTorch"}
# An environment of its own, with what scoring needs as well.
MENDS = {
    "tensorflow": f"python -m venv .venv-tensorflow && .venv-tensorflow/bin/{install('tensorflow')} {TENSORFLOW}",
    "torch": "python -m venv .venv-torch && .venv-torch/bin/"
    + ("pip install -r requirements/scoring.txt -r requirements-torch.txt" if IN_CLONE else install("torch")),
}


def fault(framework: str) -> str:
    """Which library of a framework's was put over by another package, and what mends it, a sentence without its end.

    framework: tensorflow, torch. "" where nothing is amiss, or where its libraries are none of NVIDIA's packages.
    """
    installed = {}
    for one in distributions():
        installed.setdefault(_normal(one.name or ""), one)  # the first is what is imported
    own = installed.get(framework)
    needed = {_normal(re.split(r"[^\w.-]", text, maxsplit=1)[0]) for text in (own.requires if own else None) or ()}
    theirs = {name: one for name, one in installed.items() if name.startswith("nvidia-")}
    for name in sorted(needed & theirs.keys()):
        lost = next(_lost(theirs[name]), None)
        if lost is None:
            continue
        over = next((other for other, one in sorted(theirs.items()) if other != name and lost in _files(one)), None)
        what = f"{over} has put its own in its place" if over else "it is not as it was installed"
        return (
            f"{TITLES[framework]} should have an environment of its own: of {lost}, which it has by {name}, {what}. "
            f"What mends it: {MENDS[framework]}"
        )
    return ""


def _normal(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _files(one: Distribution) -> dict[str, int | None]:
    """The shared libraries that a package records, with their sizes."""
    return {path.as_posix(): path.size for path in one.files or () if ".so" in path.name}


def _lost(one: Distribution) -> Iterator[str]:
    """The shared libraries of a package that are not there, or of another size than it records."""
    for name, size in _files(one).items():
        try:
            found = one.locate_file(name).stat().st_size
        except OSError:
            found = -1
        if size is not None and found != size:
            yield name
