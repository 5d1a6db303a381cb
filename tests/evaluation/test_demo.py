"""What `make demo` writes and shows, by scores that are known; the commands themselves are make demo."""

import re
import shlex
import subprocess

import numpy as np
import pandas as pd
import pytest
import tyro
from commands import ended, module_of
from PIL import Image

from koniq.commands import cli
from koniq.data import datasets, sample
from koniq.evaluation import demo
from koniq.ground.paths import ROOT
from koniq.pictures.distortions import STEPS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        scene = sample.scene
        patch.setattr(sample, "scene", lambda name: scene(name).resize((60, 45)))  # for the tests to take no time
        folder = tmp_path_factory.mktemp("demo")
        assert demo.write(folder) == 125
    return folder


@pytest.fixture
def table(folder):
    """Scores that fall by 10 a step, and by 20 of noise."""
    names = sorted(path.name for path in (folder / "photos").iterdir())
    scores = []
    for name in names:
        parts = name.removesuffix(".jpg").rsplit("_", 2)
        step = int(parts[2]) if parts[-1].isdigit() else 0
        scores.append(70 - step * (20 if "noise" in name else 10))
    return pd.DataFrame({"image_path": names, "MOS": np.array(scores, float)})


def test_every_photograph_is_there_as_it_is_and_in_four_steps_of_each_kind(folder):
    names = {path.name for path in (folder / "photos").iterdir()}
    assert names == {f"{photo}.jpg" for photo in demo.PHOTOS} | {
        f"{photo}_{kind}_{step}.jpg" for photo in demo.PHOTOS for kind in STEPS for step in range(1, 5)
    }
    pixels = {name: np.asarray(Image.open(folder / "photos" / name), float) for name in names}
    for photo in demo.PHOTOS:
        for kind in STEPS:
            away = [np.square(pixels[f"{photo}_{kind}_{step}.jpg"] - pixels[f"{photo}.jpg"]).mean() for step in (1, 4)]
            assert 0 < away[0] < away[1], (photo, kind)


def test_the_little_training_has_two_batches_of_16_and_other_photographs_to_check_on(folder):
    data = datasets.load(str(folder / "training.csv"), images=str(folder / "photos"))
    assert len(data.part("training")) == 32
    assert len(data.part("validation")) == 16
    photos = {part: {name.split("_")[0] for name in data.part(part).image_name} for part in ("training", "validation")}
    assert not photos["training"] & photos["validation"]
    assert data.part("training").MOS.between(10, 70).all()


def test_the_table_says_how_scores_fall_and_whether_each_step_does(table):
    said = demo.shown(table, {"model": "some-model"})
    assert "Mean MOS of 5 photographs by some-model" in said
    assert "blurred                   70.0    60.0    50.0    40.0    30.0      1.00\n" in said
    assert "noise                     70.0    50.0    30.0    10.0   -10.0      1.00\n" in said
    assert "In 30 of 30 series" in said
    rising = table.assign(MOS=table.MOS.where(~table.image_path.str.contains("coffee_blur"), 90))
    said = demo.shown(rising, {})
    assert "In 29 of 30 series" in said


def test_a_table_without_one_of_its_pictures_is_refused(table, tmp_path, capsys):
    table.assign(MOS=table.MOS.where(table.image_path != "coffee.jpg")).to_csv(tmp_path / "mos.csv", index=False)
    assert ended("demo", tmp_path, "--scores", tmp_path / "mos.csv") == 2
    assert "Received: none of coffee.jpg" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["demo", "demo-train", "card"])
def test_every_command_of_make_has_settings_that_there_are(target):
    """Read from what `make` would do; none of it is run."""
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    found = []
    for command in re.split(r"\n|;|&&|\|\|", done.stdout.replace("\\\n", " ").replace(" & ", "\n")):
        if not command.strip().startswith(".venv/bin/python"):
            continue
        words = shlex.split(command.partition(" > ")[0], comments=True)
        if words[1:3] == ["-m", "pip"] or words[1].startswith("tests/"):
            continue
        module, arguments = module_of(words[1:])
        cli.check(tyro.cli(module.Settings, args=arguments))
        found.append(module.__name__)
    assert {"lifelog_predict", "koniq.commands.report"} <= {*found}
    assert found.count("koncept512_train") == {"demo": 2, "demo-train": 1, "card": 0}[target]
