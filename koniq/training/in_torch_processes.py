"""Training in PyTorch on several processes, which torchrun starts, each with its own share of every batch."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.utils.data import DataLoader, Dataset

from koniq.engines.in_torch import choose
from koniq.pictures.memory import Pictures
from koniq.training.in_torch_held import Held


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


def loaded(batches: Batches, workers: int, device: torch.device) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The batches on the device, for CUDA made ahead by `workers` processes."""
    cuda = device.type == "cuda"
    for pixels, mos in DataLoader(batches, batch_size=None, num_workers=workers if cuda else 0, pin_memory=cuda):
        yield pixels.to(device, non_blocking=True), mos.to(device, non_blocking=True)


def average_statistics(module: nn.Module, group: Group) -> None:
    """One set of moving statistics for all processes, where batch normalisation is not synchronised."""
    for name, statistics in module.named_buffers():
        if not name.endswith("num_batches_tracked"):
            group.add(statistics)
            statistics /= group.size
