"""The virtual batch: head and loss see many pictures at once, in the memory of the few that the body takes at a time.

Gradient caching (Gao et al., arXiv 2101.06983, section 3): the body computes the features of all pictures, micro-batch
by micro-batch, and keeps nothing for the gradient; head and loss see all features together and give their gradients;
the body then computes each micro-batch once more and sends its part of them back. (Only the last keeps its graph in the
first place, and is not computed again.)

Each micro-batch is normalised by itself, by statistics of few pictures; or the body is held (`hold`) to its moving
statistics, as at test time, which then stay as they are or trail the training (`Trail`). Held, a picture does not see
the others of its batch, so that the gradient is that of the whole batch, whatever the micro-batch. `reestimate`
replaces what is used at test time.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

from koniq.network.in_torch import Rating

NOTHING = nullcontext()
WIDE = 4  # micro-batches at a time where no graph is kept: less memory than one with its graph
Norm = nn.modules.batchnorm._BatchNorm


def norms(module: nn.Module) -> list[Norm]:
    """The batch normalisation layers of a module."""
    return [layer for layer in module.modules() if isinstance(layer, Norm)]


def backward(
    module: Rating,
    pictures: torch.Tensor,
    micro_batch: int,
    loss: Callable[[torch.Tensor], torch.Tensor],
    precise: Callable[[], AbstractContextManager],
    first: AbstractContextManager = NOTHING,
    times: int = WIDE,
) -> torch.Tensor:
    """Add the gradient of `loss(scores)` to the parameters; returns the scores (batch,), without a graph.

    pictures: uint8 (batch, height, width, 3). precise: the context in which the body computes. The moving statistics
    see each picture once, in the first pass; so does `first`, a context around that pass. With the body held this is
    the gradient of the whole batch, up to rounding; then as many as `times` micro-batches pass at once where no graph
    is kept.
    """
    *others, last = pictures.split(micro_batch)
    # Held, it matters to no picture which others pass with it, and where no graph is kept there is room for more.
    wide = micro_batch if any(layer.training for layer in norms(module.base)) else times * micro_batch
    with first:
        with torch.no_grad(), precise():
            features = [module.features(group) for group in pictures[: -len(last)].split(wide) if len(group)]
        with precise():
            kept = module.features(last)
    cached = torch.cat([*features, kept.detach()]).requires_grad_()
    scores = module.rate(cached)[:, 0]
    loss(scores).backward()
    *gradients, gradient = cached.grad.split(micro_batch)
    kept.backward(gradient)
    with still(module.base):
        for group, gradient in zip(others, gradients, strict=True):
            with precise():  # one each: autocast keeps the weights that it rounded, and with them their graph
                again = module.features(group)
            again.backward(gradient)
    return scores.detach()


def share(module: Rating, count: int) -> None:
    """Let the moving statistics of the body, updated `count` times a batch, forget no faster than once a batch.

    A momentum is what a batch keeps (PyTorch's own is what is new, 1 minus that).
    """
    for layer in norms(module.base):
        layer.momentum = 1 - (1 - layer.momentum) ** (1 / count)


@contextmanager
def still(module: nn.Module) -> Iterator[None]:
    """In here the moving statistics of a module stay as they are; in training it still normalises by the batch."""
    kept = [(layer, layer.momentum) for layer in norms(module)]
    for layer, _ in kept:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in kept:
            layer.momentum = momentum


def hold(module: nn.Module) -> None:
    """Let a module normalise by its moving statistics as they are, while it trains; until `train()`."""
    for layer in norms(module):
        layer.eval()


class Trail(AbstractContextManager):
    """In here the body, held, notes the statistics of what it sees; `update` then moves its own towards them.

    The body of a batch is thus normalised, in training as at test time, by moving statistics that are one batch old,
    and no gradient goes through them. It needs a start at statistics that are about right (`reestimate`), and a
    momentum small enough to keep up with the training. Akin: Liao et al., arXiv 1610.06160, Yan et al., 2001.06838.
    """

    def __init__(self, module: Rating):
        self.layers = norms(module.base)
        self.seen: dict[Norm, list[torch.Tensor]] = {}

    def __enter__(self) -> "Trail":
        self.seen = {layer: [torch.zeros_like(layer.running_mean) for _ in range(3)] for layer in self.layers}
        self.hooks = [layer.register_forward_pre_hook(self._note) for layer in self.layers]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    @torch.no_grad()
    def _note(self, layer: Norm, inputs: tuple[torch.Tensor]) -> None:
        x = inputs[0].float()
        if x.device.type in ("cpu", "cuda"):  # a tenth of the time of var_mean
            mean, variance = torch.batch_norm_update_stats(x, None, None, 0.0)
        else:
            variance, mean = torch.var_mean(x, [0, *range(2, x.ndim)], correction=0)
        # About the mean in use, squares of micro-batches add up to those of the batch, however few pictures each has.
        square = variance + (mean - layer.running_mean).square()
        for total, value in zip(self.seen[layer], (mean, square, torch.ones_like(mean)), strict=True):
            total += len(x) * value

    @torch.no_grad()
    def update(self, add: Callable[[torch.Tensor], object] = lambda total: None) -> None:
        """Move the moving statistics. add: in place, what other processes saw."""
        for layer, totals in self.seen.items():
            for total in totals:
                add(total)
            mean, square, count = totals
            layer.running_mean.lerp_(mean / count, layer.momentum)
            layer.running_var.lerp_(square / count, layer.momentum)


def reestimate(
    module: Rating,
    batches: Iterable[torch.Tensor],
    micro_batch: int,
    precise: Callable[[], AbstractContextManager],
) -> None:
    """Replace the moving statistics by the averages over `batches`, each normalised as in training; sets `eval`.

    batches: uint8 (batch, height, width, 3). Dropout is off: it changes the variance that the next normalisation sees,
    and is off when the statistics are used (Li et al., arXiv 1801.05134).
    """
    module.eval()
    layers = norms(module)
    kept = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # the average of all that it sees
        layer.train()
    try:
        with torch.no_grad(), precise():
            for pictures in batches:
                module.rate(torch.cat([module.features(group) for group in pictures.split(micro_batch)]))
    finally:
        for layer, momentum in zip(layers, kept, strict=True):
            layer.momentum = momentum
        module.eval()
