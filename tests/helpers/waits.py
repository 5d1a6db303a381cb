"""What makes the host wait for a device, counted on a processor, where nothing need wait."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

NAMES = ("aten._local_scalar_dense", "aten.nonzero", "aten.masked_select", "aten.equal", "aten.is_nonzero")


class Waits(TorchDispatchMode):
    """In here `count` is how often a number was read of a tensor, or a size was asked for that hangs on numbers."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        by_mask = str(function).startswith("aten.index") and any(
            isinstance(each, torch.Tensor) and each.dtype == torch.bool for each in tree_leaves(args[1:2])
        )
        self.count += by_mask or str(function).startswith(NAMES)
        return function(*args, **(kwargs or {}))
