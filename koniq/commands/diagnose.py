"""What a model gets wrong, and what its scores hang on besides the pictures: one page, its figures and tables.

python -m koniq diagnose --weights my_run --dataset live_itw --engine openvino
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.commands.choices import Data, How, Part
from koniq.evaluation.diagnosis import FEWEST, diagnose, passes
from koniq.evaluation.diagnosis_page import files
from koniq.ground import InputError, text
from koniq.ground.paths import RESULTS
from koniq.network import find_or_default, title
from koniq.reports import page


@dataclass(frozen=True)
class Settings:
    weights: str = ""  # a file, a training run, or a name in trained_models; if empty, the original, or koncept_lite
    data: tyro.conf.OmitArgPrefixes[Data] = Data()
    set: Part = "test"  # the part of the data set
    pictures: int | None = None  # at most so many, drawn at random; None: all
    seed: int = 0  # of that draw
    how: tyro.conf.OmitArgPrefixes[How] = How(engine="keras", precision="float32")
    sheet: int = 24  # pictures on each of the contact sheets
    thumbnails: bool = True  # --no-thumbnails: no picture within or beside the page, and no link to one
    out: Path | None = None  # a folder; None: WEIGHTS-on-DATASET-diagnosis in results/


def main(s: Settings) -> None:
    if s.pictures is not None and s.pictures < FEWEST:
        raise InputError(f"pictures should be {FEWEST} at least. Received: pictures={s.pictures}")
    path = find_or_default(s.weights)
    data = s.data.load()
    rows = data.part(s.set)
    if s.pictures is not None and s.pictures < len(rows):
        rows = rows.sample(s.pictures, random_state=s.seed).sort_index().reset_index(drop=True)
        print(f"{s.pictures:,} of them, drawn with seed {s.seed}")
    out = s.out or RESULTS / f"{title(path)}-on-{text.slug(data.name)}-diagnosis"
    page.check(out, s.sheet)
    paths = rows.image_path.tolist()
    scorer = s.how.load(path, paths, calibrate=False)
    plan = scorer.plan
    columns = [name for name in ("image_name", "image_path", "MOS", "SD") if name in rows]
    table = rows[columns].join(passes(plan, paths, scorer.workers))
    made = files(diagnose(table, data, plan), s.set, s.sheet, out, s.thumbnails)
    page.publish(out, made, made["findings.md"].rstrip())
