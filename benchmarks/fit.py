"""What it costs that portraits and panoramas are squashed to the 4:3 that the network sees, beside crop and pad.

python -m benchmarks.fit                                            (BIQ2021's test part, which koncept_lite never saw)
python -m benchmarks.fit --dataset live_itw                         (of LIVE In the Wild the fifth that it never saw)
python -m benchmarks.fit --input-size 192 256                       (half the sides, where hardly any is enlarged)

No rated portraits or panoramas are at hand, so they are made: windows of several proportions, cut from the middle of
rated squares and scored by each fit. Three things bound what that says. The MOS are of whole pictures, of which a
window is a part: fits compare within a shape, shapes do not. A window has few pixels, so that crop, and squash along
one side, enlarge what they would reduce in a photograph of today, and what is enlarged looks blurred; the table says by
how much. At half the sides that is so of the 3:1 alone, but no network learnt at that size. And koncept_lite learnt
from squares that were squashed: what it is used to is a third too wide, and without grey bars.

The 4:3 window has the network's proportions, and its score is the same by every fit. How far that is from the score of
a wider or taller window around the same middle needs no MOS, but there is other content in that window, too.

300 pictures, 6,300 scores, took 9 minutes on two shared cores of an AMD EPYC by OpenVINO 2026.4.1; at half the sides 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pandas as pd
import tyro
from PIL import Image

import koniq
from koniq.commands import cli
from koniq.commands.choices import Data
from koniq.data.datasets import live_division
from koniq.ground import InputError, machine
from koniq.ground.text import markdown_table
from koniq.measure.metrics import METRICS, difference
from koniq.network.spec import Fit
from koniq.pictures.decoding import centred, whole

AS_IS = 4, 3
SHAPES = ((1, 1), AS_IS, (3, 4), (2, 3), (9, 16), (2, 1), (3, 1))  # (width, height) of the windows
FITS = get_args(Fit)  # squash, which the others are compared with, is the first


@dataclass(frozen=True)
class Settings:
    weights: str = "koncept_lite"  # a file, a run, or a name in trained_models
    data: tyro.conf.OmitArgPrefixes[Data] = Data("biq2021")
    pictures: int = 300  # at most so many of its test part, at random
    input_size: tuple[int, int] | None = None  # (height, width), 3:4; None: what the weights were trained at
    seed: int = 0  # of the choice of pictures and of the bootstrap


def main(s: Settings) -> None:
    height, width = s.input_size or (AS_IS[1], AS_IS[0])
    if AS_IS[0] * height != AS_IS[1] * width:
        raise InputError(f"input_size should be as 3 to 4. Received: {height} {width}")
    if s.pictures < 2:
        raise InputError(f"pictures should be at least 2. Received: pictures={s.pictures}")
    rows = s.data.load().part("test")
    if s.data.dataset == "live_itw":  # all of it is its test part, but networks are trained on most of it
        rows = rows[rows.image_name.map(live_division(s.data.table)) == "test"]
    rows = rows.sample(min(s.pictures, len(rows)), random_state=s.seed)
    pictures = [_upright(path) for path in rows.image_path]
    how = {"input_size": s.input_size, "precision": "float32", "dct_scaling": False}
    scorer = koniq.load(s.weights, fit=FITS[0], **how)
    scorer(pictures[0])  # starts the engine, which the others share
    scorers = {fit: scorer.changed(fit=fit) for fit in FITS}
    scores, scales = {}, {}
    for shape in SHAPES:
        windows = [picture.crop(centred(picture.size, shape)) for picture in pictures]
        for fit, own in scorers.items():
            found = own.scores(windows, progress=f"{shape[0]}:{shape[1]}, {fit}")
            scores[shape, fit] = np.array([score.mos for score in found])
            scales[shape, fit] = scaled(windows, fit, own.network.input_size)
    print(f"{machine.machine()}; {machine.in_words(machine.versions())}; commit {machine.commit()}")
    height, width = scorer.network.input_size
    print(f"{s.weights}, {scorer.plan.engine} in float32 at {height}x{width}; {len(pictures)} pictures\n")
    print(table(compared(rows.MOS.to_numpy(), scores, s.seed), scales))


def _upright(path: str) -> Image.Image:
    """A picture in RGB as it is meant to be seen."""
    with whole(path) as found:
        return found.in_srgb()


def scaled(windows: Sequence[Image.Image], fit: Fit, input_size: tuple[int, int]) -> tuple[float, float]:
    """By how much a fit enlarges windows, the median of (height, width): below 1 it reduces them."""
    sides = np.array([np.divide(input_size, (window.height, window.width)) for window in windows])
    if fit != "squash":
        sides = (np.max if fit == "crop" else np.min)(sides, axis=1, keepdims=True).repeat(2, axis=1)
    height, width = np.median(sides, axis=0)
    return float(height), float(width)


def compared(mos: np.ndarray, scores: dict[tuple[tuple[int, int], Fit], np.ndarray], seed: int) -> pd.DataFrame:
    """How the scores (pictures,) of each shape and fit agree with the MOS, and how far from others they are.

    srcc, plcc; gain, low, high: SRCC less squash's of that shape, and its 95 % interval by a paired bootstrap. change
    and apart: the mean of the score less squash's, and of its absolute value. as_is_change and as_is_apart: the same of
    the score less that of the 4:3 window.
    """
    found = []
    for (shape, fit), own in scores.items():
        squashed, as_is = scores[shape, "squash"], scores[AS_IS, "squash"]
        gain, low, high, _ = difference(mos, own, squashed, seed=seed)
        means = [mean for other in (squashed, as_is) for mean in (np.mean(own - other), np.mean(np.abs(own - other)))]
        found.append((shape, fit, METRICS["srcc"](mos, own), METRICS["plcc"](mos, own), gain, low, high, *means))
    columns = ["shape", "fit", "srcc", "plcc", "gain", "low", "high", "change", "apart", "as_is_change", "as_is_apart"]
    return pd.DataFrame(found, columns=columns)


def table(found: pd.DataFrame, scales: dict[tuple[tuple[int, int], Fit], tuple[float, float]]) -> str:
    """Markdown of `compared`."""
    lines = []
    for row in found.itertuples():
        gain = "" if row.fit == "squash" else f"{row.gain:+.3f} [{row.low:+.3f}, {row.high:+.3f}]"
        apart = "" if row.fit == "squash" else f"{row.change:+.1f}, {row.apart:.1f}"
        height, width = scales[row.shape, row.fit]
        lines.append(
            (
                *(f"{row.shape[0]}:{row.shape[1]}", row.fit, f"{height:.2f} x {width:.2f}"),
                *(f"{row.srcc:.3f}", gain, f"{row.plcc:.3f}"),
                *(apart, f"{row.as_is_change:+.1f}, {row.as_is_apart:.1f}"),
            )
        )
    heads = (
        *("window", "fit", "enlarged by (height x width)", "SRCC", "less squash's [95 %]", "PLCC"),
        *("score less squash's: mean, mean absolute", "score less the 4:3 window's: mean, mean absolute"),
    )
    return markdown_table(heads, lines)


if __name__ == "__main__":
    cli.run(main, Settings)
