"""Keras utilities: generators, image tools, rating models and a training helper, on Keras 3.

Modules are imported when first used, under their names or their usual aliases:
`import ku; ku.mh.ModelHelper`.
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
