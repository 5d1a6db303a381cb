import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from koniq.data import sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return sample.ensure(tmp_path_factory.mktemp("datasets") / "sample")


@pytest.fixture(scope="module")
def table(folder):
    return pd.read_csv(folder / "metadata" / sample.TABLE_NAME)


def test_the_table_is_koniqs(table):
    assert table.columns.tolist() == ["image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "set"]
    assert table.set.value_counts().to_dict() == sample.PICTURES
    shares = table[["c1", "c2", "c3", "c4", "c5"]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(25 * (shares @ np.arange(1, 6) - 1), table.MOS)
    assert table.MOS.between(0, 100).all()


def test_every_picture_is_there_at_koniqs_size(folder, table):
    assert {path.name for path in (folder / sample.IMAGES_NAME).iterdir()} == set(table.image_name)
    with Image.open(folder / sample.IMAGES_NAME / table.image_name[0]) as picture:
        assert (picture.format, picture.size) == ("JPEG", (512, 384))


def test_no_scene_is_in_two_sets(table):
    scenes = table.groupby("set").image_name.apply(
        lambda names: {name.split("_", 2)[2].rsplit("_", 1)[0] for name in names}
    )
    assert not scenes.training & scenes.validation
    assert not scenes.training & scenes.test
    assert not scenes.validation & scenes.test


def test_a_stronger_distortion_has_a_lower_label():
    rng = np.random.default_rng(0)
    mos = [sample.ratings(severity, rng)["MOS"] for severity in (0, 0.25, 0.5, 0.75, 1)]
    assert mos == sorted(mos, reverse=True)


@pytest.mark.parametrize("distort", sample.DISTORTIONS, ids=lambda distort: distort.__name__)
def test_a_stronger_distortion_is_further_from_the_picture(distort):
    picture = sample.crop(sample.scene("coffee"), sample.SIZE, np.random.default_rng(1))
    errors = []
    for severity in (0.05, 0.5, 1):
        distorted = np.asarray(distort(picture, severity, np.random.default_rng(2)), np.float64)
        errors.append(np.mean((distorted - np.asarray(picture)) ** 2))
    assert 0 < errors[0] < errors[1] < errors[2]


def test_the_sample_is_the_same_wherever_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "PICTURES", {"training": 80, "validation": 18, "test": 27})  # every distortion of some
    one, again = (sample.ensure(tmp_path / name) for name in ("one", "again"))
    files = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.is_file()]
    assert len(files) == 80 + 18 + 27 + 31
    for path in files:
        assert (one / path).read_bytes() == (again / path).read_bytes(), path


def test_a_sample_of_other_numbers_is_made_anew(tmp_path, monkeypatch):
    for count in (9, 18):
        monkeypatch.setattr(sample, "PICTURES", {"training": count, "validation": 2, "test": 3})
        folder = sample.ensure(tmp_path / "sample")
        assert len(list((folder / sample.IMAGES_NAME).iterdir())) == count + 5


def test_it_is_made_once_and_again_when_its_version_changes(folder):
    written = (folder / "sample.json").stat().st_mtime_ns
    assert sample.ensure(folder) == folder
    assert (folder / "sample.json").stat().st_mtime_ns == written
    assert "no person has rated" in json.loads((folder / "sample.json").read_text())["labels"]


def test_the_lifelog_has_lscs_layout_and_pictures_that_do_not_open(folder):
    listed = pd.read_csv(folder / "LSC21/lsc21-images.csv").image_path
    there = {path.relative_to(folder / "LSC21/lsc21-image").as_posix()
             for path in (folder / "LSC21/lsc21-image").rglob("*.*")}  # fmt: skip
    assert set(listed) - there == {"201901/01/20190101_225900_000.jpg"}
    assert there < set(listed)
    assert "2015-02-23/b00000000_21i6bq_20150223_070647e.jpg" in there
