import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import TINY

from koniq.ground import InputError, machine
from koniq.pictures import decoding, memory, whole
from koniq.pictures.memory import Pictures, Together


@pytest.fixture
def ids(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(path)
    return pd.DataFrame({"image_name": [path.name for path in paths], "image_path": paths})


@pytest.mark.parametrize("free", [1 << 40, 5 * 24 * 32 * 3])
def test_pictures_are_what_the_prediction_loop_sees_in_memory_or_mapped(ids, tmp_path, monkeypatch, free):
    monkeypatch.setattr(memory, "free_memory", lambda: free)
    kept = Pictures(ids, TINY, tmp_path / "run")
    assert isinstance(kept.pixels, np.memmap) == (free < 1 << 40)
    for row in ids.itertuples():
        np.testing.assert_array_equal(kept[row.image_name], decoding.decode(row.image_path, TINY).pixels)
    assert not list(tmp_path.glob("run/*"))  # the mapped file has no name, so nothing is left when the process dies


def test_each_is_decoded_once(ids, tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(whole, "decode", lambda path, network: decoded.append(path) or decoding.decode(path, network))
    kept = Pictures(ids, TINY, tmp_path)
    for _ in range(3):
        for name in ids.image_name:
            assert kept[name].dtype == np.uint8
    assert sorted(decoded) == sorted(ids.image_path)


def test_one_that_does_not_open_is_named(ids, tmp_path):
    ids.image_path[3].write_text("not a picture")
    with pytest.raises(InputError, match=r"Received: 1 of 5 that are not, 3\.png \(unreadable: .* out of the table"):
        Pictures(ids, TINY, tmp_path)


def test_all_that_do_not_open_are_named_at_once_in_the_order_of_the_table(ids, tmp_path, capsys):
    ids.image_path[3].write_text("not a picture")
    ids.image_path[1].unlink()
    with pytest.raises(
        InputError, match=r"2 of 5 that are not, 1\.png \(missing: no such file\), 3\.png \(unreadable: "
    ):
        Pictures(ids, TINY, tmp_path)
    kept = Pictures(ids, TINY, tmp_path, skip_broken=True)
    assert list(kept.broken) == ["1.png", "3.png"]
    assert "2 of 5 pictures do not open, and are left out: 1.png (missing" in capsys.readouterr().out
    np.testing.assert_array_equal(kept["4.png"], decoding.decode(ids.image_path[4], TINY).pixels)


def test_of_very_many_the_first_are_named_and_none_whole_is_no_data_set(capsys):
    why = {f"{number}.png": "truncated: x" for number in range(150)}
    memory.check_whole(why, 1000, skip=True)
    said = capsys.readouterr().out
    assert said.startswith("150 of 1,000 pictures do not open, and are left out: 0.png (truncated: x), 1.png")
    assert said.endswith("99.png (truncated: x), and 50 more\n")
    with pytest.raises(InputError) as error:
        memory.check_whole(why, 150, skip=True)
    assert "--skip-missing" not in str(error.value)


def test_free_memory_is_a_number_of_bytes():
    assert 1 << 26 < machine.free_memory() < 1 << 46


def test_processes_of_a_machine_have_one_copy_which_one_of_them_makes(ids, tmp_path, monkeypatch):
    """Threads stand in for them, each with pictures of its own by the same file."""
    ids.image_path[3].write_text("not a picture")
    decoded = []
    monkeypatch.setattr(whole, "decode", lambda path, network: decoded.append(path) or decoding.decode(path, network))
    barrier = threading.Barrier(3)

    def kept(number):
        return Pictures(
            *(ids, TINY, tmp_path / "run"), quiet=True, skip_broken=True, together=Together(not number, barrier.wait)
        )

    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(kept, range(3))
    assert sorted(decoded) == sorted(ids.image_path)
    for other in others:
        assert isinstance(other.pixels, np.memmap)
        assert list(other.broken) == ["3.png"]
        np.testing.assert_array_equal(other.pixels, first.pixels)
    first.pixels[0] = 7
    assert (others[1]["0.png"] == 7).all()  # the same memory
    assert not list(tmp_path.glob("run/*"))
