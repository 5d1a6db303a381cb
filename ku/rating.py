"""How well the ratings of a model agree with those of people."""

# ruff: noqa: PT028  (test_rating_model is no test)
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ku.arrays import plcc, srocc
from ku.columns import names_in
from ku.containers import force_list

if TYPE_CHECKING:
    from ku.model_helper import ModelHelper


def rating_metrics(y_true, y_pred, show_plot: bool = True) -> tuple[float, float, float, float]:
    """Print and return SRCC, PLCC, MAE and RMSE of two equally long sets of ratings, rounded to 3 digits.

    `show_plot` draws y_pred against y_true.
    """
    y_true, y_pred = (np.asarray(y, np.float64).ravel() for y in (y_true, y_pred))
    if y_true.size != y_pred.size:
        raise ValueError(f"y_pred should have {y_true.size} ratings. Received: {y_pred.size} ratings")
    error = y_pred - y_true
    metrics = srocc(y_true, y_pred), plcc(y_true, y_pred), np.abs(error).mean(), np.sqrt((error**2).mean())
    metrics = tuple(round(float(m), 3) for m in metrics)
    print("SRCC: {} | PLCC: {} | MAE: {} | RMSE: {}".format(*metrics))
    if show_plot:
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(figsize=(5, 5))
        axes.plot(y_true, y_pred, ".", markersize=2)
        axes.set(xlabel="ground truth", ylabel="predicted", title="SRCC {}, PLCC {}".format(*metrics))
        plt.show()
    return metrics


def test_rating_model(
    helper: "ModelHelper",
    ids_test: pd.DataFrame | None = None,
    output_layer: str | int | None = None,
    output_column: str | None = None,
    groups: int | Sequence[str] = 1,
    remodel: bool = False,
    show_plot: bool = True,
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Predict the rows `ids_test` and compare: (y_true, y_pred, SRCC, PLCC), in the order of the rows.

    Args:
        ids_test: default: the rows of `helper.ids` whose `set` is "test".
        output_layer: the layer that rates; default: the model's first output.
        output_column: the true rating; default: the first column of the helper's outputs.
        groups: a number of passes, or a list of group names, one pass each; the predictions are averaged.
        remodel: have the helper build its model for `output_layer` anew.
    """
    ids = helper.ids[helper.ids["set"] == "test"] if ids_test is None else ids_test
    ids = ids.reset_index(drop=True)
    if output_column is None:
        columns = names_in(helper.gen_params["outputs"])
        if not columns:
            raise ValueError("output_column should name the true rating. Received: output_column=None")
        output_column = columns[0]
    passes = [{}] * groups if isinstance(groups, int) else [{"group_names": [g]} for g in force_list(groups)]
    if not passes:
        raise ValueError(f"groups should ask for at least one pass. Received: groups={groups}")
    y_pred = np.zeros(len(ids))
    for args in passes:
        generator = helper.make_generator(ids, shuffle=False, fixed_batches=False, **args)
        rows = generator.ids_index.index  # which differ from ids in order where the generator groups them
        predicted = force_list(helper.predict(generator, output_layer=output_layer, remodel=remodel))[0]
        y_pred[rows] += np.ravel(predicted) / len(passes)
    y_true = ids[output_column].to_numpy()
    return y_true, y_pred, *rating_metrics(y_true, y_pred, show_plot)[:2]


test_rating_model.__test__ = False  # not a test, whatever pytest makes of its name
