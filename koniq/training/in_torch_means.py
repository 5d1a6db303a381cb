"""What is noted on the device, not waiting for it: means of an epoch, a loss that is not finite, averaged weights."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from koniq.training.in_torch_losses import Loss, plcc


class NotFinite(NamedTuple):
    """A loss that was not a finite number."""

    batches: int  # of the epoch, up to its own
    loss: float


class Means:
    """Loss, MAE and PLCC over the batches of an epoch, named as in the log of Keras: both are read and drawn alike.

    All are means over pictures, of which the last batch may have fewer; PLCC is one of the batch, weighted so, as in
    the study.
    """

    def __init__(self, loss: Loss, device: torch.device):
        self.loss, self.device, self.pictures, self.batches = loss, device, 0, 0
        self.totals = torch.zeros(3, device=device)
        self._bad = torch.zeros(2, device=device)  # of the first loss that was not finite: batches, and itself
        self._coming: tuple[torch.Tensor, torch.cuda.Event] | None = None  # a copy of it, on its way to the host

    @torch.no_grad()
    def add(self, predicted: torch.Tensor, mos: torch.Tensor) -> None:
        """Take a batch into account."""
        value = self.loss(predicted, mos).float()
        self.totals += len(mos) * torch.stack([value, F.l1_loss(predicted, mos), plcc(predicted, mos)])
        self.pictures, self.batches = self.pictures + len(mos), self.batches + 1
        known = torch.isfinite(value) | (self._bad[0] > 0)
        self._bad = torch.where(known, self._bad, torch.stack([torch.full_like(value, self.batches), value]))

    def not_finite(self) -> NotFinite | None:
        """The first loss that was not finite, if there was one, as far as it is known without waiting for a GPU."""
        found = self._bad
        if self.device.type == "cuda":
            found = self._coming[0] if self._coming and self._coming[1].query() else None
            if found is not None or not self._coming:
                host, event = torch.empty(2, pin_memory=True), torch.cuda.Event()
                host.copy_(self._bad, non_blocking=True)
                event.record()
                self._coming = host, event
        batches, loss = (0, 0.0) if found is None else found.tolist()
        return NotFinite(int(batches), loss) if batches else None

    def values(self) -> dict[str, float]:
        """The means; here the device is waited for."""
        means = self.totals.cpu().double() / self.pictures
        return dict(zip(("loss", "MAE", "plcc_tf"), means.tolist(), strict=True))


class Average(AveragedModel):
    """The running average of the weights over batches, moving statistics included.

    PyTorch's own counts batches in a number that it moves to the device, and waits for, at each.
    """

    def __init__(self, module: nn.Module, decay: float):
        super().__init__(module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self._begun = False

    def load_state_dict(self, *state: Any, **how: Any) -> Any:
        """As any module's."""
        found = super().load_state_dict(*state, **how)
        self._begun = bool(self.n_averaged)
        return found

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Take the weights after a batch into account."""
        pairs = zip(_numbers(self.module), _numbers(model), strict=True)
        kinds = {True: ([], []), False: ([], [])}  # the average is of one type at a time
        for ours, theirs in pairs:
            for kept, number in zip(kinds[ours.is_floating_point()], (ours, theirs), strict=True):
                kept.append(number.detach())
        for ours, theirs in kinds.values():
            if not self._begun:
                for kept, number in zip(ours, theirs, strict=True):
                    kept.copy_(number)
            elif ours:
                self.multi_avg_fn(ours, theirs, self.n_averaged)
        self.n_averaged += 1
        self._begun = True


def _numbers(module: nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(), *module.buffers()]


def averaged(module: nn.Module, decay: float) -> Average | None:
    """What keeps the running average; None without one."""
    return Average(module, decay) if decay else None
