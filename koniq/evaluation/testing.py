"""What a test of a network found: predictions, metrics with intervals, a figure, a report beside the published rows."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.data import splits
from koniq.data.datasets import DataSet, origin
from koniq.data.published import PUBLISHED
from koniq.data.scale import Scale
from koniq.ground import InputError, first_few
from koniq.ground.files import write_csv
from koniq.ground.log import LOG
from koniq.ground.paths import RESULTS
from koniq.ground.text import markdown_table, slug
from koniq.measure.conformal import Intervals
from koniq.measure.metrics import mae, measure, rmse
from koniq.network import sidecar
from koniq.reports.figures import draw_scatter
from koniq.scoring.lines import INTERVAL
from koniq.scoring.score import Score
from koniq.scoring.scorer import Scorer
from ku.files import atomic_path

DECIMALS = {"srcc": 3, "plcc": 3, "krcc": 3, "mae": 2, "rmse": 2, "mae_raw": 2, "rmse_raw": 2, "coverage": 3}
RAW = {"mae_raw": mae, "rmse_raw": rmse}  # of the network's own scores, where those reported are calibrated
INTERVALS = {  # of how many pictures the MOS lies within its interval, and how wide intervals are
    "coverage": lambda within, width: float(np.mean(within)),
    "interval_width": lambda within, width: float(np.mean(width)),
}


def evaluate(scorer: Scorer, data: DataSet, part: str, weights: Path, out: str = "", ending: str = "") -> int:
    """Score a part of a data set by the network whose `weights` they are, and write `test_report`.

    It goes into the folder `out`, or one in results/ that is named by weights and data set, with `ending`. Returns how
    many pictures have no score.
    """
    rows, model = data.part(part), sidecar.title(weights)
    scores = scorer.scores(rows.image_path.tolist(), progress="testing")
    folder = Path(out) if out else RESULTS / f"{model}-on-{slug(data.name)}{ending}"
    found = test_report(folder, data, part, scores, model, scorer.intervals)
    return len(rows) - int(found.n.min())


def test_report(
    folder: Path,
    data: DataSet,
    part: str,
    scores: Iterable[Score],
    model: str,
    intervals: Intervals | None = None,  # noqa: PT028  it is not a test of pytest
) -> pd.DataFrame:
    """Write what a test found into `folder`, print it, and return the metrics of the whole part.

    predictions.csv (one row a picture: image_name, MOS, predicted, status, error), metrics.csv (one row a metric with
    its 95 % interval), scatter.png, and report.md (ours beside the published rows). scores: one for each row of
    `data.part(part)`, in that order. A picture that did not open has a row and counts in no metric. Of calibrated
    scores, predictions.csv has the network's own, too, in the column raw, and metrics.csv their errors: RAW. Of scores
    with `intervals`, it has MOS_low and MOS_high, and metrics.csv how many hold and how wide they are: INTERVALS.
    metrics.csv and report.md have the pictures of koniq.data.splits.apart by themselves, too: sets such as "test,
    subset 1".
    """
    scores = list(scores)
    table = data.part(part)[["image_name", "MOS"]].assign(
        predicted=[score.mos for score in scores],
        status=[score.status for score in scores],
        error=[score.error for score in scores],
    )
    raw = [score.raw for score in scores]
    calibrated = not np.isnan(raw).all()
    if calibrated:
        table.insert(3, "raw", raw)
    if intervals:
        for at, (name, end) in enumerate(zip(INTERVAL, ("low", "high"), strict=True), 3):
            table.insert(at, name, [getattr(score, end) for score in scores])
    scored = table[table.status == "ok"]
    if len(scored) < 2:
        raise InputError(
            f"At least 2 pictures of {data.name} should open. Received: {len(scored)} of {len(table)} "
            f"({first_few(table.error.unique())})"
        )
    found = measure(scored.MOS, scored.predicted)
    if calibrated:
        found = pd.concat([found, measure(scored.MOS, scored.raw, metrics=RAW)], ignore_index=True)
    if intervals:
        within = scored.MOS.between(scored.MOS_low, scored.MOS_high)
        width = scored.MOS_high - scored.MOS_low
        found = pd.concat([found, measure(within, width, metrics=INTERVALS)], ignore_index=True)
    found = found.assign(dataset=data.name, label=data.label, set=part, model=model)
    write_csv(table, folder / "predictions.csv")
    apart = measured_apart(data, part, scored).assign(dataset=data.name, label=data.label, model=model)
    write_csv(pd.concat([found, apart], ignore_index=True), folder / "metrics.csv")
    draw_scatter(
        scored.MOS, scored.predicted, f"{model} on {data.name} ({part})", data.label, folder / "scatter.png", data.scale
    )
    text = test_markdown(data, part, found, model, len(table) - len(scored), str(intervals or ""))
    text += apart_markdown(apart, data.scale)
    with atomic_path(folder / "report.md") as path:
        path.write_text(text, encoding="utf-8")
    LOG.info(f"{text}\nPredictions, metrics, scatter and report lie in {folder}")
    return found


def test_markdown(
    data: DataSet,
    part: str,
    found: pd.DataFrame,
    model: str,
    unreadable: int,
    intervals: str = "",  # noqa: PT028
) -> str:
    """A section of Markdown: what was tested on, and a table with the published rows (if any) and ours.

    intervals: what those are called that the metrics INTERVALS are of.
    """
    values = {row.metric: " ".join(_numbers(row, data.scale)) for row in found.itertuples()}
    column = {"KonIQ-10k": "koniq10k", "LIVE In the Wild": "live_itw"}.get(data.name)
    rows = [(row.model, *(f"{value:.3f}" for value in getattr(row, column)), "", "", "") for row in PUBLISHED if column]
    rows.append((f"**{model}** (measured)", *(value for name, value in values.items() if name not in RAW | INTERVALS)))
    notes = [f"{found.n.iloc[0]:,} pictures were scored; intervals: 95 %, bootstrap over pictures."]
    if values.keys() >= RAW.keys():
        notes.append(
            f"The scores are calibrated; the network's own have MAE {values['mae_raw']}, RMSE {values['rmse_raw']}."
        )
    if values.keys() >= INTERVALS.keys():
        notes.append(
            f"Of the {data.label}, {values['coverage']} lie within their intervals, which are "
            f"{values['interval_width']} wide on average ({intervals})."
        )
    if data.absent:
        notes.append(
            f"**{len(data.absent):,} of the {data.of_table:,} pictures of the table were not there** "
            f"({first_few(data.absent)}): these are not the numbers of the whole set."
        )
    if unreadable:
        notes.append(f"{unreadable:,} pictures could not be scored; predictions.csv says why.")
    if data.label != "MOS":
        notes.append(f"The labels are {data.label}: they {origin(data.label)}, and no person gave them.")
    heads = ("", "SRCC", "PLCC", "KRCC", "MAE", "RMSE")
    return f"## {data.name}, {part} set\n\n{markdown_table(heads, rows)}\n\n" + "\n".join(notes) + "\n"


def measured_apart(data: DataSet, part: str, scored: pd.DataFrame) -> pd.DataFrame:
    """The metrics of the pictures of a part that are given by themselves, in rows as of `measure`, with `set`.

    scored: rows of `data.part(part)`, by its index, with MOS and predicted; fewer than two are not measured.
    """
    found = []
    for title, rows in splits.apart(data.ids, part).items():
        chosen = scored[rows[scored.index]]
        if len(chosen) > 1:
            found.append(measure(chosen.MOS, chosen.predicted).assign(set=f"{part}, {title}"))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["metric", "set"])


def apart_markdown(apart: pd.DataFrame, scale: Scale) -> str:
    """A table in Markdown of what `measured_apart` found; nothing if that is nothing."""
    rows = [
        (title, f"{part.n.iloc[0]:,}", *(" ".join(_numbers(row, scale)) for row in part.itertuples()))
        for title, part in apart.groupby("set", sort=False)
    ]
    heads = ("", "pictures", "SRCC", "PLCC", "KRCC", "MAE", "RMSE")
    return f"\n{markdown_table(heads, rows)}\n" if rows else ""


def _numbers(row, scale: Scale) -> tuple[str, str]:
    on_scale = not row.metric.endswith("cc") and row.metric != "coverage"
    digits = scale.digits if on_scale else DECIMALS[row.metric]
    value, low, high = (f"{number:.{digits}f}" for number in (row.value, row.low, row.high))
    return value, f"[{low}, {high}]"
