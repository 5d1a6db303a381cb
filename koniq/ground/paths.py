"""Where data, weights and results lie.

In a clone that is in its own folders. Installed, or where KONIQ_HOME is set, in a clone, too, it is below HOME, by the
same names: KONIQ_HOME may be a clone whose data a second one, or the installed package, goes by.
"""

import os
import sys
from pathlib import Path

from koniq.ground.built import IN_CLONE, ROOT


def _home() -> Path:
    """KONIQ_HOME, else the clone, else the user's folder for data, such as ~/.local/share/koniq."""
    if chosen := os.environ.get("KONIQ_HOME"):
        return Path(chosen).expanduser().resolve()
    if IN_CLONE:
        return ROOT
    from platformdirs import user_data_path

    return user_data_path("koniq", appauthor=False)


HOME = _home()
IMAGES = HOME / "koniq" / "images"
METADATA = HOME / "koniq" / "metadata"
MODELS = HOME / "koniq" / "models"  # one folder a training run
TRAINED_MODELS = HOME / "trained_models"  # weights that scripts find by a bare name
DATASETS = HOME / "datasets"
LIFELOG = DATASETS / "LSC21"
DOWNLOADS = DATASETS / "downloads"  # archives on their way, and those put there by hand
SAMPLE = DATASETS / "sample"
RESULTS = (ROOT if IN_CLONE else HOME) / "results"  # a clone's are kept by git, and go with it

# What comes along with the code. Installed, it lies in the package, where nothing is written to.
_PACKED = ROOT / "koniq" / "released"
RELEASED_MODELS = ROOT / "trained_models" if IN_CLONE else _PACKED
NEAR_COPIES = (ROOT / "datasets" if IN_CLONE else _PACKED) / "near_copies.csv"  # dataset, image_name, group, scene


def user_cache() -> Path:
    """The user's folder for what can be made again: koncept512 in XDG_CACHE_HOME, or in ~/.cache, or the system's."""
    if sys.platform in ("darwin", "win32"):
        from platformdirs import user_cache_path

        return user_cache_path("koncept512", appauthor=False)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "koncept512")


def is_packed(path: Path) -> bool:
    """Whether a file comes along with the installed package: what pip put there, it replaces and takes away."""
    return not IN_CLONE and _PACKED in path.resolve().parents


def folder_beside(path: Path) -> Path:
    """The folder for what is made from a file and kept: the file's, or the user's cache if that is not to be written.

    It is not where one may not, nor in the package: what pip did not put there, it does not take away.
    """
    return user_cache() if is_packed(path) or not os.access(path.parent, os.W_OK) else path.parent


def text_of(path: Path) -> str:
    """What a file says, such as those of /proc and /sys; "" where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
