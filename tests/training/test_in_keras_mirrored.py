"""Training in Keras on several devices: a step is that of one device, and so is a run; what cannot be is refused."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import ended

import koncept512_train

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
FEW = ("--epochs", 2, 1, "--learning-rates", 1e-3, 1e-4, "--momentum", 0.9, "--device", "cpu")


def environment():
    return os.environ | {"TINY_DROPOUT": "0", "PYTHONUNBUFFERED": "1"}


def arguments(data, run, *more):
    fixed = ["--dataset", str(data), "--weights", "none", "--input-size", "24", "32", "--batch-size", "4"]
    return [sys.executable, str(HELPERS / "tiny.py"), "koncept512_train", *fixed, "--run", str(run), *map(str, more)]


def train(data, run, *more):
    done = subprocess.run(arguments(data, run, *more), capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    return done.stdout


def log(run):
    return pd.read_csv(run / "log.csv").drop(columns="seconds")


@pytest.fixture
def odd(data, tmp_path):
    """The table with a picture of validation less and one of training: the last batches cannot be shared out evenly."""
    table = pd.read_csv(data).drop([0, 31])
    path = data.parent / "odd.csv"
    table.to_csv(path, index=False)
    return path


@pytest.mark.numerical
@pytest.mark.parametrize(
    "case",
    [
        ("tiny", 24, 32),
        pytest.param(("koncept512", 75, 100, "float64"), marks=pytest.mark.long),
        pytest.param(("koncept_lite", 64, 80, "float64"), marks=pytest.mark.long),
    ],
    ids=lambda case: case[0],
)
def test_a_step_is_that_of_one_device(case):
    """Loss, gradients and moving statistics; not so by statistics of each device's own pictures.

    The two networks in float64: with random weights, rounding in float32 is blown up to 1e-2 of their gradients on one
    device alone (results/LOG.md).
    """
    command = [sys.executable, str(HELPERS / "mirrored.py"), *map(str, case)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    apart = json.loads(done.stdout)
    for loss in ("mse", "plcc"):
        assert max(apart[loss].values()) < 1e-4, apart
    assert min(apart["plcc, not synchronised"].values()) > 1e-2, apart


@pytest.mark.long
@pytest.mark.numerical
def test_a_run_is_that_of_one_device(odd, tmp_path):
    """By a loss of the batch, with last batches that cannot be shared out evenly; and its own test is."""
    printed = train(odd, tmp_path / "two", *FEW, "--loss", "plcc", "--devices", 2)
    assert ", 2 devices share a batch, " in printed
    train(odd, tmp_path / "one", *FEW, "--loss", "plcc")
    pd.testing.assert_frame_equal(log(tmp_path / "two"), log(tmp_path / "one"), rtol=2e-3, atol=1e-3)
    two, one = (pd.read_csv(tmp_path / run / "test/predictions.csv") for run in ("two", "one"))
    assert len(two) == len(one)
    np.testing.assert_allclose(two.predicted, one.predicted, rtol=2e-3)


@pytest.mark.long
def test_killed_on_two_devices_and_gone_on_with_it_is_the_uninterrupted_run(data, tmp_path):
    """By statistics of each device's own pictures, which are averaged at each epoch; then on one device."""
    more = (*FEW, "--devices", 2, "--no-sync-batch-norm")
    train(data, tmp_path / "whole", *more)
    command = arguments(data, tmp_path / "run", *more)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment())
    assert any(printed.startswith("stage 1/2, epoch 2/2") for printed in process.stdout)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert "epoch 1/2" not in train(data, tmp_path / "run", *more, "--resume")
    pd.testing.assert_frame_equal(log(tmp_path / "run"), log(tmp_path / "whole"), rtol=1e-3)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--devices", 3), "devices should be a number that batch_size=4 is a multiple of. Received: devices=3"),
        (
            ("--devices", 2, "--no-sync-batch-norm", "--loss", "plcc"),
            "sync_batch_norm should be on with loss=plcc on several devices",
        ),
        (("--devices", 2, "--micro-batch", 2), "micro_batch should be 0, and statistics moving or kept"),
        (("--devices", 2, "--statistics", "trailing"), "micro_batch should be 0, and statistics moving or kept"),
        (("--devices", 2, "--jit-compile", "yes"), "jit_compile should be auto or no"),
        (("--devices", 2), "devices should be at most the GPUs that TensorFlow finds, here 0; or give --device cpu"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(data, tmp_path, capsys, more, expected):
    assert ended(koncept512_train, *arguments(data, tmp_path / "run", *more)[3:]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
