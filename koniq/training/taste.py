"""One person's taste: the head of the small network fitted to the ratings that they gave.

The body stays as it is. On its features, normalised as the head does, a ridge regression finds what the ratings have
beyond the score that the network gives already (see koniq.training.ridge). It becomes a part of the head: of the 256
hidden units the two that say least are given to it, one for where it is above its mean and one for where it is below,
so that the weights are those of any koncept_lite, and every engine and every command takes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.data.scale import Scale, given, guess
from koniq.engines import features
from koniq.evaluation.near_copies import grouped, pairs_of
from koniq.ground import InputError, first_few
from koniq.ground.log import LOG
from koniq.ground.text import markdown_table
from koniq.measure.calibration import folds_of
from koniq.measure.metrics import METRICS, difference, measure
from koniq.network import KONCEPT_LITE, network_of, read_state, sidecar, title, write_state
from koniq.network.koncept_lite import EPSILON
from koniq.network.layers import State
from koniq.scoring.facts import OWN
from koniq.training import ridge
from koniq.training.ridge import Ridge

FEWEST = 30  # rated pictures, below which an interval of SRCC says next to nothing
FEWEST_GROUPS = 10  # of pictures that are no near copies of one another, for folds
FOLDS = 10  # of the cross-validation: of few ratings, five would leave more to the chance by which they are drawn
MANY, FEWER = 300, 5  # pictures from which on so many folds do
SRCC = {"srcc": METRICS["srcc"]}


@dataclass(frozen=True)
class Head:
    """What koncept_lite makes of features, in NumPy; see `koniq.network.koncept_lite.koncept_lite_layers`."""

    state: State

    def normalised(self, seen: np.ndarray) -> np.ndarray:
        """Features (pictures, features) as the head's first layer, a batch normalisation, makes them; float64."""
        scale, offset = self._norm()
        return np.asarray(seen, np.float64) * scale + offset

    def _norm(self) -> tuple[np.ndarray, np.ndarray]:
        array = {part: self.state[f"fc.0.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean")}
        scale = array["weight"] / np.sqrt(self.state["fc.0.running_var"].astype(np.float64) + EPSILON)
        return scale, array["bias"] - array["running_mean"] * scale

    def parts(self, x: np.ndarray) -> np.ndarray:
        """What each hidden unit adds to the score of pictures, by normalised features: (pictures, units)."""
        return np.maximum(x @ self.state["fc.2.weight"].T + self.state["fc.2.bias"], 0) * self.state["fc.5.weight"][0]

    def with_taste(self, x: np.ndarray, found: Ridge, spare: np.ndarray) -> State:
        """The state with what was found beside the score without the units `spare`, two of them.

        x: normalised features of pictures, by which the two are centred, and made as large as the others are.
        """
        state = {key: array.copy() for key, array in self.state.items()}
        told = x @ found.weights
        usual = np.median((np.maximum(x @ state["fc.2.weight"].T + state["fc.2.bias"], 0)).std(0))
        size = usual / told.std() if told.std() > 0 and usual > 0 else 1.0
        state["fc.5.weight"] *= np.float32(found.slope)
        for unit, sign in zip(spare, (1, -1), strict=True):
            state["fc.2.weight"][unit] = sign * size * found.weights
            state["fc.2.bias"][unit] = -sign * size * told.mean()
            state["fc.5.weight"][0, unit] = sign / size
        state["fc.5.bias"][:] = found.slope * self.state["fc.5.bias"] + found.offset + told.mean()
        return state


@dataclass(frozen=True)
class Learnt:
    """What came of it. Each of before and after: SRCC with the ratings, low and high of its 95 % interval."""

    state: State
    scale: Scale  # of the ratings
    pictures: int
    groups: int  # that these are of
    before: tuple[float, float, float]  # of the scores of the network as it was
    after: tuple[float, float, float]  # of the new ones, each by a fit that had not seen the picture
    gain: tuple[float, float, float]  # after - before, and its interval, paired
    strength: float  # of the penalty, see koniq.training.ridge.STRENGTHS
    ratings: np.ndarray  # (pictures,), as they were given
    unseen: np.ndarray  # (pictures,), what is said of each by a fit that had not seen it

    @property
    def helps(self) -> bool:
        """Whether the gain is above 0 by its interval, and so are the new scores' own SRCC.

        A gain alone is not enough: chance may turn the score of the network round, and what is turned back has gained.
        """
        return bool(self.gain[1] > 0 and self.after[1] > 0)

    def table(self, name: str) -> str:
        """SRCC before and after, in Markdown. name: of the network as it was."""
        rows = ((name, self.before), ("with your ratings, pictures not seen", self.after), ("gain", self.gain))
        return markdown_table(
            ("", "SRCC", "95 % interval"),
            [(what, _short(value), _interval((value, low, high))) for what, (value, low, high) in rows],
        )

    def verdict(self) -> str:
        """Whether it helps, as a sentence."""
        if self.helps:
            return f"The ratings are learnt: the gain is above 0 by its interval, {_interval(self.gain)}."
        what, found = ("gain in SRCC", self.gain) if self.gain[1] <= 0 else ("SRCC of what is learnt", self.after)
        return (
            f"The {what} should be above 0 by its 95 % interval. Received: {_short(found[0])} {_interval(found)}, of "
            f"{self.pictures:,} rated pictures: it would not foretell your ratings better than it does already"
        )


