import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

from koniq.data import datasets
from koniq.ground import InputError


def pictures(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", (8, 6)).save(folder / name)


def table(path, rows, columns=("image_name", "MOS", "set")):
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    return str(path)


COLUMNS = ("image_name", "MOS", "set")
ROWS = [("a.png", 10, "training"), ("b.png", 20, "validation"), ("c.png", 30, "test")]


def test_own_table_finds_its_pictures_beside_it_whatever_their_case(tmp_path):
    pictures(tmp_path / "images", ["a.png", "B.PNG", "c.png"])
    data = datasets.load(table(tmp_path / "mine.csv", ROWS))
    assert data.name == "mine"
    assert [path.name for path in data.ids.image_path] == ["a.png", "B.PNG", "c.png"]
    assert data.part("test").MOS.tolist() == [30]


def test_names_that_differ_in_case_only_and_names_with_a_folder(tmp_path):
    pictures(tmp_path / "images", ["a.png", "A.png"])
    pictures(tmp_path / "images/within", ["c.png"])
    names = ["a.png", "A.png", "within/c.png"]
    data = datasets.load(table(tmp_path / "mine.csv", [(name, 1, "test") for name in names]))
    assert [path.relative_to(tmp_path / "images").as_posix() for path in data.ids.image_path] == names


def test_a_picture_named_twice_is_taken_once_and_never_trained_on_if_it_is_tested_on(tmp_path):
    pictures(tmp_path / "images", ["a.png", "b.png", "c.png"])
    rows = [*ROWS, ("c.png", 30, "training"), ("a.png", 10, "training"), ("b.png", 20, "training")]
    data = datasets.load(table(tmp_path / "mine.csv", rows))
    assert data.ids[["image_name", "MOS", "set"]].to_records(index=False).tolist() == ROWS
    assert "named more than once, taken once: a.png, b.png, c.png" in data.summary()


def test_missing_pictures_are_counted_and_named(tmp_path):
    pictures(tmp_path / "images", ["c.png"])
    path = table(tmp_path / "mine.csv", ROWS)
    with pytest.raises(InputError, match=r"should hold the 3 pictures .* 2 of them are not there \(a.png, b.png\)"):
        datasets.load(path)
    data = datasets.load(path, skip_missing=True)
    assert data.absent == ("a.png", "b.png")
    assert "2 of the table's 3 are not there" in data.summary()
    with pytest.raises(InputError, match=r"set 'training'. Received: \{'test': 1\}"):
        data.part("training")


def test_no_picture_at_all_is_an_error_even_when_missing_ones_are_skipped(tmp_path):
    pictures(tmp_path / "images", [])
    with pytest.raises(InputError, match="3 of them are not there"):
        datasets.load(table(tmp_path / "mine.csv", ROWS), skip_missing=True)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([("a.png", 1)], ("image_name", "set"), "columns image_name, MOS. Received: image_name, set"),
        ([("a.png", 1)], ("image_name", "MOS"), "to be split should have at least 3 groups. Received: 1"),
        ([("a.png", "x", "test")], COLUMNS, "MOS .* numbers. Received: 'x'"),
        ([("a.png", 1, "train")], COLUMNS, "set .* one of training, validation, test. Received: 'train'"),
        ([("a.png", 1, "test"), ("a.png", 2, "test")], COLUMNS, "one MOS. Received: several for a.png"),
        ([("a.png", 1, "test"), (None, 2, "test")], COLUMNS, "a name in every row. Received: nan in row 2"),
        ([], COLUMNS, "no rows"),
    ],
)
def test_wrong_tables_are_refused_with_the_reason(tmp_path, rows, columns, message):
    with pytest.raises(InputError, match=message):
        datasets.load(table(tmp_path / "mine.csv", rows, columns))


def test_unknown_data_set_and_absent_table(tmp_path):
    with pytest.raises(
        InputError, match=r"one of koniq10k, live_itw, biq2021, sample or a \.csv table. Received: dataset='tid'"
    ):
        datasets.load("tid")
    with pytest.raises(InputError, match=r"not there; .*python -m koniq fetch koniq10k gets it"):
        datasets.load("koniq10k", table=str(tmp_path / "none.csv"))


