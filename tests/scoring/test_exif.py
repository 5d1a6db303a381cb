from datetime import datetime

import pandas as pd
import pytest
from dated import photograph

from koniq.ground import InputError
from koniq.scoring import exif, taken


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_a_photograph_says_when_it_was_taken(tmp_path, kind):
    path = photograph(tmp_path / f"a.{kind}", "2016:08:15 13:13:15", "+02:00", "0678")
    assert exif.taken_at(path) == (datetime(2016, 8, 15, 13, 13, 15, 67000), True)
    path = photograph(tmp_path / f"b.{kind}", "2016:08:15 13:13:15")
    assert exif.taken_at(path) == (datetime(2016, 8, 15, 13, 13, 15), False)


@pytest.mark.parametrize(
    ("time", "offset", "fraction", "expected"),
    [
        ("2016-08-15 13:13:15", "-0730", "5", (datetime(2016, 8, 15, 13, 13, 15, 500000), True)),
        (b"2016:08:15 13:13:15", "   :  ", "  ", (datetime(2016, 8, 15, 13, 13, 15), False)),
        ("0000:00:00 00:00:00", "", "", None),
        ("2016:02:30 00:00:00", "", "", None),
        ("0001:01:01 00:00:00", "", "", None),
        ("    :  :     :  :  ", "", "", None),
        ("yesterday", "+01:00", "1", None),
    ],
)
def test_what_cameras_write_and_what_they_leave_blank(tmp_path, time, offset, fraction, expected):
    assert exif.taken_at(photograph(tmp_path / "a.jpg", time, offset, fraction)) == expected


def test_what_is_no_picture_says_nothing(tmp_path):
    whole = photograph(tmp_path / "a.jpg", "2016:08:15 13:13:15").read_bytes()
    for name, content in (("text.jpg", b"no picture"), ("empty.jpg", b""), ("cut.jpg", whole[:60])):
        (tmp_path / name).write_bytes(content)
        assert exif.taken_at(tmp_path / name) is None
    assert exif.taken_at(tmp_path / "absent.jpg") is None


def test_files_of_the_torture_set_say_a_time_or_nothing(test_data):
    folder = test_data / "torture"
    for path in sorted(folder.rglob("*"))[::7]:
        found = exif.taken_at(path) if path.is_file() else None
        assert found is None or found[0].year in exif.YEARS


def test_pictures_are_opened_where_their_names_say_no_time(tmp_path, monkeypatch):
    names = ["IMG_20230102_030405.jpg", "DSC_1.jpg", "2016-08-15/DSC_2.jpg", "PXL_20230102_230405678.jpg", "gone.jpg"]
    for name in names[:4]:
        photograph(tmp_path / name, "2020:01:01 10:00:00", "+01:00" if name.startswith("PXL") else "", "25")
    opened, read = [], exif.taken_at
    monkeypatch.setattr(exif, "taken_at", lambda path: opened.append(path.name) or read(path))
    table, roots = pd.Series(names, index=[3, 1, 4, 1, 5]), [str(tmp_path / "none"), str(tmp_path)]
    found = taken.times(table, "auto", roots)
    assert sorted(opened) == ["DSC_1.jpg", "DSC_2.jpg", "PXL_20230102_230405678.jpg"]
    assert found.clock.tolist() == [taken.NAME, taken.CAMERA, taken.CAMERA, taken.ZONED, taken.NOTHING]
    assert found.index.tolist() == table.index.tolist()
    by_exif = pd.Timestamp("2020-01-01 10:00:00.250")
    assert found.time.tolist() == [pd.Timestamp("2023-01-02 03:04:05"), *[by_exif] * 3, pd.NaT]
    assert found.day.tolist() == [pd.Timestamp("2023-01-02"), *[pd.Timestamp("2020-01-01")] * 3, pd.NaT]
    assert taken.times(table, "exif", roots).clock.tolist()[0] == taken.CAMERA
    del opened[:]
    assert taken.times(table, "names", roots).clock.tolist() == [
        *(taken.NAME, taken.NOTHING, taken.FOLDER_DAY, taken.NAME_UTC, taken.NOTHING)
    ]
    assert opened == []
    with pytest.raises(InputError, match="times should be one of auto, exif, names, folders"):
        taken.times(table, "clocks", roots)
