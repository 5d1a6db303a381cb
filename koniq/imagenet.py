"""The ImageNet weights of InceptionResNetV2 for PyTorch: Keras's own file if it is here, else timm's from the hub.

Both come of one training; every file is checked by its hash before it is used.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

from tqdm import tqdm

from ku.generic import atomic_path

TIMEOUT = 20  # seconds without an answer


@dataclass(frozen=True)
class Source:
    """A file of weights: where it lies or will lie, where to get it, and its hash."""

    path: Path
    url: str
    algorithm: str
    digest: str


def sources() -> tuple[Source, ...]:
    """In the order in which they are looked for."""
    keras = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "models")
    ours = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "koncept512")
    name = "inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5"
    return (
        Source(
            ours / "inception_resnet_v2.tf_in1k.safetensors",
            "https://huggingface.co/timm/inception_resnet_v2.tf_in1k/resolve/main/model.safetensors",
            "sha256",
            "dbea26b13a5fc8351919fed6a94222c0577ce324b2765fd081a798f837ca9d72",
        ),
        Source(
            keras / name,
            f"https://storage.googleapis.com/tensorflow/keras-applications/inception_resnet_v2/{name}",
            "md5",
            "d19885ff4a710c122648d3b5c3b684e4",
        ),
    )


def body_weights(known: tuple[Source, ...] | None = None) -> Path:
    """The file of the body's weights, fetched if none is here. Raises ConnectionError if that cannot be done."""
    known = known or sources()
    for source in known:
        if source.path.is_file() and _digest(source) == source.digest:
            return source.path
    reasons = []
    for source in known:
        try:
            return _fetch(source)
        except OSError as error:
            reasons.append(f"{source.url}: {error}")
    raise ConnectionError(
        "The ImageNet weights of InceptionResNetV2 should come from the network, or lie in one of "
        f"{', '.join(str(source.path) for source in known)} (put them there by hand). Received: {'; '.join(reasons)}."
    )


def _digest(source: Source) -> str:
    with source.path.open("rb") as file:
        return hashlib.file_digest(file, source.algorithm).hexdigest()


def _fetch(source: Source) -> Path:
    received = hashlib.new(source.algorithm)
    request = Request(source.url, headers={"User-Agent": "koncept512"})
    with urlopen(request, timeout=TIMEOUT) as answer, atomic_path(source.path) as temporary:
        size = int(answer.headers.get("Content-Length", 0)) or None
        with temporary.open("wb") as file, tqdm(total=size, unit="B", unit_scale=True, disable=None) as bar:
            while chunk := answer.read(1 << 20):
                file.write(chunk)
                received.update(chunk)
                bar.update(len(chunk))
        if received.hexdigest() != source.digest:
            raise OSError(f"its {source.algorithm} should be {source.digest}. Received: {received.hexdigest()}")
    return source.path
