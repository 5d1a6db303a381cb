"""A room's public names, imported when they are first used."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names_of(room: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """What a room's `__getattr__` is (PEP 562). homes: by public name, the file of the room that has it."""

    def found(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        return getattr(import_module(f"{room}.{homes[name]}"), name)

    return found
