"""What control groups leave: made-up trees of /proc and /sys, and those that are there."""

from pathlib import Path

import pytest

from koniq.ground import cgroups, machine

GIB = 1 << 30
NO_LIMIT = 0x7FFFFFFFFFFFF000  # as version 1 says it


@pytest.fixture
def tree(tmp_path):
    """A function that makes the files of a machine with 64 GiB available below a folder, which it returns."""

    def make(groups, **files):
        known = {"proc/self/cgroup": groups, "proc/meminfo": f"MemTotal: 9 kB\nMemAvailable: {64 << 20} kB\n"}
        for name, text in (known | files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return make


def v2(folder, **files):
    return {f"sys/fs/cgroup/{folder}memory.{name}": text for name, text in files.items()}


def v1(folder, **files):
    return {f"sys/fs/cgroup/memory/{folder}memory.{name}": text for name, text in files.items()}


def test_without_limits_what_is_available_is_free(tree):
    root = tree("0::/user", **v2("user/", max="max", high="max", current=GIB))
    assert cgroups.free_memory(root) is None
    assert machine.free_memory(root) == 64 * GIB
    root = tree("4:memory:/a", **v1("a/", limit_in_bytes=NO_LIMIT, usage_in_bytes=GIB))
    assert cgroups.free_memory(root) is None
    assert machine.free_memory(root) == 64 * GIB


def test_a_container_has_its_own_root(tree):
    stat = f"anon 5\ninactive_file {2 * GIB}\nactive_file {GIB}"
    root = tree("0::/", **v2("", max=8 * GIB, high="max", current=7 * GIB, stat=stat))
    assert cgroups.free_memory(root) == machine.free_memory(root) == 3 * GIB
    (root / "sys/fs/cgroup/memory.high").write_text(f"{6 * GIB}\n")  # slowed down above it
    assert cgroups.free_memory(root) == GIB
    (root / "sys/fs/cgroup/memory.current").write_text(f"{9 * GIB}\n")
    assert machine.free_memory(root) == 0


def test_the_least_on_the_way_up_counts(tree):
    files = v2("batch/", max=10 * GIB, current=9 * GIB) | v2("batch/job/", max=20 * GIB, current=GIB)
    root = tree("0::/batch/job/step", **files, **v2("batch/job/step/", max="max", current=GIB))
    assert cgroups.free_memory(root) == GIB


def test_version_1_is_read_too_and_a_path_of_the_host_is_not_looked_for(tree):
    files = v1("", limit_in_bytes=4 * GIB, usage_in_bytes=3 * GIB, stat=f"inactive_file 7\ntotal_inactive_file {GIB}")
    root = tree("5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n0::/docker/1f", **files)
    assert cgroups.free_memory(root) == 2 * GIB
    (root / "proc/self/cgroup").write_text("0::/../../elsewhere\n4:memory:/../..\n")
    assert cgroups.free_memory(root) == 2 * GIB


@pytest.mark.parametrize(
    ("groups", "files", "processors"),
    [
        ("0::/a", {"sys/fs/cgroup/a/cpu.max": "max 100000"}, None),
        ("0::/a", {"sys/fs/cgroup/a/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "50000 100000", "sys/fs/cgroup/a/b/cpu.max": "max 100000"}, 0.5),
        ("3:cpu:/", {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1, "sys/fs/cgroup/cpu/cpu.cfs_period_us": 10}, None),
        (
            "3:cpu,cpuacct:/a",
            {f"sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_{name}_us": n for name, n in (("quota", 30), ("period", 10))},
            3,
        ),
        ("0::/a", {"sys/fs/cgroup/a/cpu.max": ""}, None),
        ("", {}, None),
    ],
)
def test_the_time_of_processors_bounds_the_cores(tree, monkeypatch, groups, files, processors):
    root = tree(groups, **files)
    assert cgroups.processors(root) == processors
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda process: {*range(8)}, raising=False)
    assert machine.cores(root) == {None: 8, 0.5: 1, 1.5: 2, 3: 3}[processors]


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="this system has no /proc")
def test_here_no_more_is_free_than_is_available():
    lines = Path("/proc/meminfo").read_text().splitlines()
    found = machine.free_memory()
    available = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    assert 0 < found < 1.2 * available  # it changes from one moment to the next
    assert machine.cores() >= 1
