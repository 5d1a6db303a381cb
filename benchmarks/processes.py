"""A command in a process of its own: what it prints, and the memory that it takes. For benchmarks and tests."""

import subprocess
import sys
from collections.abc import Container, Sequence

from koniq.ground.paths import ROOT

MEASURED = (
    "import resource, subprocess, sys; done = subprocess.run(sys.argv[2:], timeout=float(sys.argv[1]));"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(done.returncode)"
)


def measured(command: Sequence[object], limit: float = 1e6, codes: Container[int] = (0,)) -> tuple[list[str], int]:
    """The lines that a command prints, and the most bytes that it had in memory (of its processes, the largest).

    limit: seconds after which it is killed. Raises CalledProcessError, with its stderr, if it ends with none of the
    `codes`. A Python with nothing in it starts the command, for a new process counts as its own what the one before it
    had in memory.
    """
    command = [sys.executable, "-c", MEASURED, str(limit), *map(str, command)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        done.check_returncode()
    *lines, peak = done.stdout.splitlines()
    return lines, int(peak) << 10
