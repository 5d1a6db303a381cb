"""Pictures scored by several machines, through Ray Data: paths go out, parts are written where all machines see them.

What the driver keeps is the one CSV, and what is still to do; pixels never leave the machine that decodes them.
"""

import logging
import os
import socket
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read as ray is imported: nothing is sent anywhere
os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray warns of its next version without

import numpy as np
import ray
import ray.data
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from koniq.ground import InputError, RunStopped
from koniq.ground.bars import tqdm
from koniq.ground.log import LOG
from koniq.ground.machine import cores, native_silence
from koniq.ground.urls import Remote
from koniq.pictures.inputs import Inputs
from koniq.pictures.stores import is_there, may_be_other
from koniq.scoring.index import room_for_rows
from koniq.scoring.parts import Known, Parts, Planned, planned, write_list
from koniq.scoring.resume import Wanted, todo
from koniq.scoring.score_file import ScoreFile
from koniq.scoring.scorer import Scorer
from koniq.scoring.worker import Job, Worker, said
from ku.files import shown

STORE = 200 << 20  # bytes of Ray's object store on this machine alone; paths go through it, and counts
COMING = 300.0  # seconds for machines to come
ANSWER = 10  # seconds for a cluster to answer in
LARGEST = 256  # pictures of a part: what is scored again if its machine is lost


@dataclass(frozen=True)
class Cluster:
    """Which machines, and how much of each."""

    address: str = ""  # of a running cluster: auto, host:port; "" is this machine alone
    machines: int | None = None  # that are waited for; None: those that are there
    actors: int | None = None  # models; None: one a machine
    cpus: float = (
        0  # that an actor is counted with; of a machine that they fill, no core would be left to read the list
    )
    gpus: float | None = None  # the same; None: 1 where the engine computes on one
    block: int | None = None  # pictures of a part; None: as many as suit the list, LARGEST at most


class Actor:
    """A worker on one of the machines. What ends the run is said in a row: Ray would try an error again."""

    def __init__(self, job: Mapping[str, Any]):
        self.worker = Worker(Job(**job))

    def __call__(self, block: Any) -> dict[str, np.ndarray]:
        try:
            count, stopped = self.worker.score(planned(block.to_pylist())), ""
        except (InputError, RunStopped) as error:
            count, stopped = 0, said(error)
        node = ray.get_runtime_context().get_node_id()
        return {"count": np.array([count]), "node": np.array([node]), "stopped": np.array([stopped], object)}


def score(
    pictures: Inputs,
    scorer: Scorer,
    out: Path,
    cluster: Cluster,
    work: Path | None = None,
    overwrite: bool = False,
    retry: Sequence[str] | None = None,
    columns: str = "all",
    progress: str = "",
) -> ScoreFile:
    """Write the score of every picture to the CSV `out`, as koniq.scoring.lifelog.score does, by several machines.

    Parts come into `work` (None: OUT.parts beside `out`) while it runs, and are gone once the CSV is written from them.
    Killed, it goes on by them: each picture is scored once, but for those of the blocks that were being scored. Raises
    InputError as lifelog.score does, or if a machine lacks something; RunStopped if a machine fails.
    """
    if scorer.intervals and columns != "all":
        raise InputError(f"intervals should go with columns=all. Received: columns={columns}")
    columns = "intervals" if scorer.intervals else columns
    scorer = scorer if overwrite else scorer.as_begun(out)
    recipe, work = scorer.recipe(), (work or out.with_name(out.name + ".parts")).resolve()
    about = {**scorer.facts, "roots": pictures.whole.roots}
    with room_for_rows(), ScoreFile(out, about, overwrite, columns) as file:
        if overwrite:
            Parts(work, {}, 0).clear()
        parts = Parts(work, scorer.facts)
        parts.check()
        rows = todo(file, pictures.pictures, retry, scorer.workers, bool(progress))
        wanted = list(rows.left)
        if rows.kept:
            LOG.info(f"{len(rows.kept):,} of them are in {out} already")
        if rows.again:
            LOG.info(f"{len(rows.again):,} of them are scored again ({rows})")
        left = _left(parts, wanted, retry)
        if done := len(wanted) - len(left):
            LOG.info(f"{done:,} of them are in the parts of {work} already")
        if left:
            places = [os.fspath(place) for place in pictures.places]
            job = Job(recipe, dict(scorer.facts), str(work), parts.run, str(Path.cwd()), places)
            with _connected(cluster, work):
                machines = _run(job, left, cluster, progress, len(wanted))
            if cluster.address:
                LOG.info(f"Machines that scored: {machines:,}")
        for one, score in zip(wanted, parts.in_order([one.row for one in wanted]), strict=True):
            file.put(one.row, score)
        file.flush()
        parts.clear()
        LOG.info(file.summary())
    return file


def _left(parts: Parts, wanted: Sequence[Wanted], retry: Sequence[str] | None) -> list[Planned]:
    """What is to be scored of what is wanted: what no part has, or none that still holds."""
    plan = {one.row: one for one in wanted}
    left = dict(plan)
    for _, _, known in parts.known():
        if (now := plan.get(known.planned.row)) is not None:
            if _holds(known, now.input.path, retry):
                left.pop(now.row, None)
            else:
                left[now.row] = now
    return [Planned(*one.row, os.fspath(one.input.path)) for one in left.values()]


