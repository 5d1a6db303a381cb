"""How scores lie on the MOS scale, beside the human scores of KonIQ-10k."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from koniq import report
from koniq.published import KONIQ10K_MOS

BINS = len(KONIQ10K_MOS)  # of the study's figure, over 0-100
BELOW = (20, 30, 40, 50)  # MOS


def is_scored(table: pd.DataFrame) -> pd.Series:
    """Which rows of a CSV of scores (see koniq.scores.read) have a score: a number, and of a picture that opened."""
    return (table.status == "ok") & np.isfinite(table.MOS)


def shares(scores: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """What share (0-1) of each of some sets of scores, and of KonIQ-10k's MOS, lies below 20, 30, 40 and 50.

    scores: arrays of shape (pictures,) by their name. One row a bound: below, a column a name, koniq10k.
    """
    found = {name: [float(np.mean(np.asarray(mos) < bound)) for bound in BELOW] for name, mos in scores.items()}
    official = [sum(KONIQ10K_MOS[: bound * BINS // 100]) / sum(KONIQ10K_MOS) for bound in BELOW]
    return pd.DataFrame({"below": BELOW, **found, "koniq10k": official})


def histogram(scores: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The share (0-1) of each of some sets of scores, and of KonIQ-10k's MOS, in 50 bins over 0-100 and beside them.

    scores: arrays of shape (pictures,) by their name. One row a bin: low, high, a column a name, koniq10k. The first
    row is (-inf, 0), the last (100, inf), so that a column adds up to 1; others are [low, high), the last [98, 100].
    """
    edges = np.linspace(0, 100, BINS + 1)

    def share(mos: np.ndarray) -> np.ndarray:
        mos = np.asarray(mos, np.float64)
        return np.array([np.sum(mos < 0), *np.histogram(mos, edges)[0], np.sum(mos > 100)]) / mos.size

    official = np.array([0, *KONIQ10K_MOS, 0]) / sum(KONIQ10K_MOS)
    ends = {"low": [-np.inf, *edges], "high": [*edges, np.inf]}
    return pd.DataFrame({**ends, **{name: share(mos) for name, mos in scores.items()}, "koniq10k": official})


def outside(mos: np.ndarray) -> str:
    """How many scores lie outside 0-100, as a sentence; "" if none does."""
    below, above = int(np.sum(mos < 0)), int(np.sum(mos > 100))
    return f"{below:,} scores lie below 0 and {above:,} above 100." if below or above else ""


def draw_histogram(scores: Mapping[str, np.ndarray]) -> bytes:
    """PNG of the shares in 50 bins over 0-100, with KonIQ-10k's own behind; what lies outside is said in the title."""
    table = histogram(scores)
    inside = table.iloc[1:-1]
    edges = [*inside.low, 100]
    figure, axes = report.new_figure(5.4, 3.6, dpi=200)
    axes.stairs(100 * inside.koniq10k, edges, fill=True, color="0.82", label=f"KonIQ-10k, n = {sum(KONIQ10K_MOS):,}")
    for colour, (name, mos) in zip(("C0", "C1"), scores.items(), strict=False):
        label = f"{_drawn(name)}, n = {len(mos):,}"
        axes.stairs(100 * inside[name], edges, fill=True, color=colour, alpha=0.25)
        axes.stairs(100 * inside[name], edges, color=colour, linewidth=1.2, label=label)
    notes = [f"{_drawn(name)}: {note}" for name, mos in scores.items() if (note := outside(mos))]
    axes.set(xlabel="MOS", ylabel="share of pictures in 2 MOS [%]", xlim=(0, 100))
    axes.set_title("\n".join(notes), fontsize=8)
    figure.legend(frameon=False, fontsize=8, loc="outside upper center")
    return report.png(figure)


def _drawn(name: str) -> str:
    return report.one_line(name).replace("$", r"\$")  # what stands between two would be set as mathematics
