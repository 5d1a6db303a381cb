"""Several machines give the CSV that one gives, whatever is killed meanwhile."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from commands import ended
from odd_files import encoded, photograph

import koniq
from benchmarks import ray_cluster
from koniq.ground import RunStopped
from koniq.ground.paths import ROOT
from koniq.pictures import inputs
from koniq.scoring import score_file
from koniq.scoring.parts import Parts

HOW = {"input_size": (96, 128), "precision": "float32", "engine": "openvino"}
OPTIONS = ("--weights", "koncept_lite", "--input-size", 96, 128, "--precision", "float32", "--engine", "openvino")
COUNT, BLOCK = 240, 4
LIMIT = 150  # seconds of a test

# A picture whose decoding ends the process, as a broken decoder does.
HOOK = """
import os, signal
from PIL import ImageFile
load = ImageFile.ImageFile.load
def loaded(self, *more):
    if "killer" in os.path.basename(str(getattr(self.fp, "name", ""))):
        os.kill(os.getpid(), signal.SIGKILL)
    return load(self, *more)
ImageFile.ImageFile.load = loaded
"""
# srun as far as one machine goes: the command alone.
SRUN = """
while [[ $1 == --* ]]; do [[ $1 == --overlap ]] && shift || shift 2; done
exec "$@"
"""

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def limit():
    """An end to each test, for what waits for Ray may wait for ever."""

    def late(*_):
        raise TimeoutError(f"over {LIMIT} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A list of pictures, some of them broken in every way, one named twice and one that is not there."""
    folder = tmp_path_factory.mktemp("ray") / "photos"
    folder.mkdir()
    slow = [encoded(photograph((600, 800), seed), "PNG") for seed in range(8)]  # to be decoded for some while
    for number in range(COUNT):
        (folder / f"{number:03d}.png").write_bytes(slow[number % len(slow)])
    whole = encoded(photograph())
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.jpg").write_bytes(b"no picture")
    (folder / "folder.jpg").mkdir()
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_bytes(whole)
    names = sorted(os.listdir(folder))  # noqa: PTH208
    rows = [*names[: COUNT // 2], "none.jpg", *names[COUNT // 2 :], "000.png"]
    data = "image_path\n" + "".join(f"{name}\n" for name in rows)
    (folder / "list.csv").write_bytes(os.fsencode(data))
    return folder


@pytest.fixture(scope="module")
def alone(folder):
    """The CSV of one machine."""
    out = folder.parent / "alone.csv"
    koniq.load("koncept_lite", **HOW).write(folder / "list.csv", out)
    return out


def check_same(out, alone):
    """One row an input in the order of the list, the same statuses, facts and contents, and scores to 1e-3 MOS."""
    ours, theirs = score_file.read(out), score_file.read(alone)
    columns = ["image_path", "status", "width", "height", "error"]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns])
    difference = (ours.MOS - theirs.MOS).abs().max()
    assert difference < 1e-3
    assert {*theirs.status} == {"ok", "missing", "truncated", "unreadable"}
    facts, known = ([Path(f"{path}{suffix}").read_text() for path in (out, alone)] for suffix in (".json", ".contents"))
    assert json.loads(facts[0]) == json.loads(facts[1])
    assert {*known[0].splitlines()} == {*known[1].splitlines()}
    return difference


def rows(folder):
    """How often each row stands in the parts, by their run."""
    parts = Parts(folder, {}, 0)
    runs = [int(path.name[:6]) for path in parts.paths()]
    found = {run: Counter() for run in runs}
    for number, _, known in parts.known():
        found[runs[number]][known.planned.row] += 1
    return found


def test_one_machine_with_ray_gives_what_it_gives_without(folder, alone, tmp_path, capfd):
    out = tmp_path / "scores.csv"
    assert ended("ray", folder / "list.csv", "--out", out, *OPTIONS) == 3  # some have no score
    said = capfd.readouterr()
    summary = f"{out}: {COUNT + 7} rows ({COUNT + 2} ok, 3 unreadable, 1 missing, 1 truncated); mean MOS "
    assert [line[: len(summary)] for line in said.out.splitlines()] == [f"{COUNT + 7} pictures", summary]
    assert "Error" not in said.err
    check_same(out, alone)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("scores.csv.p")] == []
    before = out.read_bytes()
    assert ended("score", folder / "list.csv", "--out", out, *OPTIONS) == 3
    assert f"{COUNT + 7} of them are in {out} already" in capfd.readouterr().out
    assert out.read_bytes() == before


