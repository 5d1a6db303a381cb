"""`ku.decoding`: the rules by which a picture is decoded."""

import io

import numpy as np
import pytest
from odd_files import encoded, page, photograph, tiff
from PIL import Image, PngImagePlugin

from ku.decoding import RULES, decode_image, decoded, scale
from ku.opening import opened

PICTURE = photograph((60, 80))
PIXELS = np.asarray(PICTURE)
SEEN = {
    **{1: PIXELS, 2: PIXELS[:, ::-1], 3: PIXELS[::-1, ::-1], 4: PIXELS[::-1]},
    **{5: PIXELS.transpose(1, 0, 2), 6: np.rot90(PIXELS, 3), 7: np.rot90(PIXELS, 2).transpose(1, 0, 2)},
    **{8: np.rot90(PIXELS)},
}


def rgb(data, rules="2"):
    return np.asarray(decode_image(data, rules))


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", [*SEEN])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_every_orientation_in_every_format(orientation, kind):
    how = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(PICTURE, kind, exif=exif_of(orientation), **how)
    assert np.array_equal(rgb(data), SEEN[orientation])
    assert np.array_equal(rgb(data), rgb(data, "1"))
    if kind != "TIFF":  # which Pillow turns itself
        assert np.array_equal(rgb(data, "plain"), PIXELS)


@pytest.mark.parametrize("orientation", [3, 6])
def test_an_orientation_is_heeded_beside_a_tag_that_cannot_be_written_back(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x011A] = 72.0
    good = exif.tobytes()  # in the order of Motorola: a tag, its type, how many values
    text, whole = b"\x01\x1a\x00\x02\x00\x00\x00\x01", b"\x01\x1a\x00\x04\x00\x00\x00\x01"
    assert good.count(text[:2] + b"\x00\x05") == 1
    odd, wrong = (good.replace(b"\x01\x1a\x00\x05\x00\x00\x00\x01", other) for other in (text, whole))
    for data in (encoded(PICTURE, "PNG", exif=odd), encoded(PICTURE, "PNG", exif=wrong)):
        assert np.array_equal(rgb(data), SEEN[orientation])


def test_exif_is_read_and_never_written(monkeypatch):
    def refused(*_, **__):
        raise AssertionError("EXIF was written back")

    data = encoded(PICTURE, "PNG", exif=exif_of(6))
    monkeypatch.setattr(Image.Exif, "tobytes", refused)
    assert np.array_equal(rgb(data), SEEN[6])
    with pytest.raises(AssertionError):
        rgb(data, "1")


@pytest.mark.parametrize(
    "value", [("s", "6"), ("H", [0]), ("H", [99]), ("s", "no"), ("I", [6]), ("B", [6]), ("R", [6.0])]
)
def test_an_orientation_of_a_wrong_type_is_read_or_passed_over(value):
    found = rgb(tiff([page(PICTURE, t274=value)]))
    assert np.array_equal(found, SEEN[6]) or np.array_equal(found, PIXELS)


def test_broken_exif_says_nothing():
    for exif in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nothing at all", exif_of(6)[:14]):
        assert np.array_equal(rgb(encoded(PICTURE, "PNG", exif=exif)), PIXELS)


def test_orientation_in_xmp_alone():
    xmp = PngImagePlugin.PngInfo()
    xmp.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>')
    assert np.array_equal(rgb(encoded(PICTURE, "PNG", pnginfo=xmp)), SEEN[6])


def grey(levels, bits, **tags):
    """A TIFF of grey levels (height, width), of any type of NumPy's."""
    shape = page(Image.new("L", levels.shape[::-1]))
    more = {258: ("H", bits), 273: ("I", levels.tobytes()), 279: ("I", levels.nbytes)}
    return tiff([shape | more | {int(name[1:]): value for name, value in tags.items()}])


RAMP = np.linspace(0, 1, 64).reshape(8, 8)


