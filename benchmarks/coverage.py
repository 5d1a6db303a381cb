"""Whether intervals hold what they promise: on many random halves of rated pictures, and on another set of them.

python -m benchmarks.coverage live.csv --other biq.csv       # predictions.csv of a test, or any with MOS and predicted

Of `live.csv` half of the pictures make intervals, the other half tests them, 1,000 times: coverage should be as
promised within three standard errors, which of one half's it is not. Of each other set the intervals are made on all of
`live.csv` first, and on the set as it is: their promise is for pictures of live.csv's kind, and is seen to break. Then
random halves of the other set give it an affine map and intervals of its own: half of a half the map, the rest the
intervals, the other half the test. With `--weights`, the intervals that are kept beside these are tested on each set.
The rows of results/metrics.csv say all of it.
"""

from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import tyro
from scipy import stats

from koniq.commands import cli
from koniq.ground import InputError, files, machine, tables
from koniq.ground.paths import RESULTS
from koniq.ground.text import markdown_table
from koniq.measure import calibration, conformal
from koniq.measure.calibration import Affine
from koniq.measure.conformal import Intervals
from koniq.network import find, network_of
from koniq.study import results

FIFTHS = 5  # of the scores, in each of which coverage is looked at, too


@dataclass(frozen=True)
class Settings:
    predictions: tyro.conf.Positional[Path]  # a CSV with MOS and predicted, of pictures that training did not see
    other: tuple[Path, ...] = ()  # of pictures of other kinds
    names: tuple[str, ...] = ()  # what to call the sets, the first one first; by their files if not given
    weights: str = ""  # a file, a run or a name: whose kept intervals are tested on each set, too
    model: str = "koncept_lite"  # what to call the weights in the rows
    trained_on: str = ""  # what they learnt from
    level: float = conformal.LEVEL
    halves: int = 1000  # random ones
    seed: int = 0
    out: Path = RESULTS / "metrics.csv"  # rows are put into it


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The scores and the MOS of the pictures that have a score, shape (pictures,) each."""
    table = tables.read_typed(path) if path.is_file() else pd.DataFrame()
    if not {"MOS", "predicted"} <= {*table}:
        raise InputError(f"{path} should be a CSV with the columns MOS and predicted. Received: {', '.join(table)}")
    table = table[np.isfinite(table.predicted)]
    if len(table) < 40:
        raise InputError(f"{path} should have 40 scored pictures at least. Received: {len(table)}")
    return table.predicted.to_numpy(float), table.MOS.to_numpy(float)


def tested(found: Intervals, scores: np.ndarray, mos: np.ndarray) -> tuple[np.ndarray, float]:
    """Which of some pictures hold, and how wide their intervals are on average."""
    low, high = found(scores)
    return (low <= mos) & (mos <= high), float(np.mean(high - low))


def by_halves(scores: np.ndarray, mos: np.ndarray, s: Settings, ranges: int = 0, mapped: bool = False) -> pd.DataFrame:
    """Coverage and width over random halves: one row each, with what was promised, and the coverage of each fifth.

    mapped: half of the half that makes intervals gives an affine map from scores to MOS before.
    """
    rows = []
    fifth = np.searchsorted(np.quantile(scores, np.arange(1, FIFTHS) / FIFTHS), scores)
    for number in range(s.halves):
        order = np.random.default_rng([s.seed, number]).permutation(len(scores))
        some, others = np.split(order, [len(order) // 2])
        values = scores
        if mapped:
            first, some = np.split(some, [len(some) // 2])
            values = Affine.fit(scores[first], mos[first])(scores)
        found = conformal.made(values[some], (mos - values)[some], "half", s.level, ranges=ranges)
        holds, width = tested(found, values[others], mos[others])
        by_fifth = [holds[fifth[others] == each].mean() for each in range(FIFTHS)]
        rows.append((holds.mean(), width, found.promised, *by_fifth))
    return pd.DataFrame(rows, columns=["coverage", "interval_width", "promised", *map(str, range(FIFTHS))])


def halves_rows(found: pd.DataFrame, count: int) -> pd.DataFrame:
    """Mean coverage and width over halves as measurements; low and high are three standard errors from the mean."""
    rows = []
    for metric in ("coverage", "interval_width"):
        mean, error = found[metric].mean(), found[metric].std() / sqrt(len(found))
        rows.append((metric, mean, mean - 3 * error, mean + 3 * error, count))
    rows.append(("coverage_promised", found.promised.mean(), found.promised.min(), found.promised.max(), count))
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n"])


def fixed_rows(found: Intervals, scores: np.ndarray, mos: np.ndarray) -> pd.DataFrame:
    """Coverage of intervals made elsewhere; low and high are the 95 % interval of Clopper and Pearson."""
    holds, width = tested(found, scores, mos)
    low, high = stats.binomtest(int(holds.sum()), len(holds)).proportion_ci(0.95, "exact")
    rows = [("coverage", holds.mean(), low, high), ("interval_width", width, width, width)]
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high"]).assign(n=len(holds))


def main(s: Settings) -> None:
    paths = (s.predictions, *s.other)
    if s.names and len(s.names) != len(paths):
        raise InputError(f"names should be one a set, {len(paths)}. Received: {len(s.names)}")
    conformal.check(s.level)
    names = s.names or [path.stem for path in paths]
    sets = [read(path) for path in paths]
    scores, mos = sets[0]
    print(f"{machine.machine()}; {s.halves:,} random halves, level {s.level:g}\n")
    print(compared(*sets[0], s), "\n")
    whole = conformal.made(scores, mos - scores, names[0], s.level)
    measured = [(names[0], "random halves", halves_rows(by_halves(scores, mos, s), len(mos)))]
    for name, (its_scores, its_mos) in zip(names[1:], sets[1:], strict=True):
        measured.append((name, f"by intervals of {names[0]}", fixed_rows(whole, its_scores, its_mos)))
        halves = by_halves(its_scores, its_mos, s, mapped=True)
        measured.append((name, "random halves, own affine map", halves_rows(halves, len(its_mos))))
    if s.weights:
        found = of_weights(find(s.weights))
        print(f"Kept beside the weights: {found}\n")
        measured += [(name, "as kept", fixed_rows(found, *each)) for name, each in zip(names, sets, strict=True)]
    for name, how, rows in measured:
        print(f"{name}, {how}: {said(rows)}")
    new = pd.concat([rows.assign(dataset=name, set=f"intervals, {how}") for name, how, rows in measured])
    about = {"model": s.model, "trained_on": s.trained_on, "seed": str(s.seed), "label": "MOS"}
    results.record(new.assign(**about, **machine.here()), s.out)
    print(f"\n{s.out}: {len(new)} rows")


def of_weights(path: Path) -> Intervals:
    """The intervals that are kept beside weights. Raises InputError if there are none."""
    network, digest = network_of(path), files.file_hash(path)
    return conformal.kept(path, network, digest, calibration.kept(path, network, digest), needed=True)


def said(rows: pd.DataFrame) -> str:
    """Measurements as a line."""
    by_metric = rows.set_index("metric")
    coverage, width = by_metric.loc["coverage"], by_metric.loc["interval_width"]
    text = f"coverage {coverage.value:.4f} [{coverage.low:.4f}, {coverage.high:.4f}], width {width.value:.1f}"
    if "coverage_promised" not in by_metric.index:
        return text
    promised = by_metric.loc["coverage_promised"].value
    verdict = "within" if coverage.low <= promised <= coverage.high else "NOT within"
    return f"{text}; promised {promised:.4f}, {verdict} three standard errors"


def compared(scores: np.ndarray, mos: np.ndarray, s: Settings) -> str:
    """One width, and a width of its own for each of 2, 3 and 5 ranges of scores, over random halves, in Markdown."""
    rows = []
    for ranges in (1, 2, 3, 5):
        found = by_halves(scores, mos, s, ranges)
        fifths = found[[str(each) for each in range(FIFTHS)]]
        off = sqrt(((fifths - s.level) ** 2).to_numpy().mean())
        rows.append(
            (
                *(str(ranges), f"{found.coverage.mean():.4f}", f"{found.promised.mean():.4f}"),
                *(f"{found.interval_width.mean():.2f}", f"{off:.4f}"),
                *(f"{fifths[str(each)].mean():.3f}" for each in range(FIFTHS)),
            )
        )
    heads = ("ranges", "coverage", "promised", "mean width", "a fifth is off by", *(f"fifth {n + 1}" for n in range(5)))
    return markdown_table(heads, rows)


if __name__ == "__main__":
    cli.run(main, Settings)
