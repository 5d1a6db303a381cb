"""Keras utilities: generators, image tools, rating models and a training helper, on Keras 3.

The known API is seven modules, imported when first used, under their names or their usual aliases:
`import ku; ku.mh.ModelHelper`. They stand on smaller ones of one idea each, such as `ku.hdf5`, and on what the API does
not have: `ku.files`, `ku.modes`, `ku.optimizers`, `ku.batch_norm`, `ku.virtual_batch`. None knows of the study.
"""

from importlib import import_module

_ALIASES = {
    "apps": "applications",
    "aug": "image_augmenter",
    "gen": "generic",
    "gr": "generators",
    "iu": "image_utils",
    "mh": "model_helper",
    "ops": "tensor_ops",
}
__all__ = [*sorted(_ALIASES.values()), *sorted(_ALIASES)]


def __getattr__(name: str):
    module = _ALIASES.get(name, name)
    if module not in _ALIASES.values():
        raise AttributeError(f"module 'ku' has no attribute {name!r}")
    return import_module(f"ku.{module}")
