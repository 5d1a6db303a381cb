"""Geometry of `ku.image_augmenter` on pictures whose answer is known."""

import math

import numpy as np
import pytest
from PIL import Image

from ku.image_augmenter import (
    RESAMPLE,
    ImageAugmenter,
    cropout_patch,
    cropout_random_patch,
    extract_patch,
    extract_random_patch,
    get_patch_dims,
    get_random_patch_dims,
    image_to_tiles,
    imshuffle,
    imshuffle_pair,
    largest_rotated_rect,
    resize_image,
    tiles_to_image,
)

pytestmark = pytest.mark.any_backend


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def im(rng):
    return rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(19, 29), (21, 31), (1, 60), 0.5, 1.1, 2])
@pytest.mark.parametrize("resample", RESAMPLE)
def test_resize_agrees_for_pillow_uint8_and_float(rng, size, resample):
    im = rng.integers(60, 200, (20, 30, 3), dtype=np.uint8)  # no clipping between Pillow's two passes
    expected = size if isinstance(size, tuple) else (round(20 * size), round(30 * size))
    picture = resize_image(Image.fromarray(im), size, resample)
    array = resize_image(im, size, resample)
    floats = resize_image(im.astype(np.float32), size, resample)
    assert picture.size == expected[::-1]
    assert array.shape == floats.shape == (*expected, 3)
    assert array.dtype == np.uint8
    assert floats.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(picture), array)
    np.testing.assert_allclose(floats, array, atol=2)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (-1, 1)])
def test_resize_keeps_the_range_of_floats(low, high):
    step = np.full((16, 16), float(low))
    step[:, 8:] = high
    enlarged = resize_image(step, 3)
    assert enlarged.min() == low
    assert enlarged.max() == high


def test_resize_to_the_same_size_changes_nothing(im):
    assert resize_image(im, (20, 30)) is im
    picture = Image.fromarray(im)
    assert resize_image(picture, 1) is picture


@pytest.mark.parametrize("channels", [(), (1,), (4,)])
def test_resize_takes_any_channels(rng, channels):
    assert resize_image(rng.integers(0, 255, (8, 9, *channels), dtype=np.uint8), 2).shape == (
        16,
        18,
        *channels,
    )


@pytest.mark.parametrize(
    ("size", "resample", "message"),
    [
        (2, "cubic", "nearest, bilinear, bicubic, lanczos, box. Received: resample='cubic'"),
        (0, "box", "size=0"),
        ((0, 4), "box", r"size=\(0, 4\)"),
        ((4,), "box", r"size=\(4,\)"),
    ],
)
def test_resize_says_what_is_wrong(im, size, resample, message):
    with pytest.raises(ValueError, match=message):
        resize_image(im, size, resample)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("dtype", [np.int64, np.uint16, bool])
def test_resize_refuses_other_types(im, size, dtype):
    """At the picture's own size, too: else what a script does not meet in its tests, it meets later."""
    with pytest.raises(ValueError, match=f"dtype={np.dtype(dtype)}"):
        resize_image(im.astype(dtype), size)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (1, 2, 3, 4)])
def test_resize_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"array H x W \(x C\)\. Received: shape="):
        resize_image(np.zeros(shape), 2)


@pytest.mark.parametrize(
    ("w", "h", "degrees", "expected"),
    [
        (10, 10, 0, (10, 10)),
        (10, 10, 90, (10, 10)),
        (10, 10, 45, (10 / math.sqrt(2), 10 / math.sqrt(2))),
        (30, 20, 0, (30, 20)),
        (30, 20, 90, (20, 30)),
        (30, 20, 180, (30, 20)),
        (100, 1, 45, (math.sqrt(0.5), math.sqrt(0.5))),
    ],
)
def test_largest_rotated_rect_known_answers(w, h, degrees, expected):
    assert largest_rotated_rect(w, h, math.radians(degrees)) == pytest.approx(expected)


