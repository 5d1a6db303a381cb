"""Things in words, as people read them."""

from collections.abc import Iterable


def first_few(names: Iterable[str], count: int = 3) -> str:
    """The first `count` names as text, with "..." where there are more."""
    names = list(names)
    return ", ".join(map(str, names[:count])) + (", ..." if len(names) > count else "")
