"""Why the figures of released weights do not come out: what may be wrong is tried, on some of the pictures first.

That is the colour order, the resize, the fit and the size. What brings all figures out on all of the pictures is the
cause; where nothing does, the weights are others, of another published row perhaps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isnan
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd

from koniq.data import datasets
from koniq.data.datasets import DataSet
from koniq.data.published import Claim
from koniq.fetch import sources
from koniq.ground import first_few
from koniq.ground.files import write_csv
from koniq.ground.paths import TRAINED_MODELS
from koniq.ground.text import slug
from koniq.ground.typed import command
from koniq.measure.metrics import METRICS, difference
from koniq.network import NETWORKS, sidecar
from koniq.network.spec import Fit, Resize
from koniq.pictures.decoding import Opened
from koniq.pictures.faults import Place
from koniq.scoring.score import Given, given
from koniq.scoring.scorer import Scorer

FIGURES = ("srcc", "plcc", "mae", "rmse")
SUBSET, SEED = 200, 1  # pictures that a cause is tried on before it is on all of them; of their choice
MUCH = 2  # times nearer, of a way that is worth to be named although it does not bring the figures out


@dataclass(frozen=True)
class Tried:
    """A way to see the pictures that was tried: the figures to expect by the subset, and, if it was confirmed, all."""

    way: str
    expected: Mapping[str, float]
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """A way to see the pictures, other than as they were scored."""

    cause: str
    name: str  # as in "With NAME all figures come out"
    remedy: str
    scorer: Scorer
    paths: Sequence[Path]
    exchanged: bool = False  # red and blue

    def scores(self, rows: Sequence[int], progress: str) -> np.ndarray:
        """The scores of some of the pictures, float64 (rows,); nan where there is none."""
        chosen, place = [self.paths[row] for row in rows], Place()

        def opened(item: Given) -> Opened:
            found = self.scorer.opened(item.picture, place)
            if found.pixels is None or not self.exchanged:
                return found
            return replace(found, pixels=found.pixels[..., ::-1])

        found = self.scorer.run(given(chosen), opened, progress, len(chosen))
        return np.array([score.mos for _, score in found])


@dataclass(frozen=True)
class Check:
    """Weights on a part of a data set, scored: what a verdict is found by."""

    claim: Claim
    weights: Path
    data: DataSet
    rows: pd.DataFrame  # of the part: image_name, MOS, image_path, and score, width, height
    scorer: Scorer
    scores: Path  # the CSV

    @cached_property
    def mos(self) -> np.ndarray:
        return self.rows.MOS.to_numpy(float)

    @cached_property
    def figures(self) -> dict[str, float]:
        return figures(self.mos, self.rows.score.to_numpy(float))


def figures(mos: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The metrics FIGURES of scores against MOS, both of shape (pictures,)."""
    return {name: METRICS[name](mos, predicted) for name in FIGURES}


def distance(found: Mapping[str, float], claim: Claim) -> float:
    """How far figures are from a claim's: the largest difference in its tolerance; infinite where there is no figure.

    Up to 1 all of them come out. A figure is as exact as it was published, and lies on the edge within.
    """
    off = [abs(found[name] - value) / claim.tolerance[name] for name, value in claim.figures.items()]
    return float("inf") if any(map(isnan, off)) else round(max(off), 9)


@dataclass(frozen=True)
class Cause:
    """Why figures do not come out."""

    cause: str  # colour order, resize, fit, input size, weights, pictures
    verdict: str  # a sentence or two: what it is, and what to do
    tried: tuple[Tried, ...] = ()


