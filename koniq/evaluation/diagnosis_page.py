"""A diagnosis as people look at it: one page, its sentences, its figures, and the tables that they show."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.data import datasets
from koniq.evaluation.diagnosis import BATCH_SIZES, Diagnosis, scatter_slope
from koniq.network import title
from koniq.reports import page
from koniq.reports.figures import Chart, chart, new_figure
from koniq.scoring.facts import Facts

SECTIONS = ("error", "disagreement", "mirrored", "batches", "resize")  # of the page, as in findings.md
LABELS = {  # of axes
    "MOS": "MOS",
    "SD": "standard deviation of the raters (SD)",
    "predicted_error": "predicted - MOS",
    "fitted_error": "after the map - MOS",
    "absolute_error": "|after the map - MOS|",
}


def files(found: Diagnosis, part: str, sheet: int = 24, folder: Path | None = None, thumbnails: bool = True) -> dict:
    """The files of a diagnosis, by name: report.html, PNG as bytes, and as tables what they show, at full precision.

    part: of the data set, as the title says it. sheet: pictures on each of the contact sheets. folder, thumbnails: as
    of `koniq.reports.lifelog_report.report`.
    """
    said = findings(found)
    figures = {name: drawn for name, draw in FIGURES.items() if (drawn := draw(found))}
    over, under = most_wrong(found, sheet, folder, thumbnails)
    errors = found.kept[["image_name", "fitted", "predicted_error", "fitted_error"]]
    return {
        page.PAGE: html(found, part, said, figures, over, under, thumbnails),
        "findings.md": "\n".join(f"- {sentence}" for sentences in said.values() for sentence in sentences) + "\n",
        **{name: drawn.png for name, drawn in figures.items()},
        "over_rated.png": page.draw_sheet(over) if thumbnails else None,
        "under_rated.png": page.draw_sheet(under) if thumbnails else None,
        "metrics.csv": found.metrics,
        "changes.csv": found.changes,
        "error_by_bin.csv": pd.concat(found.bins.values(), ignore_index=True),
        "pictures.csv": found.table.drop(columns="image_path").merge(errors, how="left", on="image_name"),
    }


def html(
    found: Diagnosis,
    part: str,
    said: Mapping[str, list[str]],
    figures: Mapping[str, Chart],
    over: list[page.Cell],
    under: list[page.Cell],
    thumbnails: bool,
) -> str:
    """The page, of the sentences of `findings`, the figures of FIGURES and the cells of `most_wrong`."""
    data, plan, moved, about = found.data, found.plan, found.changes, found.plan.facts()
    return page.render(
        "diagnose.html",
        title=f"Diagnosis of {title(plan.weights)} on {data.name} ({part})",
        pictures=len(found.kept),
        asked=len(found.table),
        absent=len(data.absent),
        label=data.label,
        origin=datasets.origin(data.label),
        off_scale=Facts(about).free_loss,
        said=said,
        figures=figures,
        mirrored=moved[moved.way.isin(("predicted", "mirrored", "both"))],
        resizes=moved[moved.way.str.startswith(("predicted", "resize_"))],
        batches=moved[moved.way.str.startswith("batch_")],
        resize=plan.network.resize,
        batch_size=plan.batch_size,
        over=over,
        under=under,
        thumbnails=thumbnails,
        provenance=page.provenance(about),
    )


def most_wrong(
    found: Diagnosis, sheet: int, folder: Path | None = None, thumbnails: bool = True
) -> tuple[list[page.Cell], list[page.Cell]]:
    """The cells of the most over-rated and of the most under-rated pictures after the map, `sheet` of each at most."""
    data, digits = found.data, found.data.scale.digits - 1
    roots = [str(data.folder)]
    order = found.kept.sort_values("fitted_error", kind="stable")
    order = order.assign(image_path=[os.path.relpath(path, data.folder) for path in order.image_path])

    def captions(row) -> tuple[str, ...]:
        return (
            f"{row.fitted_error:+.{digits}f}",
            f"{data.label} {row.MOS:.{digits}f}, predicted {row.predicted:.{digits}f}",
            f"after the map {row.fitted:.{digits}f}",
        )

    over, under = order[order.fitted_error > 0].iloc[::-1][:sheet], order[order.fitted_error < 0][:sheet]
    over, under = (page.cells(rows, captions, roots, folder, thumbnails) for rows in (over, under))
    return over, under


def findings(found: Diagnosis) -> dict[str, list[str]]:
    """What was found, as sentences of the template findings.md by section: error, disagreement, mirrored, ..."""
    kept, plan, by_mos = found.kept, found.plan, found.bins["fitted_error", "MOS"]
    of = {what: {} for what in found.metrics.what}
    for row in found.metrics.itertuples():
        of[row.what][row.metric] = row.value, row.low, row.high
    ways = {row.way: row for row in found.changes.itertuples()}
    height, width = plan.network.input_size
    scores = kept[["predicted", *(way for way in ways if way.startswith("batch_"))]]
    text = page.render(
        "findings.md",
        of=of,
        ways=ways,
        plan=plan,
        pictures=len(kept),
        lowest=by_mos.iloc[0].to_dict(),
        highest=by_mos.iloc[-1].to_dict(),
        scatter_slope=scatter_slope(kept),
        with_sd=kept.SD.notna().sum() if "SD" in kept else 0,
        score_sd=kept.predicted.std(),
        batch_sizes=sorted({plan.batch_size, *BATCH_SIZES}),
        batch_spread=np.ptp(scores.to_numpy(), axis=1).max(),
        size=f"{height} x {width}",
        at_size=int(((kept.height == height) & (kept.width == width)).sum()),
    )
    items = [f"\n{section}".split("\n- ")[1:] for section in text.strip().split("\n\n")]
    return {
        name: [" ".join(sentence.split()) for sentence in sentences]
        for name, sentences in zip(SECTIONS, items, strict=True)
    }


def draw_errors(found: Diagnosis, error: str, against: str) -> Chart | None:
    """PNG of errors against something, with the mean (95 % interval) and the median of each bin; None without bins.

    Of fitted_error, a dashed line through the mean of the MOS is what scatter alone gives.
    """
    if (error, against) not in found.bins:
        return None
    x, binned = found.kept[against], found.bins[error, against]
    figure, axes = new_figure(5.4, 4, dpi=200)
    axes.axhline(0, color="0.6", linewidth=1)
    if error == "fitted_error":
        slope = scatter_slope(found.kept)
        axes.axline((x.mean(), 0), slope=slope, color="0.3", linewidth=1, linestyle="--", label="scatter alone")
    axes.scatter(x, found.kept[error], s=10, alpha=0.35, linewidths=0)
    sides = binned["mean"] - binned.low, binned.high - binned["mean"]
    axes.errorbar(
        binned.centre, binned["mean"], sides, fmt="o-", color="C1", markersize=4, capsize=2, label="mean, 95 % interval"
    )
    axes.plot(binned.centre, binned["median"], "_", color="black", markersize=10, label="median")
    xlabel, ylabel = (LABELS[name].replace("MOS", found.data.label) for name in (against, error))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside upper center")
    return chart(figure)


def draw_mirrored(found: Diagnosis) -> Chart:
    """PNG of what mirroring changes, against the score."""
    table = found.kept
    figure, axes = new_figure(5.4, 4, dpi=200)
    axes.axhline(0, color="0.6", linewidth=1)
    axes.scatter(table.predicted, table.mirrored - table.predicted, s=10, alpha=0.5, linewidths=0)
    axes.set(xlabel="predicted", ylabel="mirrored - predicted")
    return chart(figure)


def draw_resized_srcc(found: Diagnosis) -> Chart:
    """PNG of what each other resize changes of SRCC, with its interval."""
    rows = found.changes[found.changes.way.str.startswith("resize_")].iloc[::-1]  # the first at the top
    figure, axes = new_figure(5.4, 2.6, dpi=200)
    axes.axvline(0, color="0.6", linewidth=1)
    sides = rows.srcc_change - rows.low, rows.high - rows.srcc_change
    axes.errorbar(rows.srcc_change, rows.way.str.removeprefix("resize_"), xerr=sides, fmt="o", markersize=4, capsize=3)
    axes.set(xlabel=f"SRCC, minus that of {found.plan.network.resize}")
    axes.margins(y=0.2)
    return chart(figure)


def draw_resized_scores(found: Diagnosis) -> Chart:
    """PNG of what each other resize changes of the pictures' scores."""
    table = found.kept
    ways = [way for way in table if way.startswith("resize_")][::-1]
    figure, axes = new_figure(5.4, 2.6, dpi=200)
    axes.axvline(0, color="0.6", linewidth=1)
    moved = [table[way] - table.predicted for way in ways]
    axes.boxplot(moved, orientation="horizontal", whis=(0, 100), widths=0.5, medianprops={"color": "C1"})
    axes.set_yticks(range(1, len(ways) + 1), [way.removeprefix("resize_") for way in ways])
    axes.set(xlabel=f"score of a picture, minus that through {found.plan.network.resize}")
    return chart(figure)


FIGURES: Mapping[str, Callable[[Diagnosis], bytes | None]] = {
    "predicted_error_by_mos.png": partial(draw_errors, error="predicted_error", against="MOS"),
    "fitted_error_by_mos.png": partial(draw_errors, error="fitted_error", against="MOS"),
    "absolute_error_by_sd.png": partial(draw_errors, error="absolute_error", against="SD"),
    "mirrored.png": draw_mirrored,
    "resized_srcc.png": draw_resized_srcc,
    "resized_scores.png": draw_resized_scores,
}
