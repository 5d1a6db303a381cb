"""Two models on the same pictures: how far their scores agree, from two CSVs of scores."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from koniq.data.datasets import origin
from koniq.data.scale import USUAL, Scale, of_scores
from koniq.ground import InputError
from koniq.measure.metrics import agreement
from koniq.network.spec import FORMER
from koniq.reports import distribution, page
from koniq.reports import figures as reports_figures
from koniq.reports.pairing import Pairs
from koniq.scoring.facts import Facts
from koniq.scoring.score_tables import ScoreTable

if TYPE_CHECKING:
    from koniq.reports.in_duckdb import LargePairs

LABELS = {
    "srcc": "SRCC",
    "plcc": "PLCC",
    "krcc": "KRCC",
    "mean_difference": "mean difference",
    "sd_difference": "standard deviation of the differences",
    "lower_limit": "lower limit of agreement",
    "upper_limit": "upper limit of agreement",
}
MANY = 2000  # points; more are drawn as a density
VERY_MANY = 1_000_000  # points; of more, those in each of SQUARES x SQUARES squares are counted first
SQUARES = 600


def paired(
    tables: Sequence[ScoreTable],
    abouts: Sequence[dict],
    scales: Sequence[Scale | None] = (None, None),
    by_name: bool = False,
) -> "Pairs | LargePairs":
    """The pictures that both of two tables score, see `koniq.reports.pairing.keys`.

    tables, abouts: of `koniq.scoring.score_tables.opened`, and of `facts` there. scales: of which each table's scores
    are taken to percent; None: they stay as they are.
    """
    if all(isinstance(table, ScoreTable) for table in tables):
        return Pairs(tables, abouts, scales, by_name)
    from koniq.reports.in_duckdb import LargePairs

    return LargePairs(tables, abouts, scales, by_name)


def scales_of(
    tables: Sequence[ScoreTable], abouts: Sequence[dict], scale: Sequence[float] | None = None
) -> list[Scale]:
    """The scales of two tables of scores, see `koniq.data.scale.of_scores`."""
    return [of_scores(table.extent(), about, scale) for table, about in zip(tables, abouts, strict=True)]


def common(scales: Sequence[Scale]) -> Scale:
    """The scale that two tables of scores are compared on: theirs, or, if these are two, 0 to 100."""
    return scales[0] if scales[0] == scales[1] else USUAL


def warnings(abouts: Sequence[dict], scales: Sequence[Scale] = (USUAL, USUAL)) -> list[str]:
    """What keeps two CSVs of scores from being compared, as far as the facts beside them, and their scales, say so."""
    found = [
        f"The scores were not made alike: {key.replace('_', ' ')} {page.text(values[0])} for A and "
        f"{page.text(values[1])} for B. Part of the differences comes from that."
        for key in ("input_size", "resize", *FORMER)
        if None not in (values := [(FORMER | about if "resize" in about else about).get(key) for about in abouts])
        and values[0] != values[1]
    ]
    if scales[0] != scales[1]:
        found.append(
            f"The scores of A go from {scales[0]} and those of B from {scales[1]}: both are taken to {USUAL} here, "
            "which changes no correlation; differences, limits and shares are on that scale."
        )
    labels = {letter: label for letter, about in zip("AB", abouts, strict=True) if (label := Facts(about).synthetic)}
    unrated, origins = [*labels], " or ".join(dict.fromkeys(map(origin, labels.values())))
    if unrated:
        found.append(
            f"The labels that the model of {' and that of '.join(unrated)} learnt are synthetic: they {origins}, "
            "and no person gave them. Mean difference, limits and shares below a score say nothing."
        )
    sides = [(letter, about) for letter, about in zip("AB", abouts, strict=True) if letter not in unrated]
    loose = [letter for letter, about in sides if not Facts(about).on_mos_scale]
    if loose:
        found.append(
            f"Nothing says that the scores of {' and '.join(loose)} are calibrated to the MOS scale. Unless both are, "
            "the correlations compare the models, and mean difference, limits and shares below a MOS do not."
        )
    return found


def compare(
    tables: Sequence[ScoreTable],
    abouts: Sequence[dict],
    names: Sequence[str],
    roots: Sequence[str],
    sheet: int = 24,
    scale: Sequence[float] | None = None,
    by_name: bool = False,
    folder: Path | None = None,
    thumbnails: bool = True,
) -> dict:
    """The files of a comparison, by name: report.html, PNG as bytes, and as tables what they show, at full precision.

    tables, abouts: two each, of `koniq.scoring.score_tables.opened` and `facts` there. names: of the models.
    roots: the folders that image_path starts from. scale: see `koniq.data.scale.of_scores`; scores on two scales are
    both taken to 0 to 100, which changes no correlation. by_name: see
    `koniq.reports.pairing.keys`. folder, thumbnails: see
    `koniq.reports.lifelog_report.report`. Raises InputError if fewer than 2
    pictures have a score by both.
    """
    scales = scales_of(tables, abouts, scale)
    to_percent = scales if scales[0] != scales[1] else (None, None)
    pairs = paired(tables, abouts, to_percent, by_name)
    if len(pairs) < 2:
        summary = ", ".join(f"{count:,} {what}" for what, count in pairs.counts.items())
        if not by_name and (others := len(paired(tables, abouts, to_percent, by_name=True)) - len(pairs)):
            summary += (
                f". By their paths they are not the same pictures, but {others:,} have the same name: --by-name pairs "
                "these"
            )
        raise InputError(f"At least 2 pictures should have a score in both CSVs. Received: {summary}")
    found = agreement(pairs.first, pairs.second)
    on = common(scales)
    scores = {"A": pairs.first, "B": pairs.second}
    values = found.set_index("metric").value
    shares = distribution.shares(scores, on)
    label, *other = dict.fromkeys(Facts(about).label for about in abouts)
    label = "score" if other else label
    figures = {
        "histogram.png": distribution.draw_histogram(
            {"A: " + names[0]: scores["A"], "B: " + names[1]: scores["B"]}, on, label
        ),
        "scatter.png": _draw_scatter(pairs, on),
        "bland_altman.png": _draw_differences(pairs, values, on),
    }

    def form(score: float, sign: str = "") -> str:
        return f"{score:{sign}.{on.digits}f}"

    def captions(row) -> tuple[str, ...]:
        return form(row.difference, "+"), f"A {form(row.first)}, B {form(row.second)}"

    cells = page.cells(pairs.most_different(sheet), captions, roots, folder, thumbnails)
    html = page.render(
        "compare.html",
        title=f"{names[0]} and {names[1]} on the same pictures",
        names=names,
        pairs=pairs,
        counts=pairs.counts,
        warnings=warnings(abouts, scales),
        agreement=[_shown(row, on) for row in found.itertuples()],
        shares=shares,
        label=label,
        outside=" ".join(f"{name}: {note}" for name, mos in scores.items() if (note := distribution.outside(mos, on))),
        koniq10k=distribution.koniq10k(on),
        figures=figures,
        cells=cells,
        thumbnails=thumbnails,
        provenance=list(zip("AB", map(page.provenance, abouts), strict=True)),
    )
    return {
        page.PAGE: html,
        **{name: chart.png for name, chart in figures.items()},
        "most_different.png": page.draw_sheet(cells) if thumbnails else None,
        "agreement.csv": found,
        "differences.csv": pairs.pieces,
        "shares.csv": shares,
        "histogram.csv": distribution.histogram(scores, on),
    }


def _shown(row, scale: Scale) -> tuple[str, str, str]:
    """A row of `agreement` as text: label, value, interval."""
    form = f"{{:.{4 if row.metric.endswith('cc') else scale.digits}f}}"
    interval = "" if np.isnan(row.low) else f"{form.format(row.low)} to {form.format(row.high)}"
    return LABELS[row.metric], "none" if np.isnan(row.value) else form.format(row.value), interval


def _draw_points(axes, x: np.ndarray, y: np.ndarray) -> None:
    if len(x) > MANY:
        extent = (x.min(), x.max(), y.min(), y.max())
        x, y, counts = _counted(x, y, extent) if len(x) > VERY_MANY else (x, y, None)
        how = {"C": counts, "reduce_C_function": np.sum, "extent": extent} if counts is not None else {}
        axes.hexbin(x, y, gridsize=60, bins="log", mincnt=1, cmap="Blues", linewidths=0, **how)
    else:
        axes.scatter(x, y, s=12, alpha=0.5, linewidths=0)


def _counted(x: np.ndarray, y: np.ndarray, extent: Sequence[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points as the middles of small squares, and how many lie in each: what a density of them needs, and far less."""
    ends, total = (extent[:2], extent[2:]), 0
    for start in range(0, len(x), VERY_MANY):
        piece = slice(start, start + VERY_MANY)
        counts, *edges = np.histogram2d(x[piece], y[piece], SQUARES, ends)
        total = total + counts
    row, column = np.nonzero(total)
    middles = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
    return middles[0][row], middles[1][column], total[row, column]