def cause_of(check: Check, right: Sequence[str], known: Sequence[Claim]) -> Cause:
    """The way to see the pictures by which all figures come out, else the weights, else pictures or table.

    right: the data sets on which figures of these weights came out, which are then not to blame. known: whose figures
    those of other weights may be. What all figures came out of is written beside the scores.
    """
    tried = []
    for way, one in _plausible(check):
        if not way:
            tried.append(one)
            continue
        predicted = way.scores(range(len(check.rows)), f"{way.name}, all pictures")
        one = replace(one, figures=figures(check.mos, predicted))
        tried.append(one)
        if distance(one.figures, check.claim) <= 1:
            path = check.scores.with_name(f"{check.scores.stem}-{slug(way.name)}.csv")
            write_csv(check.rows[["image_name", "MOS"]].assign(predicted=predicted), path)
            verdict = f"Wrong {way.cause}: with {way.name} all figures come out. {way.remedy}"
            if not right and (others := _rows_like(check, known)):
                verdict += f" (As the pictures are, the figures are near those of {others[0].model}, too.)"
            return Cause(way.cause, verdict, tuple(tried))
    found = _of_pictures(check, right) if right else _of_weights(check, known)
    return replace(found, verdict=found.verdict + _nearest(check, tried), tried=tuple(tried))


def _nearest(check: Check, tried: Sequence[Tried]) -> str:
    """What is said of the way that brings the figures much nearer without bringing them out."""
    off, way = min((distance(one.figures or one.expected, check.claim), one.way) for one in tried)
    if off > distance(check.figures, check.claim) / MUCH:
        return ""
    return f" Much nearer are the figures with {way}: it may be this and something else, such as another compression."


def _plausible(check: Check) -> Iterator[tuple[Way | None, Tried]]:
    """The ways that may bring all figures out, likeliest first; before them what was tried of the others, as None.

    What a way changes in a figure is measured on a subset, and is known to twice its bootstrap interval; on all
    pictures, where there are few, exactly.
    """
    count = len(check.rows)
    chosen = np.sort(np.random.default_rng(SEED).choice(count, min(count, SUBSET), replace=False))
    mos, before = check.mos[chosen], check.rows.score.to_numpy(float)[chosen]
    found = []
    for way in _ways(check):
        after = way.scores(chosen, f"{way.name}, {len(chosen):,} pictures")
        expected, fits = dict(check.figures), True
        for name in check.claim.figures:
            change, low, high, _ = difference(mos, after, before, name, samples=500)
            room = 0 if len(chosen) == count else 2 * max(high - change, change - low)
            expected[name] += change
            fits &= (
                abs(expected[name] - check.claim.figures[name]) <= check.claim.tolerance[name] + room
            )  # False of nan
        found.append((distance(expected, check.claim), way, Tried(way.name, expected), fits))
    found.sort(key=lambda one: one[0])
    yield from ((None, one) for _, _, one, fits in found if not fits)
    yield from ((way, one) for _, way, one, fits in found if fits)


def _ways(check: Check) -> Iterator[Way]:
    """What may be wrong with how the pictures are seen, a way each in which it is not."""
    scorer, rows, claim = check.scorer, check.rows, check.claim
    network, paths = scorer.network, rows.image_path.tolist()
    height, width = network.input_size
    how = f"; {command(f'fetch {claim.dataset}')} gets the released ones" if claim.dataset in sources.ITEMS else ""
    yield Way(
        "colour order",
        "red and blue exchanged",
        f"The pictures hold BGR where RGB should be: write them anew{how}.",
        *(scorer, paths, True),
    )

    def give(name: str, now: object, words: str) -> str:
        """What to do where a record says `now` of how pictures get to the network, or something told does."""
        wrong = sidecar.record(check.weights).get(name) == now
        return f"Give --{name.replace('_', '-')} {words}" + (f", or have {record} say so." if wrong else ".")

    record = sidecar.record_path(check.weights)
    if ((rows.width != width) | (rows.height != height)).any():
        for resize in get_args(Resize):
            if resize != network.resize:
                name = f"{resize} in place of {network.resize}"
                remedy = give("resize", network.resize, resize)
                yield Way("resize", name, remedy, scorer.changed(resize=resize), paths)
    if (rows.width * height != rows.height * width).any():
        for fit in get_args(Fit):
            if fit != network.fit:
                name = f"{fit} in place of {network.fit}"
                yield Way("fit", name, give("fit", network.fit, fit), scorer.changed(fit=fit), paths)
    usual = NETWORKS[network.name].input_size
    if network.input_size != usual:
        size = f"{usual[0]} x {usual[1]}"
        remedy = give("input_size", [height, width], f"{usual[0]} {usual[1]}")
        name = f"{size} in place of {height} x {width}"
        yield Way("input size", name, remedy, scorer.changed(input_size=usual), paths)
    if folder := _originals(check):
        found = datasets.found(rows.image_name, folder)
        if all(found):
            remedy = (
                "The pictures were made from those by another filter, or changed since: "
                f"give --images {folder}, or fetch them anew."
            )
            yield Way("resize", f"{network.resize} from {folder.name}", remedy, scorer, found)


