"""What a model gets wrong, and what its scores hang on besides the pictures: the numbers (page: diagnosis_page.py)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from koniq import engines
from koniq.data.datasets import DataSet
from koniq.engines.engine import Engine
from koniq.ground import InputError, first_few
from koniq.measure.metrics import METRICS, difference, mean_interval, measure
from koniq.scoring.loop import predict
from ku.image_utils import RESAMPLE

FEWEST = 20  # pictures
BINS = 10  # of as many pictures each
BATCH_SIZES = (1, 2, 8, 16)
BINNED = (("predicted_error", "MOS"), ("fitted_error", "MOS"), ("absolute_error", "SD"))  # an error, and against what


@dataclass(frozen=True)
class Diagnosis:
    """What was found of a model on some pictures of a data set."""

    data: DataSet
    plan: engines.Plan
    table: pd.DataFrame  # all pictures: image_name, image_path, MOS, perhaps SD, and the columns of `passes`
    kept: pd.DataFrame  # those of them that have a score in every way, with the columns of `fit`
    metrics: pd.DataFrame  # see `metrics`
    changes: pd.DataFrame  # see `changes`
    bins: dict[tuple[str, str], pd.DataFrame]  # those of BINNED whose column is there, see `bins`


def diagnose(table: pd.DataFrame, data: DataSet, plan: engines.Plan) -> Diagnosis:
    """What can be found out from `table` (see `Diagnosis`), pictures of `data` scored by `plan` and its other ways.

    Raises InputError if that is nothing, see `scored`.
    """
    kept, slope, intercept = fit(scored(table, data.name))
    binned = {(error, against): bins(kept, error, against) for error, against in BINNED if against in kept}
    return Diagnosis(data, plan, table, kept, metrics(kept, slope, intercept), changes(kept), binned)


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

    Intervals: 95 %; of the mean error by Student's t, of all else by the bootstrap of `koniq.measure.metrics.measure`.
    Where the table has an SD, the last rows are the SRCC with it of absolute_error and of off_line.
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
    `koniq.measure.metrics.difference`: below 0, the way is worse than predicted; agreement (SRCC with predicted);
    mean_change with mean_low and mean_high (95 %, by Student's t); mean_absolute and largest |change| of a picture; n.
    The way both is the mean of predicted and mirrored.
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
