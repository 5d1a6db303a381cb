"""What the control groups of Linux leave to this process, in a container or under a batch system: memory, processors.

Source: the kernel's Documentation, admin-guide/cgroup-v2.rst, and cgroup-v1/memory.rst of before.
"""

from collections.abc import Iterator
from pathlib import Path

from koniq.ground.paths import text_of

ROOT = Path("/")  # where proc and sys/fs/cgroup lie
NONE = 1 << 60  # bytes, and more: what version 1 says where there is no limit is near 1 << 63


def free_memory(root: Path = ROOT) -> int | None:
    """Bytes that may still be taken before a group of this process is at its limit; None where none has one.

    The least of all groups that it is in, one within the other. What is kept of files that were read (inactive_file)
    counts as free, because the kernel gives it up first.
    """
    room = []
    for folder in _groups("memory", root):
        v1, used = (folder / "memory.limit_in_bytes").is_file(), None
        names = ("memory.limit_in_bytes",) if v1 else ("memory.max", "memory.high")
        limits = [limit for name in names if (limit := _number(folder / name)) is not None and limit < NONE]
        if limits:
            used = _number(folder / ("memory.usage_in_bytes" if v1 else "memory.current"))
        if used is not None:
            kept = _line(folder / "memory.stat", "total_inactive_file" if v1 else "inactive_file")
            room.append(max(min(limits) - max(used - kept, 0), 0))
    return min(room, default=None)


def processors(root: Path = ROOT) -> float | None:
    """How many processors' time the groups of this process have, 1.5 for instance; None where none has a limit."""
    found = []
    for folder in _groups("cpu", root):
        quota, period = (_number(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota is None:  # version 2: "150000 100000", or "max 100000"
            quota, period = (*map(_whole, text_of(folder / "cpu.max").split()), None, None)[:2]
        if quota and period and quota > 0:  # version 1 says -1 where there is no limit
            found.append(quota / period)
    return min(found, default=None)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of the groups that limit this process in `controller`, from its own to the root.

    A container sees its own group as the root of what is mounted, whatever /proc/self/cgroup says its path is: of that
    path only what is there is gone through.
    """
    mounted = root / "sys/fs/cgroup"
    for line in text_of(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if controller in names.split(","):
            tops = dict.fromkeys((mounted / controller, mounted / names))  # cpu, or cpu,cpuacct
        elif number == "0" and not names:  # version 2, alone or beside version 1
            tops = [mounted, mounted / "unified"]
        else:
            continue
        parts = [part for part in path.split("/") if part]
        if ".." in parts:  # of a process from outside the container
            parts = []
        for top in tops:
            for count in range(len(parts), -1, -1):
                if (folder := top.joinpath(*parts[:count])).is_dir():
                    yield folder


def _whole(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:  # "max": no limit
        return None


def _number(path: Path) -> int | None:
    return _whole(text_of(path))


def _line(path: Path, name: str) -> int:
    """The number after a name in a file of lines "name number"; 0 where it is not there."""
    pairs = (line.split() for line in text_of(path).splitlines())
    return next((_whole(pair[1]) or 0 for pair in pairs if len(pair) == 2 and pair[0] == name), 0)
