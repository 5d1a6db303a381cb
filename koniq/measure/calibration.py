"""Calibration: strictly increasing maps from a network's scores to MOS, fitted to rated pictures.

Because they increase strictly they change no order: SRCC and KRCC stay what they are. Nor are scores cut off at 0 and
100, for that would make ties.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import scipy  # its parts, seconds of imports, when they are first used

from koniq.data.scale import USUAL, Scale
from koniq.ground import InputError
from koniq.ground.log import LOG
from koniq.measure import keeping
from koniq.network import Network, sidecar
from ku.generic import plcc

FEWEST = 20  # pictures
FOLDS = 5
REPEATS = 5  # of the cross-validation, with other folds: of one alone, chance has too much of a say
STEEPEST = 1 / 15  # the scale of a logistic, as a part of the scores' range: a sharper step is flat beside itself
FLATTEST = 0.001  # the slope of an isotonic map, as a part of the ratio of the standard deviations
KEY = "calibrated"  # of the record beside the weights


@dataclass(frozen=True)
class Identity:
    """Scores as they are: no map, where none is better by more than chance."""

    @classmethod
    def fit(cls, predicted: np.ndarray, mos: np.ndarray) -> Self:
        """There is nothing to fit."""
        return cls()

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        return scores


@dataclass(frozen=True)
class Affine:
    """slope * score + offset, by least squares."""

    slope: float
    offset: float

    @classmethod
    def fit(cls, predicted: np.ndarray, mos: np.ndarray) -> Self:
        """Raises ValueError if the slope is not positive."""
        apart = predicted - predicted.mean()
        slope = apart @ mos / (apart @ apart)
        if not slope > 0:
            raise ValueError(f"its slope should be positive, and is {slope:.3g}")
        return cls(float(slope), float(mos.mean() - slope * predicted.mean()))

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        return self.slope * scores + self.offset


@dataclass(frozen=True)
class Logistic:
    """bottom + (top - bottom) / (1 + exp(-(score - middle) / scale)), by least squares, with four parameters.

    Outside low to high, the scores that it was fitted to, it goes on along its tangents: the curve itself ends in ties.
    Source: VQEG, Final report on the validation of objective models of video quality assessment, 2000.
    """

    bottom: float
    top: float
    middle: float
    scale: float
    low: float
    high: float

    @classmethod
    def fit(cls, predicted: np.ndarray, mos: np.ndarray) -> Self:
        """Raises ValueError if the fit does not converge."""
        low, high = predicted.min(), predicted.max()

        def form(share: np.ndarray, bottom: float, span: float, middle: float, scale: float) -> np.ndarray:
            return bottom + span * scipy.special.expit((share - middle) / scale)

        share = (predicted - low) / (high - low)
        start = (mos.min(), np.ptp(mos), np.median(share), 0.25)
        bounds = (-np.inf, 1e-3 * np.ptp(mos), 0, STEEPEST), (np.inf, np.inf, 1, 10)
        try:
            (bottom, span, middle, scale), _ = scipy.optimize.curve_fit(form, share, mos, start, bounds=bounds)
        except RuntimeError as error:
            raise ValueError("it does not converge") from error
        middle, scale = low + (high - low) * middle, (high - low) * scale
        return cls(*map(float, (bottom, bottom + span, middle, scale, low, high)))

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        inside = np.clip(scores, self.low, self.high)
        share, span = scipy.special.expit((inside - self.middle) / self.scale), self.top - self.bottom
        return self.bottom + span * share + span / self.scale * share * (1 - share) * (scores - inside)


@dataclass(frozen=True)
class Isotonic:
    """Lines through knots, (scores[n], mos[n]): the centres of the levels of isotonic regression.

    Isotonic regression is by least squares, here among all maps that rise by FLATTEST at least. Outside the knots the
    map goes on with the mean slope within. Source: Barlow et al., Statistical inference under order restrictions, 1972.
    """

    scores: tuple[float, ...]
    mos: tuple[float, ...]

    @classmethod
    def fit(cls, predicted: np.ndarray, mos: np.ndarray) -> Self:
        """Raises ValueError if there is one level only."""
        scores, which, count = np.unique(predicted, return_inverse=True, return_counts=True)
        least = FLATTEST * mos.std() / predicted.std()
        # A map that rises by `least` at least is an increasing one on top of a line that does.
        found = scipy.optimize.isotonic_regression(np.bincount(which, mos) / count - least * scores, weights=count)
        starts = found.blocks[:-1]
        centres = np.add.reduceat(count * scores, starts) / np.add.reduceat(count, starts)
        if len(centres) < 2:
            raise ValueError("it has one level only")
        return cls(tuple(centres.tolist()), tuple((found.x[starts] + least * centres).tolist()))

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        inside = np.clip(scores, self.scores[0], self.scores[-1])
        slope = (self.mos[-1] - self.mos[0]) / (self.scores[-1] - self.scores[0])
        return np.interp(inside, self.scores, self.mos) + slope * (scores - inside)


MAPS = {"identity": Identity, "affine": Affine, "logistic": Logistic, "isotonic": Isotonic}


@dataclass(frozen=True)
class Calibration:
    """The map that was chosen, how the others fared, and what it is for."""

    map: Identity | Affine | Logistic | Isotonic
    race: dict[str, float | str]  # of each of MAPS the cross-validated RMSE, or why it has none
    pictures: int  # that it was fitted to
    fitted_on: str  # such as "KonIQ-10k, validation"
    scale: Scale = USUAL  # of the MOS that it was fitted to
    gains: dict[str, tuple[float, float]] = field(default_factory=dict)  # of each map, in RMSE, and its standard error
    label: str = "MOS"  # what it was fitted to: "MOS", or "synthetic MOS"

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Scores of a network (any shape) in MOS, float64, for float32 would make ties again."""
        return self.map(np.asarray(scores, np.float64))

    @property
    def name(self) -> str:
        """identity, affine, logistic or isotonic."""
        return next(name for name, kind in MAPS.items() if isinstance(self.map, kind))

    @property
    def worthy(self) -> list[str]:
        """The maps whose gain is beyond its standard error."""
        return [name for name, (gain, error) in self.gains.items() if gain > error]

    def __str__(self) -> str:
        """Such as "isotonic, fitted on KonIQ-10k, validation, 1,000 pictures (1f3a60d2)"; two maps never read alike."""
        digest = hashlib.sha256(json.dumps(asdict(self.map)).encode()).hexdigest()[:8]
        return f"{self.name}, fitted on {self.fitted_on}, {self.pictures:,} pictures ({digest})"

    def to_json(self) -> dict:
        """Plain numbers and texts, for `from_json`."""
        return {**asdict(self), "map": {"name": self.name, **asdict(self.map)}}

    @classmethod
    def from_json(cls, found: dict) -> Self:
        """What `to_json` wrote, also after its way through a file. Raises KeyError or TypeError if it is none."""
        numbers = {key: tuple(value) if isinstance(value, list) else value for key, value in found["map"].items()}
        gains = {name: (gain, error) for name, (gain, error) in found.get("gains", {}).items()}
        made = {"map": MAPS[numbers.pop("name")](**numbers), "scale": Scale.of(found), "gains": gains}
        return cls(**{**found, **made})


