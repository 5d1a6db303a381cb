"""The weights that a training starts from: random, ImageNet's for the body, or those of a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from koniq.fetch.bodies import body_weights
from koniq.ground import InputError
from koniq.ground.log import LOG
from koniq.network import Network, find

# Losses of a batch, not of its pictures: they compare scores with one another.
OF_BATCH = ("plcc", "plcc_mse", "nin")


@dataclass(frozen=True)
class Initial:
    """Where initial weights come from: from chance, from ImageNet's file for the body, or from a file that was named.

    path: None if they are random. A file that was named may be of the whole network or of its body.
    """

    kind: Literal["random", "body", "file"]
    path: Path | None = None

    def say(self, whole: bool) -> None:
        """Say of a file whose numbers were put in whether they were all of the network's, or those of its body."""
        LOG.info(f"Initial weights: {self.path}{'' if whole else ' for the body, random for the head'}.")


def initial(weights: str, network: Network, *bodies: str) -> Initial:
    """Where the weights that a training starts from are, once they are there; that they are random is said.

    weights: "imagenet" (the body's, fetched if they are not there), "try-imagenet" (the same, but at random if they
    cannot be fetched), "none" (at random), or a weights file, of the whole network or of its body. bodies: the names of
    `body_weights`. Raises InputError if there is no such file, or "imagenet" cannot be fetched.
    """
    if weights == "none":
        LOG.info("Initial weights: random.")
        return Initial("random")
    if weights not in ("imagenet", "try-imagenet"):
        return Initial("file", find(weights))
    try:
        return Initial("body", body_weights(network, *bodies))
    except ConnectionError as error:
        if weights == "imagenet":
            raise InputError(f"{error} Or train from random weights with --weights none.") from error
        LOG.info(f"ImageNet weights could NOT be fetched; training starts from RANDOM weights. {error}")
        return Initial("random")


def by_xla(
    jit_compile: Literal["auto", "yes", "no"], micro_batch: int, statistics: str, devices: int = 1
) -> Literal["auto", "yes", "no"]:
    """`jit_compile` as far as a training in Keras can be compiled: one with a virtual batch cannot, auto is no there.

    Nor can one on several devices, which exchange numbers within a step.

    Raises InputError if it should be.
    """
    if not micro_batch and statistics != "trailing" and devices == 1:
        return jit_compile
    if jit_compile == "yes":
        raise InputError(
            "jit_compile should be auto or no with micro_batch, with statistics=trailing, and on several devices. "
            "Received: jit_compile=yes"
        )
    return "no"


class Shared(Protocol):
    """The settings of a training in Keras of how it is shared out among devices, and what that depends on."""

    devices: int
    sync_batch_norm: bool
    batch_size: int
    loss: str
    micro_batch: int
    statistics: str


def check_shared(s: Shared) -> None:
    """Raise InputError if a training cannot be shared out among devices, or would be another on several than on one."""
    if s.devices < 1 or s.batch_size % s.devices:
        raise InputError(
            f"devices should be a number that batch_size={s.batch_size} is a multiple of. Received: devices={s.devices}"
        )
    if s.devices == 1:
        return
    if s.loss in OF_BATCH and s.statistics == "moving" and not s.sync_batch_norm:
        raise InputError(
            f"sync_batch_norm should be on with loss={s.loss} on several devices: that loss compares scores with one "
            "another, and those of each device would be normalised by themselves. Received: sync_batch_norm=False"
        )
    if s.micro_batch or s.statistics not in ("moving", "kept"):
        raise InputError(
            "micro_batch should be 0, and statistics moving or kept, on several devices. "
            f"Received: devices={s.devices}, micro_batch={s.micro_batch}, statistics={s.statistics}"
        )
