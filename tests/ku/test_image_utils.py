"""`ku.image_utils`: decoding, also of hostile files, and work through folders with bad pictures in them."""

import csv
import io
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from ku import image_utils
from ku.generic import H5Helper
from ku.image_utils import (
    augment_folder,
    check_images,
    decode_image,
    glob_images,
    imv,
    read_image,
    read_image_batch,
    resize_folder,
    save_images_to_h5,
    view_stack,
    write_image,
)

pytestmark = pytest.mark.any_backend


@pytest.fixture
def im():
    return np.random.default_rng(3).integers(0, 256, (12, 16, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, im):
    """Three pictures of three formats, a broken one, and a file that is none."""
    source = tmp_path / "source"
    for i, name in enumerate(["a.png", "b.JPG", "c.bmp"]):
        write_image(im + np.uint8(i), source / name)
    (source / "bad.jpg").write_bytes(b"no picture")
    (source / "notes.txt").write_text("none at all")
    return source


def encoded(image, fmt, **kw):
    data = io.BytesIO()
    image.save(data, fmt, **kw)
    return data.getvalue()


def test_decode_takes_paths_bytes_and_files(tmp_path, im):
    write_image(im, tmp_path / "x.png")
    data = (tmp_path / "x.png").read_bytes()
    for source in (tmp_path / "x.png", str(tmp_path / "x.png"), data, io.BytesIO(data)):
        np.testing.assert_array_equal(np.asarray(decode_image(source)), im)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_applies_every_orientation(im, orientation):
    turns = {
        1: im,
        2: im[:, ::-1],
        3: im[::-1, ::-1],
        4: im[::-1],
        5: im.transpose(1, 0, 2),
        6: np.rot90(im),
        7: im[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(im, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(turns[orientation]), "PNG", exif=exif)
    np.testing.assert_array_equal(np.asarray(decode_image(data)), im)


def test_decode_scales_16_bit_grey():
    grey = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    expected = [[[0] * 3, [100] * 3, [255] * 3]]
    assert np.asarray(decode_image(encoded(Image.fromarray(grey), "PNG"))).tolist() == expected
    wide = Image.fromarray(grey.astype(np.int32))  # whose type goes on to 2 ** 31
    assert np.asarray(decode_image(encoded(wide, "TIFF"), "1")).tolist() == expected
    assert np.asarray(decode_image(encoded(wide, "TIFF"))).max() == 0


@pytest.mark.parametrize("values", [[0, 0.4, 1, np.nan], [0, 102, 255, np.nan]])
def test_decode_scales_float_grey_by_its_range(values):
    data = encoded(Image.fromarray(np.array([values], dtype=np.float32)), "TIFF")
    assert np.asarray(decode_image(data, "1"))[0, :, 1].tolist() == [0, 102, 255, 0]
    assert np.asarray(decode_image(data))[0, :, 1].tolist() == [0, 102 if values[1] < 1 else 255, 255, 0]


def test_decode_lays_transparency_over_white():
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0]]], dtype=np.uint8)
    expected = [[[200, 100, 0], [255, 255, 255]]]
    assert np.asarray(decode_image(encoded(Image.fromarray(rgba), "PNG"))).tolist() == expected
    palette = Image.fromarray(rgba[..., :3]).convert("P", palette=Image.Palette.ADAPTIVE)
    opaque = np.asarray(decode_image(encoded(palette, "PNG")))
    clear = np.asarray(decode_image(encoded(palette, "PNG", transparency=palette.getpixel((1, 0)))))
    assert opaque[0, 1].max() == 200
    assert clear.min() == 255


def test_decode_takes_the_first_frame():
    frames = [Image.new("RGB", (4, 3), color) for color in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_image(data).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr"])
def test_decode_converts_other_modes(mode):
    white = Image.new("RGB", (4, 3), "white").convert(mode)
    decoded = decode_image(encoded(white, "TIFF"))
    assert decoded.mode == "RGB"
    assert np.asarray(decoded).min() >= 254


def test_decode_fails_with_the_errors_of_pillow(tmp_path, im):
    with pytest.raises(FileNotFoundError):
        decode_image(tmp_path / "none.jpg")
    with pytest.raises(UnidentifiedImageError):
        decode_image(b"")
    with pytest.raises(OSError, match="truncated"):
        decode_image(encoded(Image.fromarray(im), "PNG")[:-60])


@pytest.mark.filterwarnings("ignore")
def test_hostile_files_decode_or_raise(test_data):
    with (test_data / "torture" / "manifest.csv").open() as manifest:
        rows = list(csv.DictReader(manifest))
    decoded = 0
    for row in rows:
        try:
            image = decode_image(test_data / "torture" / row["file"])
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            continue  # any other error fails the test
        decoded += 1
        assert image.mode == "RGB"
        if row["width"]:  # else Pillow alone does not open it
            assert {image.width, image.height} == {int(float(row["width"])), int(float(row["height"]))}
    assert decoded > len(rows) * 0.8


def test_read_image_is_float32_of_0_255(tmp_path, im):
    write_image(im, tmp_path / "x.png")
    whole = read_image(tmp_path / "x.png")
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole, im)
    assert read_image(tmp_path / "x.png", (5, 7)).shape == (5, 7, 3)
    assert read_image(tmp_path / "x.png", 0.5).shape == (6, 8, 3)


