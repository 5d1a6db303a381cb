"""What comes of a list that three nodes score while one of them is killed; and what Ray costs on one machine.

python -m benchmarks.ray_cluster --kills 10 --record

The nodes are processes of this machine, by ray.cluster_utils, with a core each; the killed one is at a block when all
of its processes end at once, and another takes its place before the next time. Each time the CSV is compared with that
of koniq score on the same pictures: koncept_lite at 96x128 in float32. The rate is that of koniq ray on this machine
alone beside lifelog_predict.py, in turn, on `pictures` JPEGs of 1024x768 at the network's full size: each the time of a
whole process, and of what Ray takes until the first part is there.
"""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bounds import photographs
from benchmarks.lifelog import SIZE
from benchmarks.recorded import record
from koniq.commands import cli
from koniq.ground import machine
from koniq.ground.paths import ROOT
from koniq.ground.text import markdown_table
from koniq.network import find_or_default
from koniq.pictures import inputs
from koniq.scoring import load, read
from koniq.scoring.parts import Parts

COMMAND = "python -m benchmarks.ray_cluster --kills 10 --record"
STORE = 100 << 20  # bytes of a node's object store
BLOCK = 4  # pictures of a part, so that there are many
PARTS = 5  # that are there before a node is killed
WAITING = 60  # seconds without a result after which a run is given up


@dataclass(frozen=True)
class Settings:
    kills: int = 10  # 0: without
    listed: int = 400  # pictures that are scored each time
    pictures: int = 1200  # of the rate; 0: without
    rounds: int = 3  # each a process of its own
    record: bool = False  # put the rate into results/scale.csv


