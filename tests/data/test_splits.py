import numpy as np
import pandas as pd
import pytest
from commands import ended

from koniq.data import datasets, splits
from koniq.data.rated import SETS
from koniq.data.splits import split
from koniq.ground import InputError


def table(count, groups=None, seed=0):
    rng = np.random.default_rng(seed)
    names = [f"{n:05}.jpg" for n in range(count)]
    ids = pd.DataFrame({"image_name": names, "MOS": rng.normal(50, 15, count).round(1)})
    return ids if groups is None else ids.assign(scene=rng.integers(0, groups, count))


def counts(sets):
    return [int((sets == name).sum()) for name in SETS]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(3, [1, 1, 1]), (4, [2, 1, 1]), (10, [7, 1, 2]), (100, [70, 10, 20]), (1000, [700, 100, 200])],
)
def test_shares(count, expected):
    assert counts(split(table(count))) == expected


@pytest.mark.parametrize("count", [99, 100, 101, 10_073])
def test_each_range_of_mos_is_shared_alike(count):
    ids = table(count)
    sets = split(ids)
    tenth = ids.MOS.rank(method="first", pct=True).mul(10).clip(upper=9.99).astype(int)
    shares = pd.crosstab(tenth, sets, normalize="index")[list(SETS)]
    assert np.abs(shares.to_numpy() - splits.SHARES).max() < (0.21 if count < 1000 else 0.01)
    means = ids.MOS.groupby(sets).mean()
    assert means.max() - means.min() < (6 if count < 1000 else 0.5)


def test_seeded_and_independent_of_the_order_of_the_rows():
    ids = table(200)
    shuffled = ids.sample(frac=1, random_state=3)
    pd.testing.assert_series_equal(split(ids), split(shuffled).sort_index())
    assert counts(split(ids, seed=2)) == counts(split(ids))
    assert not split(ids, seed=2).equals(split(ids))


def test_no_group_is_in_two_sets_and_shares_are_kept():
    ids = table(1000, groups=60)
    ids.loc[5, "scene"] = np.nan  # by itself
    sets = split(ids, "scene")
    assert sets.groupby(ids.scene).nunique().max() == 1
    assert sets.notna().all()
    np.testing.assert_allclose(np.divide(counts(sets), 1000), splits.SHARES, atol=0.02)


def test_a_group_larger_than_a_set_goes_where_there_is_room():
    ids = table(100).assign(scene=["large"] * 60 + [f"s{n}" for n in range(40)])
    sets = split(ids, "scene")
    assert set(sets[:60]) == {"training"}
    np.testing.assert_allclose(counts(sets), [70, 10, 20], atol=2)


def test_fewer_than_three_groups_cannot_be_split():
    with pytest.raises(InputError, match=r"at least 3 groups. Received: 2"):
        split(table(100, groups=2), "scene")


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "images").mkdir()
    ids = table(40)
    for name in ids.image_name:
        (tmp_path / "images" / name).write_bytes(b"")
    ids.to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


def test_a_table_without_sets_is_split_where_the_user_sees_it(mine, capsys):
    before = mine.read_bytes()
    data = datasets.load(str(mine))
    assert counts(data.ids.set) == [28, 4, 8]
    assert mine.read_bytes() == before
    assert f"the split is kept in {mine.parent / 'mine-split.csv'}" in capsys.readouterr().out
    assert datasets.load(str(mine)).ids.set.equals(data.ids.set)
    assert capsys.readouterr().out == ""
    assert datasets.load(str(mine.parent / "mine-split.csv")).ids.set.equals(data.ids.set)


def test_a_column_group_is_heeded(mine):
    ids = pd.read_csv(mine)
    ids.assign(group=np.arange(len(ids)) // 4).to_csv(mine, index=False)
    data = datasets.load(str(mine))
    assert data.ids.groupby("group").set.nunique().max() == 1


def test_the_column_that_a_table_was_split_by_stays_its_group(mine):
    ids = pd.read_csv(mine)
    ids.assign(scene=np.arange(len(ids)) // 4).to_csv(mine, index=False)
    assert ended("split", mine, "--group-column", "scene") == 0
    data = datasets.load(str(mine))
    assert data.ids.group.tolist() == data.ids.scene.tolist()
    assert data.ids.groupby("group").set.nunique().max() == 1


def test_a_split_of_another_table_is_noticed(mine):
    datasets.load(str(mine))
    ids = pd.read_csv(mine)
    ids.assign(MOS=ids.MOS + 1).to_csv(mine, index=False)
    with pytest.raises(InputError, match=r"differs from it in its pictures or their MOS. Make it anew: .*python -m"):
        datasets.load(str(mine))
    (mine.parent / "mine-split.csv").write_text("a,b\n")
    with pytest.raises(InputError, match="Make it anew"):
        datasets.load(str(mine))


def test_the_command(mine, capsys):
    assert ended("split", mine, "--shares", 0.5, 0.25, 0.25, "--seed", 3) == 0
    assert counts(pd.read_csv(mine.parent / "mine-split.csv").set) == [20, 10, 10]
    for arguments, message in (
        ([mine], "is there already. Give --overwrite"),
        ([mine, "--group-column", "scene", "--overwrite"], "group_column should be one of image_name, MOS. Received"),
        ([mine, "--shares", 1, 0, 0, "--overwrite"], "shares should be positive. Received: shares=(1.0, 0.0, 0.0)"),
        ([mine.parent / "mine-split.csv"], "has a column `set` already"),
        ([mine.parent / "none.csv"], "which is not there"),
    ):
        assert ended("split", *arguments) == 2
        assert message in capsys.readouterr().err
    assert ended("split", mine, "--overwrite") == 0


def test_what_a_report_gives_apart_and_which_groups_are_in_several_sets():
    sets = ["training", "training", "validation", "test", "test", "test"]
    ids = pd.DataFrame({"image_name": list("abcdef"), "MOS": 1.0, "set": sets})
    assert splits.apart(ids, "test") == {}
    assert splits.across(ids) == []
    ids = ids.assign(subset=1, group=["x", "y", "y", "y", None, None], scene=[1, 1, 1, 2, 2, 3])
    assert {title: rows.tolist() for title, rows in splits.apart(ids, "test").items()} == {
        "without near copies": [False, True, True]
    }
    assert splits.apart(ids, "validation") == splits.apart(ids, "training") == {}
    assert splits.across(ids) == [(["b", "c", "d"], ["training", "validation", "test"])]
    assert splits.across(ids, "scene") == [(["a", "b", "c"], ["training", "validation"])]
    ids = ids.assign(subset=[3, 3, 3, 3, 1, np.nan])
    assert {title: rows.tolist() for title, rows in splits.apart(ids, "test").items()} == {
        "subset 1": [False, True, False],
        "subset 3": [True, False, False],
        "without near copies": [False, True, True],
    }


def test_two_sets_of_other_names():
    sets = split(table(100), shares=(0.9, 0.1), sets=("mine", "yours"))
    assert sets.value_counts().to_dict() == {"mine": 90, "yours": 10}
