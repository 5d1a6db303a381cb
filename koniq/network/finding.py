"""Weights files by name: a path, a training run, or a model in `trained_models/`."""

from pathlib import Path

from koniq.ground import InputError
from koniq.ground.log import LOG
from koniq.ground.paths import MODELS, RELEASED_MODELS, TRAINED_MODELS
from koniq.ground.typed import command
from koniq.network.weight_files import SUFFIXES

ORIGINAL = "koncep512-trained-model.h5"  # as its authors released it; the missing "t" is theirs
RELEASED = "koncept_lite"  # comes with this repository, and with the package
FETCH_ORIGINAL = f"`{command('fetch koncept512/original')}` gets the original"
HUB_WEIGHTS, HUB_RECORD = "model.safetensors", "config.json"  # in a folder of the Hugging Face hub's layout
BEST = ("*_best.weights.h5", "*_best.safetensors")  # in the folder of a training run


def find_or_default(name: str) -> Path:
    """As `find`; where nothing is named the original if it is there, else the released one, and a line says which."""
    if name:
        return find(name)
    try:
        path = find(ORIGINAL)
    except InputError:
        path = find(RELEASED)
        LOG.info(f"Model: {RELEASED}, as nothing else is named; {FETCH_ORIGINAL} KonCept512")
    else:
        LOG.info(
            f"Model: the original KonCept512, as nothing else is named; --weights {RELEASED} is many times as fast"
        )
    return path


def find(name: str) -> Path:
    """The weights file meant by a path, a folder, or a bare name: of `trained_models/`, released, or of a run.

    A folder is a training run's, or that of a model, whose file has its name: koncept_lite/koncept_lite.safetensors; or
    it has the hub's layout, see koniq.plugs.hub.
    Raises InputError, saying where was looked, if there is none.
    """
    folders = dict.fromkeys((TRAINED_MODELS, RELEASED_MODELS))
    trained = (folder / f"{name}{suffix}" for folder in folders for suffix in ("", *SUFFIXES))
    for place in (Path(name), *trained, MODELS / name):
        if place.is_file():
            return place
        inside = [path for pattern in BEST for path in sorted(place.glob(pattern))]
        inside += [path for suffix in SUFFIXES if (path := place / f"{place.name}{suffix}").is_file()]
        if (place / HUB_RECORD).is_file() and (place / HUB_WEIGHTS).is_file():
            inside.append(place / HUB_WEIGHTS)
        if inside:
            return inside[0]
    hint = f" {FETCH_ORIGINAL}." if name == ORIGINAL else ""
    raise InputError(
        f"weights should be a file, the folder of a training run, or the name of a model in {TRAINED_MODELS}.{hint} "
        f"Received: weights={name!r}"
    )
