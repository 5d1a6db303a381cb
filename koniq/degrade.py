"""Rated pictures made worse in known ways: what a network that people taught is taught besides, so that order follows.

python -m koniq.degrade --dataset biq2021 --out degraded      # degraded/table.csv, and its pictures beside it

People rate what they photograph, and few of them photograph through strong compression or with a broken exposure: a
network of their scores alone may not see that these are worse. Of some training pictures each is distorted twice
(koniq.distortions), in one kind by two of its steps, and its MOS lowered by convention: by SHARES of what is between it
and `floor`. **These labels are nobody's opinion**; they are for training, and for no test. Akin: Liu et al., RankIQA,
arXiv 1707.08347, who train on the order alone.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from koniq import cli, datasets
from koniq.distortions import STEPS, distorted
from koniq.ground import InputError
from koniq.report import write_csv
from koniq.room import ROOM
from ku.files import atomic_path
from ku.image_utils import to_rgb

SHARES = (0.0, 0.15, 0.4, 0.7, 1.0)  # of the way down to the floor, by the step; the first is none
SOURCE = "degraded"  # in the table's column `source`


@dataclass(frozen=True)
class Settings:
    dataset: str = "biq2021"  # or koniq10k, live_itw, or a .csv with image_name, MOS, set
    table: str = ""  # its table, if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    count: int = 900  # training pictures that are distorted, each twice
    kinds: tuple[str, ...] = tuple(STEPS)  # of distortion, as many pictures each
    floor: float = 10.0  # the MOS of the strongest step, where the picture's own is above
    seed: int = 1  # of the pictures, the steps and the noise
    workers: int = 2  # threads that distort
    out: Path = Path("degraded")  # a folder


def main(s: Settings) -> None:
    data = datasets.load(s.dataset, s.table, s.images)
    rows = plan(data.part("training"), s.count, s.kinds, s.floor, s.seed)
    s.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(s.workers) as pool:
        done = pool.map(lambda row: write(row, s.out, s.seed), rows.itertuples())
        list(tqdm(done, total=len(rows), desc="distorting", unit="pic", disable=None))
    write_csv(rows.drop(columns=["image_path", "kind", "step"]), s.out / "table.csv")
    print(f"{len(rows):,} pictures of {rows.group.nunique():,}, MOS by convention: {s.out / 'table.csv'}")


def plan(training: pd.DataFrame, count: int, kinds: tuple[str, ...], floor: float, seed: int) -> pd.DataFrame:
    """What is made of which picture: image_name, MOS, set, source, group, image_path, kind, step.

    training: image_name, MOS, image_path. group: the picture that a row was made of. Raises InputError for an unknown
    kind, or if there are fewer pictures than `count`.
    """
    if unknown := [kind for kind in kinds if kind not in STEPS]:
        raise InputError(f"kinds should be of {', '.join(STEPS)}. Received: {', '.join(unknown)}")
    if not 0 < count <= len(training):
        raise InputError(f"count should be 1 to {len(training):,}, the training pictures. Received: count={count}")
    rng, rows = np.random.default_rng(seed), []
    for number, index in enumerate(rng.permutation(len(training))[:count]):
        picture, kind = training.iloc[index], kinds[number % len(kinds)]
        for step in sorted(rng.choice(np.arange(1, len(SHARES)), 2, replace=False).tolist()):
            mos = picture.MOS - SHARES[step] * max(picture.MOS - floor, 0)
            name = f"{Path(picture.image_name).stem}-{kind}-{step}.png"
            about = ("training", SOURCE, picture.image_name, picture.image_path, kind, step)
            rows.append((name, round(mos, 4), *about))
    return pd.DataFrame(rows, columns=["image_name", "MOS", "set", "source", "group", "image_path", "kind", "step"])


def write(row, out: Path, seed: int) -> None:
    """Write one picture of the plan, as PNG, unless it is there."""
    path = out / row.image_name
    if path.is_file():
        return
    with ROOM.opened(row.image_path) as picture:
        pixels = np.asarray(to_rgb(picture))
    rng = np.random.default_rng([seed, row.Index])
    made = distorted(pixels, row.kind, STEPS[row.kind][row.step], rng)
    with atomic_path(path) as temporary:
        Image.fromarray(made).save(temporary, "PNG", compress_level=1)


if __name__ == "__main__":
    cli.run(main, Settings)
