"""`ku.damage`: files of which part is missing, and files of which nothing is that matters."""

import io
import zlib

import numpy as np
import pytest
from odd_files import chunk, encoded, photograph, with_chunks
from PIL import Image

from ku import damage
from ku.decoding import Truncated, decode_image

PICTURE = photograph((192, 256))
GREY_BELOW = Image.fromarray(np.concatenate([np.asarray(PICTURE), np.full((64, 256, 3), 128, np.uint8)]))
KINDS = {"baseline": {}, "progressive": {"progressive": True}, "4:4:4": {"subsampling": 0}, "grey": {}}


def jpeg(kind, picture=PICTURE):
    return encoded(picture.convert("L") if kind == "grey" else picture, "JPEG", quality=90, **KINDS[kind])


def cut(data, share):
    """A JPEG without the last of its pixels' bytes, and with an end marker again."""
    begun = data.rindex(b"\xff\xda")
    return data[: begun + 20 + round((len(data) - begun - 20) * share)] + damage.END


@pytest.mark.parametrize("kind", [*KINDS])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_jpeg_that_was_cut_and_closed_again_is_truncated(kind, share):
    data = cut(jpeg(kind), share)
    assert np.asarray(decode_image(data, "1")).std() > 0  # Pillow says nothing
    with pytest.raises(Truncated, match="ends before its pixels do"):
        decode_image(data)


@pytest.mark.parametrize("kind", [*KINDS])
def test_a_jpeg_that_lacks_its_end_marker_alone_is_whole(kind):
    data = jpeg(kind)
    with pytest.raises(OSError, match="truncated"):
        decode_image(data[:-2], "1")
    assert np.array_equal(np.asarray(decode_image(data[:-2])), np.asarray(decode_image(data)))
    with pytest.raises(Truncated):
        decode_image(data[: round(0.6 * len(data))])


@pytest.mark.parametrize("kind", [*KINDS])
@pytest.mark.parametrize("more", [b"", b"after the end", encoded(PICTURE, "JPEG")])
def test_grey_at_the_end_of_a_whole_picture_is_its_own(kind, more):
    data = jpeg(kind, GREY_BELOW)
    assert np.array_equal(np.asarray(decode_image(data + more)), np.asarray(decode_image(data, "1")))


def test_restarts_and_a_thumbnail_do_not_end_a_picture():
    exif = Image.Exif()
    exif[0x010E] = "x"
    data = encoded(GREY_BELOW, "JPEG", restart_marker_rows=1, exif=exif.tobytes() + encoded(PICTURE, "JPEG"))
    assert b"\xff\xd0" in data
    assert damage.last_scan(data) == (len(data) - 2, True)
    decode_image(data)
    with pytest.raises(Truncated):
        decode_image(cut(encoded(PICTURE, "JPEG", restart_marker_rows=1), 0.5))


def test_a_jpeg_that_ends_before_its_pixels_begin_is_truncated():
    data = jpeg("baseline")
    with pytest.raises(OSError, match=r"[Tt]runcated"):
        decode_image(data[: data.index(b"\xff\xda") + 8])


def test_a_flipped_bit_makes_no_truncated_picture():
    data = bytearray(jpeg("baseline", GREY_BELOW))
    data[-len(data) // 3] ^= 0x10
    decode_image(bytes(data))


LONG = b"x" * (2 << 20)
ODD_CHUNKS = {
    "text": lambda: with_chunks(encoded(PICTURE, "PNG"), chunk(b"iTXt", b"key\0\1\0\0\0" + zlib.compress(LONG))),
    "text after the pixels": lambda: with_chunks(
        encoded(PICTURE, "PNG"), chunk(b"zTXt", b"key\0\0" + zlib.compress(LONG)), before=b"IEND"
    ),
    "a short gAMA": lambda: with_chunks(encoded(PICTURE, "PNG"), chunk(b"gAMA", b"\0\1")),
    "a short cHRM": lambda: with_chunks(encoded(PICTURE, "PNG"), chunk(b"cHRM", b"\0\1")),
    "a short pHYs": lambda: with_chunks(encoded(PICTURE, "PNG"), chunk(b"pHYs", b"\0\1")),
    "a short sRGB": lambda: with_chunks(encoded(PICTURE, "PNG"), chunk(b"sRGB", b"")),
}


@pytest.mark.parametrize("odd", [*ODD_CHUNKS])
def test_a_png_is_read_whatever_else_is_in_it(odd):
    data = ODD_CHUNKS[odd]()
    with pytest.raises(ValueError, match=r"."), Image.open(io.BytesIO(data)) as image:
        image.load()
    assert np.array_equal(np.asarray(decode_image(data)), np.asarray(PICTURE))


def test_a_png_whose_text_is_too_long_stands_upright_all_the_same():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = with_chunks(
        encoded(PICTURE, "PNG", exif=exif.tobytes()), chunk(b"zTXt", b"key\0\0" + zlib.compress(LONG)), before=b"IEND"
    )
    assert np.array_equal(np.asarray(decode_image(data)), np.rot90(np.asarray(PICTURE), 3))


def test_a_png_without_its_end_is_read_and_one_without_its_pixels_is_not():
    data = encoded(PICTURE, "PNG")
    for cut in (12, 10, 6, 3):
        assert np.array_equal(np.asarray(decode_image(data[:-cut])), np.asarray(PICTURE))
    with pytest.raises(OSError, match="truncated"):
        decode_image(data[: len(data) // 2])
    broken = bytearray(data)
    broken[len(data) // 2] ^= 0xFF
    with pytest.raises((OSError, SyntaxError)):
        decode_image(bytes(broken))
    with pytest.raises(OSError, match="truncated"):
        decode_image(with_chunks(data[: len(data) // 2], chunk(b"gAMA", b"\0\1")))
