"""Where data, weights and results lie, relative to the root of the repository."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
IMAGES = ROOT / "koniq" / "images"
METADATA = ROOT / "koniq" / "metadata"
MODELS = ROOT / "koniq" / "models"  # one folder a training run
TRAINED_MODELS = ROOT / "trained_models"  # weights that scripts find by a bare name
DATASETS = ROOT / "datasets"
LIFELOG = DATASETS / "LSC21"
DOWNLOADS = DATASETS / "downloads"  # archives on their way, and those put there by hand
SAMPLE = DATASETS / "sample"
RESULTS = ROOT / "results"


def user_cache() -> Path:
    """The user's folder for what can be made again: koncept512 in XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "koncept512")