def _interval(found: tuple[float, float, float]) -> str:
    return f"[{_short(found[1])}, {_short(found[2])}]"


def _short(number: float) -> str:
    return f"{number:.3f}".replace("0.", ".", 1)


def check(rated: pd.DataFrame, anyway: bool = False) -> None:
    """Raise InputError if there are too few ratings, or if they are all the same. anyway: some few will do."""
    fewest = FEWEST_GROUPS if anyway else FEWEST
    if len(rated) < fewest:
        also = "" if anyway else f"; with --anyway {FEWEST_GROUPS} will do"
        raise InputError(f"There should be {fewest} rated pictures at least{also}. Received: {len(rated):,}")
    if rated.rating.nunique() < 2:
        raise InputError(f"Ratings should differ. Received: {rated.rating.iloc[0]:g} for all {len(rated):,} pictures")


def learn(
    weights: Path,
    rated: pd.DataFrame,
    scale: tuple[float, float] | None = None,
    anyway: bool = False,
    workers: int | None = None,
) -> Learnt:
    """Fit the head of koncept_lite to ratings: see `koniq.training.ratings.read` for what `rated` has.

    Pictures of one `group`, and near copies by the features of the network, are in one fold. Those that do not open are
    left out, and named. scale: of the ratings; None: by their range. Raises InputError if the weights are of another
    network, if there are too few ratings that differ, or of too few groups; RunStopped as `features.extract` does.
    """
    network = network_of(weights)
    if network.name != KONCEPT_LITE.name:
        raise InputError(f"weights should be those of {KONCEPT_LITE.name}. Received: {weights}, of {network.name}")
    check(rated, anyway)
    on = given(scale) or scale_of(rated.rating.to_numpy())
    seen, opened = features.extract(features.start(weights, dct_scaling=True), rated.image_path.tolist(), workers)
    ok = np.array([row.status == "ok" for row in opened])
    if not ok.all():
        failed, why = first_few(rated.name[~ok]), next(row.error for row in opened if row.status != "ok")
        LOG.info(f"{(~ok).sum():,} pictures do not open, and are left out: {failed} ({why})")
    rated, seen = rated[ok].reset_index(drop=True), seen[ok]
    check(rated, anyway)
    groups = _groups(rated, seen)
    return _learnt(Head(read_state(weights, network)), seen, rated.rating.to_numpy(float), groups, on)


def scale_of(ratings: np.ndarray) -> Scale:
    """The usual one that ratings fit; else from the lowest to the highest of them."""
    found = guess(ratings)
    inside = found.low <= ratings.min() and ratings.max() <= found.high
    return found if inside else Scale(float(ratings.min()), float(ratings.max()))


def _groups(rated: pd.DataFrame, seen: np.ndarray) -> np.ndarray:
    """The group of each picture, 0, 1, ...: near copies of one another, and what the table has together, are one."""
    known = grouped(len(rated), pairs_of(seen), rated.get("group"))
    own = -1 - np.arange(len(rated))
    return np.unique(np.where(np.isnan(known), own, known), return_inverse=True)[1]


def _learnt(head: Head, seen: np.ndarray, ratings: np.ndarray, groups: np.ndarray, scale: Scale) -> Learnt:
    count = groups.max() + 1
    if count < FEWEST_GROUPS:
        raise InputError(
            f"Rated pictures should be of {FEWEST_GROUPS} groups at least, a group being pictures that are nearly the "
            f"same. Received: {count} groups of {len(ratings):,} pictures"
        )
    x = head.normalised(seen)
    parts = head.parts(x)
    spare = np.argsort(parts.std(0), kind="stable")[:2]
    before, base = (rest.sum(1) + head.state["fc.5.bias"][0] for rest in (parts, np.delete(parts, spare, 1)))
    folds = folds_of(ratings, groups, FOLDS if len(ratings) < MANY else FEWER)
    found, after, strength = ridge.learn(x, base, ratings, folds)
    of = None if count == len(ratings) else groups
    sides = [
        tuple(measure(ratings, side, metrics=SRCC, groups=of).loc[0, ["value", "low", "high"]])
        for side in (before, after)
    ]
    gain = difference(ratings, after, before, groups=of)[:3]
    return Learnt(head.with_taste(x, found, spare), scale, len(ratings), count, *sides, gain, strength, ratings, after)


def write(learnt: Learnt, weights: Path, out: Path, trained_on: str) -> None:
    """Write the weights, and their record beside them: of one person's ratings, and of no calibration to MOS.

    weights: those that it began from. trained_on: what the ratings were called.
    """
    network = network_of(weights)
    facts: Mapping[str, object] = {
        "trained_on": trained_on,
        "label": OWN,
        "begun_from": title(weights),
        "ratings": learnt.pictures,
        "srcc": {"before": [*learnt.before], "after": [*learnt.after]},
        **learnt.scale.record(),
    }
    write_state(learnt.state, out, network)
    sidecar.write_record(out, network, **facts)
