"""What PyTorch trains by: losses of the scores of a batch, by name."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (predicted, MOS), both (batch,), to a number


def plcc(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Pearson's correlation of two vectors; 0, without gradient, where one is constant up to rounding."""
    return (_unit(x) * _unit(y)).sum()


def _unit(x: torch.Tensor) -> torch.Tensor:
    x = x.float()
    centred = x - x.mean()
    constant = centred.square().mean() <= (4 * torch.finfo(x.dtype).eps * x.abs().max()).square()
    # The inner `where` keeps the gradient of the branch not taken finite: inf times zero is nan.
    norm = torch.where(constant, 1.0, centred.square().sum()).sqrt()
    return torch.where(constant, 0.0, centred / norm)


def plcc_loss(predicted: torch.Tensor, mos: torch.Tensor) -> torch.Tensor:
    """The study's "PLCC-induced" loss, (1 - PLCC of the batch) / 2; its output is not in MOS."""
    return (1 - plcc(predicted, mos)) / 2


def plcc_mse_loss(predicted: torch.Tensor, mos: torch.Tensor) -> torch.Tensor:
    """The PLCC-induced loss, held to the MOS scale by a tenth of the squared error in units of 20 MOS."""
    return plcc_loss(predicted, mos) + F.mse_loss(predicted, mos) / 4000


def nin_loss(predicted: torch.Tensor, mos: torch.Tensor) -> torch.Tensor:
    """Norm-in-norm, p = 1, q = 2 (Li, Jiang and Jiang, arXiv 2008.03889, equation 7): in [0, 1], not in MOS.

    Both are centred and divided by their norm, as for PLCC; then the absolute differences count, not their squares.
    """
    return (_unit(predicted) - _unit(mos)).abs().sum() / (2 * len(mos) ** 0.5)


LOSSES: dict[str, Loss] = {
    "mse": F.mse_loss,
    "plcc": plcc_loss,
    "plcc_mse": plcc_mse_loss,
    "nin": nin_loss,
    "mae": F.l1_loss,
    "huber": partial(F.huber_loss, delta=10.0),  # quadratic up to an error of 10 MOS
}
