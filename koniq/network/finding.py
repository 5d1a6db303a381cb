"""Weights files by name: a path, a training run, or a file in `trained_models/`."""

from pathlib import Path

from koniq.ground import InputError
from koniq.ground.paths import MODELS, TRAINED_MODELS
from koniq.network.weight_files import SUFFIXES

ORIGINAL = "koncep512-trained-model.h5"  # as its authors released it; the missing "t" is theirs
BEST = ("*_best.weights.h5", "*_best.safetensors")  # in the folder of a training run


def find(name: str) -> Path:
    """The weights file meant by a path, a training run's folder, or a bare name: a file in `trained_models/` or a run.

    Raises InputError, saying where was looked, if there is none.
    """
    for place in (Path(name), *(TRAINED_MODELS / f"{name}{suffix}" for suffix in ("", *SUFFIXES)), MODELS / name):
        if place.is_file():
            return place
        if best := [path for pattern in BEST for path in sorted(place.glob(pattern))]:
            return best[0]
    hint = " `python -m koniq.fetch koncept512/original` gets the original's." if name == ORIGINAL else ""
    raise InputError(
        f"weights should be a file, the folder of a training run, or the name of a file in {TRAINED_MODELS}.{hint} "
        f"Received: weights={name!r}"
    )