def fit(
    predicted: np.ndarray,
    mos: np.ndarray,
    fitted_on: str,
    groups: Sequence | None = None,
    kind: str = "auto",
    label: str = "MOS",
    seed: int = 0,
) -> Calibration:
    """The map from `predicted` to `mos` (both of shape (pictures,)) with the lowest cross-validated RMSE.

    It is a map at all only where it lowers the RMSE by more than the standard error of that gain, see `gain`, else
    Identity: a map that is no better than chance makes other pictures worse. groups: what each picture belongs to, such
    as its scene: those of one group are in one fold, for they say less of other pictures than as many groups would.
    kind: one of MAPS by name, which is then chosen whatever its gain. label: what `mos` is. All maps are compared on
    the same folds, REPEATS times, and the best is fitted to all pictures; one that cannot be fitted is out of the race.
    Raises InputError if there are too few pictures, if scores are not finite, if they are all the same or fall where
    the MOS rises, or if `kind` cannot be fitted.
    """
    predicted, mos = np.asarray(predicted, np.float64), np.asarray(mos, np.float64)
    if len(predicted) < FEWEST:
        raise InputError(f"A calibration should have {FEWEST} rated pictures at least. Received: {len(predicted)}")
    if not np.isfinite([predicted, mos]).all():
        raise InputError("Scores to calibrate should be finite numbers. Received: some that are not")
    if not (correlation := plcc(mos, predicted)) > 0:  # nan if all scores are the same
        raise InputError(f"Scores to calibrate should rise with the MOS. Received: a PLCC of {correlation:.3f}")
    groups = np.arange(len(mos)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    parts = [folds_of(predicted, groups, seed=seed + number) for number in range(REPEATS)]
    raw = (mos - predicted) ** 2
    race, gains, fitted = {"identity": float(np.sqrt(raw.mean()))}, {}, {"identity": Identity()}
    for name in list(MAPS)[1:]:
        try:
            fitted[name] = MAPS[name].fit(predicted, mos)
            errors = [(mos - cross_validated(MAPS[name], predicted, mos, each)) ** 2 for each in parts]
            after = np.mean(errors, axis=0)
            race[name], gains[name] = float(np.sqrt(after.mean())), gain(raw, after, groups)
        except ValueError as error:
            race[name] = str(error)
    found = Calibration(fitted["identity"], race, len(mos), fitted_on, gains=gains, label=label)
    best = min(found.worthy, key=race.__getitem__, default="identity") if kind == "auto" else kind
    if best not in fitted:
        raise InputError(f"kind={kind} should be a map that fits these scores. Received: {race[kind]}")
    return replace(found, map=fitted[best])


def gain(before: np.ndarray, after: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """By how much the RMSE falls, and the standard error of that, from squared errors of shape (pictures,) each.

    The error is that of paired differences, taken by group (0, 1, ... of each picture), because pictures of one group
    go up and down together; of few groups it is itself hardly known, and wider by as much as Student's t is than the
    normal distribution. Source: Liang and Zeger, Longitudinal data analysis using generalized linear models, 1986.
    """
    differences = before - after
    sums = np.bincount(groups, differences - differences.mean())
    wider = scipy.stats.t.ppf(scipy.stats.norm.cdf(1), len(sums) - 1)
    error = wider * np.sqrt(len(sums) / (len(sums) - 1) * (sums @ sums)) / len(differences)
    both = np.sqrt(before.mean()) + np.sqrt(after.mean())  # a squared less b squared is (a - b)(a + b)
    return (float(differences.mean() / both), float(error / both)) if both else (0.0, 0.0)


def folds_of(predicted: np.ndarray, groups: np.ndarray | None = None, folds: int = FOLDS, seed: int = 0) -> np.ndarray:
    """The fold of each picture, 0 to folds - 1: those of one group in one, neighbours by their score in different ones.

    groups: 0, 1, ... of each picture; None: each by itself. Neighbours are groups by their mean score.
    """
    groups = np.arange(len(predicted)) if groups is None else groups
    rng, part = np.random.default_rng(seed), np.empty(groups.max() + 1, int)
    order = np.argsort(np.bincount(groups, predicted) / np.bincount(groups), kind="stable")
    for start in range(0, len(order), folds):
        some = order[start : start + folds]
        part[some] = rng.permutation(min(folds, len(order)))[: len(some)]
    return part[groups]


def cross_validated(kind: type, predicted: np.ndarray, mos: np.ndarray, parts: Sequence[int]) -> np.ndarray:
    """Each score by the map that was fitted to the pictures of the other `parts`. Raises ValueError as its fit does."""
    mapped, several = np.empty(len(predicted)), np.unique(parts)
    if len(several) < 2:
        raise ValueError("all pictures are of one group, and there are no others to check it on")
    for part in several:
        own = parts == part
        if kind is not Identity and np.ptp(predicted[~own]) == 0:
            raise ValueError("without one fold, all scores are the same")
        mapped[own] = kind.fit(predicted[~own], mos[~own])(predicted[own])
    return mapped


def without_own(
    found: Calibration, predicted: np.ndarray, mos: np.ndarray, groups: Sequence | None = None
) -> np.ndarray:
    """Each score by the map of `found`'s kind that is fitted without the fold of its picture; folds are as in `fit`.

    Their errors are those to expect of other pictures; those of the map itself, which saw their MOS, are smaller.
    Raises ValueError if no such map can be fitted.
    """
    groups = np.arange(len(mos)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    return cross_validated(type(found.map), predicted, mos, folds_of(predicted, groups))


def keep(path: Path, network: Network, digest: str, calibration: Calibration) -> None:
    """Put a calibration into the record beside the weights at `path`, see `koniq.measure.keeping.put`."""
    keeping.put(path, KEY, calibration.to_json(), network, digest)


def forget(path: Path) -> bool:
    """Take the calibration out of the record beside the weights at `path`. Returns whether there was one."""
    return keeping.forget(path, KEY)


def kept(path: Path, network: Network, digest: str) -> Calibration | None:
    """The calibration in the record beside the weights at `path`; None if there is none for what it would be used on.

    Prints why one that is there is not used. Raises InputError if it is no calibration.
    """
    label = sidecar.record(path).get("label", "MOS")  # of calibrations that were kept before they said it themselves

    def made(facts: dict) -> Calibration:
        return Calibration.from_json({"label": label, **facts})

    found, why = keeping.find(path, KEY, network, digest, made, "--no-calibrate")
    if found and why:
        label = found.label
        LOG.info(f"Not in {label}: the calibration beside the weights was {why}; these are the network's own scores.")
    return None if why else found
