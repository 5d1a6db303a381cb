"""`ku.colour`: profiles of pictures, and their conversion to sRGB."""

import io

import numpy as np
import pytest
from odd_files import (
    PROFILES,
    chunk,
    cmyk_profile,
    encoded,
    grey_profile,
    in_space,
    photograph,
    table_profile,
    with_chunks,
)
from PIL import Image, ImageCms

from ku.colour import SRGB, NoProfile, conversion, matrix_profile, of_cicp
from ku.decoding import decode_image, decoded
from ku.opening import opened

ADOBE = PROFILES["Adobe RGB"]


def apart(one, other):
    """How far two pictures are apart in the mean, grey levels."""
    return np.abs(np.asarray(one, int) - np.asarray(other, int)).mean()


@pytest.mark.parametrize("space", [*PROFILES])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_the_same_colours_in_any_space_are_the_same_pixels(space, kind):
    picture = photograph()
    lossless = {"lossless": True} if kind == "WEBP" else {"quality": 100}
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
        lossless = {"quality": -1, "chroma": 444}
    how = {"subsampling": 0} if kind == "JPEG" else {"subsampling": "4:4:4"} if kind == "AVIF" else {}
    data = encoded(in_space(picture, PROFILES[space]), kind, icc_profile=PROFILES[space], **lossless, **how)
    assert apart(decode_image(data), picture) < 1.5
    if space != "sRGB":
        assert apart(decode_image(data, "1"), picture) > 3


def test_a_profile_of_tables_is_converted():
    picture = photograph()
    swapped = Image.fromarray(np.asarray(picture)[..., ::-1])
    data = encoded(swapped, "PNG", icc_profile=table_profile())
    assert apart(decode_image(data), picture) < 2 < apart(decode_image(data, "1"), picture)


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_a_profile_of_cmyk_is_converted(kind):
    inks = Image.new("CMYK", (32, 32), (200, 60, 20, 30))
    data = encoded(inks, kind, icc_profile=cmyk_profile(), **({"quality": 100} if kind == "JPEG" else {}))
    expected = [(255 - ink) * (255 - 30) / 255 for ink in (20, 60, 200)]
    found = np.asarray(decode_image(data)).reshape(-1, 3).mean(axis=0)
    assert np.abs(found - expected).max() < 6
    assert np.abs(np.asarray(decode_image(data, "1")).reshape(-1, 3).mean(axis=0) - expected).max() > 100


def test_profiles_of_cmyk_and_of_grey_are_converted():
    grey = photograph().convert("L")
    linear = ImageCms.createProfile("sRGB")  # of RGB: a grey picture may have it
    data = encoded(grey, "PNG", icc_profile=ImageCms.ImageCmsProfile(linear).tobytes())
    assert np.array_equal(np.asarray(decode_image(data)), np.asarray(grey.convert("RGB")))
    light = grey_profile()  # linear: what is 188 of 255 on a screen is half of its light
    for picture in (grey, grey.convert("LA")):
        half = Image.new(picture.mode, (8, 8), (128, 255)[: len(picture.getbands())])
        found = np.asarray(decode_image(encoded(half, "PNG", icc_profile=light)))
        assert np.abs(found.astype(int) - 188).max() <= 1
    with pytest.raises(NoProfile, match="not for CMYK"):
        conversion(ADOBE, "CMYK")
    data = encoded(photograph().convert("CMYK"), "TIFF", icc_profile=ADOBE)
    with opened(data) as image:
        found = decoded(image)
    assert "is not for CMYK" in found.note
    assert apart(found.picture, decode_image(data, "1")) == 0


def test_lab_is_converted_without_a_profile_of_its_own():
    picture = photograph()
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB", 5000), "RGB", "LAB")
    assert apart(decode_image(encoded(ImageCms.applyTransform(picture, to_lab), "TIFF")), picture) < 2


def test_srgb_by_whatever_profile_is_left_as_it_is():
    for profile in (PROFILES["sRGB"], ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()):
        assert conversion(profile, "RGB") is None
    assert conversion(ADOBE, "RGB") is not None


def test_other_tones_are_converted_before_they_are_averaged():
    for profile in (matrix_profile(SRGB, (1.0,)), PROFILES["ProPhoto"], ADOBE):
        assert conversion(profile, "RGB").early
    assert not conversion(PROFILES["Display P3"], "RGB").early


@pytest.mark.parametrize("profile", [b"no profile", ADOBE[:200], b"\0" * 500, matrix_profile(SRGB, (1.0,))[:-300]])
def test_a_broken_profile_costs_nothing_but_a_note(profile):
    picture = photograph()
    data = encoded(picture, "PNG", icc_profile=profile)
    with opened(data) as image:
        found = decoded(image)
    assert "profile is broken" in found.note
    assert np.array_equal(np.asarray(found.in_srgb()), np.asarray(picture))


def test_gamma_and_chromaticities_of_a_png():
    picture, png = photograph(), encoded(photograph(), "PNG")
    linear = Image.fromarray(np.round((np.asarray(picture) / 255) ** 2.2 * 255).astype(np.uint8))
    dark = with_chunks(encoded(linear, "PNG"), chunk(b"gAMA", (100000).to_bytes(4)), before=b"IDAT")
    assert apart(decode_image(dark), picture) < 3 < apart(decode_image(dark, "1"), picture)

    usual = with_chunks(png, chunk(b"gAMA", (45455).to_bytes(4)))  # what every PNG of a screen says
    assert np.array_equal(np.asarray(decode_image(usual)), np.asarray(picture))

    p3 = b"".join(value.to_bytes(4) for value in (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
    inside = encoded(in_space(picture, PROFILES["Display P3"]), "PNG")
    for chunks in ([chunk(b"gAMA", (45455).to_bytes(4)), chunk(b"cHRM", p3)], [chunk(b"cICP", bytes((12, 13, 0, 1)))]):
        assert apart(decode_image(with_chunks(inside, *chunks)), picture) < 2
    assert apart(decode_image(inside), picture) > 3


def test_what_cannot_be_converted_is_shown_as_srgb_with_a_note():
    data = with_chunks(encoded(photograph(), "PNG"), chunk(b"cICP", bytes((9, 16, 0, 1))))  # BT.2020, PQ: HDR
    with opened(data) as image:
        assert "cICP 9, 16" in decoded(image).note
    nowhere = chunk(b"cHRM", bytes(32))
    with opened(with_chunks(encoded(photograph(), "PNG"), nowhere)) as image:
        assert "chromaticities" in decoded(image).note
    assert of_cicp(1, 13) is None


def test_a_camera_that_says_adobe_rgb_in_exif_alone_is_believed():
    picture, exif = photograph(), Image.Exif()
    exif.get_ifd(0x8769).update({0xA001: 65535, 0xA005: {1: "R03"}})
    data = encoded(in_space(picture, ADOBE), "JPEG", quality=100, subsampling=0, exif=exif.tobytes())
    assert apart(decode_image(data), picture) < 2 < apart(decode_image(data, "1"), picture)


def test_a_profile_larger_than_pillow_takes_from_a_png():
    large = ADOBE + bytes(3 << 20)
    data = encoded(in_space(photograph(), ADOBE), "PNG", icc_profile=large)
    with pytest.raises(ValueError, match="too large"), Image.open(io.BytesIO(data)):
        pass
    assert apart(decode_image(data), photograph()) < 1.5