def test_read_image_batch(tmp_path, im):
    paths = [tmp_path / "x.png", tmp_path / "y.png"]
    write_image(im, paths[0])
    write_image(im[:-1], paths[1])
    assert [x.shape for x in read_image_batch(paths, as_list=True)] == [(12, 16, 3), (11, 16, 3)]
    batch = read_image_batch(paths, (6, 8))
    assert batch.shape == (2, 6, 8, 3)
    assert batch.dtype == np.uint8
    np.testing.assert_array_equal(read_image_batch(str(paths[0])), im[None])
    with pytest.raises(ValueError, match=r"Received: shapes=\[\(11, 16, 3\), \(12, 16, 3\)\]"):
        read_image_batch(paths)


def test_write_image_names_the_format_by_suffix_then_fmt(tmp_path, im):
    for name, fmt, written in [("a.png", "jpg", "PNG"), ("a", "bmp", "BMP"), ("a.x", "jpg", "JPEG")]:
        write_image(im, tmp_path / "new" / name, fmt)
        assert Image.open(tmp_path / "new" / name).format == written
    with pytest.raises(ValueError, match="Received: fmt='nope'"):
        write_image(im, tmp_path / "b", "nope")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["a", "a.png", "a.x"]


def test_write_image_rounds_and_clips(tmp_path):
    write_image(np.array([[-3.0, 0.6, 254.4, 300.0]]), tmp_path / "x.png")
    assert read_image(tmp_path / "x.png")[0, :, 0].tolist() == [0, 1, 254, 255]


def test_glob_images(folder, capsys):
    names = ["a.png", "b.JPG", "bad.jpg", "c.bmp"]
    assert glob_images(folder) == [str(folder / name) for name in names]
    assert glob_images(folder, split=True) == ([str(folder)] * 4, names)
    assert glob_images(folder, image_types=["*.png", ".bmp"]) == [str(folder / n) for n in ("a.png", "c.bmp")]
    assert glob_images(folder / "b*") == [str(folder / n) for n in ("b.JPG", "bad.jpg")]
    assert glob_images(folder.parent) == []
    assert glob_images(folder.parent / "*", verbose=True) == glob_images(folder.parent / "**/*.*")
    assert "4 pictures" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="missing"):
        glob_images(folder / "missing")


def test_a_folder_named_like_a_pattern(tmp_path, im):
    write_image(im, tmp_path / "[2015]" / "a.png")
    assert glob_images(tmp_path / "[2015]") == [str(tmp_path / "[2015]" / "a.png")]


def test_check_images_names_the_bad(folder, caplog):
    assert check_images(folder) == (["bad.jpg"], ["a.png", "b.JPG", "bad.jpg", "c.bmp"])
    assert "bad.jpg: UnidentifiedImageError" in caplog.text


def test_resize_folder(folder, tmp_path, im):
    target = tmp_path / "small"
    assert resize_folder(folder, target, (6, 9)) == ["bad.jpg"]
    assert sorted(p.name for p in target.iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]
    assert all(read_image(p).shape == (6, 9, 3) for p in target.iterdir())
    resize_folder(folder, target, 2)
    assert read_image(target / "a.jpg").shape == (6, 9, 3)
    resize_folder(folder, target, 2, overwrite=True)
    assert read_image(target / "a.jpg").shape == (24, 32, 3)
    resize_folder(folder, target, format_dst="png", process_fn=lambda x: x[:, ::-1])
    np.testing.assert_array_equal(read_image(target / "a.png"), im[:, ::-1])


def test_resize_folder_reports_pictures_that_would_share_a_name(folder, tmp_path, im):
    write_image(im, folder / "a.bmp")
    assert resize_folder(folder, tmp_path / "small") == ["a.png", "bad.jpg"]


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_save_images_to_h5(folder, tmp_path, im, batch_size):
    path = tmp_path / "images.h5"
    assert save_images_to_h5(folder, path, batch_size=batch_size) == ["bad.jpg"]
    with H5Helper(path, "r") as h5:
        assert h5.dataset_names == ["a.png", "b.JPG", "c.bmp"]
        np.testing.assert_array_equal(h5.read_data(["a.png", "c.bmp"]), np.stack([im, im + np.uint8(2)]))


