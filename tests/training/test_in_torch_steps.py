"""Steps of training in PyTorch: that they wait for nothing, and into how many graphs they are compiled."""

import os
import socket
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import TINY, build_torch
from tqdm import tqdm
from waits import Waits

from koniq.data.datasets import DataSet
from koniq.ground import InputError, RunStopped
from koniq.network import KONCEPT512
from koniq.pictures.order import EpochPlan, Seen
from koniq.training import in_torch
from koniq.training.in_torch_processes import Group, processes
from koniq.training.stages import Stage
from pytorch_train_koncept512 import Settings

CPU = torch.device("cpu")
STAGE = Stage(0, 1, 1, 1e-4)


class Drawn(Seen):
    """Random pictures by name."""

    def __init__(self, size):
        self.shape = (*size, 3)

    def __getitem__(self, image_name):
        return np.random.default_rng(int(image_name)).integers(0, 256, self.shape, np.uint8)


def data(training, validation=6):
    sets = ["training"] * training + ["validation"] * validation
    names = [str(number) for number in range(len(sets))]
    ids = pd.DataFrame({"image_name": names, "MOS": np.linspace(20, 80, len(sets)), "set": sets})
    return DataSet("drawn", ids)


def learner(folder, network, s, training, compiled=False, group=None):
    group = group or Group(0, 1, CPU)
    module = in_torch.prepare(network.build_torch(50.0), group.device)
    made = in_torch.TorchLearner(in_torch.TorchRun(str(folder), {}), group, network, module, s, "float32")
    made.ready(data(training), Drawn(network.input_size), compiled)
    made.begin(STAGE, resumed=False)
    return made


def epoch(made, number=0):
    """One epoch, up to its validation; the values of its log."""
    plan = EpochPlan(made.training, 1, 0, number)
    values = made._train(made.batches(plan.rows()), tqdm(disable=True))
    return values | {f"val_{name}": value for name, value in made._validate().items()}


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"micro_batch": 2},
        {"micro_batch": 2, "statistics": "trailing"},
        {"average": 0.9, "loss": "plcc_mse", "statistics": "kept"},
        {"whole_batches": False, "validation_batch": 4},
    ],
    ids=str,
)
def test_no_step_waits_for_the_device(tmp_path, how):
    """What is read of it is as much for 3 batches as for 12, and on a processor nothing at all."""
    counts = []
    for training in (12, 48):
        made = learner(tmp_path / str(training), TINY, Settings(batch_size=4, workers=1, **how), training)
        made._validate()
        with Waits() as waits:
            values = epoch(made)
        assert np.isfinite(list(values.values())).all()
        counts.append(waits.count)
    assert counts == [0, 0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is here")
def test_on_a_gpu_no_step_waits(tmp_path):
    made = learner(tmp_path, TINY, Settings(batch_size=4), 48, group=Group(0, 1, torch.device("cuda")))
    epoch(made)
    plan = EpochPlan(made.training, 1, 0, 1)
    batches = made.batches(plan.rows())
    told, values = [], in_torch.Means.values
    torch.cuda.set_sync_debug_mode("error")
    try:
        in_torch.Means.values = lambda means: told.append(means) or {}  # the one place that waits
        made._train(batches, tqdm(disable=True))
    finally:
        in_torch.Means.values = values
        torch.cuda.set_sync_debug_mode("default")
    assert told


@pytest.mark.parametrize(("whole", "steps"), [(True, 2), (False, 3)])
def test_the_rest_of_a_batch_is_trained_on_if_asked_for(tmp_path, whole, steps):
    made = learner(tmp_path, TINY, Settings(batch_size=4, whole_batches=whole), 10)
    epoch(made)
    assert {int(state["step"]) for state in made.adam.state.values()} == {steps}


def test_a_rest_of_one_picture_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"whole_batches should be on, .* Received: 9 pictures of training, batch_si"):
        learner(tmp_path, TINY, Settings(batch_size=4, whole_batches=False), 9)
    learner(tmp_path / "other", TINY, Settings(batch_size=4), 9)


