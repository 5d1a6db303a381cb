"""What a model gets wrong, and what its scores hang on besides the pictures: one page, its figures and tables.

python -m koniq diagnose --weights my_run --dataset live_itw --engine openvino
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from koniq import engines
from koniq.data import datasets
from koniq.evaluation.diagnosis import FEWEST, diagnose, passes
from koniq.evaluation.diagnosis_page import files
from koniq.ground import InputError, text
from koniq.ground.paths import RESULTS
from koniq.network import find_or_default, title
from koniq.reports import page


@dataclass(frozen=True)
class Settings:
    weights: str = ""  # a file, a training run, or a name in trained_models; if empty, the original, or koncept_lite
    dataset: str = "koniq10k"  # koniq10k, live_itw, biq2021, sample (built in, synthetic labels), or a .csv
    table: str = ""  # its table (live_itw, biq2021: the folder of their tables), if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    skip_missing: bool = True  # go on with the pictures that are there, and say how many are not
    set: Literal["training", "validation", "test"] = "test"  # the part of the data set
    pictures: int | None = None  # at most so many, drawn at random; None: all
    seed: int = 0  # of that draw
    batch_size: int | None = None  # pictures at a time, but where batches are compared; None: what suits the engine
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at
    resize: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] | None = None  # None: as in training
    engine: engines.EngineName = "keras"  # or openvino, which exports the network first; auto: as lifelog_predict.py
    precision: engines.Precision = "float32"  # of the network's arithmetic; the fastest that loses little: auto
    workers: int = 2  # threads that decode pictures
    sheet: int = 24  # pictures on each of the contact sheets
    out: Path | None = None  # a folder; None: WEIGHTS-on-DATASET-diagnosis in results/


def main(s: Settings) -> None:
    if s.pictures is not None and s.pictures < FEWEST:
        raise InputError(f"pictures should be {FEWEST} at least. Received: pictures={s.pictures}")
    path = find_or_default(s.weights)
    data = datasets.load(s.dataset, s.table, s.images, s.skip_missing)
    print(data.summary())
    rows = data.part(s.set)
    if s.pictures is not None and s.pictures < len(rows):
        rows = rows.sample(s.pictures, random_state=s.seed).sort_index().reset_index(drop=True)
        print(f"{s.pictures:,} of them, drawn with seed {s.seed}")
    out = s.out or RESULTS / f"{title(path)}-on-{text.slug(data.name)}-diagnosis"
    page.check(out, s.sheet)
    paths = rows.image_path.tolist()
    plan = engines.decide(path, s.engine, s.precision, s.batch_size, s.input_size, s.resize, paths)
    columns = [name for name in ("image_name", "image_path", "MOS", "SD") if name in rows]
    table = rows[columns].join(passes(plan, paths, s.workers))
    made = files(diagnose(table, data, plan), s.set, s.sheet)
    page.publish(out, made, made["findings.md"].rstrip())