def main(s: Settings) -> None:
    print(f"{machine.machine()}; {machine.in_words(machine.versions())}; commit {machine.commit()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if s.kills:
            photographs(folder / "listed", s.listed, SIZE)
            print(markdown_table(KILLED, list(killed(folder, s.kills))), flush=True)
        if s.pictures:
            photographs(folder / "pictures", s.pictures, SIZE)
            print(rate(folder / "pictures", s))


KILLED = ["", "rows", "unique", "parts before the kill", "parts", "largest difference, MOS", "seconds"]


def killed(folder: Path, kills: int) -> Iterator[list[str]]:
    """A line of the table for each time that a node is killed."""
    import ray

    from koniq.scoring import in_ray

    waits_for_all()
    scorer = load("koncept_lite", input_size=(96, 128), precision="float32", engine="openvino")
    pictures = inputs.of([str(folder / "listed")])
    scorer.write(pictures, folder / "alone.csv")
    alone = read(folder / "alone.csv")
    with three_nodes() as cluster:
        number = 0
        while number < kills:
            out, work = folder / f"{number}.csv", folder / f"parts-{number}"
            shutil.rmtree(work, ignore_errors=True)  # of a time that does not count
            began = time.perf_counter()
            with kept_parts(), one_killed(cluster, work) as found:
                in_ray.score(pictures, scorer, out, in_ray.Cluster(cluster.address, block=BLOCK), work, overwrite=True)
            seconds = time.perf_counter() - began
            number += bool(found)
            ours = read(out)
            same = list(ours.image_path) == list(alone.image_path) and list(ours.status) == list(alone.status)
            difference = np.abs(ours.MOS - alone.MOS).max() if same else np.nan
            counts = (len(ours), ours.image_path.nunique(), *(found or [0]), len(parts_of(work)))
            yield [str(number) if found else "none was", *map(str, counts), f"{difference:.2g}", f"{seconds:.0f}"]
            if found:
                another(cluster)
        ray.shutdown()


def rate(folder: Path, s: Settings) -> str:
    """Pictures a second of one process, and of Ray on the same machine."""
    found: dict[str, list[float]] = {"lifelog_predict.py": [], "koniq ray": []}
    first = []
    for number in range(s.rounds):
        for name, words in (("lifelog_predict.py", ["lifelog_predict.py"]), ("koniq ray", ["-m", "koniq", "ray"])):
            out = folder.parent / f"{name.split()[-1]}-{number}.csv"
            command = [*words, folder, "--out", out, "--weights", find_or_default("koncept_lite")]
            command += ["--engine", "openvino", "--precision", "float32"]
            began = time.perf_counter()
            run = subprocess.Popen([sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.DEVNULL)
            while run.poll() is None:
                if name == "koniq ray" and len(first) == number and parts_of(Path(f"{out}.parts")):
                    first.append(time.perf_counter() - began)
                time.sleep(0.05)
            if run.returncode:
                raise subprocess.CalledProcessError(run.returncode, command)
            found[name].append(s.pictures / (time.perf_counter() - began))
    ratios = [ours / theirs for ours, theirs in zip(found["koniq ray"], found["lifelog_predict.py"], strict=True)]
    if s.record:
        case = f"koncept_lite, {s.pictures:,} pictures, with its start"
        record("Ray, one machine", case, *middle(found["koniq ray"], "pictures/s"))
    rows = [[name, *(f"{value:.2f}" for value in sorted(values))] for name, values in found.items()]
    rows += [["ratio", *(f"{value:.3f}" for value in sorted(ratios))]]
    rows += [["seconds until Ray's first part", *(f"{value:.1f}" for value in sorted(first))]]
    return markdown_table(["pictures/s", *(["least", "median", "most"] if s.rounds == 3 else [""] * s.rounds)], rows)


def middle(values: list[float], unit: str) -> tuple[float, str, str, float, float]:
    return float(np.median(values)), unit, COMMAND, min(values), max(values)


def parts_of(work: Path) -> list[Path]:
    """The parts in a folder, whole ones."""
    return [*work.glob("[0-9]*.parquet")]


@contextmanager
def kept_parts() -> Iterator[None]:
    """Meanwhile parts stay when the CSV is there, to be counted."""
    clear = Parts.clear
    Parts.clear = lambda self: None
    try:
        yield
    finally:
        Parts.clear = clear


def waits_for_all() -> None:
    """From now on Ray begins when all actors are there, so that a node that is to be killed has some work."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.wait_for_min_actors_s = context.execution_no_progress_timeout_s = WAITING


@contextmanager
def three_nodes() -> Iterator[Any]:
    """A cluster of three nodes of a core each, every one with processes of its own."""
    import ray
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": STORE, "_system_config": soon}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        another(cluster)
        another(cluster)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def another(cluster: Any) -> None:
    """One node more."""
    cluster.add_node(num_cpus=1, object_store_memory=STORE)
    cluster.wait_for_nodes()
    time.sleep(2)  # until the others know of it, too: else the head has to do all


@contextmanager
def one_killed(cluster: Any, work: Path) -> Iterator[list[int]]:
    """Meanwhile a node is killed, see `kill_one_at_work`."""
    found: list[int] = []
    over = threading.Event()
    killer = threading.Thread(target=kill_one_at_work, args=(cluster, work, found, over), daemon=True)
    killer.start()
    try:
        yield found
    finally:
        over.set()
        killer.join()


def kill_one_at_work(cluster: Any, work: Path, killed: list[int], over: threading.Event) -> None:
    """Once PARTS are there, end a node whose worker is at a block; `killed` then has how many parts there were.

    over: set when the run is, which the head may have done by itself.
    """
    while not killed and not over.wait(0.05):
        for path in work.glob("in_flight/.*.inflight") if len(parts_of(work)) >= PARTS else ():
            raylet = parent(int(path.name[1:].partition("-")[0]))  # of the process that writes it
            for node in [*cluster.worker_nodes]:
                if raylet == node.all_processes["raylet"][0].process.pid and path.exists() and not killed:
                    killed.append(len(parts_of(work)))
                    cluster.remove_node(node, allow_graceful=False)


def parent(process: int) -> int | None:
    """The process that began another, by Linux's proc; None where that has ended."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


if __name__ == "__main__":
    cli.run(main, Settings)
