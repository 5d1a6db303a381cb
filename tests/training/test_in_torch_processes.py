"""Training in PyTorch on two agents of torchrun, as on two machines: one is killed and comes back, to the same end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.distributed as dist
import tyro
from safetensors.numpy import load_file
from torch.distributed.run import get_args_parser

import pytorch_train_koncept512
from koniq.ground import InputError, RunStopped
from koniq.training import in_torch_processes
from koniq.training.in_torch import open_run
from koniq.training.in_torch_processes import Group, processes

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests" / "helpers" / "tiny.py"
EPOCHS = (10, 2)
# How soon torchrun gives a machine up that says nothing any more; by itself after 15 s.
SOON = "last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=3"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Agents:
    """torchrun, twice, each by an address of the loopback of its own, with a worker each, which share a run."""

    def __init__(self, data, run, *more):
        self.data, self.run, self.more, self.port, self.log = data, run, more, free_port(), run.with_suffix(".txt")
        # Without the first, PyTorch 2.13's agents wait for one another in vain after a machine has been replaced.
        own = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        self.environment = os.environ | own
        self.started = []

    def start(self, number):
        """One of them; the first keeps what they say to one another."""
        torchrun = ["--nnodes", "2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-id", "test"]
        torchrun += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{self.port}", "--rdzv-conf", SOON]
        torchrun += ["--local-addr", f"127.0.0.{number}", "--", str(TINY), "pytorch_train_koncept512"]
        settings = ["--dataset", self.data, "--weights", "none", "--input-size", 24, 32, "--batch-size", 4]
        settings += ["--precision", "float32", "--run", self.run, "--resume", *self.more]
        with self.log.open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", *torchrun, *map(str, settings)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def wait(self, seconds=120):
        """The exit codes of those that are there."""
        return [process.wait(seconds) for process in self.started]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in self.started:
            if process.poll() is None:
                kill(process)


def kill(agent):
    """As a machine that loses its power: the agent and its worker, which has a session of its own."""
    tree = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children = [int(pid) for pid, parent in map(str.split, tree.splitlines()) if int(parent) == agent.pid]
    for pid in (agent.pid, *children):
        os.kill(pid, signal.SIGKILL)
    agent.wait()


def rows(run):
    path = run / "log.csv"
    return len(pd.read_csv(path)) if path.is_file() else 0


@pytest.mark.long
def test_a_machine_that_is_killed_and_comes_back(data, tmp_path):
    """The log, the best weights and the test are those of the run that nobody disturbed, to 1e-3."""
    stages = ("--epochs", *EPOCHS, "--learning-rates", 1e-3, 1e-4)
    with Agents(data, tmp_path / "whole", *stages) as agents:
        for number in (1, 2):
            agents.start(number)
        assert agents.wait() == [0, 0], agents.log.read_text()
    with Agents(data, tmp_path / "run", *stages) as agents:
        agents.start(1)
        time.sleep(1)  # it keeps the store
        second = agents.start(2)
        while rows(agents.run) < 3:
            assert all(process.poll() is None for process in agents.started), agents.log.read_text()
            time.sleep(0.01)
        kill(second)
        done = rows(agents.run)
        assert done < sum(EPOCHS)
        agents.started.remove(second)
        agents.start(2)
        assert agents.wait() == [0, 0], agents.log.read_text()
        said = agents.log.read_text()
    assert "Another process of this training is gone, or out of reach (" in said
    assert said.count("stage 1/2, epoch 1/10: ") == 1
    run, whole = tmp_path / "run", tmp_path / "whole"
    log, expected = (pd.read_csv(folder / "log.csv").drop(columns="seconds") for folder in (run, whole))
    pd.testing.assert_frame_equal(log, expected, rtol=1e-3)
    ours, theirs = (load_file(folder / "tiny_best.safetensors") for folder in (run, whole))
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-3, atol=1e-4, err_msg=name)
    scores = [pd.read_csv(folder / "test/predictions.csv").predicted for folder in (run, whole)]
    np.testing.assert_allclose(*scores, rtol=1e-3)
    assert json.loads((run / "settings.json").read_text())["finished"]["epochs"] == sum(EPOCHS)


@pytest.fixture
def second(monkeypatch):
    """The second of two processes, and what the first one says; all that it adds up is its own."""
    said = []
    monkeypatch.setattr(dist, "broadcast_object_list", lambda values: values.__setitem__(0, said[0]))
    monkeypatch.setattr(Group, "add", lambda group, own: own.add_(1))
    return Group(1, 2, torch.device("cpu")), said


def test_what_machines_are_told_otherwise_is_said(second):
    group, said = second
    said.append({"loss": "mse", "batch_size": 8})
    group.agree("The settings", {"loss": "mse", "batch_size": 8})
    with pytest.raises(InputError, match=r"settings should be those of the first process: batch_size=8\. Received on "):
        group.agree("The settings", {"loss": "mse", "batch_size": 4})


def test_a_folder_that_is_not_shared_is_refused(second, tmp_path, monkeypatch):
    group, said = second
    monkeypatch.setattr(in_torch_processes, "SEEN", 0.2)
    said.append(".shared-1.tmp")
    with pytest.raises(InputError, match="should be one that all machines see"):
        group.check_shared(tmp_path)
    (tmp_path / said[0]).touch()
    group.check_shared(tmp_path)


def test_a_process_that_is_gone_is_a_sentence(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("init_process_group", "destroy_process_group"):
        monkeypatch.setattr(dist, name, lambda *_: None)
    monkeypatch.setattr(dist, "get_rank", lambda: 0)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    gone = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:537] Connection closed by peer\nmore")
    with pytest.raises(RunStopped, match=r"is gone, or out of reach .*Connection closed by peer\)"), processes("cpu"):
        raise gone
    with pytest.raises(RuntimeError, match="another"), processes("cpu"):
        raise RuntimeError("another")


@pytest.mark.parametrize("more", [{"resume": False}, {"resume": True, "overwrite": True}])
def test_what_would_begin_again_at_each_restart_is_refused(monkeypatch, more):
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(InputError, match="Under torchrun with --max-restarts a run should be given --resume"):
        open_run(Group(0, 2, torch.device("cpu")), None, {"run": "run", "overwrite": False, **more})


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_the_file_for_slurm_starts_an_agent_a_node(tmp_path):
    """With srun and scontrol that say what they are given: torchrun and the script take it."""
    for name, text in {"srun": 'printf "%s\\n" "$@"', "scontrol": "echo node7; echo node8"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    of_slurm = {"SLURM_JOB_ID": "41", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_GPUS_ON_NODE": "4"}
    environment = os.environ | of_slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", str(ROOT / "examples" / "slurm_torchrun.sh"), "--batch-size", "32", "--loss", "plcc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    agent = get_args_parser().parse_args(words[words.index(".venv/bin/torchrun") + 1 :])
    assert (agent.nnodes, agent.nproc_per_node, agent.rdzv_endpoint, agent.rdzv_id) == ("2", "4", "node7:29500", "41")
    settings = tyro.cli(pytorch_train_koncept512.Settings, args=agent.training_script_args)
    assert agent.training_script == "pytorch_train_koncept512.py"
    assert (settings.batch_size, settings.loss, settings.resume, settings.overwrite) == (32, "plcc", True, False)
