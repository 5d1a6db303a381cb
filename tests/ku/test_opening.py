"""`ku.opening` and `ku.raw`: formats told by what is in a file, RAW pictures, and what is never handed on."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from odd_files import dng, each_of, encoded, page, photograph, tiff
from PIL import Image, UnidentifiedImageError

from ku.decoding import decode_image, decoded, scale
from ku.opening import ENDINGS, PACKAGES, PILLOW, is_picture, opened

ROOT = Path(__file__).resolve().parents[2]
PICTURE = photograph((120, 160))
BAYER = photograph((600, 800), seed=3)


def shown(source):
    with opened(source) as image:
        return decoded(image)


def apart(one, other):
    return np.abs(np.asarray(one, int) - np.asarray(other, int)).mean()


@pytest.mark.parametrize("name", ["a.dng", "a.nef", "a.tif", "a.jpg", "none"])
def test_a_raw_picture_is_developed_whatever_it_is_called(tmp_path, name):
    pytest.importorskip("rawpy")
    path = each_of(tmp_path, {name: dng(BAYER)})[name]
    found = shown(path)
    assert found.size == BAYER.size
    assert found.note == "RAW: its developed pixels"
    assert apart(found.picture, BAYER) < 15 < 40 < apart(decode_image(path, "1").resize(BAYER.size), BAYER)
    assert decode_image(path, "1").size == (160, 120)  # by the first rules, on its thumbnail


@pytest.mark.parametrize(("orientation", "turned"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_the_full_size_preview_of_a_raw_picture_is_taken_and_turned(orientation, turned):
    pytest.importorskip("rawpy")
    preview = photograph((600, 800), seed=4)
    found = shown(dng(BAYER, encoded(preview, quality=95, subsampling=0), orientation))
    assert found.note == "RAW: its full-size preview"
    expected = np.rot90(np.asarray(preview), turned)
    assert found.size == expected.shape[1::-1]
    assert apart(found.picture, expected) < 3


def test_a_smaller_preview_is_not_taken():
    pytest.importorskip("rawpy")
    small = encoded(photograph((300, 400)), quality=95)
    assert shown(dng(BAYER, small)).note == "RAW: its developed pixels"


@pytest.mark.parametrize("preview", [True, False])
def test_a_raw_picture_is_no_larger_than_it_must_be(preview):
    pytest.importorskip("rawpy")
    with opened(dng(BAYER, encoded(BAYER, quality=95) if preview else None)) as image:
        scale(image, (300, 400))
        found = decoded(image)
    assert found.picture.size == (400, 300)
    assert found.size == (800, 600)
    assert apart(found.picture, BAYER.resize((400, 300), Image.Resampling.BOX)) < 15


def test_a_broken_raw_picture_says_so():
    pytest.importorskip("rawpy")
    with pytest.raises(OSError, match="LibRaw"):
        shown(io.BytesIO(b"FUJIFILMCCD-RAW " + bytes(4000)))
    with pytest.raises(OSError, match="broken header"):
        shown(dng(BAYER)[:5000])


@pytest.mark.parametrize("chained", [True, False])
def test_a_tiff_is_not_read_by_its_reduced_first_page(chained):
    small, whole = page(PICTURE.resize((40, 30)), t254=("I", 1)), page(PICTURE)
    data = tiff([small, whole], chained)
    assert decode_image(data, "1").size == (40, 30)
    if chained:
        assert np.array_equal(np.asarray(decode_image(data)), np.asarray(PICTURE))
    else:  # below it, where Pillow does not look
        pytest.importorskip("rawpy")
        with pytest.raises(OSError, match="LibRaw"):
            decode_image(data)


@pytest.mark.parametrize("name", ["rawpy", "pillow_heif", "pillow_jxl"])
def test_what_opens_a_format_is_named_where_it_is_not_there(monkeypatch, name):
    for module in [name, *(module for module in sys.modules if module.startswith(f"{name}."))]:
        monkeypatch.setitem(sys.modules, module, None)
    head = {
        "rawpy": dng(BAYER),
        "pillow_heif": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "pillow_jxl": b"\0\0\0\x0cJXL \r\n\x87\n",
    }[name]
    with pytest.raises(ModuleNotFoundError) as caught:
        shown(io.BytesIO(head))
    assert caught.value.name.split(".")[0] in PACKAGES.values()


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",  # Ghostscript's
        b"\x89HDF\r\n\x1a\n" + bytes(100),
        b"\0\0\x01\xb3" + bytes(100),  # MPEG
        b"GRIB\0\0\0\1" + bytes(100),
        b"SIMPLE  =                    T" + b" " * 2850,  # FITS
        b"BUFR" + bytes(100),
        b"\xd7\xcd\xc6\x9a" + bytes(100),  # WMF
        encoded(PICTURE.resize((32, 32)), "ICNS"),
        encoded(PICTURE.convert("1"), "XBM"),
    ],
)
def test_other_formats_of_pillow_never_see_a_file(monkeypatch, data):
    Image.init()
    for kind, (_, accept) in Image.OPEN.items():
        if kind not in PILLOW:
            monkeypatch.setitem(Image.OPEN, kind, (lambda *_: pytest.fail("it was handed on"), accept))
    with pytest.raises(UnidentifiedImageError, match="format of photographs"):
        decode_image(data)


def test_endings_are_those_of_photographs():
    assert {".jpg", ".png", ".tif", ".heic", ".avif", ".jxl", ".nef", ".cr3", ".webp"} < ENDINGS
    assert not {".eps", ".pdf", ".h5", ".hdf", ".mpg", ".fits", ".grib", ".wmf", ".icns"} & ENDINGS


def test_pictures_without_an_ending_are_known_by_their_headers(tmp_path):
    files = {"jpeg": encoded(PICTURE), "tiff": encoded(PICTURE, "TIFF"), "raw": dng(BAYER)}
    others = {"text": b"P6 is a plane", "empty": b"", "noise": np.random.default_rng(0).bytes(1000)}
    paths = each_of(tmp_path, files | others)
    assert [name for name, path in paths.items() if is_picture(path)] == [*files]


@pytest.mark.parametrize("turned", range(1, 9))
def test_heif_and_avif_and_jxl_are_turned(turned):
    heif, _ = pytest.importorskip("pillow_heif"), pytest.importorskip("pillow_jxl")
    heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = turned
    upright = decode_image(encoded(PICTURE, "JPEG", quality=100, exif=exif.tobytes()))
    for kind in ("HEIF", "AVIF", "JXL"):
        found = decode_image(encoded(PICTURE, kind, quality=95, exif=exif.tobytes()))
        assert found.size == upright.size, kind
        assert apart(found, upright) < 5, kind


def test_an_avif_is_the_first_picture_of_a_process(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "a.avif")
    code = f"from ku.opening import opened\nwith opened({str(tmp_path / 'a.avif')!r}) as image: print(image.size)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("(40, 30)\n", "")
