"""What makes the metrics; what they need is named in a sentence where it is not installed."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from koniq.ground import InputError
from koniq.ground.built import install
from koniq.network.weight_files import needs_torch

if TYPE_CHECKING:
    from koniq.plugs.in_torch import QualityMetric, Weights
    from koniq.plugs.in_torchmetrics import PictureQuality


def metric(weights: "Weights" = "", as_loss: bool = False, device: object = None, **more: object) -> "QualityMetric":
    """A metric of pyiqa's shape; see `koniq.plugs.in_torch.QualityMetric` for what it takes and gives.

    weights: a file, a training run, or a name, as for `koniq.load`. device: None: a GPU, if there is one. Raises
    InputError if there are no such weights, or where PyTorch is not installed.
    """
    needs_torch()
    from koniq.plugs.in_torch import QualityMetric

    return QualityMetric(weights, as_loss, device, **more)


def torchmetric(
    weights: "Weights" = "",
    reduction: Literal["mean", "none"] = "mean",
    how: dict | None = None,
    **torchmetrics: object,
) -> "PictureQuality":
    """A metric of torchmetrics; see `koniq.plugs.in_torchmetrics.PictureQuality` for what it takes and gives.

    Raises InputError if there are no such weights, or where torchmetrics or PyTorch is not installed.
    """
    if not all(map(find_spec, ("torch", "torchmetrics"))):
        raise InputError(f"torchmetrics should be installed for this: {install('metrics')}")
    from koniq.plugs.in_torchmetrics import PictureQuality

    return PictureQuality(weights, reduction, how, **torchmetrics)


def register_in_pyiqa() -> tuple[str, ...]:
    """Make our networks known to pyiqa, and give their names, which `pyiqa.create_metric` takes from then on.

    Raises InputError where pyiqa is not installed.
    """
    if not all(map(find_spec, ("torch", "pyiqa"))):
        raise InputError("pyiqa should be installed for this: pip install pyiqa")
    from koniq.plugs import in_pyiqa

    return in_pyiqa.register()
