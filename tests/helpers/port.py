"""The study's network in PyTorch, stated plainly: what each of its stages makes of pictures, by a `state_dict`.

InceptionResNetV2 as its public ports have it (Szegedy et al., arXiv 1602.07261, figures 3, 5, 6, 10 to 13), cut before
its last linear layer, so that it ends in an average pooling of 8x8 with stride 8; then Linear, ReLU, BatchNorm1d (of
epsilon 1e-5) and Dropout, three times, and Linear. It shares nothing with koniq.network but the names of the arrays.
"""

import torch
import torch.nn.functional as F


def stages(state, pictures):
    """The output of each child of `base` (18 at most, some of them none), then of each layer of `fc`, in order.

    pictures: uint8 (batch, height, width, 3).
    """
    found = []

    def unit(x, name, stride=1, padding=0):
        x = F.conv2d(x, state[f"{name}.conv.weight"], None, stride, padding)
        parts = [state[f"{name}.bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.relu(F.batch_norm(x, *parts, training=False, eps=0.001))

    def block35(x, name):
        one = unit(x, f"{name}.branch0")
        two = unit(unit(x, f"{name}.branch1.0"), f"{name}.branch1.1", padding=1)
        three = unit(unit(x, f"{name}.branch2.0"), f"{name}.branch2.1", padding=1)
        three = unit(three, f"{name}.branch2.2", padding=1)
        return F.relu(x + 0.17 * mixed(torch.cat((one, two, three), 1), name))

    def block17(x, name):
        one = unit(x, f"{name}.branch0")
        two = unit(unit(x, f"{name}.branch1.0"), f"{name}.branch1.1", padding=(0, 3))
        two = unit(two, f"{name}.branch1.2", padding=(3, 0))
        return F.relu(x + 0.10 * mixed(torch.cat((one, two), 1), name))

    def block8(x, name, scale, last):
        one = unit(x, f"{name}.branch0")
        two = unit(unit(x, f"{name}.branch1.0"), f"{name}.branch1.1", padding=(0, 1))
        two = unit(two, f"{name}.branch1.2", padding=(1, 0))
        x = x + scale * mixed(torch.cat((one, two), 1), name)
        return x if last else F.relu(x)

    def mixed(x, name):
        return F.conv2d(x, state[f"{name}.conv2d.weight"], state[f"{name}.conv2d.bias"])

    def note(x):
        found.append(x)
        return x

    x = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
    x = note(unit(x, "base.0", stride=2))
    x = note(unit(x, "base.1"))
    x = note(unit(x, "base.2", padding=1))
    x = note(F.max_pool2d(x, 3, 2))
    x = note(unit(x, "base.4"))
    x = note(unit(x, "base.5"))
    x = note(F.max_pool2d(x, 3, 2))
    x = note(
        torch.cat(
            (
                unit(x, "base.7.branch0"),
                unit(unit(x, "base.7.branch1.0"), "base.7.branch1.1", padding=2),
                unit(unit(unit(x, "base.7.branch2.0"), "base.7.branch2.1", padding=1), "base.7.branch2.2", padding=1),
                unit(F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), "base.7.branch3.1"),
            ),
            1,
        )
    )
    for number in range(10):
        x = block35(x, f"base.8.{number}")
    note(x)
    long = unit(unit(x, "base.9.branch1.0"), "base.9.branch1.1", padding=1)
    parts = unit(x, "base.9.branch0", stride=2), unit(long, "base.9.branch1.2", stride=2), F.max_pool2d(x, 3, 2)
    x = note(torch.cat(parts, 1))
    for number in range(20):
        x = block17(x, f"base.10.{number}")
    note(x)
    parts = [unit(unit(x, f"base.11.branch{n}.0"), f"base.11.branch{n}.1", stride=2) for n in (0, 1)]
    long = unit(unit(x, "base.11.branch2.0"), "base.11.branch2.1", padding=1)
    x = note(torch.cat((*parts, unit(long, "base.11.branch2.2", stride=2), F.max_pool2d(x, 3, 2)), 1))
    for number in range(9):
        x = block8(x, f"base.12.{number}", 0.20, last=False)
    note(x)
    x = note(block8(x, "base.13", 1.0, last=True))
    x = note(unit(x, "base.14"))
    x = note(F.avg_pool2d(x, 8, stride=8))  # of 10x14 places, the upper left 8x8
    x = x.flatten(1)
    for layer, norm in ((0, 2), (4, 6), (8, 10)):
        x = note(F.linear(x, state[f"fc.{layer}.weight"], state[f"fc.{layer}.bias"]))
        parts = [state[f"fc.{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        x = note(F.batch_norm(F.relu(x), *parts, training=False, eps=1e-5))
    note(F.linear(x, state["fc.12.weight"], state["fc.12.bias"]))
    return found
