"""Our networks where others look for theirs: metrics as pyiqa's and torchmetrics', folders of the Hugging Face hub.

It knows what those ask for, and leaves scores to `koniq.scoring`. Open in_torch.py first. Names are imported when
first used, and so is PyTorch.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "from_pretrained": "hub",
    "metric": "metrics",
    "push": "hub",
    "register_in_pyiqa": "metrics",
    "save_pretrained": "hub",
    "torchmetric": "metrics",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
