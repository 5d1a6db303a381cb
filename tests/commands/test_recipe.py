"""The recipe of the released weights: every step of it is a command with settings that there are, and in order."""

from pathlib import Path

import pandas as pd
import pytest
import tyro
from commands import module_of

from koniq.commands import cli, recipe
from koniq.data import datasets, join
from koniq.data.datasets import DataSet


@pytest.fixture
def steps(tmp_path, monkeypatch):
    """The steps with BIQ2021, and without, on tables of a few rows."""
    names = [f"{number}.jpg" for number in range(8)]
    ids = pd.DataFrame({"image_name": names, "MOS": 50.0, "set": ["training", "test"] * 4, "subset": [1, 2, 3, 1] * 2})
    ids["image_path"] = [Path(name) for name in names]
    sets = pd.Series(["training", "calibration"] * 4, names)
    monkeypatch.setattr(datasets, "load", lambda *_: DataSet("some", ids))
    monkeypatch.setattr(datasets, "live_division", lambda _: sets)
    monkeypatch.setattr(join, "source", lambda *_: join.Source("live_itw", ids))
    s = recipe.Settings(runs=tmp_path, out=tmp_path / "out.safetensors")
    without = recipe.Settings(biq2021=False, runs=tmp_path, out=tmp_path / "out.safetensors")
    return [*recipe.biq2021(s), *recipe.release(s)], list(recipe.release(without)), tmp_path


def test_every_step_has_settings_that_there_are(steps):
    for step in (*steps[0], *steps[1]):
        module, given = module_of([str(word) for word in step])
        cli.check(tyro.cli(module.Settings, args=given))


def test_each_step_starts_from_what_one_before_it_made(steps):
    made = set()
    for step in steps[0]:
        words = [str(word) for word in step]
        if "--weights" in words and words[words.index("--weights") + 1] != "imagenet":
            assert words[words.index("--weights") + 1] in made
        if words[:3] == ["-m", "koniq", "convert"]:
            made.add(words[4])
        if "--run" in words:
            made.add(words[words.index("--run") + 1])


def test_the_tables_leave_out_subset_2_and_keep_the_calibration_tenth_apart(steps):
    folder = steps[2]
    assert set(pd.read_csv(folder / "BIQ2021, subsets 1 and 3.csv").subset) == {1, 3}
    tenth = pd.read_csv(folder / "LIVE In the Wild, calibration.csv")
    assert set(tenth.image_name) == {"1.jpg", "3.jpg", "5.jpg", "7.jpg"}
    assert set(tenth.set) == {"validation"}
