"""The same as koniq score, by several machines through Ray: a model on each, and one CSV.

python -m koniq ray my_photos --out scores.csv                      # this machine alone
python -m koniq ray my_photos --out scores.csv --address auto       # the cluster that this machine is one of
python -m koniq ray list.csv --address head:6379 --actors 16

On a cluster the pictures, the weights and the folder of --out have to be on a storage that all machines see.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import tyro

from koniq.commands.choices import How
from koniq.ground import InputError
from koniq.ground.built import install
from koniq.ground.exits import UNSCORED
from koniq.network import find_or_default
from koniq.pictures import inputs


@dataclass(frozen=True)
class Settings:
    pictures: tyro.conf.Positional[tuple[str, ...]]  # lists (.csv with image_path), folders, globs, files; or s3://...
    images: str = ""  # where the paths of a list start; lsc21-image beside the list, or the list's folder, if empty
    weights: str = ""  # a file, a training run, or a name in trained_models; if empty, the original, or koncept_lite
    address: str = ""  # of a running cluster: auto, host:port; if empty, this machine alone
    machines: int | None = None  # wait until so many are there; None: go by those that are
    actors: int | None = None  # models, each with all the cores that it finds; None: one a machine
    actor_cpus: float = (
        0  # that Ray counts an actor with; more keep others of the cluster away, and leave one core free
    )
    actor_gpus: float | None = None  # None: 1 where the engine computes on a GPU
    block: int | None = None  # pictures of a part, scored again if its machine is lost; None: 256 at most
    work: str = ""  # the folder of the parts while it runs; OUT.parts, if empty
    how: tyro.conf.OmitArgPrefixes[How] = How()
    calibrate: bool = True  # scores in MOS by the map that is kept beside the weights, if there is one
    intervals: bool = False  # MOS_low and MOS_high after MOS, where the weights have them
    out: str = "lifelog_mos.csv"  # image_path, MOS, status, width, height, error; what is in it is not done again
    retry: tuple[str, ...] | None = None  # what has no score, again; --retry missing: of that status alone
    exclude: tuple[str, ...] = ()  # globs of what is left out of folders, such as '*_small.jpg' or 'drafts/*'
    list_excluded: bool = False  # name what was left out: that, hidden files, and what systems keep beside pictures
    columns: Literal["all", "study"] = "all"  # study: image_path, MOS, as its result files; without a score: no MOS
    overwrite: bool = False  # begin the file anew


def main(s: Settings) -> int:
    if not all(map(find_spec, ("ray", "pyarrow"))):
        raise InputError(f"Ray should be installed for this: {install('ray')}")
    for name in ("machines", "actors", "block"):
        if (value := getattr(s, name)) is not None and value <= 0:
            raise InputError(f"{name} should be positive. Received: {name}={value}")
    if "://" in s.address:  # the command itself writes the CSV from the parts, and so has to see them
        raise InputError(
            "address should be auto, or host:port of the cluster's head, on a machine that sees what the cluster sees. "
            f"Received: {s.address}"
        )
    if "://" in s.out:
        raise InputError(f"out should be a file on a storage that all machines see. Received: {s.out}")
    path = find_or_default(s.weights)
    pictures = inputs.of(s.pictures, s.images, s.exclude)
    print(pictures.summary(s.list_excluded))
    scorer = s.how.load(path, pictures, calibrate=s.calibrate, intervals=s.intervals)
    from koniq.scoring import in_ray

    cluster = in_ray.Cluster(s.address, s.machines, s.actors, s.actor_cpus, s.actor_gpus, s.block)
    work = Path(s.work) if s.work else None
    file = in_ray.score(
        pictures, scorer, Path(s.out), cluster, work, s.overwrite, s.retry, s.columns, progress="scoring"
    )
    return UNSCORED if file.unscored else 0