@pytest.mark.parametrize(
    ("error", "micro_batch", "said"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
            0,
            "for 8 pictures at a time. Try --mi",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"),
            4,
            "for 4 pictures at a time. Try --mi",
        ),
    ],
    ids=["gpu", "processor"],
)
def test_memory_that_does_not_suffice_is_one_sentence(tmp_path, monkeypatch, error, micro_batch, said):
    made = learner(tmp_path, TINY, Settings(batch_size=8, micro_batch=micro_batch), 16)

    def short(*_):
        raise error

    monkeypatch.setattr(made, "_backward", short)
    with pytest.raises(RunStopped, match=said) as stopped:
        made.fit(STAGE, 0, lambda *_: True)
    assert f"--micro-batch {(micro_batch or 8) // 2}, with --overwrite" in str(stopped.value)
    monkeypatch.setattr(made, "_backward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):  # another error stays what it is
        made.fit(STAGE, 0, lambda *_: True)


def test_a_state_is_a_copy_that_training_does_not_move(tmp_path):
    made = learner(tmp_path, TINY, Settings(batch_size=4, average=0.9), 8)
    epoch(made)
    module, adam, average = made.state()
    kept = {key: tensor.clone() for key, tensor in module.items()}
    moments = [each["exp_avg"].clone() for each in adam["state"].values()]
    epoch(made, 1)
    assert all(torch.equal(module[key], kept[key]) for key in kept)
    assert all(torch.equal(each["exp_avg"], was) for each, was in zip(adam["state"].values(), moments, strict=True))
    assert any(not torch.equal(tensor, kept[key]) for key, tensor in made.module.state_dict().items())
    assert int(average["n_averaged"]) == 2


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that torch.compile is given, each of which a backend would compile."""
    found = []

    def backend(graph, inputs):
        found.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setitem(in_torch.COMPILER, "backend", backend)
    yield found
    torch.compiler.reset()


@pytest.mark.parametrize("network", [TINY, pytest.param(KONCEPT512.at((76, 100)), marks=pytest.mark.long)])
@pytest.mark.parametrize(("how", "training", "validation"), [({}, 1, 1), ({"micro_batch": 2}, 3, 1)])
def test_a_network_is_compiled_into_as_few_graphs_as_can_be(tmp_path, graphs, network, how, training, validation):
    """One for training and one for validation; in micro-batches one more without a gradient, and one that repeats."""
    made = learner(tmp_path, network, Settings(batch_size=8, validation_batch=4, **how), 16, compiled=True)
    made._train(made.batches(EpochPlan(made.training, 1, 0, 0).rows()), tqdm(disable=True))
    assert len(graphs) == training
    made._validate()  # of 6 pictures, the last batch of which is filled up
    assert len(graphs) == training + validation
    epoch(made, 1)
    assert len(graphs) == training + validation


@pytest.mark.long
def test_under_torchrun_it_is_one_graph_too():
    """With the statistics of batch normalisation taken over two processes, and gradients shared by DDP."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port, __file__]
    paths = os.pathsep.join([*sys.path, str(Path(__file__).resolve().parents[2])])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("graphs: 1 of training, 2 in all") == 2


def count_of_this_process():
    """Print on stderr, for only the first process has another output, into how many graphs an epoch is compiled."""
    found = []
    in_torch.COMPILER["backend"] = lambda graph, inputs: found.append(graph) or graph.forward
    with processes("cpu") as group:
        # So wide that DDP shares its gradients in several pieces, of which each would be a graph.
        wide = replace(TINY, torch_builder=partial(build_torch, filters=(64, 1024)))
        made = learner(Path(f"unused-{group.rank}"), wide, Settings(batch_size=4), 16, compiled=True, group=group)
        made._train(made.batches(EpochPlan(made.training, 1, 0, 0).rows()), tqdm(disable=True))
        training = len(found)
        made._validate()
        epoch(made, 1)
        print(f"graphs: {training} of training, {len(found)} in all", file=sys.stderr)


if __name__ == "__main__":
    count_of_this_process()
