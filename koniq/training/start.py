"""The weights that a training starts from: random, ImageNet's for the body, or those of a file."""

from pathlib import Path

from koniq.fetch.bodies import body_weights
from koniq.ground import InputError
from koniq.ground.log import LOG
from koniq.network import Network, find


def initial(weights: str, network: Network, *names: str) -> Path | None:
    """The file that a training starts from; None where it starts from random weights, which is printed.

    weights: "imagenet" (the body's, fetched if they are not there), "try-imagenet" (the same, but at random if they
    cannot be fetched), "none" (at random), or a weights file, of the whole network or of its body. names: see
    `body_weights`. Raises InputError if there is no such file, or "imagenet" cannot be fetched.
    """
    if weights == "none":
        LOG.info("Initial weights: random.")
        return None
    if weights not in ("imagenet", "try-imagenet"):
        return find(weights)
    try:
        return body_weights(network, *names)
    except ConnectionError as error:
        if weights == "imagenet":
            raise InputError(f"{error} Or train from random weights with --weights none.") from error
        LOG.info(f"ImageNet weights could NOT be fetched; training starts from RANDOM weights. {error}")
        return None
