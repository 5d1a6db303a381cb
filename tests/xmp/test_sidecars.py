"""Where sidecars lie, and the rating that is read of them."""

import pytest
from xmp_files import DARKTABLE, ELEMENTS, LIGHTROOM, jpeg, packet

from koniq import xmp
from koniq.xmp import sidecars


def rated(path, value):
    path.write_bytes(packet(f'xmp:Rating="{value}"'))


def test_a_sidecar_is_called_after_the_whole_name_unless_a_raw_picture_has_the_shorter(tmp_path):
    picture, raw = jpeg(tmp_path / "IMG_1.jpg"), tmp_path / "IMG_1.CR3"
    assert xmp.sidecar(picture) == tmp_path / "IMG_1.jpg.xmp"
    assert xmp.sidecar(raw) == tmp_path / "IMG_1.CR3.xmp"
    rated(tmp_path / "IMG_1.xmp", 2)
    assert xmp.sidecar(picture) == tmp_path / "IMG_1.jpg.xmp"
    assert xmp.sidecar(raw) == tmp_path / "IMG_1.xmp"
    rated(tmp_path / "IMG_1.CR3.xmp", 2)
    assert xmp.sidecar(raw) == tmp_path / "IMG_1.CR3.xmp"


def test_capitals(tmp_path):
    rated(tmp_path / "IMG_1.XMP", 2)
    assert xmp.sidecar(tmp_path / "IMG_1.NEF").name.lower() == "img_1.xmp"
    assert xmp.rating(tmp_path / "IMG_1.NEF") == 2


def test_one_that_a_raw_picture_may_not_own(tmp_path):
    picture = jpeg(tmp_path / "IMG_1.jpg")
    assert sidecars.shared(picture) is None
    rated(tmp_path / "IMG_1.xmp", 2)
    assert sidecars.shared(picture) == tmp_path / "IMG_1.xmp"
    (tmp_path / "IMG_1.ARW").touch()
    assert sidecars.shared(picture) is None


def test_a_rating_is_of_the_longer_name_then_the_shorter_then_from_within(tmp_path):
    picture = jpeg(tmp_path / "IMG_1.jpg")
    assert xmp.rating(picture) is None
    jpeg(picture, packet('xmp:Rating="1"'))
    assert xmp.rating(picture) == 1
    rated(tmp_path / "IMG_1.xmp", 2)
    assert xmp.rating(picture) == 2
    rated(tmp_path / "IMG_1.jpg.xmp", 3)
    assert xmp.rating(picture) == 3
    (tmp_path / "IMG_1.jpg.xmp").write_text("no XML")
    assert xmp.rating(picture) == 2
    (tmp_path / "IMG_1.xmp").write_text(LIGHTROOM, encoding="utf-8")
    assert xmp.rating(str(picture)) == 1


def test_it_is_read_as_programs_write_it(tmp_path):
    for text, value in ((DARKTABLE, 1), (ELEMENTS, 2), (LIGHTROOM, None)):
        (tmp_path / "a.jpg.xmp").write_text(text, encoding="utf-8")
        assert xmp.rating(tmp_path / "a.jpg") == value


@pytest.mark.parametrize(
    ("value", "read"),
    [
        *(("-1", -1), ("0", 0), (" 5 ", 5), ("3.0", 3), ("2.5", 3)),
        *((none, None) for none in ("6", "-2", "", "many", "nan", "inf", "1e300")),
    ],
)
def test_what_is_no_rating_is_none(tmp_path, value, read):
    rated(tmp_path / "a.jpg.xmp", value)
    assert xmp.rating(tmp_path / "a.jpg") == read
    assert xmp.rating(tmp_path / "not there.jpg") is None