@pytest.mark.parametrize("degrees", range(0, 181, 15))
def test_largest_rotated_rect_touches_but_never_leaves(degrees):
    angle = math.radians(degrees)
    w, h = largest_rotated_rect(30, 20, angle)
    corners = np.array([[w, h], [w, -h]]) / 2
    turned = np.abs(corners @ [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    assert (turned <= np.array([15, 10]) + 1e-9).all()
    assert np.isclose(turned, [15, 10]).any()


def test_patch_positions(im):
    assert get_patch_dims(im, (5, 7), (0, 0)) == (0, 5, 0, 7)
    assert get_patch_dims(im, (5, 7), (1, 1)) == (15, 20, 23, 30)
    assert get_patch_dims(im, (10, 0.5), (0.5, 0.5)) == (5, 15, 8, 23)
    assert get_patch_dims(im, 1, (0.5, 0.5)) == (0, 20, 0, 30)
    np.testing.assert_array_equal(extract_patch(im, (5, 7), (1, 1)), im[15:, 23:])


def test_patches_larger_than_the_picture_are_refused(im):
    with pytest.raises(ValueError, match=r"fit into 20 x 30. Received: patch_size=\(21, 30\)"):
        get_patch_dims(im, (21, 30), (0, 0))
    with pytest.raises(ValueError, match=r"border=\(3, 0\)"):
        extract_random_patch(im, (15, 30), (3, 0))
    with pytest.raises(ValueError, match="patch_position"):
        get_patch_dims(im, 5, (0, 1.5))


@pytest.mark.parametrize(("border", "inside"), [((2, 3), (2, 3)), (1, (1, 1)), (0.1, (2, 3)), ((0, 0), (0, 0))])
def test_random_patches_reach_the_borders_and_no_further(im, rng, border, inside):
    dims = np.array([get_random_patch_dims(im, (12, 20), border, rng=rng) for _ in range(400)])
    top, bottom, left, right = dims.T
    assert (top.min(), left.min()) == inside
    assert (20 - bottom.max(), 30 - right.max()) == inside
    assert set(bottom - top) == {12}
    assert set(right - left) == {20}


def test_cropout_paints_a_copy(im, rng):
    before = im.copy()
    painted = cropout_patch(im, (4, 6), (0, 1), fill_val=(1, 2, 3))
    np.testing.assert_array_equal(painted[:4, 24:], np.broadcast_to([1, 2, 3], (4, 6, 3)))
    np.testing.assert_array_equal(painted[4:], im[4:])
    white = cropout_random_patch(np.zeros((20, 30), np.uint8), (4, 6), (8, 12), fill_val=255, rng=rng)
    assert (white[8:12, 12:18] == 255).all()
    assert np.count_nonzero(white) == 24
    np.testing.assert_array_equal(im, before)


@pytest.mark.parametrize("tiles", [(1, 1), (2, 3), (3, 4), (20, 30)])
def test_tiles_round_trip(im, tiles):
    pieces = image_to_tiles(im, tiles)
    assert len(pieces) == tiles[0] * tiles[1]
    assert max(p.shape[0] for p in pieces) - min(p.shape[0] for p in pieces) <= 1
    np.testing.assert_array_equal(tiles_to_image(pieces, tiles), im)


def test_tiles_say_what_is_wrong(im):
    with pytest.raises(ValueError, match=r"tiles=\(21, 1\)"):
        image_to_tiles(im, (21, 1))
    with pytest.raises(ValueError, match=r"of 6 tiles. Received: tiles=\(2, 2\)"):
        tiles_to_image(image_to_tiles(im, (2, 3)), (2, 2))


@pytest.mark.parametrize("tiles", [(4, 5), (3, 4)])
def test_imshuffle_keeps_every_pixel(rng, tiles):
    im = np.arange(600).reshape(20, 30)
    shuffled = imshuffle(im, tiles, rng=rng)
    assert shuffled.shape == im.shape
    assert (shuffled != im).any()
    np.testing.assert_array_equal(np.sort(shuffled, axis=None), im.ravel())


@pytest.mark.parametrize(("ratio", "tiles_of_first"), [(0, 0), (0.25, 5), (0.5, 10), (1, 20)])
@pytest.mark.parametrize("flip", [False, True])
def test_imshuffle_pair_mixes_by_ratio(rng, ratio, tiles_of_first, flip):
    first, second = np.zeros((20, 30)), np.ones((20, 30))
    mixed = imshuffle_pair(first, second, (4, 5), ratio, flip, rng=rng)
    assert np.count_nonzero(mixed == 0) == tiles_of_first * 30


def test_imshuffle_pair_flips_tiles():
    ramp = np.tile(np.arange(6), (4, 1))
    flipped = [imshuffle_pair(ramp, ramp, (1, 1), flip=True, rng=np.random.default_rng(s))[0, 0] for s in range(20)]
    assert set(flipped) == {0, 5}


def test_imshuffle_pair_refuses_other_shapes(im):
    with pytest.raises(ValueError, match=r"im2.shape=\(19, 30, 3\)"):
        imshuffle_pair(im, im[1:], (2, 2))


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        (lambda a: a.rotate(30), (20, 30)),
        (lambda a: a.rotate(90, random=False), (20, 30)),
        (lambda a: a.crop((7, 9)), (7, 9)),
        (lambda a: a.crop(0.5), (10, 15)),
        (lambda a: a.crop(11, (1, 0)), (11, 11)),
        (lambda a: a.cropout((7, 9)), (20, 30)),
        (lambda a: a.fliplr(), (20, 30)),
        (lambda a: a.rescale(60), (40, 60)),
        (lambda a: a.rescale(60, min_dim=True), (60, 90)),
        (lambda a: a.rescale(60, proportion=0.5), (20, 30)),
        (lambda a: a.rescale((10, 30)), (10, 15)),
        (lambda a: a.rescale(0.5), (10, 15)),
        (lambda a: a.resize((33, 11)), (33, 11)),
        (lambda a: a.resize(0.5), (10, 15)),
        (lambda a: a.resize((40, 30), ensure_min=True), (40, 60)),
        (lambda a: a.resize((10, 30), ensure_min=True), (20, 30)),
        (lambda a: a.resize((40, 30), fit_frame=True), (20, 30)),
        (lambda a: a.resize((40, 60), fit_frame=True), (40, 60)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_each_step_has_its_size_and_keeps_the_type(im, rng, change, shape, dtype):
    augmenter = ImageAugmenter(im.astype(dtype), rng=rng)
    assert change(augmenter) is augmenter
    assert augmenter.result.shape == (*shape, 3)
    assert augmenter.result.dtype == dtype
    assert augmenter.result_image.size == shape[::-1]


def test_the_picture_given_is_left_alone(im, rng):
    before = im.copy()
    ImageAugmenter(im, rng=rng).fliplr(True).cropout(5).rotate(20).result[:] = 0
    ImageAugmenter(im).result[:] = 0
    np.testing.assert_array_equal(im, before)


def test_fliplr(im, rng):
    np.testing.assert_array_equal(ImageAugmenter(im).fliplr(True).result, im[:, ::-1])
    np.testing.assert_array_equal(ImageAugmenter(im).fliplr(True).fliplr(True).result, im)
    np.testing.assert_array_equal(ImageAugmenter(im).fliplr(False).result, im)
    corners = {int(ImageAugmenter(im, rng=rng).fliplr().result[0, 0, 0]) for _ in range(30)}
    assert corners == {int(im[0, 0, 0]), int(im[0, -1, 0])}


def test_rotation_is_anticlockwise(rng):
    square = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    np.testing.assert_array_equal(ImageAugmenter(square).rotate(90, random=False).result, np.rot90(square))


@pytest.mark.parametrize("angle", [0, 1, 7, 30, 45, 60, 90, 135])
@pytest.mark.parametrize("shape", [(40, 60), (41, 60), (61, 41)])
def test_clip_rotation_leaves_no_empty_corner(angle, shape):
    white = np.full((*shape, 3), 255, np.uint8)
    once = ImageAugmenter(white).rotate(angle, random=False)
    assert once.crop(1, (0, 0), clip_rotation=True).result.min() == 255
    assert min(once.result.shape[:2]) > min(shape) / 2
    scaled = ImageAugmenter(white).rotate(angle, random=False).rescale(2 * max(shape))
    assert scaled.crop(1, (0, 0), clip_rotation=True).result.min() == 255
    twice = ImageAugmenter(white).rotate(angle, random=False).rotate(10, random=False)
    assert twice.crop(1, (0, 0), clip_rotation=True).result.min() == 255


def test_without_clip_rotation_the_corners_are_empty():
    white = np.full((40, 60, 3), 255, np.uint8)
    assert ImageAugmenter(white).rotate(30, random=False).crop(1, (0, 0)).result[0, 0].max() == 0


def test_remap_stretches_to_0_255():
    result = ImageAugmenter(np.array([[-1.0, 0.0], [0.5, 1.0]]), remap=True).result
    assert result.dtype == np.uint8
    assert result.tolist() == [[0, 128], [191, 255]]


def test_palette_and_alpha_become_rgb(im):
    for mode in ("P", "RGBA", "RGB"):
        assert ImageAugmenter(Image.fromarray(im).convert(mode)).result.shape == (20, 30, 3)


def test_one_seed_gives_one_result(im):
    def once(seed):
        augmenter = ImageAugmenter(im, rng=np.random.default_rng(seed))
        return augmenter.rotate(20).fliplr().crop(8).cropout(3).result

    np.testing.assert_array_equal(once(1), once(1))
    assert (once(1) != once(2)).any()


def test_verbose_prints_the_steps(im, capsys):
    ImageAugmenter(im, verbose=True).crop(5, (0, 0))
    assert capsys.readouterr().out == "crop -> (5, 5, 3)\n"


def test_resize_modes_exclude_each_other(im):
    with pytest.raises(ValueError, match="ensure_min and fit_frame exclude each other"):
        ImageAugmenter(im).resize(5, ensure_min=True, fit_frame=True)