def _originals(check: Check) -> Path | None:
    """The folder of what the pictures were made from, where it is there and is not theirs."""
    folder = check.data.folder
    beside = folder.absolute().parent / check.claim.originals if folder and check.claim.originals else None
    return beside if beside and beside.is_dir() and beside != folder.absolute() else None


def _rows_like(check: Check, known: Sequence[Claim]) -> list[Claim]:
    """Other weights' claims on this part that the figures are within the tolerance of, nearest first."""
    claim = check.claim
    others = [
        (distance(check.figures, one), number)
        for number, one in enumerate(known)
        if (one.dataset, one.part) == (claim.dataset, claim.part) and one.weights != claim.weights
    ]
    return [known[number] for off, number in sorted(others) if off <= 1]


def _of_weights(check: Check, known: Sequence[Claim]) -> Cause:
    claim, released = check.claim, sources.ITEMS["koncept512"].parts
    part = next((one.name for one in released if Path(one.target).name == claim.weights), "")
    remedy = f"{check.weights} should be the weights of {claim.model}"
    away = "move it away, and " if check.weights.absolute().parent == TRAINED_MODELS else ""
    remedy += f": {away}{command(f'fetch koncept512/{part}')} gets them." if part else "."
    if others := _rows_like(check, known):
        said = ", ".join(f"{name.upper()} {value:.3f}" for name, value in others[0].figures.items())
        also = f" ({', '.join(one.model for one in others[1:])}: near, too)" if others[1:] else ""
        return Cause("weights", f"Wrong weights: these figures are of {others[0].model}, {said}{also}. {remedy}")
    said = "Wrong weights: no other way to see the pictures brings the figures out, and no published row has these. "
    if all(abs(check.figures[name] - claim.figures[name]) <= claim.tolerance[name] for name in ("srcc", "plcc")):
        said = "Wrong weights, or MOS of another table: SRCC and PLCC come out, and the errors do not. "
    return Cause("weights", said + remedy + _of_their_making(check))


def _of_pictures(check: Check, right: Sequence[str]) -> Cause:
    rated = check.claim.dataset in datasets.READERS
    how = f"; {command(f'check {check.claim.dataset}')} compares them with the release" if rated else ""
    return Cause(
        "pictures",
        f"Wrong pictures or table: these weights are right on {first_few(right)}, and no other way to see the pictures "
        f"brings the figures out here{how}.{_of_their_making(check)}",
    )


def _of_their_making(check: Check) -> str:
    """What is not known of how the pictures were made, where the released ones were made from larger ones."""
    if not check.claim.originals:
        return ""
    height, width = check.scorer.network.input_size
    if (check.rows.width != width).any() or (check.rows.height != height).any():
        return f" Or the pictures are not those of {width}x{height} that were released, of which the figures are."
    if _originals(check):
        return ""
    return (
        " Or the pictures were compressed again, or made by another filter than Lanczos, by which the released ones "
        f"were: that is tried where the originals lie in {check.data.folder.parent / check.claim.originals}."
    )
