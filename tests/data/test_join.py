import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image

from koniq.data import datasets, join


def pictures(folder, names, first):
    folder.mkdir(parents=True)
    for seed, name in enumerate(names, first):
        Image.new("RGB", (seed % 7 + 1, 4), (seed, seed, 0)).save(folder / name, "PNG")


@pytest.fixture
def two(tmp_path):
    """Tables "one" and "two" of six pictures each, in folders beside each other; "two" has groups and subsets."""
    for first, name in ((0, "one"), (50, "two")):
        names = [f"{n}.png" for n in range(6)]
        pictures(tmp_path / name / "images", names, first)
        sets = ["training", "training", "training", "validation", "test", "test"]
        ids = pd.DataFrame({"image_name": names, "MOS": np.arange(6) * 10.0, "set": sets})
        if name == "two":
            ids = ids.assign(group=[1, 1, np.nan, np.nan, 2, 2], subset=[1, 2, 1, 2, 1, np.nan])
        ids.to_csv(tmp_path / name / f"{name}.csv", index=False)
    return tmp_path


def joined(folder, *arguments):
    tables = [folder / name / f"{name}.csv" for name in ("one", "two")]
    return ended("join", *tables, "--out", folder / "both.csv", *arguments)


def test_one_table_with_the_mos_on_one_scale_and_whose_each_picture_is(two, capsys):
    assert joined(two, "--map", f"{two / 'two/two.csv'}=0.5,20") == 0
    rows = pd.read_csv(two / "both.csv")
    assert rows.columns.tolist() == [*join.COLUMNS]
    assert rows.image_name.tolist()[::6] == ["one/images/0.png", "two/images/0.png"]
    assert rows.MOS.tolist() == [0, 10, 20, 30, 40, 50, 20, 25, 30, 35, 40, 45]
    assert rows.source.tolist() == ["one"] * 6 + ["two"] * 6
    assert rows.subset.tolist() == ["one"] * 6 + ["two 1", "two 2", "two 1", "two 2", "two 1", "two"]
    assert rows.group.dropna().tolist() == ["two 1", "two 1", "two 2", "two 2"]
    assert f"give it with --images {two}" in capsys.readouterr().out
    data = datasets.load(str(two / "both.csv"), images=str(two))
    assert data.ids.image_path.tolist()[0] == two / "one/images/0.png"
    assert data.ids.set.value_counts().to_dict() == {"training": 6, "test": 4, "validation": 2}


@pytest.mark.parametrize("kind", ["the same bytes", "the same file"])
def test_the_same_picture_in_two_sets_is_refused(two, capsys, kind):
    if kind == "the same bytes":
        (two / "two/images/5.png").write_bytes((two / "one/images/0.png").read_bytes())
    else:
        (two / "two/images/5.png").unlink()
        (two / "two/images/5.png").hardlink_to(two / "one/images/0.png")
    assert joined(two) == 2
    assert "the same bytes in one/images/0.png (training), two/images/5.png (test)" in capsys.readouterr().err
    assert not (two / "both.csv").exists()


def test_near_copies_of_two_sources_stay_in_the_last_set_alone(two, capsys):
    groups = {"one/images/0.png": 1, "two/images/4.png": 1, "two/images/0.png": 2, "two/images/5.png": 2}
    groups |= {"one/images/1.png": 3, "two/images/1.png": 3}
    pd.DataFrame({"image_name": [*groups], "group": [*groups.values()]}).to_csv(two / "groups.csv", index=False)
    assert joined(two, "--groups", two / "groups.csv") == 0
    rows = pd.read_csv(two / "both.csv").set_index("image_name")
    assert len(rows) == 11
    assert "one/images/0.png" not in rows.index
    assert rows.group.dropna().astype(int).to_dict() == {
        name: group for name, group in groups.items() if name != "one/images/0.png"
    }
    assert "1 near copies of pictures of another data set in a later set are left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--map", "three=1,2"], "map should be NAME=VALUE, of one of"),
        (["--map", "{two}=-1,2"], "map should be NAME=SLOPE,OFFSET, SLOPE above 0. Received:"),
        (["--map", "{two}=1"], "map should be NAME=SLOPE,OFFSET, SLOPE above 0. Received:"),
        (["--groups", "{two}"], "should have image_name and group. Received: a"),
    ],
)
def test_wrong_settings_are_one_sentence(two, capsys, arguments, message):
    arguments = [text.format(two=two / "two/two.csv") for text in arguments]
    if arguments[0] == "--groups":
        (two / "wrong.csv").write_text("a\n1\n")
        arguments[1] = str(two / "wrong.csv")
    assert joined(two, *arguments) == 2
    assert message in capsys.readouterr().err


def test_one_table_is_not_joined(two, capsys):
    assert ended("join", two / "one/one.csv", "--out", two / "both.csv") == 2
    assert "tables should be two or more, each once. Received: one" in capsys.readouterr().err


def test_live_goes_by_its_division_without_its_calibration_part(tmp_path, monkeypatch):
    names = [f"{n}.bmp" for n in range(40)]
    ids = pd.DataFrame({"image_name": names, "MOS": np.arange(40.0), "set": "test", "scene": None})
    division = pd.Series(["training"] * 30 + ["calibration"] * 4 + ["test"] * 6, names)
    loaded = datasets.DataSet("LIVE In the Wild", ids)
    monkeypatch.setattr(datasets, "load", lambda *arguments, **settings: loaded)
    monkeypatch.setattr(datasets, "live_division", lambda table: division)
    found = join.source("live_itw").ids
    assert found.set.value_counts().to_dict() == {"training": 27, "test": 6, "validation": 3}
    assert not {*names[30:34]} & {*found.image_name}
    assert {*found.image_name[found.set == "test"]} == {*names[34:]}
