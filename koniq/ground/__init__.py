"""What every room stands on: the errors that a user reads, words for them, and where files lie.

It knows no picture, no network and no framework. Names are imported when first used.
"""

from importlib import import_module

_HOME = {
    "InputError": "errors",
    "RunStopped": "errors",
    "first_few": "text",
}
__all__ = [*_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
