"""How scores lie on the MOS scale, beside the human scores of KonIQ-10k; on another scale, as far up that one."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from koniq.data.published import KONIQ10K_MOS
from koniq.data.scale import USUAL, Scale
from koniq.ground import text
from koniq.reports import figures

BINS = len(KONIQ10K_MOS)  # of the study's figure, over the whole scale
BELOW = (20, 30, 40, 50)  # MOS, or percent of the way up another scale


def shares(scores: Mapping[str, np.ndarray], scale: Scale = USUAL) -> pd.DataFrame:
    """What share (0-1) of each of some sets of scores, and of KonIQ-10k's MOS, lies below 20, 30, 40 and 50.

    On another scale than 0 to 100 these are 20 % of it, and so on: of 1 to 5, below 1.8. scores: arrays of shape
    (pictures,) by their name. One row a bound: below, a column a name, koniq10k.
    """
    bounds = bounds_of(scale)
    found = {name: [float(np.mean(np.asarray(mos) < bound)) for bound in bounds] for name, mos in scores.items()}
    official = [sum(KONIQ10K_MOS[: bound * BINS // 100]) / sum(KONIQ10K_MOS) for bound in BELOW]
    return pd.DataFrame({"below": bounds, **found, "koniq10k": official})


def bounds_of(scale: Scale) -> list[float]:
    """What `shares` counts the scores below."""
    return [*BELOW] if scale.is_usual else [float(f"{bound:.6g}") for bound in scale.at(BELOW)]  # 1.8, not 1.8 + 2e-16


def histogram(scores: Mapping[str, np.ndarray], scale: Scale = USUAL) -> pd.DataFrame:
    """The share (0-1) of each of some sets of scores, and of KonIQ-10k's MOS, in 50 bins over the scale and beside it.

    scores: arrays of shape (pictures,) by their name. One row a bin: low, high, a column a name, koniq10k, whose MOS
    are taken as far up the scale as they are from 0 to 100. The first row is below the scale, the last above, so that a
    column adds up to 1; others are [low, high), but that the last but one has both its ends.
    """
    edges = np.linspace(*scale, BINS + 1)

    def share(mos: np.ndarray) -> np.ndarray:
        mos = np.asarray(mos, np.float64)
        return np.array([np.sum(mos < scale.low), *np.histogram(mos, edges)[0], np.sum(mos > scale.high)]) / mos.size

    official = np.array([0, *KONIQ10K_MOS, 0]) / sum(KONIQ10K_MOS)
    ends = {"low": [-np.inf, *edges], "high": [*edges, np.inf]}
    return pd.DataFrame({**ends, **{name: share(mos) for name, mos in scores.items()}, "koniq10k": official})


def outside(mos: np.ndarray, scale: Scale = USUAL) -> str:
    """How many scores lie outside the scale, as a sentence; "" if none does."""
    below, above = int(np.sum(mos < scale.low)), int(np.sum(mos > scale.high))
    return f"{below:,} scores lie below {scale.low:g} and {above:,} above {scale.high:g}." if below or above else ""


def koniq10k(scale: Scale) -> str:
    """What KonIQ-10k's own MOS are called beside scores on a scale."""
    return "the human scores of KonIQ-10k" + ("" if scale.is_usual else f", stretched from {USUAL} to {scale}")


def draw_histogram(scores: Mapping[str, np.ndarray], scale: Scale = USUAL, label: str = "MOS") -> figures.Chart:
    """The shares in 50 bins over the scale, with KonIQ-10k's own behind; what lies outside is in the title.

    label: what the scores are.
    """
    table = histogram(scores, scale)
    inside = table.iloc[1:-1]
    edges = [*inside.low, scale.high]
    figure, axes = figures.new_figure(5.4, 3.6, dpi=200)
    axes.stairs(100 * inside.koniq10k, edges, fill=True, color="0.82", label=f"KonIQ-10k, n = {sum(KONIQ10K_MOS):,}")
    for colour, (name, mos) in zip(("C0", "C1"), scores.items(), strict=False):
        legend = f"{_drawn(name)}, n = {len(mos):,}"
        axes.stairs(100 * inside[name], edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(100 * inside[name], edges, color=colour, linewidth=1.2, label=legend)
    notes = [f"{_drawn(name)}: {note}" for name, mos in scores.items() if (note := outside(mos, scale))]
    width = f"{(scale.high - scale.low) / BINS:g}"
    axes.set(xlabel=label, ylabel=f"share of pictures in {width} {label} [%]", xlim=(scale.low, scale.high))
    axes.set_title("\n".join(notes), fontsize=8)
    figure.legend(frameon=False, fontsize=8, loc="outside upper center")
    return figures.chart(figure)


def _drawn(name: str) -> str:
    return text.one_line(name).replace("$", r"\$")  # what stands between two would be set as mathematics
