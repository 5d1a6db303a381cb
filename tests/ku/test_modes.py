"""Pictures of every mode of Pillow: what a viewer shows of them, wherever `ku` takes them."""

import io
import struct
import warnings
import zlib

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, ImageCms

from ku.image_augmenter import ImageAugmenter, resize_image
from ku.image_utils import decode_image, imv, resize_folder, write_image
from ku.modes import as_image, as_rgb, as_uint8, opaque

pytestmark = pytest.mark.any_backend

GREY = np.repeat(np.array([[40] * 6, [40, 40, 200, 200, 40, 40], [200] * 6, [90] * 6], np.uint8), 3, axis=0)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)
ALPHA = np.where(np.arange(6) < 3, 255, np.where(np.arange(6) < 5, 102, 0)).astype(np.uint8) * np.ones_like(GREY)
OVER_WHITE = np.rint((COLOUR * (ALPHA / 255)[..., None]) + 255 - ALPHA[..., None]).astype(np.uint8)
GREY_OVER_WHITE = np.rint(GREY * (ALPHA / 255) + 255 - ALPHA).astype(np.uint8)
LAYER = Image.fromarray(np.dstack([COLOUR, ALPHA]))
GREY_LAYER = Image.fromarray(np.dstack([GREY, ALPHA]))


def grey(levels: np.ndarray) -> np.ndarray:
    return np.repeat(levels[..., None], 3, axis=-1)


def of_bytes(mode: str, values: np.ndarray) -> Image.Image:
    return Image.frombytes(mode, values.shape[::-1], values.tobytes())


def with_key(image: Image.Image, key) -> Image.Image:
    image.info["transparency"] = key
    return image


def palette_with_alpha() -> Image.Image:
    image = Image.fromarray(GREY).convert("P")
    image.putpalette(
        [value for level in range(256) for value in (level, level, level, 0 if level == 40 else 255)], "RGBA"
    )
    return image


def palette_and_alpha() -> Image.Image:
    image = Image.fromarray(GREY).convert("P").convert("PA")
    image.putalpha(Image.fromarray(ALPHA))
    return image


WITHOUT_40 = grey(np.where(GREY == 40, 255, GREY).astype(np.uint8))
LIGHT = GREY > 100

# A picture of each mode, and what a viewer shows of it.
PICTURES = {
    "1": (Image.fromarray(LIGHT), grey(LIGHT * np.uint8(255))),
    "L": (Image.fromarray(GREY), grey(GREY)),
    "L, a key": (with_key(Image.fromarray(GREY), 40), WITHOUT_40),
    "LA": (GREY_LAYER, grey(GREY_OVER_WHITE)),
    "La": (GREY_LAYER.convert("La"), grey(GREY_OVER_WHITE)),
    "P": (Image.fromarray(GREY).convert("P"), grey(GREY)),
    "P, a key": (with_key(Image.fromarray(GREY).convert("P"), 40), WITHOUT_40),
    "P, alpha": (palette_with_alpha(), WITHOUT_40),
    "PA": (palette_and_alpha(), grey(GREY_OVER_WHITE)),
    "RGB": (Image.fromarray(COLOUR), COLOUR),
    "RGB, a key": (with_key(Image.fromarray(grey(GREY)), (40, 40, 40)), WITHOUT_40),
    "RGBA": (LAYER, OVER_WHITE),
    "RGBa": (LAYER.convert("RGBa"), OVER_WHITE),
    "RGBX": (Image.fromarray(COLOUR).convert("RGBX"), COLOUR),
    "CMYK": (Image.fromarray(COLOUR).convert("CMYK"), COLOUR),
    "YCbCr": (Image.fromarray(COLOUR).convert("YCbCr"), COLOUR),
    "HSV": (Image.fromarray(COLOUR).convert("HSV"), COLOUR),
    "LAB": (Image.fromarray(COLOUR).convert("LAB"), COLOUR),
    "I": (Image.fromarray(GREY * np.int32(257)), grey(GREY)),
    "I;16": (Image.fromarray(GREY * np.uint16(257)), grey(GREY)),
    "I;16, a key": (with_key(Image.fromarray(GREY * np.uint16(257)), 40 * 257), WITHOUT_40),
    "I;16L": (of_bytes("I;16L", (GREY * np.uint16(257)).astype("<u2")), grey(GREY)),
    "I;16B": (of_bytes("I;16B", (GREY * np.uint16(257)).astype(">u2")), grey(GREY)),
    "I;16N": (of_bytes("I;16N", (GREY * np.uint16(257)).astype("=u2")), grey(GREY)),
    "F of 1": (Image.fromarray(GREY / np.float32(200)), grey(np.rint(GREY / 200 * 255).astype(np.uint8))),
    "F of 255": (Image.fromarray(GREY.astype(np.float32)), grey(GREY)),
}
CASES = [pytest.param(*case, id=name) for name, case in PICTURES.items()]