def test_save_images_to_h5_adds_or_overwrites(folder, tmp_path, im):
    path = tmp_path / "images.h5"
    save_images_to_h5(folder, path)
    write_image(im, folder / "bad.jpg")
    assert save_images_to_h5(folder, path, image_size_dst=2) == []
    with H5Helper(path, "r") as h5:
        assert h5.hf["bad.jpg"].shape == (24, 32, 3)
        assert h5.hf["a.png"].shape == (12, 16, 3)
    save_images_to_h5(folder, path, image_size_dst=2, overwrite=True)
    with H5Helper(path, "r") as h5:
        assert h5.read_data(h5.dataset_names).shape == (4, 24, 32, 3)


def variants():
    yield lambda im, shift: im + np.uint8(shift), {"shift": 0}
    yield lambda im, shift: im + np.uint8(shift), {"shift": 9}


def test_augment_folder(folder, tmp_path, im):
    target = tmp_path / "augmented"
    table = augment_folder(folder, target, variants, format_dst="png", verbose=False)
    assert list(table.columns) == ["image_name", "image_path", "shift"]
    assert table["image_name"].tolist() == ["a.png"] * 2 + ["b.JPG"] * 2 + ["c.bmp"] * 2
    assert table["shift"].tolist() == [0, 9] * 3
    assert table.attrs["failed"] == ["bad.jpg"]
    for row in table[table["image_name"] == "a.png"].itertuples():
        np.testing.assert_array_equal(read_image(target / row.image_path), im + np.uint8(row.shift))


def test_augment_folder_simulated_and_of_a_list(folder, tmp_path):
    target = tmp_path / "augmented"
    simulated = augment_folder(folder, target, variants, simulate=True, verbose=False, file_list=["c.bmp"])
    assert not target.exists()
    written = augment_folder(folder, target, variants, verbose=False, file_list=["c.bmp"])
    assert simulated.equals(written)
    assert all((target / path).is_file() for path in written["image_path"])


def test_augment_folder_of_nothing_good(folder, tmp_path):
    table = augment_folder(folder, tmp_path / "x", variants, verbose=False, file_list=["bad.jpg", "gone.jpg"])
    assert table["image_name"].tolist() == []
    assert table.attrs["failed"] == ["bad.jpg", "gone.jpg"]


def test_augment_folder_leaves_files_unless_told(folder, tmp_path):
    def black():
        yield lambda im: im * 0, {}

    def white():
        yield lambda im: im * 0 + 255, {}

    first = augment_folder(folder, tmp_path / "x", black, verbose=False)
    assert first.equals(augment_folder(folder, tmp_path / "x", white, verbose=False))
    assert read_image(tmp_path / "x" / "a.jpg").max() == 0
    augment_folder(folder, tmp_path / "x", white, overwrite=True, verbose=False)
    assert read_image(tmp_path / "x" / "a.jpg").min() == 255


def shown(figure):
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


def test_view_stack_ranges():
    ims = [np.array([[0.0, 5.0]]), np.array([[5.0, 10.0]])]
    for vrange, expected in [
        ("all", [[0, 0.5], [0.5, 1]]),
        ("each", [[0, 1], [0, 1]]),
        ((0, 5), [[0, 1], [1, 1]]),
    ]:
        figure = view_stack(ims, figsize=(2, 2), vrange=vrange)
        assert [im.ravel().tolist() for im in shown(figure)] == expected
        plt.close(figure)


def test_view_stack_grid(im):
    figure = view_stack(np.stack([im] * 5), figsize=(2, 2), figshape=(1, 6))
    assert len(figure.axes) == 6
    assert len(shown(figure)) == 5
    plt.close(figure)
    with pytest.raises(ValueError, match=r"hold 5 pictures. Received: figshape=\(2, 2\)"):
        view_stack([im] * 5, figshape=(2, 2))
    with pytest.raises(ValueError, match="a picture or more"):
        view_stack([])
    with pytest.raises(ValueError, match="vrange='none'"):
        view_stack([im], vrange="none")


def test_imv_remaps_on_demand():
    im = np.array([[51, 102]], dtype=np.uint8)
    for remap, expected in [(True, [0, 1]), (False, [0.2, 0.4])]:
        figure = imv(im, remap, figsize=(1, 1))
        assert shown(figure)[0].ravel().tolist() == pytest.approx(expected)
        plt.close(figure)


def test_import_is_light():
    code = "import sys, ku.image_utils;print(sorted({'keras', 'tensorflow', 'torch', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_exposes_what_its_users_import():
    assert all(hasattr(image_utils, name) for name in image_utils.__all__)
