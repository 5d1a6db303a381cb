"""Training runs of the real PyTorch script with a small network: learning, resuming, several processes, stopping."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from koniq.network import TOLERANCE

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "helpers" / "tiny.py"
STAGES = ("--epochs", 3, 3, "--learning-rates", 1e-2, 1e-3)


def arguments(data, run, *more, processes=1):
    fixed = ["--dataset", str(data), "--weights", "none", "--input-size", "24", "32", "--run", str(run)]
    command = [sys.executable, str(TINY)]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
        command += ["--master-port", port, "--", str(TINY)]  # else torchrun takes --run for one of its own
    return [*command, "pytorch_train_koncept512", *fixed, "--batch-size", "4", *map(str, more)]


def train(data, run, *more, processes=1):
    command = arguments(data, run, *more, processes=processes)
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def check_resumed(data, folder, *more):
    """A run that is killed in its first stage and gone on with has the log of the one in `whole`."""
    process = subprocess.Popen(
        arguments(data, folder / "run", *more),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
    )
    assert any(printed.startswith("stage 1/2, epoch 2/3") for printed in process.stdout)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = train(data, folder / "run", *more, "--resume")
    assert done.returncode == 0, done.stderr
    log, expected = (pd.read_csv(folder / name / "log.csv").drop(columns="seconds") for name in ("run", "whole"))
    pd.testing.assert_frame_equal(log, expected)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """An uninterrupted run, and what it printed."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    done = train(data, run, *STAGES)
    assert done.returncode == 0, done.stderr
    return run, done.stdout


