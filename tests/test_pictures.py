import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import TINY

from koniq import pictures, prediction
from koniq.errors import InputError
from koniq.pictures import Pictures


@pytest.fixture
def ids(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(path)
    return pd.DataFrame({"image_name": [path.name for path in paths], "image_path": paths})


@pytest.mark.parametrize("free", [1 << 40, 5 * 24 * 32 * 3])
def test_pictures_are_what_the_prediction_loop_sees_in_memory_or_mapped(ids, tmp_path, monkeypatch, free):
    monkeypatch.setattr(pictures, "free_memory", lambda: free)
    kept = Pictures(ids, TINY, tmp_path / "run")
    assert kept.in_memory == (free == 1 << 40)
    assert isinstance(kept.pixels, np.memmap) != kept.in_memory
    for row in ids.itertuples():
        np.testing.assert_array_equal(kept[row.image_name], prediction.decode(row.image_path, TINY)[1])
    assert not list(tmp_path.glob("run/*"))  # the mapped file has no name, so nothing is left when the process dies


def test_each_is_decoded_once(ids, tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        pictures, "decode", lambda path, network: decoded.append(path) or prediction.decode(path, network)
    )
    kept = Pictures(ids, TINY, tmp_path)
    for _ in range(3):
        for name in ids.image_name:
            assert kept[name].dtype == np.uint8
    assert sorted(decoded) == sorted(ids.image_path)


def test_one_that_does_not_open_is_named(ids, tmp_path):
    ids.image_path[3].write_text("not a picture")
    with pytest.raises(InputError, match=r"3\.png should be a whole picture. Received: unreadable .* out of the table"):
        Pictures(ids, TINY, tmp_path)


def test_free_memory_is_a_number_of_bytes():
    assert 1 << 26 < pictures.free_memory() < 1 << 46
