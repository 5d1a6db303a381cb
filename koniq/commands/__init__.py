"""What a user types: `python -m koniq COMMAND`, a module each, its settings, and how all of them end.

It knows every room and is known by none. Open door.py first: the table of the commands.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "COMMANDS": "door",
    "run": "cli",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