def close(image: Image.Image | np.ndarray, expected: np.ndarray, off: int = 6) -> None:
    """Colour spaces of 8 bits a channel do not give every colour back exactly."""
    np.testing.assert_allclose(np.asarray(image).astype(int), expected.astype(int), atol=off)


def test_every_mode_of_pillow_is_here():
    assert set(Image.MODES) <= {image.mode for image, _ in PICTURES.values()}


@pytest.mark.parametrize(("image", "expected"), CASES)
def test_as_rgb_is_what_a_viewer_shows(image, expected):
    before = image.copy()
    rgb = as_rgb(image)
    assert rgb.mode == "RGB"
    assert rgb is not image
    close(rgb, expected)
    assert image == before


@pytest.mark.parametrize(("image", "expected"), CASES)
@pytest.mark.parametrize("size", [(36, 18), (7, 5), (12, 6)])
def test_resize_filters_every_mode_as_it_does_rgb(image, expected, size):
    """Each pixel is a mean of those near it, and within the range of the picture, or where alpha is kept near it."""
    resized = resize_image(image, size)
    assert resized.mode in ("L", "LA", "RGB", "RGBA")
    assert resized.size == size[::-1]
    close(
        as_rgb(resized), np.asarray(resize_image(Image.fromarray(expected), size)), 20 if image.mode[-1] == "A" else 8
    )


@pytest.mark.parametrize(("image", "expected"), CASES)
def test_resize_gives_one_mode_whatever_the_size(image, expected):
    assert resize_image(image, 1).mode == resize_image(image, 2).mode
    if image.mode in ("L", "LA", "RGB", "RGBA") and "transparency" not in image.info:
        assert resize_image(image, 2).mode == image.mode


@pytest.mark.parametrize(("image", "expected"), CASES)
@pytest.mark.parametrize("ending", ["png", "bmp", "jpg", "tif", "webp"])
def test_write_image_takes_every_mode_in_every_format(image, expected, ending, tmp_path):
    write_image(image, tmp_path / f"x.{ending}", quality=100)
    read = np.asarray(decode_image(tmp_path / f"x.{ending}"))
    if ending in ("jpg", "webp"):  # which keep a colour for four pixels
        close(read.mean(axis=(0, 1)), expected.mean(axis=(0, 1)), 10)
    else:
        close(read, expected)
    with Image.open(tmp_path / f"x.{ending}") as written:
        assert written.mode in ("L", "RGB")


@pytest.mark.parametrize(("image", "expected"), CASES)
def test_augmenter_takes_every_mode(image, expected):
    augmenter = ImageAugmenter(image)
    assert augmenter.result.dtype == np.uint8
    close(opaque(augmenter.result).convert("RGB"), expected)
    turned = augmenter.rotate(90, random=False).rotate(-90, random=False).fliplr(True).result_image
    close(turned.convert("RGB").crop((2, 5, 4, 7)), expected[5:7, ::-1][:, 2:4])


@pytest.mark.parametrize(("image", "expected"), CASES)
def test_pictures_are_drawn_as_a_viewer_shows_them(image, expected):
    figure = imv(image, remap=False, figsize=(1, 1))
    drawn = figure.axes[0].images[0].get_array() * 255
    close(drawn if drawn.ndim == 3 else grey(drawn), expected)
    plt.close(figure)


def test_resize_folder_takes_what_process_fn_returns(tmp_path):
    write_image(COLOUR, tmp_path / "in" / "x.png")
    for name, (image, expected) in PICTURES.items():
        target = tmp_path / name
        assert resize_folder(tmp_path / "in", target, (12, 6), format_dst="png", process_fn=lambda x: image) == []  # noqa: B023
        close(decode_image(target / "x.png"), expected)


