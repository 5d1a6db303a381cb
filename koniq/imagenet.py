"""The ImageNet weights that a training starts from: Keras's file or timm's, both of one training, by `koniq.fetch`."""

from pathlib import Path

from koniq import fetch
from koniq.ground import RunStopped
from koniq.ground.paths import ROOT
from koniq.sources import named


def body_weights(*names: str, root: Path = ROOT) -> Path:
    """The file of the body's weights, its hash checked: one that is there, else the first that can be fetched.

    names: "pytorch", "keras", in the order of trying; both if none is given. Raises ConnectionError, saying where to
    put them by hand, if there is none and none can be fetched.
    """
    parts = named(tuple(f"imagenet/{name}" for name in names or ("pytorch", "keras")))
    errors = []
    for item, part in sorted(parts, key=lambda pair: not (root / pair[1].target).exists()):
        try:
            fetch.ensure(item, part, fetch.Settings(root=str(root)))
            return root / part.target
        except RunStopped as error:
            errors.append(str(error))
    raise ConnectionError(" ".join(errors))
