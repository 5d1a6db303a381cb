import os

import numpy as np
import pytest
from PIL import Image
from tiny import TINY

from koniq.prediction import decode, predict


class Mean:
    """A network whose score is the mean of a picture's pixels; it remembers the shapes of its batches."""

    def __init__(self):
        self.shapes = []

    def predict_on_batch(self, batch):
        self.shapes.append(batch.shape)
        return batch.mean((1, 2, 3))[:, None]


@pytest.fixture
def grey(tmp_path):
    """Eleven pictures of one grey each, 0, 10, ... 100, and their paths."""
    paths = [tmp_path / f"{value}.png" for value in range(0, 110, 10)]
    for path in paths:
        Image.new("RGB", (64, 48), (int(path.stem),) * 3).save(path)
    return paths


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 11])
def test_one_score_each_in_order_in_whole_batches(grey, count):
    model = Mean()
    scores = list(predict(model, TINY, grey[:count], batch_size=4))
    assert [score.path for score in scores] == grey[:count]
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
    scores = list(predict(Mean(), TINY, paths, batch_size=2))
    assert [score.path for score in scores] == paths
    assert [score.status for score in scores] == [
        *("missing", "ok", "truncated", "unreadable", "ok"),
        *("unreadable", "unreadable", "unreadable", "ok"),
    ]
    assert [score.mos for score in scores if score.status == "ok"] == [10, 20, 30]
    assert all(np.isnan(score.mos) and score.error for score in scores if score.status != "ok")


def test_nothing_but_broken_pictures(tmp_path):
    scores = list(predict(Mean(), TINY, [tmp_path / str(n) for n in range(40)], batch_size=2))
    assert [score.status for score in scores] == ["missing"] * 40


def test_a_bomb_is_too_large(grey, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    score, pixels = decode(grey[0], TINY)
    assert (score.status, pixels) == ("too_large", None)
    assert "3072 pixels" in score.error


def test_a_picture_is_seen_upright_and_resized_as_the_network_says(tmp_path):
    picture = Image.effect_noise((64, 48), 80).convert("RGB")
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture.save(tmp_path / "turned.png", exif=exif)
    score, pixels = decode(tmp_path / "turned.png", TINY)
    assert (score.width, score.height) == (48, 64)
    upright = picture.transpose(Image.Transpose.ROTATE_270)
    np.testing.assert_array_equal(pixels, np.asarray(upright.resize((32, 24), Image.Resampling.LANCZOS)))
    _, nearest = decode(tmp_path / "turned.png", TINY.at(resize="nearest"))
    np.testing.assert_array_equal(nearest, np.asarray(upright.resize((32, 24), Image.Resampling.NEAREST)))


def test_scores_do_not_depend_on_the_batch(grey):
    model = TINY.build()
    runs = [[score.mos for score in predict(model, TINY, grey, size)] for size in (1, 3, 8, 8)]
    np.testing.assert_allclose(runs[0], runs[2], atol=1e-4)
    np.testing.assert_allclose(runs[1], runs[2], atol=1e-4)
    assert runs[2] == runs[3]


def test_real_pictures_of_every_kind(test_data):
    """A sample of odd and hostile files: each has a status, and what Pillow cannot open has none but a reason."""
    paths = sorted(path for path in (test_data / "torture").rglob("*") if path.is_file())[
        :: 1 if os.cpu_count() > 8 else 9
    ]
    scores = list(predict(Mean(), TINY, paths, batch_size=8))
    assert [score.path for score in scores] == paths
    for score in scores:
        assert (score.status == "ok") == (score.error == "") == (not np.isnan(score.mos))
    assert {"ok", "unreadable"} <= {score.status for score in scores}