def ended_by(signal_, words, work, parts):
    """A run that is sent a signal once so many parts are there, by its terminal: its exit code, and what it printed."""
    command = [sys.executable, "-m", "koniq", *map(str, words)]
    with tempfile.TemporaryFile("w+") as log:
        run = subprocess.Popen(
            command,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        while len(ray_cluster.parts_of(work)) < parts and run.poll() is None:
            time.sleep(0.02)
        if signal_ == signal.SIGKILL:  # no terminal sends that
            run.kill()
        else:
            os.killpg(run.pid, signal_)
        code = run.wait()
        log.seek(0)
        return code, log.read()


def test_a_run_that_was_ended_is_gone_on_with_by_its_parts(folder, alone, tmp_path, capfd, monkeypatch):
    out, work = tmp_path / "scores.csv", tmp_path / "scores.csv.parts"
    words = ["ray", folder / "list.csv", "--out", out, *OPTIONS, "--block", BLOCK]
    code, said = ended_by(signal.SIGINT, words, work, 3)
    assert (code, said.splitlines()[1:]) == (
        130,
        ["Error: interrupted; what was written stays, and the same command (training: --resume) goes on"],
    )
    kept = rows(work)[1]
    assert 3 * BLOCK <= kept.total() < COUNT
    assert ended_by(signal.SIGKILL, words, work, len(ray_cluster.parts_of(work)) + 3)[0] == -signal.SIGKILL
    at_work = {path.name[1:].partition("-")[0] for path in work.glob("in_flight/.*")}
    while any(Path("/proc", process).exists() for process in at_work):  # what Ray had begun for it ends by itself
        time.sleep(0.1)
    begun = rows(work)
    assert begun[1] == kept
    monkeypatch.setattr(Parts, "clear", lambda self: None)
    assert ended(*words) == 3
    done = begun[1].total() + begun[2].total()
    assert f"{done:,} of them are in the parts of {work} already" in capfd.readouterr().out
    check_same(out, alone)
    runs = rows(work)
    assert {run: runs[run] for run in (1, 2)} == begun
    every = runs[1] + runs[2] + runs[3]
    assert {*every.values()} == {1}  # none was scored twice
    assert every.total() == COUNT + 7


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three nodes of a core each, every one with processes of its own, which some pictures kill."""
    hook = tmp_path_factory.mktemp("hook")
    (hook / "sitecustomize.py").write_text(HOOK)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(hook))
        with ray_cluster.three_nodes() as cluster:
            yield cluster


@pytest.mark.parametrize("time_", [1, 2, 3])
def test_of_three_nodes_one_is_killed_in_the_middle(cluster, folder, alone, tmp_path, monkeypatch, time_):
    from koniq.scoring import in_ray

    ray_cluster.waits_for_all()
    out, work, killed = tmp_path / "scores.csv", tmp_path / "parts", []
    scorer, how = koniq.load("koncept_lite", **HOW), in_ray.Cluster(cluster.address, block=BLOCK)
    while not killed:  # the head may have been so fast that the others had nothing to do
        shutil.rmtree(work, ignore_errors=True)
        with ray_cluster.kept_parts(), ray_cluster.one_killed(cluster, work) as killed:
            in_ray.score(inputs.of([str(folder / "list.csv")]), scorer, out, how, work, overwrite=True)
    assert killed[0] < len(ray_cluster.parts_of(work))
    check_same(out, alone)
    assert len(rows(work)[1]) == COUNT + 7
    ray_cluster.another(cluster)


@contextmanager
def store_watched(address, found):
    """Meanwhile what Ray's object stores hold is asked: MiB into `found`, and "spilled" where anything was."""
    from ray._private.internal_api import memory_summary

    done = threading.Event()

    def watch():
        while not done.wait(0.1):
            try:
                text = memory_summary(address, stats_only=True)
            except Exception:  # as long as there is no driver, or none any more
                continue
            found.append(int(re.search(r"Plasma memory usage (\d+) MiB", text)[1]))
            if "Spilled" in text:
                found.append("spilled")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield
    done.set()
    thread.join()


def test_of_large_pictures_nothing_but_their_paths_goes_through_the_object_store(cluster, tmp_path):
    from koniq.scoring import in_ray

    folder, found = tmp_path / "large", []
    folder.mkdir()
    data = encoded(photograph((3000, 4000)), quality=90)
    for number in range(40):  # 1.4 GB of pixels, 14 times what a node's store holds
        (folder / f"{number}.jpg").write_bytes(data)
    scorer, how = koniq.load("koncept_lite", **HOW), in_ray.Cluster(cluster.address, block=2)
    with store_watched(cluster.address, found):
        file = in_ray.score(inputs.of([str(folder)]), scorer, tmp_path / "scores.csv", how)
    assert file.statuses == {"ok": 40}
    assert len(found) > 20
    assert "spilled" not in found
    assert max(found) <= 10


def test_a_picture_that_ends_its_process_has_its_row(cluster, tmp_path):
    """Ray gives its block to another actor, which would die of it as well, and so on without an end."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("0.jpg", "1.jpg", "2-killer.jpg", "3.jpg", "4.jpg", "5.jpg"):
        (folder / name).write_bytes(encoded(photograph()))
    out = tmp_path / "scores.csv"
    assert ended("ray", folder, "--out", out, *OPTIONS, "--block", 3, "--address", cluster.address) == 3
    found = score_file.read(out)
    assert list(found.status) == ["ok", "ok", "unreadable", "ok", "ok", "ok"]
    assert found.error[2] == "decoding it ended the process (signal 9)"


def test_a_machine_that_lacks_something_is_one_sentence_and_what_was_written_stays(cluster, folder, tmp_path):
    from koniq.scoring import in_ray

    scorer = koniq.load("koncept_lite", **HOW)
    gone = scorer.recipe() | {"weights": str(tmp_path / "none.safetensors")}
    scorer.recipe = lambda: gone
    pictures = inputs.of([str(folder / "list.csv")])
    with pytest.raises(RunStopped, match=r"none\.safetensors.* \(on "):
        in_ray.score(pictures, scorer, tmp_path / "scores.csv", in_ray.Cluster(cluster.address))
    assert (tmp_path / "scores.csv.parts").is_dir()


def test_an_address_where_no_cluster_is(folder, tmp_path, capfd):
    options = ("--out", tmp_path / "scores.csv", "--address", "127.0.0.1:9", *OPTIONS)
    assert ended("ray", folder / "list.csv", *options) == 2
    assert "Error: address should be that of a running cluster. Received: 127.0.0.1:9" in capfd.readouterr().err


def test_the_file_for_slurm_runs_from_its_first_line_to_its_last(tmp_path, capfd):
    """With Ray, on two nodes of this machine; SLURM's own commands are stand-ins."""
    (tmp_path / "photos").mkdir()
    for number in range(12):
        (tmp_path / f"photos/{number:02d}.jpg").write_bytes(encoded(photograph(seed=number)))
    for name, text in {"srun": SRUN, "scontrol": "echo first; echo second"}.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    nodes = {"SLURM_JOB_ID": os.getpid(), "SLURM_JOB_NODELIST": "two", "SLURM_JOB_NUM_NODES": 2}
    about = {name: str(value) for name, value in (nodes | {"SLURM_CPUS_PER_TASK": 1, "PYTHON": sys.executable}).items()}
    environment = {**os.environ, **about, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    command = ["bash", "examples/slurm_ray.sh", tmp_path / "photos", tmp_path / "scores.csv", *OPTIONS]
    assert subprocess.run([*map(str, command)], cwd=ROOT, env=environment, check=False, timeout=LIMIT).returncode == 0
    out = tmp_path / "scores.csv"
    koniq.load("koncept_lite", **HOW).write(tmp_path / "photos", tmp_path / "alone.csv")
    ours, theirs = score_file.read(out), score_file.read(tmp_path / "alone.csv")
    assert list(ours.image_path) == list(theirs.image_path)
    assert (ours.MOS - theirs.MOS).abs().max() < 1e-3
    assert "Ray runtime started" in (tmp_path / "scores.csv.ray-nodes.log").read_text()
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in path.read_text(errors="replace")]
    assert left == []
