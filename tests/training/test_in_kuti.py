"""The study's recipe through the real kuti, in its own environment, and its scores beside ours in this one."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks import kuti_lifelog
from koniq import engines
from koniq.data.sample import SCENES, crop, scene
from koniq.engines import in_keras
from koniq.ground import InputError
from koniq.ground.paths import ROOT
from koniq.network import KONCEPT512, TOLERANCE, finding, sidecar, weights
from koniq.scoring.loop import predict
from koniq.training import in_kuti

SCRIPT = "koncept512_train_with_kuti.py"
SIZE = (76, 100)

needs_kuti = pytest.mark.skipif(not in_kuti.PYTHON.is_file(), reason="kuti's environment is not there: make kuti")


def call(python, *arguments):
    return subprocess.run([*map(str, (python, *arguments))], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """A table of 18 real photographs, larger than the network's input: 9 to train on, 3 to validate, 6 to test."""
    folder = tmp_path_factory.mktemp("rated")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    photographs = [scene(name) for name in SCENES["test"]]
    parts = ["training"] * 9 + ["validation"] * 3 + ["test"] * 6
    names = [f"{number:02}.png" for number in range(len(parts))]
    for number, name in enumerate(names):
        crop(photographs[number % len(photographs)], (120, 160), rng).save(folder / "images" / name)
    table = pd.DataFrame({"image_name": names, "MOS": rng.uniform(20, 80, len(names)), "set": parts})
    table.to_csv(folder / "rated.csv", index=False)
    return folder / "rated.csv"


@pytest.fixture(scope="module")
def run(rated):
    """The folder of a run of the script: the whole network, two steps."""
    folder = rated.parent / "run"
    arguments = ["--dataset", rated, "--weights", "none", "--input-size", *SIZE, "--batch-size", 4, "--run", folder]
    arguments += ["--epochs", 1, "--learning-rates", 1e-3, "--momentum", 0.5]
    done = call(in_kuti.PYTHON, SCRIPT, *arguments)
    assert done.returncode == 0, done.stderr
    assert "Loaded Kuti" in done.stdout
    return folder


@pytest.fixture(scope="module")
def tiny(rated):
    """The folder of a run of a tiny network, two stages, and what was seen of it."""
    folder = rated.parent / "tiny"
    done = call(in_kuti.PYTHON, "tests/helpers/kuti_tiny.py", rated, folder)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def ours(run):
    """Our network with the weights of kuti's run, ready to score."""
    in_keras.prepare()
    path = finding.find(str(run))
    model = sidecar.network_of(path).build()
    weights.load(model, path)
    return model, in_keras.of_model(model, sidecar.network_of(path))


def scores(engine, paths):
    return np.array([score.mos for score in predict(engine, paths)])


def pictures(rated, part):
    table = pd.read_csv(rated).query("set == @part")
    return [rated.parent / "images" / name for name in table.image_name], table.MOS.to_numpy()


def test_without_its_environment_kuti_is_asked_for(rated, monkeypatch, tmp_path):
    done = call(sys.executable, SCRIPT, "--dataset", rated)
    assert done.returncode == 2
    assert "run `make kuti`, then this command with .venv-kuti/bin/python." in done.stderr
    assert "Traceback" not in done.stderr
    monkeypatch.setattr(kuti_lifelog, "PYTHON", tmp_path / "python")
    with pytest.raises(InputError, match=r"/python should be there: run `make kuti`\."):
        kuti_lifelog.lifelog_rate(tmp_path, [])


@needs_kuti
def test_a_run_has_the_folder_that_others_have(tiny):
    folder, _ = tiny
    names = {"settings.json", "log.csv", "curves.png", "tensorboard", ".lock", "tiny_best.weights.h5", "tiny_best.json"}
    assert {path.name for path in folder.iterdir()} == names
    settings = json.loads((folder / "settings.json").read_text())
    log = pd.read_csv(folder / "log.csv")
    assert settings["finished"]["epochs"] == len(log) == 3
    assert settings["finished"]["best"] == pytest.approx(log.val_loss.min())
    assert "kuti 0.9.8.1 on tf-keras" in settings["device"]
    facts = {"network": "tiny", "trained_on": "rated", "label": "MOS", "loss": "mse"}
    assert json.loads((folder / "tiny_best.json").read_text()) == KONCEPT512.at((8, 12)).record() | facts


@needs_kuti
def test_each_stage_has_its_learning_rate(tiny):
    """As the optimiser has it: today's Adam of Keras 2 would silently stay at 1e-3."""
    np.testing.assert_allclose(pd.read_csv(tiny[0] / "log.csv").lr, [1e-3, 1e-3, 1e3], rtol=1e-6)


@needs_kuti
def test_the_network_ends_with_the_best_of_all_stages(tiny):
    folder, seen = tiny
    losses = pd.read_csv(folder / "log.csv").val_loss
    assert losses.iloc[-1] > 2 * losses.min()
    assert seen["loss"] == pytest.approx(losses.min(), rel=1e-4)


@needs_kuti
def test_training_sees_whole_batches_of_pictures_and_their_mirror_images(tiny):
    as_it_is, mirrored = tiny[1]["as_it_is"], tiny[1]["mirrored"]
    assert as_it_is + mirrored == 64  # 8 times 2 batches of 4; the ninth picture is left over
    assert 10 < mirrored < 54


@needs_kuti
@pytest.mark.numerical
def test_the_weights_score_the_same_here(run, rated, ours):
    paths, mos = pictures(rated, "validation")
    loss = np.mean((scores(ours[1], paths) - mos) ** 2)
    assert loss == pytest.approx(pd.read_csv(run / "log.csv").val_loss.min(), rel=1e-4)
    paths, _ = pictures(rated, "test")
    theirs = pd.read_csv(run / "test/predictions.csv").predicted
    assert theirs.std() > 10 * TOLERANCE
    torch = engines.decide(finding.find(str(run)), "torch", "float32").start()
    for engine in (ours[1], torch):
        np.testing.assert_allclose(scores(engine, paths), theirs, rtol=0, atol=TOLERANCE, err_msg=engine.name)


@needs_kuti
@pytest.mark.numerical
def test_what_keras_3_writes_scores_the_same_in_kuti_one_by_one(rated, ours, tmp_path):
    model, engine = ours
    path = tmp_path / "ours.weights.h5"
    model.save_weights(path)
    nearest = replace(engine, network=engine.network.at(resize="nearest"))
    sidecar.write_record(path, nearest.network)
    paths, _ = pictures(rated, "test")
    out = tmp_path / "theirs.csv"
    assert kuti_lifelog.lifelog_rate(path, paths, out) > 0
    np.testing.assert_allclose(scores(nearest, paths), pd.read_csv(out).MOS, rtol=0, atol=TOLERANCE)
