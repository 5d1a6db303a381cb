"""The matrices that resize: Pillow's filters, whatever the size."""

import numpy as np
import pytest
from PIL import Image

from koniq.plugs.resizing import matrix
from ku.image_utils import RESAMPLE, resize_image

torch = pytest.importorskip("torch")

# Of 24 x 32: larger, the same, smaller, and a side each the other way.
SIZES = ((37, 50), (24, 32), (7, 20), (11, 64), (90, 33), (90, 20), (24, 50), (7, 32))


@pytest.mark.parametrize("resize", sorted(RESAMPLE))
@pytest.mark.parametrize("after", SIZES)
def test_a_picture_comes_out_as_by_pillow(resize, after):
    pixels = np.random.default_rng(1).integers(0, 256, (24, 32), np.uint8)
    expected = np.asarray(resize_image(Image.fromarray(pixels), after, resize), np.float32)
    from koniq.plugs.in_torch import resized

    found = 255 * resized(torch.from_numpy(pixels)[None, None].float() / 255, after, resize)[0, 0].numpy()
    apart = np.abs(found - expected)
    assert apart.max() < 1.01  # where a value is half-way between two levels
    assert (apart < 0.01).mean() > 0.9


@pytest.mark.parametrize("resize", sorted(RESAMPLE))
def test_a_plain_picture_stays_as_it_is(resize):
    for before, after in ((100, 7), (7, 100), (9, 9), (1, 3), (3, 1)):
        np.testing.assert_allclose(matrix(before, after, resize).sum(1), 1, atol=1e-6)
