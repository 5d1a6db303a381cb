"""Where a model of photographs is out of its depth: text, graphics, a screenshot, a drawing, the sky at night.

python -m koniq limits --weights koncept_lite --out limits.png

Each picture is scored as it is, sharp, and blurred until nobody would want it. Of a sharp one a low score is wrong, and
a score that does not fall with the blur says nothing at all.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import tyro
from PIL import Image

from koniq.commands.choices import How
from koniq.evaluation.limits import (
    PICTURES,
    cells,
    rows,
    scored,
)
from koniq.ground.paths import RESULTS
from koniq.ground.text import markdown_table
from koniq.network import find, title
from koniq.network.finding import RELEASED
from koniq.reports.page import draw_sheet
from koniq.study import results
from ku.files import atomic_path


@dataclass(frozen=True)
class Settings:
    weights: str = RELEASED  # a file, a training run, or a name in trained_models
    how: tyro.conf.OmitArgPrefixes[How] = How(precision="float32")
    out: Path = Path("limits.png")  # the pictures with their scores
    record: str = ""  # the name under which results/metrics.csv gets the scores; none, if empty


def main(s: Settings) -> None:
    path = find(s.weights)
    scorer = s.how.load(path, (), calibrate=False)
    pictures = {name: draw() for name, draw in PICTURES.items()}
    table = scored(pictures, scorer.engine)
    lines = [(row.picture, f"{row.sharp:.1f}", f"{row.blurred:.1f}") for row in table.itertuples()]
    print(markdown_table((f"score by {title(path)}", "as it is", "blurred"), lines))
    with atomic_path(s.out) as temporary:
        sheet = Image.open(io.BytesIO(draw_sheet(cells(pictures, table))))
        sheet.quantize(256, dither=Image.Dither.NONE).save(temporary, "PNG", optimize=True)  # a third of the bytes
    print(f"To open: {s.out}")
    if s.record:
        results.record(rows(table, s.record, scorer.plan), RESULTS / "metrics.csv")
