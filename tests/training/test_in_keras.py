"""Training runs of the real script with a small network (helpers/tiny.py): settings, learning, resuming, stopping."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image
from tiny import TINY as NETWORK

import koncept512_train
from koniq.data import datasets
from koniq.engines import in_keras as engine
from koniq.ground import InputError
from koniq.network import NETWORKS
from koniq.pictures.decoding import decode
from koniq.training import by_xla, in_keras
from ku.files import lock_file
from ku.on_device import OnDevice
from ku.optimizers import FusedAdam
from ku.virtual_batch import VirtualBatch

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "helpers" / "tiny.py"


def arguments(data, run, *more):
    fixed = ["--dataset", str(data), "--weights", "none", "--input-size", "24", "32", "--run", str(run)]
    return [sys.executable, str(TINY), "koncept512_train", *fixed, "--batch-size", "4", *map(str, more)]


STAGES = ("--epochs", 3, 3, "--learning-rates", 1e-2, 1e-3)


def train(data, run, *more):
    return subprocess.run(arguments(data, run, *more), capture_output=True, text=True, check=False)


@pytest.fixture
def here(monkeypatch):
    """The exit code of the same command in this process, which has TensorFlow already."""
    monkeypatch.setitem(NETWORKS, "koncept512", NETWORK)
    return lambda *more: ended(koncept512_train, *arguments(*more)[3:])


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """An uninterrupted run, and what it printed."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    done = train(data, run, *STAGES)
    assert done.returncode == 0, done.stderr
    return run, done.stdout


def best(run):
    """The arrays of a run's best weights, by name."""
    (path,) = run.glob("*_best.weights.h5")
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return arrays


def assert_same_run(run, other):
    log, expected = (pd.read_csv(folder / "log.csv").drop(columns="seconds") for folder in (run, other))
    pd.testing.assert_frame_equal(log, expected)
    ours, theirs = best(run), best(other)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], name)
    assert (run / "test/metrics.csv").read_text().replace(run.name, other.name) == (
        other / "test/metrics.csv"
    ).read_text()


def test_a_run_writes_its_folder(whole, data):
    run, printed = whole
    facts = json.loads((run / "settings.json").read_text())
    assert facts["settings"]["seed"] == 1
    assert facts["settings"]["epochs"] == [3, 3]
    assert {"python", "keras", "tensorflow", "numpy"} <= facts["versions"].keys()
    assert facts["finished"]["epochs"] == 6
    assert facts["resolved"] == {"precision": "float32", "compile": False}
    assert facts["device"].endswith(", float32")
    log = pd.read_csv(run / "log.csv")
    assert log.stage.tolist() == [1, 1, 1, 2, 2, 2]
    assert log.lr.tolist() == [1e-2] * 3 + [1e-3] * 3
    assert {"loss", "val_loss", "plcc_tf", "val_plcc_tf", "MAE", "val_MAE", "seconds"} <= set(log)
    assert Image.open(run / "curves.png").width > 500
    assert list(run.glob("tensorboard/*/train/events.out.*"))
    assert not (run / "state.weights.h5").exists()
    assert (run / "test/scatter.png").is_file()
    assert printed.startswith("grey: 24 training, 8 validation, 8 test (MOS)\nDevice: ")
    assert "stage 2/2, epoch 3/3: " in printed


@pytest.mark.numerical
def test_a_run_learns(whole):
    log = pd.read_csv(whole[0] / "log.csv")
    assert log.val_loss.min() < log.val_loss[0]
    metrics = pd.read_csv(whole[0] / "test/metrics.csv").set_index("metric").value
    assert metrics.srcc > 0.8


def test_the_best_weights_are_those_of_the_lowest_validation_loss(whole):
    facts = json.loads((whole[0] / "settings.json").read_text())
    assert facts["finished"]["best"] == pytest.approx(pd.read_csv(whole[0] / "log.csv").val_loss.min())


@pytest.mark.parametrize(
    ("kills", "kept"),
    [
        ([("stage 1/2, epoch 2/3", 0)], "stage 1/2, epoch 1/3"),
        pytest.param(
            [("stage 1/2, epoch 3/3", 0.05), ("stage 2/2, epoch 1/3", 0.2)],
            "stage 1/2, epoch 3/3",
            marks=pytest.mark.long,
        ),
    ],
)
def test_a_killed_run_resumed_is_the_uninterrupted_run(whole, data, tmp_path, kills, kept):
    """Killed within a stage, as one ends and the next begins, and in the second, where another optimiser is at work.

    The epoch that has just ended may not be on the disk yet; the one before it is.
    """
    run = tmp_path / "whole"
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    for line, seconds in kills:
        command = arguments(data, run, *STAGES, "--resume")
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert any(printed.startswith(line) for printed in process.stdout)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = train(data, run, *STAGES, "--resume")
    assert done.returncode == 0, done.stderr
    assert kept not in done.stdout
    assert_same_run(run, whole[0])
    assert {path.name for path in run.iterdir()} == {path.name for path in whole[0].iterdir()}


