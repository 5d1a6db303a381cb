"""The scale that scores are on: KonIQ-10k's MOS from 0 to 100, or another, such as opinions from 1 to 5."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple, Self

import numpy as np

from koniq.ground import InputError

KEY = "scale"  # of the record beside the weights, and of what a calibration says; not there: 0 to 100
FREE = {
    "plcc": "PLCC loss",
    "nin": "norm-in-norm loss",
}  # losses whose scores are on no scale, and what they are called


class Scale(NamedTuple):
    """The worst and the best score that a rater may give."""

    low: float = 0.0
    high: float = 100.0

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"

    @property
    def digits(self) -> int:
        """Digits after the point of a score as it is shown: a hundredth of a point of 0 to 100, or about as fine."""
        return 2 if self.high - self.low > 10 else 3 if self.high - self.low > 1 else 4

    @property
    def is_usual(self) -> bool:
        """Whether it is that of KonIQ-10k and LIVE In the Wild."""
        return self == Scale()

    def at(self, percent: np.ndarray) -> np.ndarray:
        """What is as far up this scale as `percent` is from 0 to 100."""
        return self.low + np.asarray(percent) * (self.high - self.low) / 100

    def percent(self, scores: np.ndarray) -> np.ndarray:
        """How far up this scale scores are, from 0 to 100: the other way round than `at`."""
        return scores if self.is_usual else (scores - self.low) * 100 / (self.high - self.low)

    def record(self) -> dict:
        """What a JSON says of it: nothing of the usual one, as in all that was written before there were others."""
        return {} if self.is_usual else {KEY: [*self]}

    @classmethod
    def of(cls, record: Mapping[str, object]) -> Self:
        """The scale that a record says (see `record`)."""
        return cls(*record.get(KEY, ()))


USUAL = Scale()
# What scores of raters come on; the first that a table fits is taken for its own.
KNOWN = (Scale(0, 1), Scale(1, 5), Scale(0, 5), Scale(1, 10), Scale(0, 10), USUAL)


def guess(mos: np.ndarray) -> Scale:
    """The first of 0 to 1, 1 to 5, 0 to 5, 1 to 10, 0 to 10 and 0 to 100 that all of `mos` lie on; else 0 to 100."""
    mos = np.asarray(mos, np.float64)
    low, high = np.nanmin(mos, initial=np.inf), np.nanmax(mos, initial=-np.inf)
    return next((scale for scale in KNOWN if scale.low <= low <= high <= scale.high), USUAL)


def given(scale: Sequence[float] | None) -> Scale | None:
    """The scale that a setting gives, if it does. Raises InputError if it is none."""
    if scale is None:
        return None
    if not (len(scale) == 2 and all(map(isfinite, scale)) and scale[0] < scale[1]):
        raise InputError(f"scale should be the lowest and the highest MOS. Received: scale={' '.join(map(str, scale))}")
    return Scale(*map(float, scale))


def of_scores(mos: np.ndarray, facts: Mapping[str, object], scale: Sequence[float] | None = None) -> Scale:
    """The scale of a CSV's scores: `scale` if it is given, what the facts beside it say, or, without any, a guess."""
    return given(scale) or (Scale.of(facts.get("record", {})) if facts else guess(mos))
