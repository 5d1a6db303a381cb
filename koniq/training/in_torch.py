"""Training in PyTorch: the study's recipe, on one device or, under `torchrun`, on several processes."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from koniq.data.datasets import DataSet
from koniq.engines.in_torch import choose, precise, prepare, settle
from koniq.ground import InputError
from koniq.ground.log import LOG
from koniq.network import Network, weights
from koniq.pictures.memory import Pictures, of_training, rows_of_training
from koniq.pictures.order import EpochPlan
from koniq.training import in_torch_batch
from koniq.training import start as training_start
from koniq.training.in_torch_held import Held, Tail
from koniq.training.in_torch_losses import LOSSES, plcc
from koniq.training.run import Run, check_finite, epoch_line, run_name

# What selects the best weights: a column of the log, and its sign.
SELECT_BY = {"plcc": ("val_plcc_tf", 1), "loss": ("val_loss", -1)}
EVERY = 10  # batches between looks at the loss, which make a GPU wait


@dataclass(frozen=True)
class Group:
    """The processes that train together, of which this is the one of number `rank`."""

    rank: int
    size: int
    device: torch.device

    def gather(self, own: torch.Tensor, count: int) -> torch.Tensor:
        """The `count` values of a batch in their order, of which this process has `own`; only these have a gradient."""
        if self.size == 1:
            return own[:count]
        parts = [torch.zeros_like(own) for _ in range(self.size)]
        dist.all_gather(parts, own.detach())
        parts[self.rank] = own
        return torch.stack(parts, 1).flatten()[:count]

    def add(self, own: torch.Tensor) -> None:
        """Add, in place, what the other processes have of a tensor."""
        if self.size > 1:
            dist.all_reduce(own)

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def processes(device: str = "auto") -> Iterator[Group]:
    """This process alone, or all of those that `torchrun` started; of these only the first one prints.

    Raises InputError as `choose` does for a training.
    """
    chosen = choose(device, training=True)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Group(0, 1, chosen)
        return
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        if dist.get_rank():
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  until the process ends
        yield Group(dist.get_rank(), dist.get_world_size(), chosen)
    finally:
        dist.destroy_process_group()


class SyncedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation by the statistics of the pictures of all processes, as many in each.

    PyTorch's own SyncBatchNorm is for GPUs only; this one is for every device, so that it is tested on processors, too.
    """

    def _check_input_dim(self, x: torch.Tensor) -> None:
        pass

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        size, axes = dist.get_world_size(), [0, *range(2, x.ndim)]
        shape = (1, -1, *[1] * (x.ndim - 2))
        wide = x.float()
        mean = all_reduce(wide.mean(axes)) / size
        centred = wide - mean.view(shape)
        variance = all_reduce(centred.square().mean(axes)) / size
        with torch.no_grad():
            self.num_batches_tracked += 1
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            count = size * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / max(count - 1, 1), momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


