"""Where a model of photographs is out of its depth: text, graphics, a screenshot, a drawing, the sky at night.

Each picture is scored as it is, sharp, and blurred until nobody would want it. Of a sharp one a low score is wrong, and
a score that does not fall with the blur says nothing at all.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from koniq import engines
from koniq.data import sample
from koniq.engines.engine import Engine
from koniq.pictures.decoding import Opened, as_seen
from koniq.pictures.distortions import distorted
from koniq.reports.page import THUMBNAIL, Cell
from koniq.scoring.loop import predict

DATASET = "pictures that are no everyday photographs"  # in results/metrics.csv
BLUR = 4  # the standard deviation, pixels
SIZE = (640, 480)  # (width, height) of what is drawn here


def scored(pictures: Mapping[str, Image.Image], engine: Engine) -> pd.DataFrame:
    """The score of each picture: picture, sharp (as it is), blurred."""
    variants = {Path(name, how): (name, how) for name in pictures for how in ("sharp", "blurred")}

    def opened(variant: Path) -> Opened:
        name, how = variants[variant]
        picture = pictures[name] if how == "sharp" else blurred(pictures[name])
        return Opened(as_seen(picture, engine.network))

    found = [score.mos for score in predict(engine, list(variants), decoded=opened)]
    return pd.DataFrame({"picture": list(pictures), "sharp": found[::2], "blurred": found[1::2]})


def blurred(picture: Image.Image) -> Image.Image:
    return Image.fromarray(distorted(np.asarray(picture), "blur", BLUR, np.random.default_rng(0)))


def cells(pictures: Mapping[str, Image.Image], table: pd.DataFrame) -> list[Cell]:
    """The pictures as they are and blurred, each above its score."""
    found = []
    for row in table.itertuples():
        for how, picture in (("as it is", pictures[row.picture]), ("blurred", blurred(pictures[row.picture]))):
            small = picture.copy()
            small.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
            score = row.sharp if how == "as it is" else row.blurred
            found.append(Cell(f"{row.picture}, {how}", (f"{score:.1f}",), small))
    return found


def rows(table: pd.DataFrame, model: str, plan: engines.Plan) -> pd.DataFrame:
    """`scored` as rows of results/metrics.csv: metric "score" and "score_blurred"; the picture is the column `set`."""
    long = table.melt("picture", var_name="metric", value_name="value").rename(columns={"picture": "set"})
    return long.assign(
        metric=long.metric.map({"sharp": "score", "blurred": "score_blurred"}),
        n=1,
        dataset=DATASET,
        label="MOS",
        model=model,
        **engines.scored_by(plan),
    )


# What there is to see


def _shipped(name: str) -> Callable[[], Image.Image]:
    """A picture of scikit-image's, enlarged to at least 400 pixels a side, as a viewer would show it."""

    def draw() -> Image.Image:
        picture = sample.scene(name)
        scale = max(1, 400 / min(picture.size))
        return picture.resize([round(side * scale) for side in picture.size], Image.Resampling.BICUBIC)

    return draw


def _font(size: int, name: str = "DejaVu Sans") -> ImageFont.FreeTypeFont:
    from matplotlib import font_manager

    return ImageFont.truetype(font_manager.findfont(name), size)


def chart() -> Image.Image:
    """A bar chart, as a report has it."""
    picture = Image.new("RGB", SIZE, "white")
    draw = ImageDraw.Draw(picture)
    draw.text((320, 30), "Visitors by month", "black", _font(22), anchor="mm")
    for number, value in enumerate((210, 260, 180, 300, 340, 150)):
        left = 90 + 85 * number
        draw.rectangle((left, 410 - value, left + 55, 410), "#4477aa")
        draw.text((left + 27, 425), "JFMAMJ"[number], "black", _font(16), anchor="mm")
        draw.text((left + 27, 398 - value), str(value), "black", _font(14), anchor="mm")
    draw.line((70, 60, 70, 410, 600, 410), "black", 2)
    return picture


def screenshot() -> Image.Image:
    """A window with a menu and lines of a program."""
    picture = Image.new("RGB", SIZE, "#1e2127")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 640, 28), "#3a3f4b")
    draw.text((12, 14), "File   Edit   View   Help", "#d7dae0", _font(14), anchor="lm")
    for place, colour in enumerate(("#e06c75", "#e5c07b", "#98c379")):
        draw.ellipse((570 + 22 * place, 8, 582 + 22 * place, 20), colour)
    lines = ("def mean(values):", '    """The mean of some numbers."""', "    total = 0", "    for value in values:")
    lines += ("        total += value", "    return total / len(values)", "", "print(mean([1, 2, 3]))", ">>> 2.0")
    for number, line in enumerate(lines):
        colour = ("#c678dd", "#98c379", "#abb2bf")[min(number, 2)]
        draw.text((20, 46 + 30 * number), f"{number + 1:2}  {line}", colour, _font(18, "DejaVu Sans Mono"))
    return picture


def drawing() -> Image.Image:
    """A house, a hill, a tree and the sun, in flat colours."""
    picture = Image.new("RGB", SIZE, "#9ad1f5")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((500, 40, 590, 130), "#ffd94d")
    draw.ellipse((-200, 300, 500, 800), "#6ab150")
    draw.ellipse((200, 330, 900, 800), "#4f9a3c")
    draw.rectangle((180, 230, 340, 370), "#f3e3c3", "#5b4636", 3)
    draw.polygon(((165, 230), (260, 150), (355, 230)), "#b5473c", "#5b4636")
    draw.rectangle((235, 295, 280, 370), "#7a5230", "#5b4636", 3)
    draw.rectangle((440, 270, 460, 380), "#7a5230")
    draw.ellipse((395, 170, 505, 290), "#2f7d32", "#1f5a22", 3)
    return picture


def plain() -> Image.Image:
    """One grey and nothing else."""
    return Image.new("RGB", SIZE, "#808080")


PICTURES: Mapping[str, Callable[[], Image.Image]] = {
    "text": _shipped("text"),
    "page": _shipped("page"),
    "chart": chart,
    "screenshot": screenshot,
    "drawing": drawing,
    "logo": _shipped("logo"),
    "stars": _shipped("hubble_deep_field"),
    "moon": _shipped("moon"),
    "plain": plain,
}