def test_the_other_official_table_of_koniq_is_refused(tmp_path):
    columns = ("image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "MOS_zscore")
    path = table(
        tmp_path / "koniq10k_scores_and_distributions.csv", [("a.jpg", 0, 0, 25, 73, 7, 105, 3.8, 0.5, 77)], columns
    )
    with pytest.raises(InputError, match=r"five-point scale .* What is needed is koniq10k_distributions_sets.csv"):
        datasets.load("koniq10k", table=path)


def test_official_table_of_koniq(test_data):
    folder = test_data / "koniq10k"
    data = datasets.load("koniq10k", str(folder / "koniq10k_distributions_sets.csv"), str(folder / "512x384"), True)
    assert len(data.ids) == 3
    assert len(data.ids) + len(data.absent) == 10_073


def test_live_leaves_out_the_seven_training_pictures(test_data):
    data = datasets.load("live_itw", str(test_data / "live_itw/Data"), str(test_data / "live_itw/Images"), True)
    assert len(data.part("test")) + len(data.absent) == 1162
    assert len(data.part("test")) == 378 - len(list((test_data / "live_itw/Images").glob("t[1-7].bmp")))
    assert not set(data.ids.image_name) & {f"t{n}.bmp" for n in range(1, 8)}
    assert data.ids.MOS.between(3.42, 92.44).all()


def test_live_from_tables_made_here_forgives_case(tmp_path):
    names = [*(f"t{n}.bmp" for n in range(1, 8)), "1.bmp", "2.JPG"]
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = [np.array([name]) for name in names]
    savemat(tmp_path / "AllImages_release.mat", {"AllImages_release": cells})
    savemat(tmp_path / "AllMOS_release.mat", {"AllMOS_release": np.arange(9.0)[None]})
    savemat(tmp_path / "AllStdDev_release.mat", {"AllStdDev_release": np.ones((1, 9))})
    pictures(tmp_path / "images", ["1.BMP", "2.jpg"])
    data = datasets.load("live_itw", str(tmp_path), str(tmp_path / "images"))
    assert data.ids.image_name.tolist() == ["1.bmp", "2.JPG"]
    assert data.ids.MOS.tolist() == [7, 8]
    (tmp_path / "AllMOS_release.mat").unlink()
    with pytest.raises(InputError, match=r"not there: AllMOS_release\.mat; .*python -m koniq fetch live_itw gets it"):
        datasets.load("live_itw", str(tmp_path), str(tmp_path / "images"))


def biq_tables(folder, training=60, test=12):
    """BIQ2021's two tables, as they are written, of fewer pictures."""
    rng = np.random.default_rng(5)
    names = [f"ss0{1 + n % 3} ({n}).jpg" for n in range(training + test)]
    rows = [f"{name},{mos:.4f}" for name, mos in zip(names, rng.random(len(names)), strict=True)]
    folder.mkdir(exist_ok=True)
    (folder / "Train (Images and MOS).csv").write_text(
        "Image Name,MOS,,\n" + "".join(f"{r},,\n" for r in rows[:training])
    )
    (folder / "Test (Images and MOS).csv").write_text("Image Name,MOS\n" + "".join(f"{r}\n" for r in rows[training:]))
    return names


def test_biq2021_by_name_on_a_scale_of_100_with_a_tenth_of_training_to_validate(tmp_path, monkeypatch):
    names = biq_tables(tmp_path)
    pictures(tmp_path / "Images", [name.upper() for name in names])
    copies = [("biq2021", names[n].upper(), n // 2, n // 4) for n in range(20)] + [("live_itw", names[30], 1, 1)]
    monkeypatch.setattr(datasets, "NEAR_COPIES", tmp_path / "copies.csv")
    table(tmp_path / "copies.csv", copies, ("dataset", "image_name", "group", "scene"))
    data = datasets.load("biq2021", str(tmp_path), str(tmp_path / "Images"))
    assert data.scale.is_usual
    assert data.ids.set.value_counts().to_dict() == {"training": 54, "validation": 6, "test": 12}
    assert set(data.ids.image_name[data.ids.set == "test"]) == set(names[60:])
    assert data.ids.MOS.between(0, 100).all()
    assert data.ids.MOS.max() > 90
    assert data.ids.subset.tolist() == [1 + n % 3 for n in range(72)]
    assert data.ids.group.count() == 20
    assert data.ids.groupby("scene").set.nunique().max() == 1
    assert "times 100" in data.summary()
    again = datasets.load("biq2021", str(tmp_path), str(tmp_path / "Images"))
    assert again.ids.equals(data.ids)


@pytest.mark.parametrize(
    ("file_name", "text", "message"),
    [
        ("Test (Images and MOS).csv", "Image Name,MOS\nss01 (1).jpg,71\n", "should be BIQ2021's"),
        ("Test (Images and MOS).csv", "Image Name,MOS\nother.jpg,0.5\n", "should be BIQ2021's"),
        (
            "Train (Images and MOS).csv",
            "name,score\nss01 (1).jpg,0.5\n",
            "columns Image Name, MOS. Received: name, score",
        ),
        ("Train (Images and MOS).csv", None, "not there: Train .*python -m koniq fetch biq2021 gets it"),
    ],
)
def test_other_tables_than_those_of_biq2021_are_refused(tmp_path, file_name, text, message):
    biq_tables(tmp_path)
    (tmp_path / file_name).unlink() if text is None else (tmp_path / file_name).write_text(text)
    with pytest.raises(InputError, match=message):
        datasets.load("biq2021", str(tmp_path), str(tmp_path))


def test_live_is_divided_the_same_way_every_time(test_data):
    sets = datasets.live_division(str(test_data / "live_itw/Data"))
    assert sets.groupby(sets).size().to_dict() == {"training": 814, "calibration": 118, "test": 230}
    assert sets["246.bmp"] == sets["333.bmp"]
    assert sets[["100.bmp", "103.bmp", "104.bmp"]].tolist() == ["test", "test", "training"]
    mos = datasets.live_itw(str(test_data / "live_itw/Data"))[1].set_index("image_name").MOS
    means = mos.groupby(sets).mean()
    assert means.max() - means.min() < 1
