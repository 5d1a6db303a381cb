"""What CONTRIBUTING.md says of adding a thing: its own blocks are added here, and used."""

import importlib
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image

import koniq
from koniq import commands
from koniq.commands import door
from koniq.data import datasets, releases
from koniq.engines import Engine, Plan, decide
from koniq.engines import plan as engines_plan
from koniq.ground import InputError
from koniq.ground.paths import ROOT
from koniq.network import NETWORKS, TOLERANCE, network_of, read_state, spec, write_state
from koniq.scoring import loop


def block(title: str) -> str:
    """The lines of Python under a heading."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    return re.search(rf"^## {title}\n\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures of 24x32 pixels, and their table."""
    rng = np.random.default_rng(3)
    (tmp_path / "images").mkdir()
    for number in range(12):
        pixels = rng.integers(0, 255, (1, 1, 3)) + rng.integers(-9, 9, (24, 32, 3))
        Image.fromarray(np.uint8(np.clip(pixels, 0, 255))).save(tmp_path / f"images/{number}.png")
    sets = ["training"] * 6 + ["validation"] * 2 + ["test"] * 4
    rows = {"image_name": [f"{number}.png" for number in range(12)], "MOS": range(20, 80, 5), "set": sets}
    pd.DataFrame(rows).to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path


def test_a_data_set(folder, monkeypatch, capsys):
    names = {**vars(datasets), "METADATA": folder}
    exec(block("A data set"), names)
    monkeypatch.setitem(datasets.READERS, "mine", names["mine"])
    monkeypatch.setitem(releases.RELEASES, "mine", releases.Release(sizes=((24, 32),)))
    data = datasets.load("mine", images=str(folder / "images"))
    assert (data.name, len(data.part("training")), len(data.part("test"))) == ("Mine", 6, 4)
    assert ended("check", "mine", "--images", folder / "images") == 0
    assert "mine is RIGHT" in capsys.readouterr().out
    (folder / "images/3.png").unlink()
    assert ended("check", "mine", "--images", folder / "images") == 1


def in_torch(output_bias):
    from torch import nn

    from koniq.network.in_torch import Rating

    body = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Rating(body, nn.Sequential(nn.Linear(3, 1)), output_bias)


def in_openvino(state, input_size, bfloat16=False):
    import openvino
    from openvino import opset13 as ops

    pictures = ops.parameter([-1, *input_size, 3], np.uint8, name="pictures")
    mean = ops.reduce_mean(ops.convert(pictures, np.float32), np.array([1, 2]), False)
    seen = ops.subtract(ops.divide(mean, np.float32(127.5)), np.float32(1))
    score = ops.add(ops.matmul(seen, state["fc.0.weight"], False, True), state["fc.0.bias"])
    return openvino.Model([score], [pictures], "brightness")


def in_keras(input_size, output_bias):
    import keras

    pictures = keras.Input((*input_size, 3), dtype="uint8")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 127.5, offset=-1)(pictures))
    return keras.Model(pictures, keras.layers.Dense(1)(x))


@pytest.fixture
def weights(folder, monkeypatch):
    """Those of the network of the page, which is one of NETWORKS by now."""
    builders = {"in_keras": in_keras, "in_torch": in_torch, "in_openvino": in_openvino}
    names = {**vars(spec), "BuiltIn": lambda file, name: builders[file]}
    exec(block("A network"), names)
    monkeypatch.setitem(NETWORKS, "brightness", names["BRIGHTNESS"])
    path = folder / "brightness.safetensors"
    state = {"fc.0.weight": np.float32([[9, 7, 5]]), "fc.0.bias": np.float32([50])}
    write_state(state, path, NETWORKS["brightness"])
    path.with_suffix(".json").write_text(json.dumps(NETWORKS["brightness"].record()))
    return path


def scores(engine, folder: Path) -> list[float]:
    return [score.mos for score in loop.predict(engine, sorted((folder / "images").iterdir()))]


@pytest.fixture
def expected(folder):
    """The score of each picture, by the formula."""
    means = [np.asarray(Image.open(path)).mean((0, 1)) for path in sorted((folder / "images").iterdir())]
    return (np.array(means) / 127.5 - 1) @ [9, 7, 5] + 50


@pytest.mark.parametrize("engine", ["openvino", "torch", pytest.param("keras", marks=pytest.mark.long)])
def test_a_network(weights, folder, expected, engine):
    assert network_of(weights).name == "brightness"
    found = scores(decide(weights, engine, "float32").start(), folder)
    assert np.ptp(found) > 1000 * TOLERANCE
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_an_engine(weights, folder, expected, monkeypatch):
    names = {"Engine": Engine, "Plan": Plan, "read_state": read_state, "np": np}
    exec(block("An engine"), names)
    monkeypatch.setitem(sys.modules, "koniq.engines.in_numpy", SimpleNamespace(**names))
    monkeypatch.setitem(engines_plan.BACKENDS, "numpy", engines_plan.Backend("NumPy", "", lambda: True, 5))
    engine = decide(weights, "numpy", "float32").start()  # 12 pictures: the last batch has two
    np.testing.assert_allclose(scores(engine, folder), expected, rtol=0, atol=TOLERANCE)
    scorer = koniq.load(weights, engine="numpy")
    assert (scorer.plan.engine, scorer.plan.batch_size) == ("numpy", 5)
    np.testing.assert_allclose(scorer.table(str(folder / "images")).MOS, expected, rtol=0, atol=TOLERANCE)
    with pytest.raises(InputError, match="device=cuda should go with another engine"):
        decide(weights, "numpy", device="cuda")
    monkeypatch.setitem(engines_plan.BACKENDS, "numpy", engines_plan.Backend("NumPy", "", lambda: False, 5))
    with pytest.raises(InputError, match="NumPy should be installed for this: pip install"):
        decide(weights, "numpy")


def test_a_command(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "room").mkdir()
    (tmp_path / "room/count.py").write_text(block("A command"))
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path / "room")])
    monkeypatch.setitem(door.COMMANDS, "count", ("count", "how many pictures there are"))
    importlib.invalidate_caches()
    door.main(["count", str(folder / "images")])
    assert capsys.readouterr().out == "12 pictures\n"
    with pytest.raises(SystemExit) as end:
        door.main(["count", str(folder / "none" / "*.png")])
    assert end.value.code == 2
    with pytest.raises(SystemExit):
        door.main(["count", "--help"])
    text = capsys.readouterr().out
    assert "How many pictures there are in folders" in text
    assert "where the paths of a list start" in text
