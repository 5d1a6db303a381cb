"""`koniq.pictures.decoding`: one place that decodes, by rules with names; what becomes of large and of odd pictures."""

import io
import json
import sys

import numpy as np
import pytest
from odd_files import PROFILES, dng, encoded, in_space, photograph
from PIL import Image

from koniq.network import KONCEPT512, KONCEPT_LITE
from koniq.pictures import as_seen, decode
from koniq.pictures.decoding import RULES, thumbnail, whole
from koniq.pictures.room import MEGAPIXELS, size_in_memory
from ku.image_utils import decode_image, resize_image
from ku.opening import opened

SMALL = KONCEPT_LITE.at((48, 64))
PICTURE = photograph((192, 256))


def seen(data, **how):
    return decode(data, SMALL.at(**how))


def test_the_first_rules_and_the_newest_give_the_same_pixels_of_real_photographs(test_data):
    folders = ("live_itw/Images", "biq2021/images", "koniq10k/512x384", "koniq10k/1024x768", "torture/exif_orientation")
    paths = [path for folder in folders for path in sorted((test_data / folder).iterdir())]
    differ = []
    for path in paths[:: 1 if len(paths) < 50 else 7]:
        with whole(path) as new, whole(path, "1") as old:
            same = new.size == old.size and new.to_srgb is None
            if not (same and np.array_equal(np.asarray(new.picture), np.asarray(old.picture))):
                differ.append(path.name)
    assert len(paths) > 2100
    assert differ == []


@pytest.mark.long
def test_all_real_photographs_are_the_same_by_both_rules(test_data):
    paths = [path for name in ("live_itw/Images", "biq2021/images") for path in (test_data / name).iterdir()]
    assert [p.name for p in paths if not np.array_equal(decode_image(p), decode_image(p, "1"))] == []


def test_dct_scaling_moves_real_photographs_by_half_a_grey_level_at_most(test_data):
    network, apart = KONCEPT512.at((48, 64)), []
    for path in (
        sorted((test_data / "koniq10k/1024x768").iterdir()) + sorted((test_data / "live_itw/Images").iterdir())[:60]
    ):
        if path.suffix.lower() in (".jpg", ".jpeg"):
            full, scaled = (decode(path, network.at(dct_scaling=on)).pixels.astype(int) for on in (False, True))
            apart.append(np.abs(full - scaled).mean())
    assert len(apart) > 50
    assert 0 < np.mean(apart) <= 0.5


@pytest.mark.parametrize("orientation", [1, 6])
def test_dct_scaling_keeps_twice_the_target_and_says_the_full_size(monkeypatch, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photograph((600, 800)), quality=95, exif=exif.tobytes())
    found = seen(data, dct_scaling=True)
    assert (found.width, found.height) == ((800, 600) if orientation == 1 else (600, 800))
    asked = []
    monkeypatch.setattr("ku.decoding.scale", lambda image, at_least: asked.append(at_least))
    seen(data, dct_scaling=True)
    assert asked == [[96, 128]]
    for how in ({}, {"rules": "1", "dct_scaling": True}, {"rules": "study", "dct_scaling": True}):
        seen(data, **how)
    assert len(asked) == 1


def test_rules_of_the_study_take_the_nearest_pixel_as_it_stands():
    exif = Image.Exif()
    exif[0x0112] = 3
    data = encoded(PICTURE, quality=95, exif=exif.tobytes(), icc_profile=PROFILES["ProPhoto"])
    with Image.open(io.BytesIO(data)) as image:  # Keras's load_img(..., interpolation="nearest")
        own = np.asarray(image.convert("RGB").resize((64, 48), Image.Resampling.NEAREST))
    assert np.array_equal(seen(data, rules="study").pixels, own)
    assert SMALL.at(rules="study").resize == "nearest"
    assert SMALL.at(rules="study", resize="box").resize == "box"
    assert set(RULES) == {"2", "1", "study"}


@pytest.mark.long
def test_rules_of_the_study_are_those_of_keras(test_data):
    from keras.utils import img_to_array, load_img

    network = KONCEPT512.at(rules="study")
    for folder in ("koniq10k/1024x768", "live_itw/Images", "torture/exif_orientation"):
        for path in sorted((test_data / folder).iterdir())[:12]:
            own = img_to_array(load_img(path, target_size=network.input_size, interpolation="nearest"))
            assert np.array_equal(decode(path, network).pixels, own), path.name


@pytest.mark.parametrize("space", ["Display P3", "Adobe RGB", "ProPhoto"])
def test_colours_are_converted_in_what_is_scored_and_in_thumbnails(space):
    data = encoded(in_space(PICTURE, PROFILES[space]), "PNG", icc_profile=PROFILES[space])
    plain = encoded(PICTURE, "PNG")
    for show in (lambda file: seen(file).pixels, lambda file: np.asarray(thumbnail(file, 80))):
        assert np.abs(show(data).astype(int) - show(plain)).mean() < 1
    assert np.abs(seen(data, rules="1").pixels.astype(int) - seen(plain).pixels).mean() > 3


