"""The scores of pictures as torchmetrics collects them: over batches, and over the processes that share them."""

from typing import Literal

import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from koniq.ground import InputError
from koniq.plugs.in_torch import Scores, Weights, check_range


class PictureQuality(Metric):
    """The mean score of pictures, or the score of each: float (batch, 3, height, width) in [0, 1], RGB, of any size.

    Batches may have different sizes, and processes different numbers of pictures, or none: the mean is that of all
    pictures. Scores of each come in the order of the processes, and within one of its batches.

    reduction: "mean", float32 (), nan of no pictures; or "none", float32 (pictures,). how: as `Scores` takes it. The
    rest is torchmetrics' own. Raises InputError as `Scores` does; `update` if pictures are not as above.
    """

    is_differentiable = True
    higher_is_better = True
    full_state_update = False  # one pass of the network a batch
    plot_lower_bound = 0.0
    plot_upper_bound = 100.0

    def __init__(
        self,
        weights: Weights = "",
        reduction: Literal["mean", "none"] = "mean",
        how: dict | None = None,
        **torchmetrics: object,
    ):
        super().__init__(**torchmetrics)
        if reduction not in ("mean", "none"):
            raise InputError(f"reduction should be mean or none. Received: reduction={reduction}")
        self.reduction, self.net = reduction, Scores(weights, **how or {})  # which stays in evaluation mode
        if reduction == "mean":
            # In float32 a sum of millions of scores would lose the last batches.
            self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        else:
            self.add_state("scores", [], dist_reduce_fx="cat")

    def update(self, pictures: torch.Tensor) -> None:
        """Take a batch of pictures."""
        check_range(pictures)
        scores = self.net(pictures.to(self.device))[:, 0]
        if self.reduction == "mean":
            self.total = self.total + scores.sum(dtype=torch.float64)
            self.count = self.count + len(scores)
        else:
            self.scores.append(scores)

    def compute(self) -> torch.Tensor:
        """What `reduction` says of all pictures so far."""
        if self.reduction == "mean":
            return (self.total / self.count).float()
        found = self.scores
        return dim_zero_cat(found) if len(found) else torch.zeros(0, device=self.device)

    def plot(self, val: object = None, ax: object = None) -> object:
        """A figure and its axes of values, or of what `compute` gives; see torchmetrics."""
        return self._plot(val, ax)
