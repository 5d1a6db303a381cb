"""What every room stands on: the errors that a user reads, words for them, and where files lie.

It knows no picture, no network and no framework. Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "InputError": "errors",
    "RunStopped": "errors",
    "first_few": "text",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