def test_notes_of_pictures_that_are_scored():
    assert seen(encoded(PICTURE, icc_profile=b"broken")).note == "its profile is broken, and is not applied"
    assert seen(encoded(PICTURE)).note == ""
    pytest.importorskip("rawpy")
    found = seen(dng(photograph((600, 800))))
    assert (found.status, found.note) == ("ok", "RAW: its developed pixels")


@pytest.mark.parametrize(("module", "kind", "extra"), [("rawpy", "RAW", "raw"), ("pillow_heif", "HEIF", "heif")])
def test_a_package_that_is_not_there_is_named_with_the_command_that_mends_it(monkeypatch, module, kind, extra):
    for name in [module, f"{module}.as_plugin"]:
        monkeypatch.setitem(sys.modules, name, None)
    data = dng(photograph((60, 80))) if kind == "RAW" else b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    found = seen(data)
    assert found.status == "unreadable"
    assert found.error == f"{kind}, which {module} opens: pip install -r requirements-{extra}.txt"


def test_a_large_jpeg_is_scored_in_bounded_memory_and_another_says_what_it_would_need(tmp_path):
    path = tmp_path / "large.jpg"
    Image.new("RGB", (16320, 12240), (90, 120, 150)).save(path, quality=50)  # as phones of 200 megapixels
    found = decode(path, SMALL.at(dct_scaling=True))
    assert (found.status, found.width, found.height) == ("ok", 16320, 12240)
    assert np.abs(found.pixels.astype(int) - (90, 120, 150)).max() <= 2
    full = decode(path, SMALL)
    assert full.status == "too_large"
    assert full.error == (
        "16320 x 12240, 200 megapixels: to decode it would take 1.6 GB of memory, and --max-megapixels 200"
    )
    with opened(path) as image:
        assert size_in_memory(image) > MEGAPIXELS * 8e6
        image.draft(None, (96, 128))
        assert size_in_memory(image) < 30e6


def test_max_megapixels():
    data = encoded(photograph((600, 800)))
    assert decode(data, SMALL, max_megapixels=0.4).status == "too_large"
    assert decode(data, SMALL, max_megapixels=0.48).status == "ok"
    assert decode(data, SMALL.at(dct_scaling=True), max_megapixels=0.4).status == "ok"
    # Of a progressive one all coefficients are held, however small it is made: 2 bytes each, 1.5 of them a pixel.
    held = encoded(photograph((600, 800)), progressive=True)
    assert decode(held, SMALL.at(dct_scaling=True), max_megapixels=0.15).status == "too_large"
    assert decode(held, SMALL.at(dct_scaling=True), max_megapixels=0.25).status == "ok"


@pytest.mark.parametrize("size", [(40, 160), (160, 40), (48, 64), (1, 300), (300, 1)])
@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_fits(size, fit):
    picture = photograph(size)
    found = as_seen(picture, SMALL.at(fit=fit))
    assert found.shape == (48, 64, 3)
    if fit == "squash":
        assert np.array_equal(found, np.asarray(resize_image(picture, (48, 64))))
    if size == (48, 64):
        assert np.array_equal(found, np.asarray(picture))
    if fit == "crop" and size == (40, 160):  # the middle 53 of 160 columns
        assert np.array_equal(found, np.asarray(resize_image(picture.crop((53, 0, 106, 40)), (48, 64))))
    if fit == "pad" and size == (40, 160):  # 64 x 16 in the middle
        assert (found[:16] == 128).all()
        assert (found[32:] == 128).all()
        assert np.array_equal(found[16:32], np.asarray(resize_image(picture, (16, 64))))


def test_padding_is_grey_whatever_the_profile():
    data = encoded(in_space(photograph((40, 160)), PROFILES["ProPhoto"]), "PNG", icc_profile=PROFILES["ProPhoto"])
    assert (seen(data, fit="pad").pixels[:16] == 128).all()


def test_a_pillow_picture_stays_as_it_is_and_is_decoded_as_its_file():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(
        in_space(PICTURE, PROFILES["Adobe RGB"]), "PNG", exif=exif.tobytes(), icc_profile=PROFILES["Adobe RGB"]
    )
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        before = image.tobytes()
        assert np.array_equal(seen(image).pixels, seen(data).pixels)
        assert image.tobytes() == before
        assert image.size == (256, 192)


def test_what_a_record_says_of_how_pictures_get_there():
    assert json.loads(json.dumps(SMALL.record())) == {
        **{"network": "koncept_lite", "input_size": [48, 64], "resize": "lanczos", "rules": "2"}
    }
    assert SMALL.at(fit="pad", dct_scaling=True).record()["fit"] == "pad"
    assert SMALL.at(dct_scaling=True).record()["dct_scaling"] is True
    assert "dct_scaling" not in SMALL.at(rules="1", dct_scaling=True).record()
