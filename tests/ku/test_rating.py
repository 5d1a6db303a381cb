"""Metrics of ratings, and the ratings of a model in the order of the rows."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ku import rating
from ku.generators import DataGeneratorDisk

pytestmark = pytest.mark.any_backend


def test_rating_metrics(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(len(plt.gca().lines[0].get_xdata())))
    assert rating.rating_metrics([1, 2, 3], [[2], [4], [6]]) == (1, 1, 2, 2.16)
    assert capsys.readouterr().out == "SRCC: 1.0 | PLCC: 1.0 | MAE: 2.0 | RMSE: 2.16\n"
    assert rating.rating_metrics([1, 2, 3, 4], [1, 4, 9, 0], show_plot=False)[:2] == (-0.2, 0.064)
    assert shown == [3]
    plt.close("all")
    with pytest.raises(ValueError, match=r"3 ratings. Received: 2 ratings"):
        rating.rating_metrics([1, 2, 3], [1, 2])


class Helper:
    """What a test of ratings asks of a ModelHelper; predicts the input plus the number of passes before."""

    gen_params = {"outputs": [["MOS"]], "inputs_df": "MOS", "group_by": "size"}  # noqa: RUF012
    ids = pd.DataFrame(
        {"MOS": [3.0, 1, 4, 1.5, 9], "size": list("abaab"), "set": ["training"] + ["test"] * 4}, index=[7] * 5
    )
    passes = 0

    def make_generator(self, ids, **kw):
        return DataGeneratorDisk(ids, **self.gen_params | {"batch_size": 2} | kw)

    def predict(self, generator, output_layer=None, remodel=False):
        self.passes += 1
        return np.concatenate([x for (x,), _ in generator]) + self.passes - 1


def test_ratings_come_in_the_order_of_the_rows():
    y_true, y_pred, srcc, plcc = rating.test_rating_model(Helper(), show_plot=False)
    np.testing.assert_array_equal(y_true, [1, 4, 1.5, 9])
    np.testing.assert_array_equal(y_pred, y_true)
    assert (srcc, plcc) == (1, 1)
    y_pred = rating.test_rating_model(Helper(), Helper.ids, groups=["a", "b", "c"], show_plot=False)[1]
    np.testing.assert_allclose(y_pred, Helper.ids.MOS + 1, rtol=1e-5)
    with pytest.raises(ValueError, match=r"at least one pass. Received: groups=0"):
        rating.test_rating_model(Helper(), groups=0)
    helper = Helper()
    helper.gen_params = helper.gen_params | {"outputs": lambda rows: rows.MOS}
    with pytest.raises(ValueError, match="name the true rating"):
        rating.test_rating_model(helper)
    y_pred = rating.test_rating_model(helper, output_column="MOS", show_plot=False)[1]
    np.testing.assert_array_equal(y_pred, y_true)
