"""Pictures that training cannot do without: whole, or all named that are not."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from koniq.ground import InputError
from koniq.ground.log import LOG
from koniq.ground.typed import command
from koniq.network import Network
from koniq.pictures.decoding import decode

NAMED = 100  # pictures that do not open, in one message


def opened(path: Path, network: Network) -> tuple[np.ndarray | None, str]:
    """The pixels of a picture as the network takes them, see `decode`, and ""; or None, and why it has none."""
    found = decode(path, network)
    return found.pixels, f"{found.status}: {found.error}" if found.pixels is None else ""


def check_whole(broken: Mapping[str, str], count: int, skip: bool, quiet: bool = False) -> None:
    """Raise InputError if any of `count` pictures do not open, naming all of them; print it if they may be left out.

    broken: why they do not open, by name.
    """
    if not broken:
        return
    named = ", ".join(f"{name} ({why})" for name, why in list(broken.items())[:NAMED])
    named += f", and {len(broken) - NAMED:,} more" if len(broken) > NAMED else ""
    if not skip or len(broken) == count:
        others = ", or give --skip-missing to go on without them" if len(broken) < count else ""
        raise InputError(
            f"Pictures of the table should be whole. Received: {len(broken):,} of {count:,} that are not, {named}. "
            f"Replace them, take their rows out of the table{others}; {command('check')} lists all that is wrong."
        )
    if not quiet:
        LOG.info(f"{len(broken):,} of {count:,} pictures do not open, and are left out: {named}")
