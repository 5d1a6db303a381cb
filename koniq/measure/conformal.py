"""Intervals about scores: split conformal prediction, with a width that depends on the score.

The promise is about a share of pictures, not about one: of pictures of the kind that the intervals were made on, and
that neither training nor they themselves saw, as many have their MOS within theirs as the level says, whatever the
network. Of pictures of another kind it says nothing. It is kept within each range of scores (Mondrian, see `made`).

Sources: Papadopoulos et al., Inductive confidence machines for regression, 2002; Vovk et al., Algorithmic learning in a
random world, 2005, 4.5; Lei et al., Distribution-free predictive inference for regression, 2018.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np

from koniq.ground import InputError
from koniq.ground.log import LOG
from koniq.ground.typed import command
from koniq.measure import keeping
from koniq.network import Network

KEY = "intervals"  # of the record beside the weights, and of what scores depend on
LEVEL = 0.9
# How many ranges of scores have a width of their own, by the number of pictures. Measured on LIVE In the Wild and
# BIQ2021, with random halves of a ridge regression's scores: of 58 pictures one width comes nearest to the level in
# each fifth of the scores, of 116 and 300 two, one below and one above the median; of 1,000 five are as near as two,
# and narrower. Widths by a difficulty that is fitted to the scores cost more pictures than they repay.
RANGES = {1000: 5, 100: 2, 0: 1}


def rank(count: int, level: float) -> int:
    """Which of `count` residuals in order, from 1, bounds `level` of what comes: ceil((count + 1) level).

    It is above `count` where these are too few for any of them to do so.
    """
    return math.ceil(round((count + 1) * level, 9))  # rounded: 0.1 * 30 is more than 3


def bound(residuals: np.ndarray, level: float) -> float:
    """What a share `level` of residuals like these (absolute, shape (pictures,)) does not exceed; inf of too few."""
    k = rank(len(residuals), level)
    return float(np.partition(residuals, k - 1)[k - 1]) if k <= len(residuals) else math.inf


@dataclass(frozen=True)
class Intervals:
    """score - half to score + half, with a `half` for each range of scores."""

    level: float  # such as 0.9
    edges: tuple[float, ...]  # scores that divide the ranges, rising; each belongs to what is above it
    halves: tuple[float, ...]  # one more than edges; inf where there were too few pictures
    counts: tuple[int, ...]  # pictures in each range
    made_on: str  # such as "LIVE In the Wild, validation"
    of: str = ""  # the calibration whose scores they are about; "": the network's own

    def __call__(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lower and upper ends of the intervals about scores (any shape), float64."""
        scores = np.asarray(scores, np.float64)
        half = np.asarray(self.halves)[np.searchsorted(self.edges, scores, side="right")]
        return scores - half, scores + half

    @property
    def pictures(self) -> int:
        """How many they were made on, those at the edges with them."""
        return sum(self.counts) + len(self.edges)

    @property
    def promised(self) -> float:
        """The share of pictures that they hold, on average over what they might have been made on: `level` or more.

        A picture is in a range of n, and so below k of n + 1 of equal chance, with a chance of (n + 1) / (all + 1).
        """
        return sum(min(rank(count, self.level), count + 1) for count in self.counts) / (self.pictures + 1)

    @property
    def title(self) -> str:
        """Such as "90 % intervals"."""
        return f"{100 * self.level:g} % intervals"

    def __str__(self) -> str:
        """Such as "90 % intervals, made on LIVE In the Wild, test, 116 pictures (1f3a60d2)"; no two read alike."""
        digest = hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:8]
        return f"{self.title}, made on {self.made_on}, {self.pictures:,} pictures ({digest})"

    def to_json(self) -> dict:
        """Plain numbers and texts, for `from_json`; no half is infinite in JSON, where it is null."""
        return {**asdict(self), "halves": [half if math.isfinite(half) else None for half in self.halves]}

    @classmethod
    def from_json(cls, found: Mapping) -> Self:
        """What `to_json` wrote, also after its way through a file. Raises KeyError or TypeError if it is none."""
        halves = tuple(math.inf if half is None else float(half) for half in found["halves"])
        return cls(**{**found, "halves": halves, "edges": tuple(found["edges"]), "counts": tuple(found["counts"])})


def check(level: float) -> None:
    """Raise InputError if a level is none."""
    if not 0 < level < 1:
        raise InputError(f"level should be above 0 and below 1. Received: level={level:g}")


def made(
    scores: np.ndarray, residuals: np.ndarray, made_on: str, level: float = LEVEL, of: str = "", ranges: int = 0
) -> Intervals:
    """The intervals by pictures that training did not see: their scores, and MOS - score of each, shape (pictures,).

    Each range of scores has its own bound (Mondrian conformal prediction). Ranges have as many pictures each; between
    them stand scores of pictures that count in neither, so that what is in a range was not chosen otherwise than what
    comes to lie there. ranges: how many; 0: by RANGES. Raises InputError if a number is not finite or `level` is none.
    """
    scores, residuals = np.asarray(scores, np.float64), np.abs(np.asarray(residuals, np.float64))
    check(level)
    if not (np.isfinite(scores).all() and np.isfinite(residuals).all()):
        raise InputError("Scores to make intervals of should be finite numbers. Received: some that are not")
    count = len(scores)
    ranges = ranges or next(number for fewest, number in RANGES.items() if count >= fewest)
    at = np.argsort(scores, kind="stable")[[round(count * number / ranges) for number in range(1, ranges)]]
    inside = np.delete(np.arange(count), at)
    place = np.searchsorted(scores[at], scores[inside], side="right")
    parts = [residuals[inside[place == number]] for number in range(ranges)]
    halves = tuple(bound(part, level) for part in parts)
    return Intervals(level, tuple(scores[at].tolist()), halves, tuple(map(len, parts)), made_on, of)


def keep(path: Path, network: Network, digest: str, intervals: Intervals) -> None:
    """Put intervals into the record beside the weights at `path`, see `koniq.measure.keeping.put`."""
    keeping.put(path, KEY, intervals.to_json(), network, digest)


def forget(path: Path) -> bool:
    """Take the intervals out of the record beside the weights at `path`. Returns whether there were any."""
    return keeping.forget(path, KEY)


def kept(path: Path, network: Network, digest: str, to_mos: object = None, needed: bool = False) -> Intervals | None:
    """The intervals in the record beside the weights at `path`; None if there are none for what is scored.

    to_mos: the calibration that scores go through, for they hold for scores by one only. Prints why some that are there
    are not used. Raises InputError if they are no intervals, or if there are none and they are `needed`.
    """
    found, why = keeping.find(path, KEY, network, digest, Intervals.from_json, "no --intervals")
    if found and not why and found.of != (now := str(to_mos or "")):
        by = [f"those by {each}" if each else "the network's own" for each in (found.of, now)]
        why = f"made for other scores: {by[0]}, not {by[1]}"
    if found and not why:
        return found
    why = f"the intervals beside the weights were {why}" if found else "no intervals are kept beside the weights"
    if needed:
        raise InputError(
            f"The weights should have intervals, made by `{command(f'calibrate --weights {path} --dataset MINE.csv')}` "
            f"of rated pictures that training did not see. Received: {why}"
        )
    if found:
        LOG.info(f"Without intervals: {why}.")
    return None