@pytest.mark.parametrize(
    ("levels", "bits", "tags"),
    [
        ((RAMP * 65535).astype("<u2"), 16, {}),
        ((RAMP * 4095).astype("<u2"), 16, {"t281": ("H", 4095)}),
        ((RAMP * 1023).astype("<u2"), 16, {"t281": ("H", 1023), "t280": ("H", 0)}),
        ((RAMP * 32767).astype("<i2"), 16, {"t339": ("H", 2)}),
        ((RAMP * (2**31 - 1)).astype("<i4"), 32, {"t339": ("H", 2)}),
        ((RAMP * (2**32 - 1)).astype("<u4"), 32, {"t339": ("H", 1)}),
        (RAMP.astype("<f4"), 32, {"t339": ("H", 3)}),
        ((RAMP * 0.5).astype("<f4"), 32, {"t339": ("H", 3), "t281": ("H", 1)}),
    ],
)
@pytest.mark.parametrize("share", [1.0, 0.4])
def test_grey_is_scaled_by_its_type_or_its_tags_and_never_by_its_extremes(levels, bits, tags, share):
    half = 0.5 if levels.dtype == "<f4" and "t281" in tags else 1.0
    part = (levels * share).astype(levels.dtype)
    found = rgb(grey(part, bits, **tags)).astype(int)
    assert np.abs(found[..., 0] - RAMP * half * share * 255).max() <= 1
    assert (found[..., 0] == found[..., 2]).all()


def test_12_bits_and_white_at_0():
    twelve = np.zeros((8, 12), np.uint8)  # 8 x 8 of 12 bits, packed: two in three bytes
    twelve[:, 0::3], twelve[:, 1::3], twelve[:, 2::3] = 0x80, 0x08, 0x00  # 0x800 each
    found = rgb(tiff([page(Image.new("L", (8, 8))) | {258: ("H", 12), 273: ("I", twelve.tobytes()), 279: ("I", 96)}]))
    assert set(found.ravel()) == {128}
    white = grey((RAMP * 65535).astype("<u2"), 16, t262=("H", 0))
    assert np.abs(rgb(white)[..., 0].astype(int) - (1 - RAMP) * 255).max() <= 1


def test_a_dark_float_picture_is_as_dark_as_it_was():
    """By the first rules a float picture that stays below 1 and one that does not are scaled by other numbers."""
    dark, bright = RAMP.astype("<f4"), np.where(RAMP > 0.99, 1.5, RAMP).astype("<f4")
    kind = {"t339": ("H", 3)}
    new = [rgb(grey(levels, 32, **kind))[0, 3] for levels in (dark, bright)]
    old = [rgb(grey(levels, 32, **kind), "1")[0, 3] for levels in (dark, bright)]
    assert (new[0] == new[1]).all()
    assert (old[0] != old[1]).any()


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("at_least", "kept"), [((100, 100), 4), ((200, 300), 2), ((301, 300), 1), ((10, 10), 8)])
def test_a_jpeg_is_scaled_no_further_than_it_may_be(orientation, at_least, kept):
    large = photograph((600, 800))
    data = encoded(large, "JPEG", quality=95, exif=exif_of(orientation))
    with opened(data) as image:
        scale(image, at_least if orientation == 1 else at_least[::-1])
        found = decoded(image)
    assert found.size == ((800, 600) if orientation == 1 else (600, 800))
    assert found.picture.size == tuple(side // kept for side in found.size)
    close = np.asarray(decode_image(data).resize(found.picture.size, Image.Resampling.BOX), int)
    assert np.abs(np.asarray(found.picture) - close).mean() < 1.5


def test_what_is_cut_is_truncated_when_it_is_scaled_too():
    data = encoded(photograph((600, 800)), "JPEG", quality=95)
    with opened(data[: len(data) // 2] + b"\xff\xd9") as image:
        scale(image, (100, 100))
        with pytest.raises(OSError, match="ends before its pixels"):
            decoded(image)


def test_a_file_of_the_callers_stays_open_and_rules_have_names(tmp_path):
    file = io.BytesIO(encoded(PICTURE, "PNG"))
    file.seek(7)
    assert np.array_equal(rgb(file), PIXELS)
    assert not file.closed
    with pytest.raises(ValueError, match=r"rules should be one of 2, 1, plain\. Received: rules='3'"):
        decode_image(file, "3")
    assert set(RULES) == {"1", "2", "plain"}


def test_plain_is_pillows_own():
    clear = Image.new("RGBA", (4, 4), (200, 100, 50, 0))
    assert rgb(encoded(clear, "PNG"), "plain").tolist() == np.asarray(clear.convert("RGB")).tolist()
    assert set(rgb(encoded(clear, "PNG")).ravel()) == {255}