def test_orientation_counts_once_and_only_if_there(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for ending in ("png", "jpg", "tif"):
        path = tmp_path / f"x.{ending}"
        Image.fromarray(np.rot90(GREY)).save(path, exif=exif, tiffinfo={0x0112: 6}, quality=100)
        with Image.open(path) as image:
            close(as_rgb(image), grey(GREY), 20)
        with Image.open(path) as image:
            close(resize_image(image, (12, 6)).convert("RGB"), grey(GREY), 20)
        with Image.open(path) as image:
            write_image(image, tmp_path / "written.jpg", quality=100)
        close(decode_image(tmp_path / "written.jpg"), grey(GREY), 20)
        decoded = decode_image(path)
        close(decoded, grey(GREY), 20)
        close(resize_image(decoded, (12, 6)), grey(GREY), 20)


def test_an_orientation_that_stays_in_the_metadata_turns_nothing_twice():
    """Pillow takes it out of XMP where it is written in double quotes, or as an element, alone."""
    image = Image.fromarray(np.rot90(GREY)).convert("RGB")
    image.info["xmp"] = b'<x tiff:Orientation="6" /><tiff:Orientation >6</tiff:Orientation >'
    exif = image.getexif()
    exif[0x0112] = 6
    image.info["exif"] = b"Exif\0\0" + exif.tobytes()
    close(as_rgb(as_rgb(image)), grey(GREY))
    assert not {"exif", "xmp"} & set(as_rgb(image).info)


def test_plain_pictures_are_returned_as_they_are():
    for name in ("L", "LA", "RGB", "RGBA"):
        assert as_image(PICTURES[name][0]) is PICTURES[name][0]
    for name in ("L", "RGB"):
        assert opaque(PICTURES[name][0]) is PICTURES[name][0]


def test_arrays_become_pictures_by_their_channels():
    for channels, mode in [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")]:
        assert as_image(np.zeros((2, 3, channels))).mode == mode
    assert np.asarray(as_image(LIGHT)).tolist() == (LIGHT * 255).tolist()
    close(opaque(np.dstack([COLOUR, ALPHA])), OVER_WHITE, 1)
    for shape in [(2, 3, 5), (2,), (0, 3), (2, 3, 0), (1, 2, 3, 3)]:
        with pytest.raises(ValueError, match=r"x should be a picture, .* Received: an array of shape"):
            as_image(np.zeros(shape))


def test_values_that_are_no_numbers_become_black_in_silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert as_uint8(np.array([np.nan, np.inf, -np.inf, 1.5])).tolist() == [0, 255, 0, 2]


def tiff(levels: np.ndarray, bits: int, photometric: int) -> bytes:
    """A little-endian TIFF of one strip of grey in 12 bits (two levels in three bytes) or in 16."""
    height, width = levels.shape
    if bits == 16:
        strip = levels.astype("<u2").tobytes()
    else:
        strip = b"".join(int(a << 12 | b).to_bytes(3, "big") for a, b in levels.reshape(-1, 2).tolist())
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)]
    tags += [(278, height), (279, len(strip))]
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    return struct.pack("<2sHI", b"II", 42, 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(("bits", "photometric"), [(12, 1), (16, 1), (16, 0)])
def test_tiffs_say_how_many_bits_and_whether_0_is_white(bits, photometric):
    white = 2**bits - 1
    levels = np.rint(GREY / 255 * white).astype(int)
    data = tiff(levels if photometric else white - levels, bits, photometric)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "I;16"
        np.testing.assert_array_equal(as_rgb(image), grey(GREY))
    np.testing.assert_array_equal(decode_image(data), grey(GREY))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_a_transparent_colour_of_16_bits_a_channel():
    pixels = np.array([[[0x1200, 0x3401, 0x5602], [0x0012, 0x0134, 0x0256]]], ">u2")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    body = chunk(b"tRNS", pixels[0, 0].tobytes()) + chunk(b"IDAT", zlib.compress(b"\0" + pixels.tobytes()))
    data = b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b"")
    assert np.asarray(decode_image(data)).tolist() == [[[255, 255, 255], [0, 1, 2]]]


def test_a_profile_of_another_space_is_left_out(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for mode, kept in [("RGB", True), ("CMYK", False)]:
        image = Image.fromarray(COLOUR).convert(mode)
        image.info["icc_profile"] = profile
        write_image(image, tmp_path / "x.png")
        with Image.open(tmp_path / "x.png") as written:
            assert ("icc_profile" in written.info) is kept
