"""Weights of KonCept512 drawn at random, so that no stage of the network dies out and scores differ by 20 MOS."""

import numpy as np
import torch


def pictures(count, size, seed=1):
    """Random pictures, uint8 (count, height, width, 3), of all degrees of contrast."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (count, 1, 1, 3)) + rng.normal(0, 1, (count, *size, 3)) * (
        rng.uniform(1, 60, (count, 1, 1, 1))
    )
    return colours.clip(0, 255).astype(np.uint8)


def module_of(network, pixels, seed=1):
    """The network in PyTorch, every weight and statistic drawn at random, the statistics about those of the pictures.

    The last layer is scaled for scores that differ by 20 MOS, of which rounding in float32 is 1e-4 or so.
    """
    torch.manual_seed(seed)
    module = network.build_torch()
    norms = [layer for layer in module.modules() if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm)]
    for layer in norms:
        layer.momentum = 1
    with torch.no_grad():
        module(torch.from_numpy(pixels))
        for layer in norms:
            layer.running_var.clamp_(min=0.1).mul_(torch.empty_like(layer.running_var).uniform_(0.8, 1.25))
            layer.running_mean.add_(0.1 * torch.randn_like(layer.running_mean))
            layer.bias.normal_(0, 0.1)
            if layer.weight.requires_grad:
                layer.weight.uniform_(0.5, 1.5)
        for name, parameter in module.named_parameters():
            if name.endswith("conv2d.bias"):
                parameter.normal_(0, 0.1)
        module.eval()
        module.fc[-1].weight.mul_(20 / np.ptp(scores(module, pixels)))
        module.fc[-1].bias.add_(50 - float(scores(module, pixels).mean()))
    return module


def scores(module, pixels):
    """The scores of pictures, (count, 1)."""
    with torch.no_grad():
        return module(torch.from_numpy(pixels)).numpy()
