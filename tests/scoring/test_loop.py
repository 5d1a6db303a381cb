import os
import threading
import time

import keras
import numpy as np
import pytest
from PIL import Image
from tiny import TINY

from koniq.engines.engine import Engine
from koniq.engines.in_keras import of_model
from koniq.network import TOLERANCE
from koniq.pictures.decoding import decode
from koniq.scoring.loop import predict


class Mean:
    """An engine whose score is the mean of a picture's pixels; it remembers the shapes of its batches."""

    def __init__(self, batch_size, parallel=1):
        self.shapes = []
        self.engine = Engine("mean", TINY, batch_size, self.score, parallel)

    def score(self, batch):
        self.shapes.append(batch.shape)
        return batch.mean((1, 2, 3), dtype=np.float32)


@pytest.fixture
def grey(tmp_path):
    """Eleven pictures of one grey each, 0, 10, ... 100, and their paths."""
    paths = [tmp_path / f"{value}.png" for value in range(0, 110, 10)]
    for path in paths:
        Image.new("RGB", (64, 48), (int(path.stem),) * 3).save(path)
    return paths


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
def test_one_score_each_in_order_in_whole_batches(grey, count, parallel):
    model = Mean(4, parallel)
    scores = list(predict(model.engine, grey[:count]))
    assert [score.name for score in scores] == [*map(str, grey[:count])]
    assert [score.mos for score in scores] == [10 * number for number in range(count)]
    assert set(model.shapes) <= {(4, 24, 32, 3)}
    assert len(model.shapes) == -(-count // 4)
    assert all((score.status, score.width, score.height, score.error) == ("ok", 64, 48, "") for score in scores)


def test_every_broken_picture_has_its_place_and_reason(grey, tmp_path):
    whole = grey[5].with_suffix(".jpg")
    Image.effect_noise((64, 48), 50).convert("RGB").save(whole)
    broken = {
        "missing": tmp_path / "none.jpg",
        "truncated": tmp_path / "half.jpg",
        "unreadable": tmp_path / "text.jpg",
        "folder": tmp_path / "folder.jpg",
        "empty": tmp_path / "empty.jpg",
        "circle": tmp_path / "circle.jpg",
    }
    broken["truncated"].write_bytes(whole.read_bytes()[:-400])
    broken["unreadable"].write_text("a text")
    broken["folder"].mkdir()
    broken["empty"].touch()
    broken["circle"].symlink_to(broken["circle"])
    paths = [broken["missing"], grey[1], broken["truncated"], broken["unreadable"], grey[2], broken["folder"]]
    paths += [broken["empty"], broken["circle"], grey[3]]
    scores = list(predict(Mean(2).engine, paths))
    assert [score.name for score in scores] == [*map(str, paths)]
    assert [score.status for score in scores] == [
        *("missing", "ok", "truncated", "unreadable", "ok"),
        *("unreadable", "unreadable", "unreadable", "ok"),
    ]
    assert [score.mos for score in scores if score.status == "ok"] == [10, 20, 30]
    assert all(np.isnan(score.mos) and score.error for score in scores if score.status != "ok")


def test_nothing_but_broken_pictures(tmp_path):
    scores = list(predict(Mean(2).engine, [tmp_path / str(n) for n in range(40)]))
    assert [score.status for score in scores] == ["missing"] * 40


def test_a_bomb_is_too_large(grey):
    found = decode(grey[0], TINY, max_megapixels=0.001)
    assert (found.status, found.pixels) == ("too_large", None)
    assert found.error.startswith("64 x 48, 0.0031 megapixels: to decode it would take 2.5e-05 GB")


def test_a_picture_is_seen_upright_and_resized_as_the_network_says(tmp_path):
    picture = Image.effect_noise((64, 48), 80).convert("RGB")
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture.save(tmp_path / "turned.png", exif=exif)
    found = decode(tmp_path / "turned.png", TINY)
    assert (found.width, found.height) == (48, 64)
    upright = picture.transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(found.pixels, np.asarray(upright.resize((32, 24), Image.Resampling.LANCZOS)))
    nearest = decode(tmp_path / "turned.png", TINY.at(resize="nearest")).pixels
    np.testing.assert_array_equal(nearest, np.asarray(upright.resize((32, 24), Image.Resampling.NEAREST)))


def test_a_picture_with_broken_exif_is_scored(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg", exif=b"Exif\0\0\xff\xff\xff\xff\0\0\0\x08")
    assert decode(tmp_path / "a.jpg", TINY).status == "ok"


@pytest.mark.numerical
def test_another_batch_size_changes_scores_by_rounding_alone_and_the_same_changes_nothing(grey):
    keras.utils.set_random_seed(1)
    model = TINY.build()
    model.layers[-1].kernel.assign(30 * model.layers[-1].kernel)
    runs = [[score.mos for score in predict(of_model(model, TINY, size), grey)] for size in (1, 3, 8, 8)]
    np.testing.assert_allclose(runs[0], runs[2], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(runs[1], runs[2], rtol=0, atol=TOLERANCE)
    assert runs[2] == runs[3]
    assert np.diff(np.sort(runs[2])).min() > 10 * TOLERANCE  # no picture could have the score of another


def test_a_score_that_is_no_number_is_a_status(grey):
    engine = Engine("nan", TINY, 2, lambda batch: np.array([np.nan, 7], np.float32))
    scores = list(predict(engine, grey[:2]))
    assert [(score.status, score.error) for score in scores] == [
        ("not_finite", "the network's score is nan"),
        ("ok", ""),
    ]
    assert scores[1].mos == 7


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    assert decode(tmp_path / "pipe.jpg", TINY).error == "neither a file nor a link to one"


def test_a_name_that_no_file_can_have(tmp_path):
    assert decode(tmp_path / ("x" * 300 + ".jpg"), TINY).error == "File name too long"
    assert decode(tmp_path / "nul\0.jpg", TINY).status == "unreadable"


def test_decoding_keeps_ahead_by_no_more_than_two_batches_and_a_bit(grey, monkeypatch):
    """The paths that were taken, when the engine is asked for its first batch and is slow."""
    taken, seen = [], []

    class Paths(list):
        def __iter__(self):
            for path in super().__iter__():
                taken.append(path)
                yield path

    def slow(batch):
        time.sleep(0.1)
        seen.append(len(taken))
        return np.zeros(len(batch), np.float32)

    list(predict(Engine("slow", TINY, 2, slow), Paths(grey * 10), workers=2))
    groups = np.arange(1, len(seen) + 1) * 2
    assert (
        seen <= groups + 2 * (1 + 1) + 2 * 2 + 2
    ).all()  # its own, those waiting for it, those decoded, the workers'
    assert len(taken) == 110


def test_a_loop_left_early_ends_its_threads(grey):
    before = threading.active_count()
    scores = predict(Mean(2).engine, grey)
    next(scores)
    scores.close()
    assert threading.active_count() == before


def test_an_error_of_the_engine_is_raised(grey):
    def broken(batch):
        raise ArithmeticError("engine")

    with pytest.raises(ArithmeticError, match="engine"):
        list(predict(Engine("broken", TINY, 2, broken), grey))


def test_real_pictures_of_every_kind(test_data):
    """A sample of odd and hostile files: each has a status, and what Pillow cannot open has none but a reason."""
    paths = sorted(path for path in (test_data / "torture").rglob("*") if path.is_file())[
        :: 1 if os.cpu_count() > 8 else 9
    ]
    scores = list(predict(Mean(8).engine, paths))
    assert [score.name for score in scores] == [*map(str, paths)]
    for score in scores:
        assert (score.status == "ok") == (score.error == "") == (not np.isnan(score.mos))
    assert {"ok", "unreadable"} <= {score.status for score in scores}
