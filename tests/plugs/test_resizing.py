"""The matrices that resize: Pillow's filters, whatever the size."""

import numpy as np
import pytest
from PIL import Image

from koniq.plugs.resizing import matrix
from ku.image_utils import RESAMPLE, resize_image

SIZES = ((37, 50), (24, 32), (11, 64), (90, 33))  # smaller, the same, and one side the other way


@pytest.mark.parametrize("resize", sorted(RESAMPLE))
@pytest.mark.parametrize("after", SIZES)
def test_a_picture_comes_out_as_by_pillow(resize, after):
    pixels = np.random.default_rng(1).integers(0, 256, (24, 32), np.uint8)
    expected = np.asarray(resize_image(Image.fromarray(pixels), after, resize), np.float32)
    across = (pixels @ matrix(32, after[1], resize).T).clip(0, 255)
    found = (matrix(24, after[0], resize) @ across).clip(0, 255)
    assert np.abs(found - expected).max() <= (0 if resize == "nearest" else 2)  # Pillow rounds twice
    assert np.abs(found - expected).mean() < 0.5


@pytest.mark.parametrize("resize", sorted(RESAMPLE))
def test_a_plain_picture_stays_as_it_is(resize):
    for before, after in ((100, 7), (7, 100), (9, 9), (1, 3), (3, 1)):
        np.testing.assert_allclose(matrix(before, after, resize).sum(1), 1, atol=1e-6)