@pytest.mark.long
def test_pictures_that_do_not_open_are_all_named_or_left_out(data, tmp_path):
    for number in range(40):
        (tmp_path / "images").mkdir(exist_ok=True)
        picture = (data.parent / f"images/{number}.png").read_bytes()
        (tmp_path / f"images/{number}.png").write_bytes(picture[: len(picture) // (2 if number in (3, 30) else 1)])
    (tmp_path / "grey.csv").write_bytes(data.read_bytes())
    done = train(tmp_path / "grey.csv", tmp_path / "run", "--epochs", 1, "--learning-rates", 1e-3)
    assert done.returncode == 2
    assert "Received: 2 of 32 that are not, 3.png (truncated: " in done.stderr
    done = train(tmp_path / "grey.csv", tmp_path / "run", "--epochs", 1, "--learning-rates", 1e-3, "--skip-missing")
    assert done.returncode == 0, done.stderr
    assert "2 of 32 pictures do not open, and are left out: 3.png" in done.stdout
    facts = json.loads((tmp_path / "run/settings.json").read_text())
    assert facts["data"] == "grey: 23 training, 7 validation, 8 test (MOS); 2 of the table's 40 do not open"


def best(run):
    return load_file(run / "tiny_best.safetensors")


def test_a_run_writes_its_folder(whole):
    run, printed = whole
    facts = json.loads((run / "settings.json").read_text())
    assert facts["finished"]["epochs"] == 6
    assert facts["settings"]["select_by"] == "plcc"
    assert "torch" in facts["versions"]
    log = pd.read_csv(run / "log.csv")
    assert log.stage.tolist() == [1, 1, 1, 2, 2, 2]
    assert log.lr.tolist() == [1e-2] * 3 + [1e-3] * 3
    assert {"loss", "val_loss", "plcc_tf", "val_plcc_tf", "MAE", "val_MAE", "seconds"} <= set(log)
    assert json.loads((run / "tiny_best.json").read_text())["input_size"] == [24, 32]
    assert {path.name for path in run.iterdir()} == {
        *("settings.json", "log.csv", "curves.png", "tiny_best.safetensors", "tiny_best.json", "test", ".lock")
    }
    assert printed.startswith("grey: 24 training, 8 validation, 8 test (MOS)\n")
    assert "stage 2/2, epoch 3/3: " in printed


@pytest.mark.numerical
def test_a_run_learns_and_keeps_the_best_by_validation_plcc(whole):
    log = pd.read_csv(whole[0] / "log.csv")
    assert log.val_loss.min() < log.val_loss[0]
    assert pd.read_csv(whole[0] / "test/metrics.csv").set_index("metric").value.srcc > 0.8
    facts = json.loads((whole[0] / "settings.json").read_text())
    assert facts["finished"]["best"] == log.val_plcc_tf.max()
    assert facts["resolved"] == {
        "precision": "float32" if "float32" in facts["device"] else "mixed_bfloat16",
        "compile": False,
    }


def test_a_killed_run_resumed_is_the_uninterrupted_run(whole, data, tmp_path):
    """Killed within a stage, and again as it ends and the next, which starts from the last weights, begins.

    States are written by a thread: the epoch that a kill comes right after may be done again.
    """
    run = tmp_path / "whole"
    for line, seconds in (("stage 1/2, epoch 1/3", 0), ("stage 1/2, epoch 3/3", 0.02)):
        process = subprocess.Popen(
            arguments(data, run, *STAGES, "--resume"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        )
        assert any(printed.startswith(line) for printed in process.stdout)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = train(data, run, *STAGES, "--resume")
    assert done.returncode == 0, done.stderr
    assert "stage 1/2, epoch 1/3" not in done.stdout
    log, expected = (pd.read_csv(folder / "log.csv").drop(columns="seconds") for folder in (run, whole[0]))
    pd.testing.assert_frame_equal(log, expected)
    ours, theirs = best(run), best(whole[0])
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.numerical
@pytest.mark.long
def test_a_virtual_batch_of_one_micro_batch_is_the_batch(whole, data, tmp_path):
    done = train(data, tmp_path / "run", *STAGES, "--micro-batch", 4)
    assert done.returncode == 0, done.stderr
    log, expected = (pd.read_csv(folder / "log.csv").drop(columns="seconds") for folder in (tmp_path / "run", whole[0]))
    pd.testing.assert_frame_equal(log, expected, rtol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("statistics", ["trailing", "reestimated"])
def test_a_virtual_batch_with_other_statistics_is_resumed_too(data, tmp_path, statistics):
    more = (*STAGES, "--micro-batch", 2, "--statistics", statistics)
    assert train(data, tmp_path / "whole", *more).returncode == 0
    check_resumed(data, tmp_path, *more)


@pytest.mark.long
def test_averaged_weights_and_a_slower_body_are_resumed_too(data, tmp_path):
    more = (*STAGES, "--average", 0.9, "--body-rate", 0.1, "--statistics", "kept", "--loss", "nin")
    assert train(data, tmp_path / "whole", *more).returncode == 0
    check_resumed(data, tmp_path, *more)
    ours, theirs = best(tmp_path / "run"), best(tmp_path / "whole")
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_what_cannot_be_held_is_refused(data, tmp_path):
    done = train(data, tmp_path / "run", "--epochs", 1, "--learning-rates", 1e-3, "--hold", 5)
    assert done.returncode == 2
    assert "whose parts can be held: koncept_lite. Received: hold=5" in done.stderr


@pytest.mark.parametrize(
    "statistics",
    ["trailing", "moving", "frozen", "reestimated"],
)
@pytest.mark.numerical
@pytest.mark.long
def test_two_processes_share_a_virtual_batch(data, tmp_path, monkeypatch, statistics):
    """Two of micro-batches of 1 train as one of micro-batches of 2 does: the statistics are of the same pictures."""
    monkeypatch.setenv("TINY_DROPOUT", "0")
    more = ("--statistics", statistics, "--epochs", 2, "--learning-rates", 1e-4, "--precision", "float32")
    for processes in (1, 2):
        done = train(data, tmp_path / str(processes), *more, "--micro-batch", 3 - processes, processes=processes)
        assert done.returncode == 0, done.stderr
    one, two = (pd.read_csv(tmp_path / name / "log.csv").drop(columns="seconds") for name in "12")
    pd.testing.assert_frame_equal(one, two, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("loss", [pytest.param("mse", marks=pytest.mark.long), "plcc"])
@pytest.mark.numerical
def test_two_processes_train_as_one_does(data, tmp_path, monkeypatch, loss):
    """With synchronised batch normalisation and no dropout, which each process draws for itself, up to rounding."""
    monkeypatch.setenv("TINY_DROPOUT", "0")
    more = ("--loss", loss, "--epochs", 2, "--learning-rates", 1e-3, "--precision", "float32")
    for processes in (1, 2):
        done = train(data, tmp_path / str(processes), *more, processes=processes)
        assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2: ") == 1
    one, two = (pd.read_csv(tmp_path / name / "log.csv").drop(columns="seconds") for name in "12")
    pd.testing.assert_frame_equal(one, two, rtol=2e-3)
    one, two = best(tmp_path / "1"), best(tmp_path / "2")
    for name, array in one.items():
        # Where a shift of all scores changes no PLCC, a gradient is rounding alone, and Adam makes a step of it.
        if loss == "mse" or not name.endswith("bias"):
            np.testing.assert_allclose(two[name], array, rtol=0.02, atol=2e-3, err_msg=name)
    one, two = (pd.read_csv(tmp_path / name / "test/predictions.csv").predicted for name in "12")
    np.testing.assert_allclose(two, one, rtol=5e-3)


@pytest.mark.long
def test_two_processes_killed_and_resumed_without_synchronised_statistics(data, tmp_path):
    more = ("--no-sync-batch-norm", "--epochs", 2, 1, "--learning-rates", 1e-2, 1e-3)
    run = tmp_path / "run"
    process = subprocess.Popen(
        arguments(data, run, *more, processes=2),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
    )
    assert any(printed.startswith("stage 1/2, epoch 2/2") for printed in process.stdout)
    process.terminate()  # which torchrun hands on
    process.wait()
    done = train(data, run, *more, "--resume", processes=2)
    assert done.returncode == 0, done.stderr
    assert "stage 1/2, epoch 1/2" not in done.stdout
    assert len(pd.read_csv(run / "log.csv")) == 3


def test_a_batch_that_cannot_be_shared_is_refused(data, tmp_path):
    done = train(data, tmp_path / "run", "--batch-size", 3, processes=2)
    assert done.returncode != 0
    expected = "batch_size should be a multiple of 2, the processes times the micro-batch. Received: batch_size=3"
    assert expected in done.stderr


def test_a_loss_that_is_not_finite_ends_the_run(data, tmp_path):
    done = train(data, tmp_path / "run", "--epochs", 1, 2, "--learning-rates", 1e-3, 1e38)
    assert done.returncode == 1
    assert "loss should be finite. Received: " in done.stderr
    assert "Traceback" not in done.stderr
    assert all(np.isfinite(array).all() for array in best(tmp_path / "run").values())


@pytest.mark.long
def test_neither_keras_nor_tensorflow_is_loaded(data, tmp_path):
    """By a training run to its end, nor by a test of its weights."""
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print(*{'keras', 'tensorflow', 'tf_keras'} & sys.modules.keys(), file=sys.stderr)"
    )
    commands = [arguments(data, tmp_path / "run", "--epochs", "1", "--learning-rates", "1e-3", "--loss", "huber")[1:]]
    commands.append([str(TINY), "pytorch_test_koncept512", "--weights", str(tmp_path / "run"), "--dataset", str(data)])
    commands[1] += ["--out", str(tmp_path / "out")]
    for command in commands:
        done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.splitlines()[-1] == ""
    names = [tmp_path / "run/test/predictions.csv", tmp_path / "out/predictions.csv"]
    ours, theirs = (pd.read_csv(name).predicted for name in names)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TOLERANCE)
    assert np.ptp(theirs) > 100 * TOLERANCE
