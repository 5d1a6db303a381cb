"""The division of a table into sets."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ku.sets import SETS, get_train_test_sets, partition_rows

pytestmark = pytest.mark.any_backend


@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize(
    ("n", "test_size", "counts"),
    [
        (10, (0.2, 0.2), (6, 2, 2)),
        (11, (0.2, 0.2), (7, 2, 2)),
        (9, (1, 3), (5, 1, 3)),
        (9, (0, 0.5), (5, 0, 4)),
    ],
)
def test_sizes_of_sets(n, test_size, counts, stratify):
    ids = pd.DataFrame({"MOS": np.arange(n)}, index=np.arange(n) % 2)
    result = get_train_test_sets(ids, test_size=test_size, stratify=stratify)
    assert tuple((result["set"] == name).sum() for name in SETS) == counts
    assert result.MOS.tolist() == list(range(n))
    assert "set" not in ids


def test_stratified_sets_hold_every_quantile_alike(tmp_path):
    rng = np.random.default_rng(0)
    ids = pd.DataFrame({"MOS": rng.normal(size=200)})
    sets = get_train_test_sets(ids, stratify=True, random_state=1, save_path=tmp_path / "new" / "sets.csv")
    for share in pd.crosstab(pd.qcut(sets.MOS, 10), sets["set"]).to_numpy():
        np.testing.assert_array_equal(share, [4, 12, 4])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "new" / "sets.csv"), sets)
    again = get_train_test_sets(ids, stratify=True, random_state=np.random.default_rng(1))
    other = get_train_test_sets(ids, stratify=True, random_state=2)
    assert (sets["set"] == again["set"]).all()
    assert (sets["set"] != other["set"]).any()


def test_histograms_of_sets(monkeypatch):
    shown = []
    monkeypatch.setattr(plt, "show", lambda: shown.append([t.get_text() for t in plt.gca().get_legend().texts]))
    get_train_test_sets(pd.DataFrame({"MOS": np.arange(20.0)}), show_histograms=True)
    assert shown == [list(SETS)]
    plt.close("all")


def test_sets_leave_something_to_train_on():
    with pytest.raises(ValueError, match=r"leave some of the 4 rows. Received: test_size=\(2, 2\)"):
        get_train_test_sets(pd.DataFrame({"MOS": range(4)}), test_size=(2, 2))


@pytest.mark.parametrize(("test_size", "expected"), [(0.2, 2), (0.25, 2), (0.0, 0), (1.0, 10), (1, 1), (10, 10)])
def test_partition_rows_sizes(test_size, expected):
    t = pd.DataFrame({"x": range(10)}, index=range(5, 15))
    parts = partition_rows(t, test_size, set_name="part", set_values=["a", "b"], random_state=1)
    assert (parts.part == "b").sum() == expected
    assert (parts.part == "a").sum() == 10 - expected
    assert parts.x.equals(t.x)
    assert "part" not in t


def test_partition_rows_repeats_and_writes_in_place():
    t = pd.DataFrame({"x": range(40)})
    first, same, other = (partition_rows(t, random_state=seed)["set"] for seed in (3, 3, 4))
    assert first.equals(same)
    assert not first.equals(other)
    assert partition_rows(t, copy=False) is t
    assert set(t["set"]) == {"training", "test"}
    for test_size in (41, -0.1):
        with pytest.raises(ValueError, match=f"Received: test_size={test_size}"):
            partition_rows(t, test_size)