def _draw_scatter(pairs: Pairs, scale: Scale) -> reports_figures.Chart:
    figure, axes = reports_figures.new_figure(5.4, 4.5, dpi=200)
    a, b = pairs.first, pairs.second
    ends = min(scale.low, a.min(), b.min()), max(scale.high, a.max(), b.max())
    axes.plot(ends, ends, color="0.6", linewidth=1)
    _draw_points(axes, a, b)
    axes.set(xlabel="A", ylabel="B", xlim=ends, ylim=ends, aspect="equal")
    return reports_figures.chart(figure)


def _draw_differences(pairs: Pairs, values: pd.Series, scale: Scale) -> reports_figures.Chart:
    """Differences against means (Bland and Altman, 1986)."""
    figure, axes = reports_figures.new_figure(5.4, 4.5, dpi=200)
    _draw_points(axes, (pairs.first + pairs.second) / 2, pairs.second - pairs.first)
    for name, style in (("upper_limit", "--"), ("mean_difference", "-"), ("lower_limit", "--")):
        label = f"{LABELS[name]} {values[name]:+.{scale.digits}f}"
        axes.axhline(values[name], color="0.3", linewidth=1, linestyle=style, label=label)
    axes.set(xlabel="mean of A and B", ylabel="B - A")
    figure.legend(loc="outside upper center", frameon=False, fontsize=8)
    return reports_figures.chart(figure)


def _names(paths: Sequence[Path], abouts: Sequence[dict]) -> list[str]:
    """What to call two models: by their titles, or if these do not tell them apart, by their CSVs."""
    titles = [str(about.get("model", "")) for about in abouts]
    for names in (titles, [path.stem for path in paths]):
        if all(names) and names[0] != names[1]:
            return names
    return [str(path) for path in paths]
