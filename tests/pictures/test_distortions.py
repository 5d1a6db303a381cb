"""Each distortion does more the stronger it is, what its formula says, and the same each time."""

import numpy as np
import pytest

from koniq.ground import InputError
from koniq.pictures.distortions import STEPS, distorted

RNG = np.random.default_rng(0)  # where nothing is drawn


@pytest.fixture(scope="module")
def picture():
    """Edges, gradients and texture, 90x120."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:90, :120]
    waves = 128 + 60 * np.sin(x / 7) * np.cos(y / 5) + 40 * (x > 60)
    return np.clip(waves[..., None] + rng.normal(0, 12, (90, 120, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", STEPS)
def test_each_step_is_further_from_the_picture_than_the_last(picture, kind):
    steps = [distorted(picture, kind, strength, np.random.default_rng(0)) for strength in STEPS[kind]]
    errors = [np.mean((step.astype(float) - picture) ** 2) for step in steps]
    assert len(errors) == 5
    assert errors == sorted(set(errors))
    assert all(step.dtype == np.uint8 and step.shape == picture.shape for step in steps)
    if kind != "jpeg":
        np.testing.assert_array_equal(steps[0], picture)


@pytest.mark.parametrize("kind", STEPS)
def test_the_same_arguments_give_the_same_pixels_and_leave_the_picture_alone(picture, kind):
    before, strength = picture.copy(), STEPS[kind][3]
    one, again = (distorted(picture, kind, strength, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_array_equal(picture, before)


def test_noise_has_its_spread_and_another_generator_draws_another():
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = distorted(grey, "noise", 25, np.random.default_rng(1))
    assert noisy.std() == pytest.approx(25, rel=0.02)
    assert np.corrcoef(noisy[..., 0].ravel(), noisy[..., 1].ravel())[0, 1] == pytest.approx(0, abs=0.02)
    assert (noisy != distorted(grey, "noise", 25, np.random.default_rng(2))).any()


def test_a_point_is_blurred_to_a_gaussian():
    point = np.zeros((61, 61, 3), np.uint8)
    point[30, 30] = 255
    blurred = distorted(point, "blur", 2, RNG)[..., 0].astype(float)
    assert blurred[30, 30] == pytest.approx(255 / (2 * np.pi * 2**2), abs=0.6)
    assert blurred[30, 32] / blurred[30, 30] == pytest.approx(np.exp(-0.5), abs=0.06)


def test_gamma_and_its_inverse_keep_black_and_white_and_move_grey():
    greys = np.array([0, 64, 255], np.uint8).repeat(3).reshape(1, 3, 3)
    assert distorted(greys, "darken", 2, RNG)[0, :, 0].tolist() == [0, round(64**2 / 255), 255]
    assert distorted(greys, "brighten", 2, RNG)[0, :, 0].tolist() == [0, round((64 * 255) ** 0.5), 255]


def test_scaled_down_and_up_a_picture_has_no_finer_detail_than_that(picture):
    grain = np.random.default_rng(0).integers(0, 256, (96, 120, 3), np.uint8)

    def detail(pixels):
        """The mean power of waves of 12 pixels and less; scaled down by 12, waves of 24 are the finest."""
        return np.mean(np.abs(np.fft.rfft(pixels[..., 0] - pixels[..., 0].mean(), axis=1)[:, 120 // 12 :]) ** 2)

    assert detail(distorted(grain, "rescale", 12, RNG)) < 0.01 * detail(grain)
    assert distorted(picture[:3, :4], "rescale", 12, RNG).shape == (3, 4, 3)


@pytest.mark.parametrize(
    ("pixels", "kind", "strength", "message"),
    [
        (np.zeros((4, 4), np.uint8), "blur", 1, r"uint8 \(height, width, 3\). Received: uint8 \(4, 4\)"),
        (np.zeros((4, 4, 3)), "blur", 1, "Received: float64"),
        (np.zeros((4, 4, 3), np.uint8), "fog", 1, "one of blur, jpeg, noise, darken, brighten, rescale. Received: k"),
        (np.zeros((4, 4, 3), np.uint8), "blur", -1, "strength of blur should be 0 to inf. Received: strength=-1"),
        (np.zeros((4, 4, 3), np.uint8), "rescale", 0.5, "should be 1 to inf"),
        (np.zeros((4, 4, 3), np.uint8), "jpeg", 0, "strength of jpeg should be 1 to 100. Received: strength=0"),
        (np.zeros((4, 4, 3), np.uint8), "noise", float("nan"), "should be 0 to inf. Received: strength=nan"),
    ],
)
def test_what_cannot_be_distorted_is_said(pixels, kind, strength, message):
    with pytest.raises(InputError, match=message):
        distorted(pixels, kind, strength, RNG)
