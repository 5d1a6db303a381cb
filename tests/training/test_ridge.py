"""What features add to a score: against plain least squares, and blind to what it should not see."""

import numpy as np
import pytest

from koniq.training import ridge
from koniq.training.ridge import STRENGTHS


@pytest.fixture(params=[(30, 50), (60, 8)], ids=["of pictures", "of features"])
def made(request):
    """Features of which one, and the score, make the ratings."""
    count, size = request.param
    rng = np.random.default_rng(7)
    features, score = rng.normal(size=(count, size)), rng.normal(50, 10, count)
    return features, score, 3 + 0.1 * score + 2 * features[:, 0] + rng.normal(0, 0.5, count)


def test_it_is_least_squares_with_a_penalty_on_the_weights_alone(made):
    features, score, ratings = made
    found = ridge.fit(features, score, ratings)
    free = np.column_stack([np.ones(len(score)), score])
    left = features - free @ np.linalg.lstsq(free, features)[0]
    for number, strength in enumerate(STRENGTHS[:-1]):
        penalty = np.sqrt(strength * (left**2).sum() / len(left)) * np.eye(features.shape[1])
        rows = np.vstack([np.hstack([free, features]), np.hstack([np.zeros((len(penalty), 2)), penalty])])
        expected = np.linalg.lstsq(rows, np.concatenate([ratings, np.zeros(len(penalty))]))[0]
        one = found.of(number)
        np.testing.assert_allclose([one.offset, one.slope, *one.weights], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one(features, score), found(features, score)[:, number])


def test_the_strongest_penalty_is_the_score_on_another_scale(made):
    features, score, ratings = made
    line = ridge.fit(features, score, ratings).of(-1)
    assert not line.weights.any()
    np.testing.assert_allclose([line.slope, line.offset], np.polyfit(score, ratings, 1))


def test_a_score_that_is_everywhere_the_same_says_nothing(made):
    features, score, ratings = made
    found = ridge.fit(features, np.full(len(score), 50.0), ratings).of(0)
    assert np.corrcoef(found(features, np.full(len(score), 50.0)), ratings)[0, 1] > 0.8


def test_what_is_said_of_a_fold_does_not_depend_on_its_ratings(made):
    """Neither the fit nor the choice of its penalty does."""
    features, score, ratings = made
    folds = np.arange(len(ratings)) % 5
    _, unseen, _ = ridge.learn(features, score, ratings, folds)
    other = ratings.copy()
    other[folds == 2] = np.random.default_rng(1).normal(100, 50, (folds == 2).sum())
    _, changed, _ = ridge.learn(features, score, other, folds)
    np.testing.assert_allclose(changed[folds == 2], unseen[folds == 2])
    assert not np.isclose(changed[folds == 1], unseen[folds == 1]).any()


def test_what_is_there_is_learnt_and_where_nothing_is_the_score_stays(made):
    features, score, ratings = made
    folds = np.arange(len(ratings)) % 5
    _, unseen, strength = ridge.learn(features, score, ratings, folds)
    assert strength < 10
    assert ((unseen - ratings) ** 2).mean() < ((np.poly1d(np.polyfit(score, ratings, 1))(score) - ratings) ** 2).mean()
    line = 2 * score + 1
    found, unseen, strength = ridge.learn(features, score, line, folds)
    np.testing.assert_allclose(found(features, score), line)
    np.testing.assert_allclose(unseen, line)


def test_there_are_folds_to_choose_by(made):
    features, score, ratings = made
    with pytest.raises(ValueError, match=r"folds should be at least 3\. Received: 2"):
        ridge.learn(features, score, ratings, np.arange(len(ratings)) % 2)