def test_a_run_is_not_overwritten_nor_resumed_with_other_settings(whole, data, here, capsys):
    assert here(data, whole[0], *STAGES) == 2
    assert "Give --resume to go on with it, --overwrite, or another --run." in capsys.readouterr().err
    assert here(data, whole[0], *STAGES, "--resume", "--loss", "plcc") == 2
    assert "began with: loss='mse'. Received: loss='plcc'" in capsys.readouterr().err


def test_a_run_is_one_process_at_a_time(whole, data):
    held = lock_file(whole[0] / ".lock")
    done = train(data, whole[0], *STAGES, "--resume")
    held.close()
    assert done.returncode == 2
    assert "Another process is training in" in done.stderr


def test_a_finished_run_resumed_is_only_tested_again(whole, data, tmp_path):
    before = best(whole[0])
    done = train(data, whole[0], *STAGES, "--resume")
    assert done.returncode == 0, done.stderr
    assert "epoch" not in done.stdout
    after = best(whole[0])
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_best_weights(data, tmp_path, here, capsys):
    run = tmp_path / "run"
    assert here(data, run, "--epochs", 1, 2, "--learning-rates", 1e-3, 1e38) == 1
    said = capsys.readouterr().err
    assert "loss should be finite. Received: " in said
    assert "Traceback" not in said
    assert all(np.isfinite(array).all() for array in best(run).values())
    assert pd.read_csv(run / "log.csv").notna().all(axis=None)


def count(monkeypatch, kind, name):
    """The calls of a method of `kind` from here on, a number in a list."""
    calls, own = [0], getattr(kind, name)

    def counted(*of, **more):
        calls[0] += 1
        return own(*of, **more)

    monkeypatch.setattr(kind, name, counted)
    return calls


SHORT = ("--epochs", 2, 1, "--learning-rates", 1e-3, 1e-4)


@pytest.mark.parametrize("micro_batch", [0, pytest.param(2, marks=pytest.mark.long)])
def test_a_training_is_one_graph_and_its_validation_another(data, tmp_path, here, monkeypatch, micro_batch):
    """Over two stages, three epochs, and batches of 4, 8 and, at the end of the training set, 3."""
    kind = VirtualBatch if micro_batch else OnDevice
    trained, tested = count(monkeypatch, kind, "train_step"), count(monkeypatch, OnDevice, "test_step")
    assert here(data, tmp_path / "run", *SHORT, "--micro-batch", micro_batch) == 0
    assert (trained, tested) == ([1], [1])


def test_no_number_is_read_from_the_device_in_a_step(data, tmp_path, here, monkeypatch):
    """Four times the batches, and as many numbers read: those of an epoch, and of its first batch in 50."""
    tensors = pytest.importorskip("tensorflow.python.framework.ops")._EagerTensorBase
    read = {name: count(monkeypatch, tensors, name) for name in ("numpy", "__float__", "__int__", "__array__")}
    steps = count(monkeypatch, in_keras.ProgressBar, "on_train_batch_end")
    found = []
    for size in (8, 2):
        for calls in (steps, *read.values()):
            calls[0] = 0
        settings = ("--epochs", 1, "--learning-rates", 1e-3, "--batch-size", size)
        assert here(data, tmp_path / str(size), *settings) == 0
        found.append((steps[0], {name: calls[0] for name, calls in read.items()}))
    assert [taken for taken, _ in found] == [3, 12]
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize("older", [False, True])
def test_a_state_gives_the_network_and_its_optimiser_back(tmp_path, older):
    """As it is written now, and as Keras wrote it in older runs."""
    models = []
    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        model = NETWORK.build()
        model.compile(FusedAdam(1e-2), "mse", run_eagerly=True)
        model.optimizer.build(model.trainable_variables)
        models.append(model)
    trained, fresh = models
    rng = np.random.default_rng(0)
    pictures, mos = rng.integers(0, 256, (4, 24, 32, 3), np.uint8), rng.uniform(0, 100, (4, 1))
    trained.train_on_batch(pictures, mos)
    run = in_keras.KerasRun(str(tmp_path / "run"), {})
    if older:
        trained.save_weights(run.state_path)
        with h5py.File(run.state_path, "a") as file:
            file.attrs["progress"] = '{"epoch": 2}'
    else:
        helper = SimpleNamespace(
            model=trained, checkpoint=SimpleNamespace(path=None), params=SimpleNamespace(callbacks=())
        )
        learner = in_keras.KerasLearner(run, helper, None, 1)
        run.progress.epoch = 2
        run.save(*learner.state())
        before = [array.copy() for array in learner.kept]
        run.wait()
        trained.train_on_batch(pictures, mos)  # by which the copies do not change
        assert all(map(np.array_equal, before, learner.kept))
        trained = before
    run.read_state(fresh)
    assert run.read().epoch == 2
    variables = [*fresh.weights, *fresh.optimizer.variables]
    expected = trained if not older else [*trained.weights, *trained.optimizer.variables]
    for variable, wanted in zip(variables, expected, strict=True):
        np.testing.assert_array_equal(variable.numpy(), np.asarray(wanted))


