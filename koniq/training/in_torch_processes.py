"""Training in PyTorch on several processes, which torchrun starts, each with its own share of every batch.

They may be on several machines, which then share the folder of the run: the first process writes it, all read it. What
each is told, and the pictures that each finds, should be the same (`Group.agree`). Nothing that a training goes on with
depends on how many they are, so that after a restart there may be fewer or more.
"""

import os
import platform
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._functional_collectives import all_reduce

from koniq.engines.in_torch import choose
from koniq.ground import InputError, RunStopped
from koniq.pictures.memory import Together

SEEN = 20.0  # seconds within which a file that one machine wrote is seen by the others
TESTED = timedelta(days=7)  # as long as the others wait for the first process, which tests alone


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
        if self.size == 1:
            return None
        # By torchrun's number, too, for containers may share a name, and two agents a machine.
        machine = f"{platform.node()}-{os.environ.get('GROUP_RANK', 0)}"
        return Together(not int(os.environ.get("LOCAL_RANK", 0)), self.wait, machine)

    def agree(self, what: str, value: Any) -> None:
        """Raise InputError, in every process, unless all have the same value: each machine is told its own.

        value: what pickle takes; a mapping, of which the names that differ are said.
        """
        if self.size == 1:
            return
        first = [value]
        dist.broadcast_object_list(first)
        same = first[0] == value
        if self._all(same):
            return
        if same:
            raise InputError(f"{what} should be the same in all processes. Received: others in another one")
        was, now = f"{first[0]}", f"{value}"
        if isinstance(value, dict):
            differ = [name for name in value if value[name] != first[0].get(name)]
            was, now = (", ".join(f"{name}={each.get(name)!r}" for name in differ) for each in (first[0], value))
        raise InputError(f"{what} should be those of the first process: {was}. Received on {platform.node()}: {now}")

    def check_shared(self, folder: Path) -> None:
        """Raise InputError, in every process, unless all see the files that the first one writes to `folder`."""
        if self.size == 1:
            return
        mark = [f".shared-{secrets.token_hex(8)}.tmp"]
        dist.broadcast_object_list(mark)
        path, until = folder / mark[0], time.monotonic() + SEEN
        if self.rank == 0:
            path.touch()
        while not (seen := path.exists()) and time.monotonic() < until:
            time.sleep(0.1)
        everywhere = self._all(seen)
        if self.rank == 0:
            path.unlink()
        if not everywhere:
            raise InputError(
                "The folder of the run should be one that all machines see, for the first process writes it and all "
                f"read it. Received: {folder}, which {'others' if seen else platform.node()} did not"
            )

    def _all(self, holds: bool) -> bool:
        """Whether something holds in every process."""
        count = torch.tensor(float(holds), device=self.device)
        self.add(count)
        return int(count) == self.size


@contextmanager
def processes(device: str = "auto") -> Iterator[Group]:
    """This process alone, or all of those that `torchrun` started; of these only the first one prints.

    The others wait at the end until the first one is done with what it does alone: where torchrun has several agents,
    the one that is done may be the one that the others depend on. Raises InputError as `choose` does for a training,
    RunStopped where another process is gone.
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
        store = dist.distributed_c10d._get_default_store()  # a barrier would give up after minutes
        if dist.get_rank():
            store.wait(["tested"], TESTED)
        else:
            store.set("tested", "yes")
    except RuntimeError as error:
        if not _is_of_another(error):
            raise
        raise RunStopped(
            f"Another process of this training is gone, or out of reach ({str(error).splitlines()[0]}). Where torchrun "
            "may start it again (--max-restarts), it does; else the same commands, with --resume, go on after the last "
            "whole epoch."
        ) from error
    finally:
        dist.destroy_process_group()


def _is_of_another(error: RuntimeError) -> bool:
    """Whether an error is of what processes say to one another. Those of gloo are no class of their own."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


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
