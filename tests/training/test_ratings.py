"""Ratings out of tables as people and their programs write them."""

import json

import pytest
from PIL import Image
from xmp_files import DARKTABLE

from koniq.ground import InputError
from koniq.training import ratings


@pytest.fixture
def folder(tmp_path):
    """Pictures a.jpg to d.jpg in `photos`."""
    (tmp_path / "photos").mkdir()
    for name in "abcd":
        Image.new("RGB", (8, 8)).save(tmp_path / f"photos/{name}.jpg")
    return tmp_path


def table(folder, text, name="mine.csv"):
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize("column", ["rating", "Stars", "MOS", "score", "RATING"])
def test_the_column_of_ratings_is_found_by_what_it_is_called(folder, column):
    rated = ratings.read(table(folder, f"image_name,{column}\na.jpg,3\nb.jpg,4.5\n"), folder / "photos")
    assert rated.columns.tolist() == ["name", "rating", "image_path"]
    assert dict(zip(rated.name, rated.rating, strict=True)) == {"a.jpg": 3, "b.jpg": 4.5}
    assert [*rated.image_path] == [folder / "photos/a.jpg", folder / "photos/b.jpg"]


def test_rows_without_a_rating_are_none_and_of_several_the_mean_counts(folder):
    text = "image_path;mine;group\nphotos/a.jpg;1,5;x\nphotos/b.jpg;;x\nphotos\\c.jpg;nan;\nphotos/a.jpg;2,5;\n"
    rated = ratings.read(table(folder, text + "photos/d.jpg;-7;\n"), column="mine")
    assert rated.name.tolist() == ["photos/a.jpg", "photos/d.jpg"]
    assert rated.rating.tolist() == [2, -7]
    assert rated.group.tolist() == ["x", None]


def test_pictures_lie_where_the_table_or_its_facts_say(folder):
    path = table(folder, "image_path,MOS,stars\na.jpg,40,5\nb.jpg,50,1\n")
    with pytest.raises(
        InputError, match=r"should hold the 2 pictures of .*mine\.csv, such as a\.jpg, \.\.\.\. Received"
    ):
        ratings.read(path, column="stars")
    path.with_name("mine.csv.json").write_text(json.dumps({"roots": [str(folder / "photos")]}))
    assert ratings.read(path, column="stars").image_path.tolist() == [folder / "photos/a.jpg", folder / "photos/b.jpg"]


def test_a_picture_that_is_nowhere_keeps_its_row(folder):
    rated = ratings.read(table(folder, "image_name,stars\na.jpg,1\nnone.jpg,2\n"), folder / "photos")
    assert [path.is_file() for path in rated.image_path] == [True, False]


@pytest.mark.parametrize(
    ("text", "how", "said"),
    [
        (
            "image_name,liked\na.jpg,1\n",
            {},
            "the scores in a column rating or ratings or stars; --column names another",
        ),
        ("name,stars\na.jpg,1\n", {}, "should have a column image_path or image_name"),
        ("image_name,stars\na.jpg,1\n", {"column": "MOS"}, "the scores in a column MOS"),
        ("image_name,stars,MOS\na.jpg,1,9\n", {}, "should have one column of ratings. Received: stars, MOS"),
        ("image_name,stars\na.jpg,good\n", {}, "The column stars of .* should hold numbers. Received: 'good' in row 1"),
        ("image_name,stars\na.jpg,1\n", {"group_column": "day"}, "should have the column day. Received: image_name"),
        ("image_name,stars\na.jpg,1\n", {"images": "nowhere"}, "should lie in nowhere, which is not there"),
        ("", {}, "Received: an empty file"),
    ],
)
def test_what_is_wrong_is_one_sentence(folder, text, how, said):
    with pytest.raises(InputError, match=said):
        ratings.read(table(folder, text), **how)


def test_no_table(folder):
    with pytest.raises(InputError, match=r"should be at .*none\.csv, and is not there"):
        ratings.read(folder / "none.csv")


def test_stars_in_xmp(folder):
    for name, stars in (("a.jpg.xmp", 5), ("b.xmp", 2), ("c.jpg.xmp", 0), ("d.jpg.xmp", -1)):
        (folder / "photos" / name).write_text(DARKTABLE.replace('xmp:Rating="1"', f'xmp:Rating="{stars}"'))
    rated = ratings.in_xmp([str(folder / "photos")])
    assert dict(zip(rated.name, rated.rating, strict=True)) == {"a.jpg": 5, "b.jpg": 2, "d.jpg": 0}
    assert rated.image_path.tolist() == [folder / f"photos/{name}.jpg" for name in "abd"]


def test_pictures_without_stars(folder):
    with pytest.raises(InputError, match=r"should have ratings in XMP.*Received: 4 pictures without one"):
        ratings.in_xmp([str(folder / "photos")])
