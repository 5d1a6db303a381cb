"""The error that a user can mend: scripts print its one sentence and end with exit code 2."""

from collections.abc import Iterable


class InputError(ValueError):
    """Something that was given is missing or wrong; the message says what was expected, what came and what to do."""


class RunStopped(RuntimeError):
    """A run that could not go on; scripts print its one sentence and end with exit code 1."""


def first_few(names: Iterable[str], count: int = 3) -> str:
    """The first `count` names as text, with "..." where there are more."""
    names = list(names)
    return ", ".join(map(str, names[:count])) + (", ..." if len(names) > count else "")
