"""Training scripts with --network koncept_lite: their own loop, in both frameworks, by every kind of statistics."""

import json

import numpy as np
import pandas as pd
import pytest
from commands import ended

from koniq.data.datasets import DataSet, load
from koniq.network import KONCEPT512, KONCEPT_LITE, sidecar, weights
from koniq.training.run import run_name

STATISTICS = ("moving", "frozen", "trailing", "reestimated")
LITE = ("--network", "koncept_lite", "--input-size", 64, 80, "--batch-size", 4, "--device", "cpu")
ONE = ("--epochs", 1, "--learning-rates", 1e-3)


@pytest.fixture(scope="module")
def few(data, tmp_path_factory):
    """Half of the pictures of the table: 12 to train on, and 4 each to validate and to test."""
    table = pd.read_csv(data)
    path = tmp_path_factory.mktemp("few") / "few.csv"
    pd.concat([rows.iloc[::2] for _, rows in table.groupby("set", sort=False)]).to_csv(path, index=False)
    return ("--dataset", path, "--images", data.parent / "images")


def check(run, ending):
    """What the run left is koncept_lite's, read without a framework, and its log is of numbers."""
    (path,) = run.glob(f"koncept_lite*_best{ending}")
    assert sidecar.network_of(path) == KONCEPT_LITE.at((64, 80))
    state = weights.read_state(path, KONCEPT_LITE)
    assert all(np.isfinite(array).all() for array in state.values())
    log = pd.read_csv(run / "log.csv")
    assert np.isfinite(log[["loss", "val_loss"]]).all(axis=None)
    assert json.loads((run / "settings.json").read_text())["settings"]["network"] == "koncept_lite"
    return path, state


@pytest.mark.parametrize("statistics", STATISTICS)
def test_pytorch_trains_it_and_goes_on_from_its_weights(few, tmp_path, capsys, statistics):
    torch = pytest.importorskip("torch")
    import pytorch_train_koncept512 as script

    micro = ("--micro-batch", 2) if statistics in ("frozen", "trailing") else ()
    run = tmp_path / "run"
    how = (*few, *LITE, *micro, "--statistics", statistics)
    assert ended(script, *how, *ONE, "--weights", "none", "--run", run) == 0, capsys.readouterr().err
    path, state = check(run, ".safetensors")
    if statistics == "moving":
        more = ("--weights", run, "--run", tmp_path / "more", "--epochs", 1, "--learning-rates", 1e-9)
        assert ended(script, *how, *more) == 0, capsys.readouterr().err
        assert f"Initial weights: {path}." in capsys.readouterr().out
        _, again = check(tmp_path / "more", ".safetensors")
        learned = {key: array for key, array in state.items() if "running" not in key}
        assert all(np.allclose(again[key], array, rtol=0, atol=1e-7) for key, array in learned.items())
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.long  # make demo has Keras train it, too
def test_keras_trains_it(few, tmp_path, capsys, statistics):
    pytest.importorskip("keras")
    import koncept512_train as script

    micro = ("--micro-batch", 2) if statistics in ("frozen", "trailing") else ()
    how = (*few, *LITE, *micro, *ONE, "--statistics", statistics, "--weights", "none", "--run", tmp_path / "run")
    assert ended(script, *how) == 0, capsys.readouterr().err
    check(tmp_path / "run", ".weights.h5")


def test_weights_of_another_network_are_refused_in_a_sentence(few, tmp_path, capsys):
    pytest.importorskip("torch")
    import pytorch_train_koncept512 as script

    path = tmp_path / "study.safetensors"
    weights.write_state({"base.0.conv.weight": np.zeros((32, 3, 3, 3), np.float32)}, path, KONCEPT512)
    how = (*few, *LITE, *ONE, "--weights", path, "--run", tmp_path / "run", "--overwrite")
    assert ended(script, *how) == 2
    assert "study.safetensors should fit koncept_lite, and layer 1 of those with weights differs" in (
        capsys.readouterr().err
    )
    sidecar.write_record(path, KONCEPT512)
    assert ended(script, *how) == 2
    assert (
        f"{path} should have weights of koncept_lite. Received: weights of koncept512, by {path.with_suffix('.json')}"
        in (capsys.readouterr().err)
    )


def test_runs_of_the_two_networks_have_names_of_their_own(few):
    data: DataSet = load(str(few[1]), images=str(few[3]))
    settings = {"loss": "mse", "batch_size": 8, "input_size": (384, 512), "seed": 1}
    assert run_name(data, settings) == run_name(data, settings | {"network": "koncept512"}) == "few-mse-b8-384x512-s1"
    assert run_name(data, settings | {"network": "koncept_lite"}) == "few-koncept-lite-mse-b8-384x512-s1"
    assert run_name(data, settings | {"pooling": "8x8"}) == "few-mse-b8-384x512-8x8-s1"