def test_a_device_without_the_memory_ends_the_run_with_what_may_do(data, tmp_path, here, capsys, monkeypatch):
    class ResourceExhaustedError(Exception):
        pass

    def full(*of, **more):
        raise ResourceExhaustedError("OOM when allocating tensor with shape[4,384,512,32]")

    monkeypatch.setattr(keras.Model, "fit", full)
    assert here(data, tmp_path / "run", *SHORT) == 1
    said = capsys.readouterr().err
    assert "does not suffice for 4 pictures at a time. Try --micro-batch 2," in said
    assert "Traceback" not in said


def test_what_is_compiled_is_said(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    for choice, compiled in (("auto", False), ("no", False), ("yes", True)):
        assert engine.resolved("float32", choice) == {"precision": "float32", "compile": compiled}
    assert engine.prepare(jit_compile="yes").endswith("on tensorflow, float32, XLA")
    monkeypatch.setattr(engine, "_gpus", lambda: ["NVIDIA H100"])
    assert engine.resolved("mixed_bfloat16", "auto") == {"precision": "mixed_bfloat16", "compile": True, "tf32": False}
    said = engine.prepare(jit_compile="auto")
    assert said.startswith("NVIDIA H100, Keras ")
    assert said.endswith(", float32 (TF32), XLA")
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        assert engine.prepare(jit_compile="no").endswith(", float32")
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)


def test_a_virtual_batch_is_not_compiled():
    assert [by_xla(choice, 0, "moving") for choice in ("auto", "yes", "no")] == ["auto", "yes", "no"]
    assert by_xla("auto", 2, "moving") == by_xla("auto", 0, "trailing") == "no"
    with pytest.raises(InputError, match=r"jit_compile should be auto or no with micro_batch.*Received: .*=yes"):
        by_xla("yes", 2, "moving")


@pytest.mark.long
@pytest.mark.parametrize("statistics", ["trailing", "reestimated"])
def test_a_virtual_batch_with_other_statistics_learns_and_is_resumed_as_if_never_stopped(data, tmp_path, statistics):
    settings = (*STAGES, "--micro-batch", 2, "--statistics", statistics)
    whole, killed = tmp_path / "whole", tmp_path / "killed" / "whole"
    assert train(data, whole, *settings).returncode == 0
    log = pd.read_csv(whole / "log.csv")
    assert log.val_loss.min() < log.val_loss[0]
    facts = json.loads((whole / "settings.json").read_text())["settings"]
    assert (facts["micro_batch"], facts["statistics"]) == (2, statistics)
    process = subprocess.Popen(
        arguments(data, killed, *settings), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    while not (killed / "log.csv").is_file() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    done = train(data, killed, *settings, "--resume")
    assert done.returncode == 0, done.stderr
    assert_same_run(killed, whole)


@pytest.mark.long
def test_frozen_statistics_are_those_of_the_training_set_at_the_start_and_stay(data, tmp_path):
    found = []
    for rate in (1e-12, 1e-2):  # the first of which learns nothing
        settings = ("--statistics", "frozen", "--epochs", 2, "--learning-rates", rate)
        done = train(data, tmp_path / str(rate), *settings)
        assert done.returncode == 0, done.stderr
        found.append(best(tmp_path / str(rate)))
    start, learned = found
    pictures = np.stack([decode(path, NETWORK).pixels for path in datasets.load(str(data)).part("training").image_path])
    seen = keras.layers.Conv2D(8, 3, strides=2, activation="relu")
    seen.build((None, 24, 32, 3))
    seen.set_weights([start[f"layers/conv2d/vars/{number}"] for number in (0, 1)])
    mean = seen(pictures / 127.5 - 1).numpy().mean((0, 1, 2))
    np.testing.assert_allclose(start["layers/batch_normalization/vars/2"], mean, rtol=1e-3, atol=1e-5)
    for norm in ("batch_normalization", "batch_normalization_1"):
        for statistics in ("vars/2", "vars/3"):
            np.testing.assert_array_equal(learned[f"layers/{norm}/{statistics}"], start[f"layers/{norm}/{statistics}"])
        assert learned[f"layers/{norm}/vars/1"].any()  # the offset, which learns


@pytest.mark.parametrize("loss", ["plcc", *(pytest.param(loss, marks=pytest.mark.long) for loss in ("mae", "huber"))])
@pytest.mark.long
def test_other_losses_train(data, tmp_path, here, loss):
    assert here(data, tmp_path / "run", "--loss", loss, "--epochs", 1, "--learning-rates", 1e-3) == 0
    assert np.isfinite(pd.read_csv(tmp_path / "run/log.csv").loss).all()
