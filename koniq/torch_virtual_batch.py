"""The virtual batch: head and loss see many pictures at once, in the memory of the few that the body takes at a time.

Gradient caching (Gao et al., arXiv 2101.06983, section 3): the body computes the features of all pictures, micro-batch
by micro-batch, and keeps nothing for the gradient; head and loss see all features together and give their gradients;
the body then computes each micro-batch once more and sends its part of them back. Each micro-batch is normalised by
itself, so that body statistics are those of few pictures; what stands for them at test time is the module's matter:
moving statistics, frozen ones (`hold`), or new ones over many pictures (`reestimate`).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn

from koniq.torch_network import Rating

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
) -> torch.Tensor:
    """Add the gradient of `loss(scores)` to the parameters; returns the scores (batch,), without a graph.

    pictures: uint8 (batch, height, width, 3). precise: the context in which the body computes. The moving statistics
    see each picture once, in the first pass. With the normalisation of the body held fixed this is the gradient of the
    whole batch, up to rounding.
    """
    groups = pictures.split(micro_batch)
    with torch.no_grad(), precise():
        features = [module.features(group) for group in groups]
    cached = torch.cat(features).requires_grad_()
    scores = module.rate(cached)[:, 0]
    loss(scores).backward()
    with still(module.base):
        for group, gradient in zip(groups, cached.grad.split(micro_batch), strict=True):
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


def hold(module: Rating) -> None:
    """Let the body normalise by its moving statistics as they are, while it trains; until `module.train()`."""
    for layer in norms(module.base):
        layer.eval()


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