def _holds(known: Known, path: Path | Remote, retry: Sequence[str] | None) -> bool:
    """Whether what a part says of the picture that is at `path` now still holds."""
    if known.planned.where != os.fspath(path):
        return False
    if retry is not None and known.status != "ok" and (not retry or known.status in retry):
        return False
    if known.status == "missing":
        return not is_there(path)
    return known.content is None or not may_be_other(known.content, path)


@contextmanager
def _connected(cluster: Cluster, work: Path) -> Iterator[None]:
    """Ray, reached as it is told; what it has to say goes to a file beside the parts. One that runs already is used."""
    how: dict[str, Any] = {"log_to_driver": False}
    if cluster.address:
        how["address"] = cluster.address
    else:  # two at least, one of them to read the list
        how |= {"address": "local", "num_cpus": max(2, cores()), "include_dashboard": False}
        how["object_store_memory"] = STORE
    logger, begun = logging.getLogger("ray"), not ray.is_initialized()
    before = logger.handlers[:], logger.propagate
    with (work / "ray.log").open("a", encoding="utf-8", buffering=1) as log, native_silence(), redirect_stdout(log):
        logger.handlers[:], logger.propagate = [logging.StreamHandler(log)], False
        try:
            if begun:
                _begin(how)
            yield
        finally:
            if begun:
                ray.shutdown()
            logger.handlers[:], logger.propagate = before


def _begin(how: Mapping[str, Any]) -> None:
    address = urlsplit(f"//{how['address']}")
    try:
        if address.port:  # Ray itself would ask for minutes, and then end the process
            socket.create_connection((address.hostname, address.port), ANSWER).close()
        ray.init(**how)
    except Exception as error:  # of many kinds, by what is wrong with the address, the versions, the machine
        what = f"address should be that of a running cluster. Received: {how['address']}"
        if how["address"] == "local":
            what = "Ray should start on this machine"
        raise InputError(f"{what}; Ray says: {_in_short(error)}") from error


def _run(job: Job, left: Sequence[Planned], cluster: Cluster, progress: str, total: int) -> int:
    """Have all of `left` scored into parts. Returns the number of machines that did."""
    gpus = cluster.gpus if cluster.gpus is not None else float(job.recipe["engine"] != "openvino" and _has_gpus())
    machines = _machines("GPU" if gpus else "CPU", cluster.machines)
    actors, turns = cluster.actors or len(machines), cycle(machines)
    rows = cluster.block or max(1, min(LARGEST, -(-len(left) // (4 * actors))))
    actors = min(actors, -(-len(left) // rows))
    listed = Path(job.folder) / "list.parquet"
    write_list(listed, left, rows)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    warnings.filterwarnings("ignore", message=".*ray_remote_args_fn")  # from 2.64 on it needs another way
    found = ray.data.read_parquet(str(listed))
    found = found.repartition(target_num_rows_per_block=rows).map_batches(
        Actor,
        fn_constructor_args=(asdict(job),),
        compute=ray.data.ActorPoolStrategy(size=actors),
        batch_size=rows,
        batch_format="pyarrow",
        num_cpus=cluster.cpus,
        num_gpus=gpus,
        # One after another, for by itself Ray puts several on a machine that has room; elsewhere if that is lost.
        ray_remote_args_fn=lambda: {"scheduling_strategy": NodeAffinitySchedulingStrategy(next(turns), soft=True)},
    )
    bar = tqdm(total=total, initial=total - len(left), desc=progress, unit="pic", disable=not progress or None)
    nodes = set()
    with bar:
        try:
            for batch in found.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
                bar.update(int(batch["count"].sum()))
                nodes |= {*batch["node"].tolist()}
                if stopped := next(filter(None, batch["stopped"]), ""):
                    raise RunStopped(shown(stopped))
        except RunStopped:
            raise
        except Exception as error:  # of Ray, and whatever an actor met that is no picture's
            raise RunStopped(
                f"Ray could not go on: {_in_short(error)}. What was written stays, and the same command goes on from "
                f"there; what Ray said is in {job.folder}/ray.log"
            ) from error
    return len(nodes)


def _machines(kind: str, wanted: int | None) -> list[str]:
    """The machines with a core, or a GPU, by Ray's names for them, once there are as many as are wanted.

    A head may have none, and is for nothing but itself. Raises RunStopped if they do not come.
    """
    late = time.monotonic() + COMING
    while True:
        found = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get(kind, 0)]
        if len(found) >= (wanted or 1):
            return found
        if not wanted or time.monotonic() > late:
            raise RunStopped(f"{wanted or 1} machines with a {kind} should be there. Received: {len(found)}")
        time.sleep(1)


def _has_gpus() -> bool:
    return bool(ray.cluster_resources().get("GPU"))


def _in_short(error: BaseException) -> str:
    """The line of an error that says what it is: the last below a traceback, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "Traceback" in str(error) else lines[0].rstrip(".")
