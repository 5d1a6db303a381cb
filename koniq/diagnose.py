"""What a model gets wrong, and what its scores hang on besides the pictures: one page, its figures and tables.

python -m koniq.diagnose --weights my_run --dataset live_itw --engine openvino
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from koniq import cli, datasets, engines, page, report
from koniq.datasets import DataSet
from koniq.ground import InputError, first_few
from koniq.ground.paths import RESULTS
from koniq.metrics import METRICS, difference, measure
from koniq.network import find_or_default, title
from koniq.prediction import Engine, predict
from koniq.scale import FREE
from ku.image_utils import RESAMPLE

FEWEST = 20  # pictures
BINS = 10  # of as many pictures each
BATCH_SIZES = (1, 2, 8, 16)
LABELS = {  # of figures
    "MOS": "MOS",
    "SD": "standard deviation of the raters (SD)",
    "predicted_error": "predicted - MOS",
    "fitted_error": "after the map - MOS",
    "absolute_error": "|after the map - MOS|",
}


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
    engine: engines.EngineName = "keras"  # or openvino, faster on processors; auto: as lifelog_predict.py
    precision: engines.Precision = "float32"  # of the network's arithmetic; the fastest that loses little: auto
    workers: int = 2  # threads that decode pictures
    sheet: int = 24  # pictures on each of the contact sheets
    out: Path | None = None  # a folder; None: WEIGHTS-on-DATASET-diagnosis in results/


def passes(plan: engines.Plan, paths: Sequence[Path], workers: int = 2) -> pd.DataFrame:
    """Pictures scored in every way, a row each in the order of `paths`: status, error, width, height, predicted, ...

    predicted is the score as planned. The other ways change one thing: mirrored (after resizing, so that nothing but
    the network sees another picture); resize_NAME, by each other resize; batch_N, in batches of each other size. A
    score is nan where the status is not "ok".
    """
    engine = plan.start()

    def scores(engine: Engine, name: str) -> list[float]:
        return [score.mos for score in predict(engine, paths, workers, name)]

    first = list(predict(engine, paths, workers, "as planned"))
    columns = {name: [getattr(score, name) for score in first] for name in ("status", "error", "width", "height")}
    columns["predicted"] = [score.mos for score in first]
    mirrored = replace(engine, score=lambda pixels: engine.score(np.ascontiguousarray(pixels[:, :, ::-1])))
    columns["mirrored"] = scores(mirrored, "mirrored")
    for name in RESAMPLE:
        if name != plan.network.resize:
            columns[f"resize_{name}"] = scores(replace(engine, network=engine.network.at(resize=name)), name)
    for size in BATCH_SIZES:
        if size != plan.batch_size:
            columns[f"batch_{size}"] = scores(replace(plan, batch_size=size).start(), f"batch {size}")
    return pd.DataFrame(columns)


def fit(table: pd.DataFrame) -> tuple[pd.DataFrame, float, float]:
    """The table with fitted and its errors, one column each; and the slope and intercept of the map.

    table: MOS and predicted, all numbers. fitted = slope * predicted + intercept, by least squares on these very
    pictures. predicted_error and fitted_error are score - MOS: above 0, a picture is over-rated. absolute_error is
    |fitted_error|; off_line is how far fitted_error is from the line of `scatter_slope`, and so is free of the MOS.
    """
    slope, intercept = np.polyfit(table.predicted, table.MOS, 1)
    fitted = slope * table.predicted + intercept
    error = fitted - table.MOS
    line = scatter_slope(table) * (table.MOS - table.MOS.mean())
    columns = {"fitted": fitted, "predicted_error": table.predicted - table.MOS, "fitted_error": error}
    columns |= {"absolute_error": error.abs(), "off_line": (error - line).abs()}
    return table.assign(**columns), float(slope), float(intercept)


def scatter_slope(table: pd.DataFrame) -> float:
    """The slope of fitted_error on MOS that a model has merely because its PLCC is below 1: PLCC² - 1."""
    return METRICS["plcc"](table.MOS, table.predicted) ** 2 - 1


def mean_interval(values: np.ndarray) -> tuple[float, float, float]:
    """The mean of some numbers and its 95 % interval by Student's t: value, low, high; nan for one number."""
    values = np.asarray(values, np.float64)
    if values.size < 2:
        return float(values.mean()), np.nan, np.nan
    half = stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def bins(table: pd.DataFrame, error: str, against: str) -> pd.DataFrame:
    """A column of errors in bins of about as many pictures each, by another column, a row a bin.

    Columns: error, against, from, to (of `against`, both within), centre (its mean), pictures, mean, low, high (95 %,
    by Student's t), median. Pictures with one value of `against` are in one bin.
    """
    rank = table[against].rank(method="min") - 1
    rows = []
    for _, part in table.groupby(rank * min(BINS, len(table) // 2) // len(table)):
        place, errors = part[against], part[error]
        mean, low, high = mean_interval(errors)
        rows.append((place.min(), place.max(), place.mean(), len(part), mean, low, high, errors.median()))
    names = ["from", "to", "centre", "pictures", "mean", "low", "high", "median"]
    found = pd.DataFrame(rows, columns=names)
    found.insert(0, "error", error)
    found.insert(1, "against", against)
    return found


def metrics(table: pd.DataFrame, slope: float, intercept: float) -> pd.DataFrame:
    """How far scores are from MOS, of `fit`'s table, a row each: what, against, metric, value, low, high, n.

    Intervals: 95 %; of the mean error by Student's t, of all else by the bootstrap of `koniq.metrics.measure`. Where
    the table has an SD, the last rows are the SRCC with it of absolute_error and of off_line.
    """
    predicted, fitted = measure(table.MOS, table.predicted), measure(table.MOS, table.fitted)
    rows = [
        ("predicted", "mean_error", *mean_interval(table.predicted_error)),
        ("map", "slope", slope, np.nan, np.nan),
        ("map", "intercept", intercept, np.nan, np.nan),
    ]
    parts = [
        predicted.assign(what="predicted"),
        pd.DataFrame(rows, columns=["what", "metric", "value", "low", "high"]).assign(n=len(table)),
        fitted[fitted.metric.isin(("mae", "rmse"))].assign(what="fitted"),
    ]
    parts = [part.assign(against="MOS") for part in parts]
    if "SD" in table:
        known = table[table.SD.notna()]
        for what in ("absolute_error", "off_line"):
            found = measure(known.SD, known[what])
            parts.append(found[found.metric == "srcc"].assign(what=what, against="SD"))
    columns = ["what", "against", "metric", "value", "low", "high", "n"]
    return pd.concat(parts, ignore_index=True)[columns]


def changes(table: pd.DataFrame) -> pd.DataFrame:
    """What another way of scoring changes, a row each, "predicted" first.

    Columns: way; srcc, plcc with MOS; mean (of the scores); srcc_change with low, high and p, by
    `koniq.metrics.difference`: below 0, the way is worse than predicted; agreement (SRCC with predicted); mean_change
    with mean_low and mean_high (95 %, by Student's t); mean_absolute and largest |change| of a picture; n. The way
    both is the mean of predicted and mirrored.
    """
    table = table.assign(both=(table.predicted + table.mirrored) / 2)
    ways = ["predicted", "mirrored", "both", *(name for name in table if name.startswith(("resize_", "batch_")))]
    rows = []
    for way in ways:
        scores, moved = table[way], table[way] - table.predicted
        mean_change, mean_low, mean_high = mean_interval(moved)
        srcc_change, low, high, p = difference(table.MOS, scores, table.predicted)
        rows.append(
            {
                "way": way,
                **{name: METRICS[name](table.MOS, scores) for name in ("srcc", "plcc")},
                "mean": scores.mean(),
                **{"srcc_change": srcc_change, "low": low, "high": high, "p": p},
                "agreement": METRICS["srcc"](table.predicted, scores),
                **{"mean_change": mean_change, "mean_low": mean_low, "mean_high": mean_high},
                **{"mean_absolute": moved.abs().mean(), "largest": moved.abs().max(), "n": len(table)},
            }
        )
    return pd.DataFrame(rows)


def scored(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The pictures that have a score in every way. Raises InputError if nothing can be found out from them.

    table: MOS, perhaps SD, and the columns of `passes`. An SD that is not known of FEWEST pictures, or that is the
    same for all, is left out.
    """
    ways = [way for way in table if way.startswith(("predicted", "mirrored", "resize_", "batch_"))]
    kept = table[table[ways].notna().all(axis=1)].reset_index(drop=True)
    if len(kept) < FEWEST:
        reasons = first_few(filter(None, table.error.unique()))
        raise InputError(
            f"At least {FEWEST} pictures of {name} should have a score. Received: {len(kept)} of {len(table)}"
            + (f" ({reasons})" if reasons else "")
        )
    for column, hint in (("MOS", "another table"), ("predicted", "other weights")):
        if np.ptp(kept[column]) == 0:
            raise InputError(
                f"{column} should differ between the pictures of {name}. Received: {kept[column][0]} for all "
                f"{len(kept):,}; give {hint}"
            )
    if "SD" in kept:
        sd = pd.to_numeric(kept.SD, errors="coerce")
        usable = sd.notna().sum() >= FEWEST and sd.nunique() > 1
        kept = kept.assign(SD=sd) if usable else kept.drop(columns="SD")
    return kept


def diagnose(table: pd.DataFrame, data: DataSet, part: str, plan: engines.Plan, sheet: int = 24) -> dict:
    """The files of a diagnosis, by name: report.html, PNG as bytes, and as tables what they show, at full precision.

    table: image_name, image_path, MOS, perhaps SD, and the columns of `passes`, of some pictures of `data`.
    """
    kept, slope, intercept = fit(scored(table, data.name))
    found, moved = metrics(kept, slope, intercept), changes(kept)
    pairs = [("predicted_error", "MOS"), ("fitted_error", "MOS")]
    pairs += [("absolute_error", "SD")] if "SD" in kept else []
    binned = {pair: bins(kept, *pair) for pair in pairs}
    figures = {
        f"{error}_by_{against}.png".lower(): draw_errors(
            kept[against],
            kept[error],
            binned[error, against],
            *(LABELS[name].replace("MOS", data.label) for name in (against, error)),
            slope=scatter_slope(kept) if error == "fitted_error" else None,
        )
        for error, against in pairs
    }
    figures["mirrored.png"] = draw_mirrored(kept)
    figures["resized_srcc.png"] = draw_resized_srcc(moved, plan.network.resize)
    figures["resized_scores.png"] = draw_resized_scores(kept, plan.network.resize)

    digits = data.scale.digits - 1

    def cells(chosen: pd.DataFrame) -> list[page.Cell]:
        return [
            page.cell(
                os.path.relpath(row.image_path, data.folder),
                (
                    f"{row.fitted_error:+.{digits}f}",
                    f"{data.label} {row.MOS:.{digits}f}, predicted {row.predicted:.{digits}f}",
                    f"after the map {row.fitted:.{digits}f}",
                ),
                [str(data.folder)],
            )
            for row in chosen.itertuples()
        ]

    order = kept.sort_values("fitted_error", kind="stable")
    over = cells(order[order.fitted_error > 0].iloc[::-1][:sheet])
    under = cells(order[order.fitted_error < 0][:sheet])
    said, about = findings(kept, found, moved, binned, plan), plan.facts()
    html = page.render(
        "diagnose.html",
        title=f"Diagnosis of {title(plan.weights)} on {data.name} ({part})",
        pictures=len(kept),
        asked=len(table),
        absent=len(data.absent),
        label=data.label,
        origin=datasets.origin(data.label),
        off_scale=about["record"].get("loss") in FREE,
        said=said,
        figures=figures,
        mirrored=moved[moved.way.isin(("predicted", "mirrored", "both"))],
        resizes=moved[moved.way.str.startswith(("predicted", "resize_"))],
        batches=moved[moved.way.str.startswith("batch_")],
        resize=plan.network.resize,
        batch_size=plan.batch_size,
        over=over,
        under=under,
        provenance=page.provenance(about),
    )
    errors = kept[["image_name", "fitted", "predicted_error", "fitted_error"]]
    return {
        page.PAGE: html,
        "findings.md": "\n".join(f"- {sentence}" for sentences in said.values() for sentence in sentences) + "\n",
        **figures,
        "over_rated.png": page.draw_sheet(over),
        "under_rated.png": page.draw_sheet(under),
        "metrics.csv": found,
        "changes.csv": moved,
        "error_by_bin.csv": pd.concat(binned.values(), ignore_index=True),
        "pictures.csv": table.drop(columns="image_path").merge(errors, how="left", on="image_name"),
    }


def findings(
    kept: pd.DataFrame, found: pd.DataFrame, moved: pd.DataFrame, binned: dict, plan: engines.Plan
) -> dict[str, list[str]]:
    """What was found, as sentences by section: error, disagreement, mirrored, batches, resize."""
    rows = {(row.what, row.metric): row for row in found.itertuples()}
    ways = {row.way: row for row in moved.itertuples()}

    def shown(what: str, metric: str) -> str:
        row, digits = rows[what, metric], report.DECIMALS.get(metric, 2)
        return f"{row.value:.{digits}f} [{row.low:.{digits}f}, {row.high:.{digits}f}]"

    slope, intercept = (rows["map", name].value for name in ("slope", "intercept"))
    by_mos = binned["fitted_error", "MOS"]
    lowest, highest = by_mos.iloc[0], by_mos.iloc[-1]
    error = [
        f"As scored: SRCC {shown('predicted', 'srcc')}, PLCC {shown('predicted', 'plcc')}, "
        f"MAE {shown('predicted', 'mae')}, RMSE {shown('predicted', 'rmse')}, "
        f"mean error {shown('predicted', 'mean_error')}.",
        f"After the map {slope:.3f} x score {intercept:+.2f}, fitted on these very pictures: "
        f"MAE {shown('fitted', 'mae')}, RMSE {shown('fitted', 'rmse')}.",
        f"After it, the {lowest.pictures} lowest-rated pictures ({lowest['from']:.0f} to {lowest.to:.0f}) are off by "
        f"{lowest['mean']:+.1f} in the mean, the {highest.pictures} highest-rated ({highest['from']:.0f} to "
        f"{highest.to:.0f}) by {highest['mean']:+.1f}. Scatter alone gives such errors a slope of PLCC² - 1 = "
        f"{scatter_slope(kept):.2f}: what is not on that line is the model's own.",
    ]
    if "SD" in kept:
        disagreement = [
            f"SRCC of the absolute error, after the map, with SD: {shown('absolute_error', 'srcc')}, on "
            f"{rows['absolute_error', 'srcc'].n:,} pictures. Above 0, the model errs most where people disagree.",
            "But both depend on the MOS, too. Of the distance between an error and what scatter alone gives at its "
            f"MOS, the SRCC with SD is {shown('off_line', 'srcc')}.",
        ]
    else:
        disagreement = ["The table has no column SD that says how far its raters disagreed, so nothing is said of it."]
    flip, both = ways["mirrored"], ways["both"]
    mirrored = [
        f"A picture and its mirror image: SRCC {flip.agreement:.4f}; {flip.mean_absolute:.2f} apart in the mean, "
        f"{flip.largest:.2f} at most, of scores with a standard deviation of {kept.predicted.std():.2f}.",
        f"Mirrored in place of as they are: SRCC {_change(flip)}. The mean of both: SRCC {_change(both)}.",
    ]
    sizes = [name for name in ways if name.startswith("batch_")]
    spread = np.ptp(kept[["predicted", *sizes]].to_numpy(), axis=1).max()
    numbers = sorted({plan.batch_size, *BATCH_SIZES})
    batches = [
        f"Batches of {', '.join(map(str, numbers))} pictures, {plan.engine} in {plan.precision}: the scores of a "
        f"picture are {spread:.2g} apart at most."
    ]
    base = plan.network.resize
    resize = [
        f"{way.removeprefix('resize_')} in place of {base}: SRCC {_change(row)}, mean score {row.mean_change:+.2f} "
        f"[{row.mean_low:+.2f}, {row.mean_high:+.2f}], a picture's by {row.largest:.1f} at most."
        for way, row in ways.items()
        if way.startswith("resize_")
    ]
    same = int(((kept.height == plan.network.input_size[0]) & (kept.width == plan.network.input_size[1])).sum())
    size = " x ".join(map(str, plan.network.input_size))
    resize.append(f"No resize changes a picture that is {size} already: {same:,} of {len(kept):,} here.")
    if base == "lanczos":
        nearest, bilinear = ways["resize_nearest"], ways["resize_bilinear"]
        resize.append(
            "The study has three resizers: its training pictures were made with Lanczos, it tests LIVE In the Wild "
            f"through bilinear, and scores its lifelog through nearest. With this model at {size} and these pictures, "
            f"bilinear is {_cost(bilinear)}, and nearest {_cost(nearest)}. By that much, the means of two sets of "
            "pictures differ for no other reason than how they were resized, and shares below a MOS with them."
        )
    return {
        "error": error,
        "disagreement": disagreement,
        "mirrored": mirrored,
        "batches": batches,
        "resize": resize,
    }


def _change(row) -> str:
    """The change of an SRCC as text."""
    return f"{row.srcc_change:+.3f} [{row.low:+.3f}, {row.high:+.3f}], p = {row.p:.3f}"


def _cost(row) -> str:
    return f"{row.srcc_change:+.3f} of SRCC and {row.mean_change:+.2f} of the mean score"


def draw_errors(
    x: pd.Series, error: pd.Series, binned: pd.DataFrame, xlabel: str, ylabel: str, slope: float | None = None
) -> bytes:
    """PNG of errors against something, with the mean (95 % interval) and the median of each bin.

    slope: of a dashed line through the mean of `x`, which scatter alone gives.
    """
    figure, axes = report.new_figure(5.4, 4, dpi=200)
    axes.axhline(0, color="0.6", linewidth=1)
    if slope is not None:
        axes.axline((x.mean(), 0), slope=slope, color="0.3", linewidth=1, linestyle="--", label="scatter alone")
    axes.scatter(x, error, s=10, alpha=0.35, linewidths=0)
    sides = binned["mean"] - binned.low, binned.high - binned["mean"]
    axes.errorbar(
        binned.centre, binned["mean"], sides, fmt="o-", color="C1", markersize=4, capsize=2, label="mean, 95 % interval"
    )
    axes.plot(binned.centre, binned["median"], "_", color="black", markersize=10, label="median")
    axes.set(xlabel=xlabel, ylabel=ylabel)
    figure.legend(frameon=False, fontsize=8, ncols=3, loc="outside upper center")
    return report.png(figure)


def draw_mirrored(table: pd.DataFrame) -> bytes:
    """PNG of what mirroring changes, against the score."""
    figure, axes = report.new_figure(5.4, 4, dpi=200)
    axes.axhline(0, color="0.6", linewidth=1)
    axes.scatter(table.predicted, table.mirrored - table.predicted, s=10, alpha=0.5, linewidths=0)
    axes.set(xlabel="predicted", ylabel="mirrored - predicted")
    return report.png(figure)


def draw_resized_srcc(moved: pd.DataFrame, resize: str) -> bytes:
    """PNG of what each other resize changes of SRCC, with its interval."""
    rows = moved[moved.way.str.startswith("resize_")].iloc[::-1]  # the first at the top
    figure, axes = report.new_figure(5.4, 2.6, dpi=200)
    axes.axvline(0, color="0.6", linewidth=1)
    sides = rows.srcc_change - rows.low, rows.high - rows.srcc_change
    axes.errorbar(rows.srcc_change, rows.way.str.removeprefix("resize_"), xerr=sides, fmt="o", markersize=4, capsize=3)
    axes.set(xlabel=f"SRCC, minus that of {resize}")
    axes.margins(y=0.2)
    return report.png(figure)


def draw_resized_scores(table: pd.DataFrame, resize: str) -> bytes:
    """PNG of what each other resize changes of the pictures' scores."""
    ways = [way for way in table if way.startswith("resize_")][::-1]
    figure, axes = report.new_figure(5.4, 2.6, dpi=200)
    axes.axvline(0, color="0.6", linewidth=1)
    moved = [table[way] - table.predicted for way in ways]
    axes.boxplot(moved, orientation="horizontal", whis=(0, 100), widths=0.5, medianprops={"color": "C1"})
    axes.set_yticks(range(1, len(ways) + 1), [way.removeprefix("resize_") for way in ways])
    axes.set(xlabel=f"score of a picture, minus that through {resize}")
    return report.png(figure)


def main(s: Settings) -> None:
    page.check_sheet(s.sheet)
    if s.pictures is not None and s.pictures < FEWEST:
        raise InputError(f"pictures should be {FEWEST} at least. Received: pictures={s.pictures}")
    path = find_or_default(s.weights)
    data = datasets.load(s.dataset, s.table, s.images, s.skip_missing)
    print(data.summary())
    rows = data.part(s.set)
    if s.pictures is not None and s.pictures < len(rows):
        rows = rows.sample(s.pictures, random_state=s.seed).sort_index().reset_index(drop=True)
        print(f"{s.pictures:,} of them, drawn with seed {s.seed}")
    out = s.out or RESULTS / f"{title(path)}-on-{report.slug(data.name)}-diagnosis"
    page.check_folder(out)
    paths = rows.image_path.tolist()
    plan = engines.plan(path, s.engine, s.precision, s.batch_size, s.input_size, s.resize, paths)
    columns = [name for name in ("image_name", "image_path", "MOS", "SD") if name in rows]
    table = rows[columns].join(passes(plan, paths, s.workers))
    files = diagnose(table, data, s.set, plan, s.sheet)
    page.write(out, files)
    print(f"{files['findings.md']}To open: {out / page.PAGE}   (its figures and tables lie beside it)")


if __name__ == "__main__":
    cli.run(main, Settings)
