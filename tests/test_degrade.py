"""Pictures made worse for training: which, by how much, and that their labels fall with the step."""

import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image

from koniq import degrade
from koniq.distortions import STEPS
from koniq.ground import InputError


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    rows = []
    for number in range(12):
        Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8)).save(tmp_path / f"images/{number}.png")
        rows.append((f"{number}.png", 5 + 7 * number, "test" if number > 9 else "training"))
    pd.DataFrame(rows, columns=["image_name", "MOS", "set"]).to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


def run(table, *more):
    settings = ("--dataset", table, "--images", table.parent / "images", "--out", table.parent / "out")
    return ended(degrade, *settings, *more)


def test_each_picture_is_made_twice_and_scores_lower_the_farther_it_is(table):
    assert run(table, "--count", 10, "--workers", 1) == 0
    made = pd.read_csv(table.parent / "out/table.csv")
    assert len(made) == 20
    assert set(made.set) == {"training"}
    assert set(made.source) == {"degraded"}
    mos = pd.read_csv(table).set_index("image_name").MOS
    for name, rows in made.groupby("group"):
        assert mos[name] < 5 + 7 * 10  # nothing of the test set
        expected = rows.sort_values("image_name").MOS  # the step ends the name, and the kind is one
        assert expected.is_monotonic_decreasing
        assert (expected < mos[name]).all() or mos[name] <= 10
    for name in made.image_name:
        kind = name.split("-")[1]
        assert kind in STEPS
        with Image.open(table.parent / "out" / name) as picture:
            assert picture.size == (50, 40)


def test_the_same_seed_makes_the_same_pictures(table):
    assert run(table, "--count", 6) == 0
    first = {path.name: path.read_bytes() for path in (table.parent / "out").iterdir()}
    for path in (table.parent / "out").iterdir():
        path.unlink()
    assert run(table, "--count", 6, "--workers", 1) == 0
    assert {path.name: path.read_bytes() for path in (table.parent / "out").iterdir()} == first


def test_what_cannot_be_is_refused(table):
    rows = pd.read_csv(table).assign(image_path="x")
    with pytest.raises(InputError, match=r"count should be 1 to 12, the training pictures. Received: count=13"):
        degrade.plan(rows, 13, tuple(STEPS), 10, 1)
    with pytest.raises(InputError, match=r"kinds should be of blur, .*Received: fog"):
        degrade.plan(rows, 3, ("blur", "fog"), 10, 1)