def synced(module: nn.Module) -> nn.Module:
    """The module with its batch normalisation synchronised; its parameters are the same objects."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                norm = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
                norm.__dict__ |= {key: vars(child)[key] for key in ("_parameters", "_buffers")}
                setattr(parent, name, norm)
    return module


class Recipe(Protocol):
    """The settings of a script that training follows; the script says what they mean."""

    loss: str
    batch_size: int
    epochs: tuple[int, ...]
    learning_rates: tuple[float, ...]
    body_rate: float
    hold: int
    average: float
    patience: int
    select_by: str
    reload_best: bool
    weights: str
    start_at_mean: bool
    momentum: float
    micro_batch: int
    statistics: str
    sync_batch_norm: bool
    precision: str
    compile: str
    seed: int
    workers: int


class Batches(Dataset):
    """The batches of an epoch. Each is (this process's pictures, uint8; the MOS of the whole batch).

    rows: a table with image_name, MOS and flip. Process r of n has the pictures r, r + n, r + 2n, ... of each batch; to
    have as many everywhere, the last picture of a batch may come twice.
    """

    def __init__(
        self, rows: pd.DataFrame, pictures: Pictures | Held, batch_size: int, group: Group, whole_only: bool = False
    ):
        self.names, self.flips = rows.image_name.to_numpy(), rows.flip.to_numpy()
        self.mos = torch.tensor(rows.MOS.to_numpy(), dtype=torch.float32)
        self.pictures, self.batch_size, self.group, self.whole_only = pictures, batch_size, group, whole_only
        self.count = len(rows) // batch_size if whole_only else -(-len(rows) // batch_size)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not 0 <= number < self.count:
            raise IndexError(f"number should be below {self.count} batches. Received: number={number}")
        start, end = number * self.batch_size, min((number + 1) * self.batch_size, len(self.names))
        share = -(-(end - start) // self.group.size)
        own = (start + self.group.rank + self.group.size * np.arange(share)).clip(max=end - 1)
        pixels = np.stack([self.pictures.seen(self.names[row], self.flips[row]) for row in own])
        return torch.from_numpy(pixels), self.mos[start:end]


class TorchRun(Run):
    """A run whose network is PyTorch's."""

    STATE = "state.pth"

    def write_state(
        self,
        path: Path,
        progress: str,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: AveragedModel | None = None,
    ) -> None:
        state = {"progress": progress, "module": module.state_dict(), "optimizer": optimizer.state_dict()}
        if average:
            state["average"] = average.state_dict()
        torch.save(state, path)

    def read_progress(self) -> str:
        return torch.load(self.state_path, map_location="cpu", weights_only=True, mmap=True)["progress"]


class Follower(TorchRun):
    """The run as the other processes see it: they know how far it is, and write nothing."""

    def __init__(self, name: str):
        self.folder = self.place(name)
        self.state_path = self.folder / self.STATE
        about = self.folder / "settings.json"
        self.finished = about.is_file() and "finished" in json.loads(about.read_text())
        self.progress = self.read()

    def save(self, *of: Any) -> None:
        pass

    show = finish = begin = save


def open_run(group: Group, data: DataSet, settings: Mapping[str, Any]) -> Run:
    """The run that the settings name or give a name to, whose files are the first process's to write."""
    name = settings["run"] or f"pytorch-{run_name(data, settings)}"
    if group.rank == 0:
        run = TorchRun(name, settings, settings["resume"], settings["overwrite"])
    group.wait()
    return Follower(name) if group.rank else run


def start(network: Network, data: DataSet, s: Recipe) -> nn.Module:
    """The network before training. See koniq.training.start, which does the same in Keras.

    s.weights: see `koniq.training.start.initial`.
    """
    torch.manual_seed(s.seed)
    module = network.build_torch(float(data.part("training").MOS.mean()) if s.start_at_mean else 0.0)
    for layer in in_torch_batch.norms(module):
        layer.momentum = 1 - s.momentum  # PyTorch counts what is new, Keras what is kept
    if path := training_start.initial(s.weights, network):
        whole = weights.load_module(module, path, network, body=True)
        LOG.info(f"Initial weights: {path}{'' if whole else ' for the body, random for the head'}.")
    return module


def best_path(run: Run, network: Network) -> Path:
    """Where the best weights of a run lie."""
    return run.folder / f"{network.name}_best.safetensors"


def train(run: Run, group: Group, network: Network, data: DataSet, s: Recipe, held: Held | None = None) -> nn.Module:
    """Train by stages with Adam, a new one each, and return the network with the best weights of all.

    held: what the held parts give of the pictures, if that is known from another run from the same weights.
    s.batch_size: of all processes together; s.micro_batch: of one. A run that has a state goes on from it, and sees the
    same pictures, flips and dropout as if it had never stopped. Raises InputError if the batch cannot be shared out
    evenly, RunStopped if a loss is not finite.
    """
    unit = group.size * max(s.micro_batch, 1)
    if s.batch_size % unit:
        raise InputError(
            f"batch_size should be a multiple of {unit}, the processes times the micro-batch. "
            f"Received: batch_size={s.batch_size}"
        )
    precision, compiled, device = settle(group.device, s.precision, s.compile)
    LOG.info(f"{data.summary()}\nDevice: {device}{f', {group.size} processes' if group.size > 1 else ''}")
    module = prepare(start(network, data, s), group.device)
    best = best_path(run, network)
    if run.finished:
        weights.load_module(module, best, network)
        return module
    pictures = held
    if not held:
        data, pictures = of_training(data, network, run.folder, s.workers, quiet=group.rank > 0)
    run.begin(data, network, device, best)
    training, validation = data.part("training"), data.part("validation").assign(flip=False)
    progress, state = run.progress, None
    if run.has_state:
        state = torch.load(run.state_path, map_location="cpu", weights_only=True)
        module.load_state_dict(state["module"])
    group.wait()  # nobody writes a state before all have read it
    if group.size > 1 and s.sync_batch_norm:
        synced(module)
    trained, precisely = module, partial(precise, group.device, precision)
    if s.hold:
        trained = Tail(module, s.hold)
        if not held:
            about = rows_of_training(data), pictures, run.folder, group.device, precision, group.rank > 0
            pictures = Held(trained, *about)
        trained.shape = pictures.shape
    if s.micro_batch and s.statistics != "trailing":
        in_torch_batch.share(trained, s.batch_size // unit)
    if compiled:
        (trained.base if s.micro_batch else trained).compile()
    net = trained
    if group.size > 1 and not s.micro_batch:
        net = nn.parallel.DistributedDataParallel(trained, broadcast_buffers=False)
    checked = Batches(validation, pictures, max(s.batch_size, 32), group)
    column, sign = SELECT_BY[s.select_by]
    whole = len(training) >= s.batch_size

    def reestimate(of: nn.Module, micro_batch: int) -> None:
        seen = Batches(training.assign(flip=False), pictures, s.batch_size, group, whole)
        pixels = (pixels for pixels, _ in _loaded(seen, s.workers, group.device))
        in_torch_batch.reestimate(of, pixels, micro_batch, precisely)

    for stage, (last, lr) in enumerate(zip(s.epochs, s.learning_rates, strict=True)):
        if stage < progress.stage or (stage == progress.stage and progress.stage_done):
            continue
        adam = _adam(module, lr, s.body_rate)
        average = _averaged(trained, s.average)
        if stage == progress.stage and state:
            adam.load_state_dict(state["optimizer"])
            if average:
                average.load_state_dict(state["average"])
        else:
            if stage and s.reload_best:
                group.wait()  # they are written
                weights.load_module(module, best, network)
            if not stage and s.statistics in ("frozen", "trailing"):
                reestimate(trained, s.batch_size)  # ImageNet's are of other pictures, those of random weights of none
            run.begin_stage(stage, module, adam, average)
        plan = EpochPlan(training, s.seed, stage, progress.epoch)
        title = f"stage {stage + 1}/{len(s.epochs)}"
        with tqdm(desc=title, unit="pic", smoothing=0.02, disable=True if group.rank else None) as bar:
            while not progress.stage_done:
                epoch, began = progress.epoch, time.perf_counter()
                rng = np.random.default_rng([s.seed, stage, epoch, 1, group.rank])  # the 1 sets it apart from the rows
                torch.manual_seed(int(rng.integers(1 << 63)))
                batches = Batches(plan.rows(), pictures, s.batch_size, group, whole)
                bar.reset(len(batches) * s.batch_size)
                values = _epoch(net, batches, s, group, precisely, best, adam, bar, average)
                judged = average.module if average else trained
                if s.statistics == "reestimated":
                    reestimate(judged, s.micro_batch or s.batch_size)
                if group.size > 1 and not s.sync_batch_norm:
                    _average_statistics(module, group)
                found = _epoch(judged, checked, s, group, precisely, best)
                values |= {f"val_{name}": value for name, value in found.items()}
                seconds = time.perf_counter() - began
                check_finite(values, f"in epoch {epoch + 1}", best)
                now = sign * values[column]
                if progress.best is None or now > sign * progress.best:
                    progress.best = values[column]
                    _save_best(group, getattr(judged, "whole", judged), best, network)
                if progress.wait_best is None or now > sign * progress.wait_best:
                    progress.wait, progress.wait_best = 0, values[column]
                else:
                    progress.wait += 1
                stopped = progress.wait >= s.patience
                row = {"stage": stage + 1, "epoch": epoch + 1, "lr": lr, **values, "seconds": round(seconds, 2)}
                run.end_epoch(row, stopped or epoch + 1 == last, module, adam, average)
                rate = len(batches) * s.batch_size / seconds
                if group.rank == 0:
                    tqdm.write(epoch_line(title, epoch + 1, last, values, rate))
                plan.epoch += 1
    group.wait()  # the best weights are written
    run.finish()
    weights.load_module(module, best, network)
    LOG.info(f"The run lies in {run.folder}, its best weights in {best.name}")
    return module


def _adam(module: nn.Module, lr: float, body_rate: float) -> torch.optim.Adam:
    """Adam for what trains; the body at `body_rate` of the head's rate."""
    if body_rate == 1:
        return torch.optim.Adam([each for each in module.parameters() if each.requires_grad], lr, fused=True)
    body = [each for each in module.base.parameters() if each.requires_grad]
    groups = [{"params": body, "lr": lr * body_rate}, {"params": list(module.fc.parameters())}]
    return torch.optim.Adam(groups, lr, fused=True)


def _averaged(module: nn.Module, decay: float) -> AveragedModel | None:
    """What keeps the running average of the weights over batches, moving statistics included; None without one."""
    return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True) if decay else None


def _epoch(
    net: nn.Module,
    batches: Batches,
    s: Recipe,
    group: Group,
    precisely: Callable[[], AbstractContextManager],
    best: Path,
    optimizer: torch.optim.Optimizer | None = None,
    bar: tqdm | None = None,
    average: AveragedModel | None = None,
) -> dict[str, float]:
    """Go through the batches, training if there is an optimizer: loss, MAE and PLCC, means over the batches."""
    training, device, loss = optimizer is not None, group.device, LOSSES[s.loss]
    net.train(training)
    module, trail = getattr(net, "module", net), nullcontext()
    if training and s.statistics in ("kept", "frozen", "trailing"):
        in_torch_batch.hold(module if s.statistics == "kept" else module.base)
    if training and s.statistics == "trailing":
        trail = in_torch_batch.Trail(module)

    def total(mos: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return loss(group.gather(own, len(mos)), mos)

    totals, pictures = torch.zeros(3, device=device), 0
    for number, (pixels, mos) in enumerate(_loaded(batches, s.workers, device)):
        if training and s.micro_batch:
            own = in_torch_batch.backward(net, pixels, s.micro_batch, partial(total, mos), precisely, trail)
            for parameter in net.parameters():
                if parameter.grad is not None:
                    group.add(parameter.grad)
        else:
            with torch.set_grad_enabled(training), precisely(), trail:
                own = net(pixels)[:, 0]
            if training:
                # Each process has the gradient of its own pictures' part; DDP takes the mean, and their sum is wanted.
                (group.size * total(mos, own)).backward()
        if training:
            if s.statistics == "trailing":
                trail.update(group.add)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if average:
                average.update_parameters(module)
            bar.update(len(mos))
        with torch.no_grad():
            predicted = group.gather(own.detach(), len(mos))
            value = loss(predicted, mos)
            measured = torch.stack([value, F.l1_loss(predicted, mos), plcc(predicted, mos)])
            # Losses and MAE are means over pictures, of which the last batch of validation may have fewer; PLCC is one
            # of the batch.
            totals += measured * torch.tensor([len(mos), len(mos), 1], device=device)
        pictures += len(mos)
        if training and number % EVERY == 0:
            check_finite({"loss": float(value)}, f"after {number + 1} batches of the epoch", best)
    means = totals.cpu().double() / torch.tensor([pictures, pictures, len(batches)])
    # The names are those of the log of Keras, so that both are read and drawn alike.
    return dict(zip(("loss", "MAE", "plcc_tf"), means.tolist(), strict=True))


def _loaded(batches: Batches, workers: int, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batches on the device, for CUDA made ahead by `workers` processes."""
    cuda = device.type == "cuda"
    for pixels, mos in DataLoader(batches, batch_size=None, num_workers=workers if cuda else 0, pin_memory=cuda):
        yield pixels.to(device, non_blocking=True), mos.to(device, non_blocking=True)


def _save_best(group: Group, module: nn.Module, path: Path, network: Network) -> None:
    if group.rank == 0:
        state = {key: tensor.cpu().contiguous().numpy() for key, tensor in module.state_dict().items()}
        weights.write_state(state, path, network)


def _average_statistics(module: nn.Module, group: Group) -> None:
    """One set of moving statistics for all processes, where batch normalisation is not synchronised."""
    for name, statistics in module.named_buffers():
        if not name.endswith("num_batches_tracked"):
            dist.all_reduce(statistics)
            statistics /= group.size
