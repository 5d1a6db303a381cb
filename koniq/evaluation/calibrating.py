"""Scores in MOS: the map that fits the scores of a trained network best is kept beside its weights, and then used.

It is kept only where it is better than the scores as they are by more than chance, on pictures that it was not fitted
to: its gain in RMSE is beyond the standard error of that gain. Where no map is, none is kept, and the numbers say so.
So are intervals about what the scores then are, by the same pictures (see koniq.measure.conformal): what these are
should be of the kind that is scored later, and none of them seen in training.

A run of training ends with it. The scripts that test and score heed it, unless they are given --no-calibrate.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from koniq.data import splits
from koniq.data.datasets import DataSet
from koniq.engines.engine import Engine
from koniq.ground import files
from koniq.ground.log import LOG
from koniq.ground.text import markdown_table
from koniq.ground.typed import command
from koniq.measure import calibration, conformal
from koniq.measure.calibration import Calibration
from koniq.measure.conformal import Intervals
from koniq.network import Network, sidecar
from koniq.reports.figures import new_figure, save_figure
from koniq.scoring.loop import predict


def calibrate(
    path: Path,
    engine: Engine,
    data: DataSet,
    part: str,
    workers: int,
    kind: str = "auto",
    level: float = conformal.LEVEL,
) -> Calibration | None:
    """Fit the scores of `engine`, those of the weights at `path`, to the MOS of a set, and keep what fits best.

    kind: a map to keep whatever its gain; or "kept", for that which is. Where the table has a column `group`, pictures
    of a group are in one fold. level: of the intervals that are kept, too; 0: none. Returns None, and takes away what
    was kept before, where no map has a gain beyond its standard error. Prints how the maps fared, and draws them beside
    the weights. Raises InputError as `koniq.measure.calibration.fit` and `koniq.measure.conformal.made` do.
    """
    if level:
        conformal.check(level)
    rated = _rated(path, engine, data, part, workers)
    to_mos = calibration.kept(path, engine.network, rated.digest) if kind == "kept" else _keep_map(rated, kind)
    conformal.forget(path)
    if level and not _is_unfit(path, data, part):
        _keep_intervals(rated, to_mos, level)
    return to_mos


@dataclass(frozen=True)
class _Rated:
    """The scores of a set, by the weights at `path`, and its MOS."""

    path: Path
    network: Network
    digest: str  # of the weights
    data: DataSet
    name: str  # such as "KonIQ-10k, validation"
    predicted: np.ndarray  # (pictures,), as the network gives them
    mos: np.ndarray
    groups: np.ndarray | None


def _rated(path: Path, engine: Engine, data: DataSet, part: str, workers: int) -> _Rated:
    rows = data.part(part)
    scores = predict(engine, rows.image_path.tolist(), workers, "calibrating")
    predicted = np.array([score.mos for score in scores])
    scored = np.isfinite(predicted)
    groups = splits.groups(rows, "group").to_numpy()[scored] if "group" in rows else None
    mos, digest = rows.MOS.to_numpy(float)[scored], files.file_hash(path)
    return _Rated(path, engine.network, digest, data, f"{data.name}, {part}", predicted[scored], mos, groups)


def _keep_map(rated: _Rated, kind: str) -> Calibration | None:
    path, data = rated.path, rated.data
    found = calibration.fit(rated.predicted, rated.mos, rated.name, rated.groups, kind, data.label)
    found = replace(found, scale=data.scale)
    kept = found.name != "identity"
    before = not kept and calibration.forget(path)
    if kept:
        calibration.keep(path, rated.network, rated.digest, found)
    draw(rated.predicted, rated.mos, found, data.label, figure_path(path))
    LOG.info(f"Calibration on {rated.name} set, {found.pictures:,} pictures{_of(rated.groups)}\n\n{table(found)}\n")
    LOG.info(f"{verdict(found, path, before)} The figure is {figure_path(path).name}.")
    return found if kept else None


def _keep_intervals(rated: _Rated, to_mos: Calibration | None, level: float) -> None:
    """Where the map was fitted to the same pictures, intervals are by errors of maps that were fitted without them.

    Measured with 116 pictures of LIVE In the Wild, and of BIQ2021, which should hold .9145 of the rest, 150 draws each:
    errors of the map itself give .892 to .912, these .912 to .917, with a standard deviation of .029 to .031. So would
    half of the pictures for the map and half for the intervals, with .034 to .040, and intervals 4 to 12 % wider.
    """
    mapped = left_out = to_mos(rated.predicted) if to_mos else rated.predicted
    if to_mos and to_mos.fitted_on == rated.name:
        try:
            left_out = calibration.without_own(to_mos, rated.predicted, rated.mos, rated.groups)
        except ValueError as error:
            LOG.info(f"No intervals: {error}.")
            return
    found = conformal.made(mapped, rated.mos - left_out, rated.name, level, str(to_mos or ""))
    conformal.keep(rated.path, rated.network, rated.digest, found)
    LOG.info(widths(found, rated.data))


def _is_unfit(path: Path, data: DataSet, part: str) -> bool:
    """Whether a set tells nothing of errors: a network gave its scores, or training saw it. Prints what follows."""
    if data.teacher:
        LOG.info(f"No intervals: the labels are {data.label}, and nobody's MOS would lie within.")
        return True
    if sidecar.record(path).get("trained_on") != data.name or part == "test":
        return False
    if part == "training":
        LOG.info(f"No intervals: the weights were trained on the training set of {data.name}, and fit it too well.")
        return True
    LOG.info(f"The validation set of {data.name} chose these weights: intervals by it may be a little too narrow.")
    return False


def widths(found: Intervals, data: DataSet) -> str:
    """What the intervals are, in a sentence: how wide in each range of scores, and by how many pictures."""
    digits = data.scale.digits
    ends = [f"{edge:.{digits}f}" for edge in found.edges]
    ranges = ["", *(f" from {end}" for end in ends)]
    parts = [
        f"± {half:.{digits}f} {data.label}{begin}{f' to {end}' if end and begin else f' below {end}' if end else ''}"
        for half, begin, end in zip(found.halves, ranges, [*ends, ""], strict=True)
    ]
    few = "" if np.isfinite(found.halves).all() else " Too few pictures make an infinite one."
    return f"Kept as well: {found}: {', '.join(parts)}.{few} lifelog_predict.py --intervals writes them."


def _of(groups: np.ndarray | None) -> str:
    return "" if groups is None else f" of {len(set(groups)):,} groups"


def verdict(found: Calibration, path: Path, before: bool = False) -> str:
    """What is kept beside the weights at `path`, and why, as sentences. before: whether there was a map until now."""
    if found.name == "identity":
        gone = " The one that was kept beside the weights is gone." if before else ""
        return (
            "No map is kept: none lowers the RMSE by more than the standard error of that, so the scores stay as they "
            f"are.{gone} {command('calibrate --kind affine')} (logistic, isotonic) keeps one all the same."
        )
    where = f"Kept in {sidecar.record_path(path)}."
    if found.name in found.worthy:
        return where
    gain, error = found.gains.get(found.name, (np.nan, np.nan))
    why = (
        f"its gain of {gain:.{found.scale.digits}f} is not beyond its standard error of {error:.{found.scale.digits}f}"
    )
    if found.name not in found.gains:
        why = found.race[found.name]
    return f"{where} Nothing shows that the {found.name} map is better than none ({why}): it is kept because you ask."


def table(found: Calibration) -> str:
    """How the maps fared, in Markdown: their RMSE on pictures that they were not fitted to, or why there is none."""
    digits = found.scale.digits
    rows = [
        (
            f"**{name}**" if name == found.name else name,
            result if isinstance(result, str) else f"{result:.{digits}f}",
            " ± ".join(f"{number:.{digits}f}" for number in found.gains.get(name, ())),
        )
        for name, result in found.race.items()
    ]
    return markdown_table(("map", f"RMSE in {found.label}, cross-validated", "gain ± its standard error"), rows)


def figure_path(path: Path) -> Path:
    """Where the figure of a calibration lies: beside the weights."""
    return sidecar.record_path(path).with_suffix(".calibration.png")


def draw(predicted: np.ndarray, mos: np.ndarray, found: Calibration, label: str, path: Path) -> None:
    """The scores (shape (pictures,)) against `label`, every map that fits them, and the chosen one thicker, as PNG."""
    figure, axes = new_figure(7, 5)
    axes.scatter(predicted, mos, s=10, alpha=0.4, linewidths=0, color="0.4")
    grid = np.linspace(predicted.min(), predicted.max(), 500)
    for name, result in found.race.items():
        chosen, none = name == found.name, isinstance(result, str)
        if chosen or not none:
            own = found if chosen else calibration.MAPS[name].fit(predicted, mos)
            legend = name if none else f"{name}: {result:.{found.scale.digits}f}"
            axes.plot(grid, own(grid), linewidth=2.5 if chosen else 1, label=legend)
    axes.set(xlabel="score of the network", ylabel=label, title=found.fitted_on)
    axes.legend(title="RMSE, cross-validated", frameon=False)
    save_figure(figure, path)


def remove(path: Path) -> None:
    """Take calibration, its figure and intervals from beside the weights at `path`. Prints what was done."""
    figure_path(path).unlink(missing_ok=True)
    if conformal.forget(path):
        LOG.info(f"The intervals beside {path} are gone.")
    if calibration.forget(path):
        LOG.info(f"The calibration beside {path} is gone: its scores are the network's own.")
    else:
        LOG.info(f"No calibration is kept beside {path}.")
