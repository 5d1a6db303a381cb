"""Training in PyTorch on several processes, which torchrun starts, each with its own share of every batch."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._functional_collectives import all_reduce

from koniq.engines.in_torch import choose
from koniq.pictures.memory import Together


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

    @property
    def together(self) -> Together | None:
        """Those of them on this machine, of which one makes the pictures; None if there is one process in all."""
        return Together(not int(os.environ.get("LOCAL_RANK", 0)), self.wait) if self.size > 1 else None


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

    PyTorch's own SyncBatchNorm is for GPUs only; this one is for every device, so that it is tested on processors, too,
    and stays within one graph when it is compiled.
    """

    def _check_input_dim(self, x: torch.Tensor) -> None:
        pass

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        size, axes = dist.get_world_size(), [0, *range(2, x.ndim)]
        shape = (1, -1, *[1] * (x.ndim - 2))
        wide = x.float()
        mean = _sum(wide.mean(axes)) / size
        centred = wide - mean.view(shape)
        variance = _sum(centred.square().mean(axes)) / size
        with torch.no_grad():
            self.num_batches_tracked += 1
            momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            count = size * x.numel() / x.shape[1]
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * count / max(count - 1, 1), momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


def _sum(own: torch.Tensor) -> torch.Tensor:
    """The sum over all processes, through which gradients go."""
    return all_reduce(own, "sum", dist.group.WORLD)


def synced(module: nn.Module, own: bool = True) -> nn.Module:
    """The module with its batch normalisation synchronised; its parameters are the same objects.

    own: by the layer here, else by PyTorch's.
    """
    if not own:
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                norm = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
                norm.__dict__ |= {key: vars(child)[key] for key in ("_parameters", "_buffers")}
                setattr(parent, name, norm)
    return module


def average_statistics(module: nn.Module, group: Group) -> None:
    """One set of moving statistics for all processes, where batch normalisation is not synchronised."""
    for name, statistics in module.named_buffers():
        if not name.endswith("num_batches_tracked"):
            group.add(statistics)
            statistics /= group.size
