"""Ridge regression about a score that is there already: what features add to it, in closed form.

A rating is taken to be slope * score + offset + features @ weights, by least squares with a penalty on the weights, but
on neither slope nor offset: the stronger the penalty, the nearer is what comes out to the score as it was, and at the
strongest, infinity, it is that score on another scale. Source: Hoerl and Kennard, Technometrics 1970, 12, 55-67.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np

# Of the penalty, in units of the mean squared length of a picture's features, so that they are of no network.
STRENGTHS = np.array([*10.0 ** np.arange(-2, 3.5, 0.5), np.inf])


@dataclass(frozen=True)
class Ridge:
    """What was fitted. weights: (features,), or, where it is of several penalties, (features, penalties)."""

    slope: np.ndarray
    offset: np.ndarray
    weights: np.ndarray

    def __call__(self, features: np.ndarray, score: np.ndarray) -> np.ndarray:
        """Ratings, (pictures,) or (pictures, penalties), by features (pictures, features) and score (pictures,)."""
        score = score[:, None] if self.weights.ndim == 2 else score
        return self.slope * score + self.offset + features @ self.weights

    def of(self, number: int) -> "Ridge":
        """That of one of several penalties."""
        return Ridge(self.slope[number], self.offset[number], self.weights[:, number])


def fit(features: np.ndarray, score: np.ndarray, ratings: np.ndarray) -> Ridge:
    """The fit to `ratings` (pictures,) by each of STRENGTHS, from features (pictures, features) and score (pictures,).

    What is not penalised is taken out of ratings and features first, which changes nothing of the solution. Of the two
    matrices of products, of pictures or of features, the smaller is taken apart, once for all penalties.
    """
    free = np.column_stack([np.ones(len(score)), score])
    pinv = np.linalg.pinv(free)  # of a score that is everywhere the same, too
    x, y = features - free @ (pinv @ features), ratings - free @ (pinv @ ratings)
    few = len(x) <= x.shape[1]
    values, vectors = np.linalg.eigh(x @ x.T if few else x.T @ x)
    values = np.maximum(values, 0)  # which rounding may make less
    penalties = max(values.sum() / len(x), np.finfo(float).tiny) * STRENGTHS
    found = vectors @ ((vectors.T @ (y if few else x.T @ y))[:, None] / (values[:, None] + penalties))
    weights = x.T @ found if few else found
    offset, slope = pinv @ (ratings[:, None] - features @ weights)
    return Ridge(slope, offset, weights)


def learn(
    features: np.ndarray, score: np.ndarray, ratings: np.ndarray, folds: np.ndarray
) -> tuple[Ridge, np.ndarray, float]:
    """The fit with the penalty that errs least; what it says of pictures that it did not see; and that penalty.

    folds: of each picture, 0, 1, ...: at least three. The penalty is chosen by cross-validation, by the mean squared
    error; and so it is anew for each fold, from the others alone, before that fold's ratings are told: neither the fit
    nor the choice of its penalty has seen them.
    """
    several = np.unique(folds)
    if len(several) < 3:
        raise ValueError(f"folds should be at least 3. Received: {len(several)}")

    def told(without: tuple[int, ...]) -> tuple[Ridge, np.ndarray]:
        """The fit to all other folds, and what it says of these."""
        own = np.isin(folds, without)
        found = fit(features[~own], score[~own], ratings[~own])
        return found, found(features[own], score[own])

    # Without two folds a fit serves both: it is of the choice of either one's penalty, checked on the other.
    wrong = {fold: np.zeros(len(STRENGTHS)) for fold in several}
    for one, other in combinations(several, 2):
        own = np.isin(folds, (one, other))
        errors = (told((one, other))[1] - ratings[own, None]) ** 2
        for fold, checked in ((one, other), (other, one)):
            wrong[fold] += errors[folds[own] == checked].sum(0)
    unseen, total = np.empty(len(ratings)), np.zeros(len(STRENGTHS))
    for fold in several:
        own, (_, said) = folds == fold, told((fold,))
        unseen[own] = said[:, np.argmin(wrong[fold])]
        total += ((said - ratings[own, None]) ** 2).sum(0)
    best = int(np.argmin(total))
    return fit(features, score, ratings).of(best), unseen, float(STRENGTHS[best])
