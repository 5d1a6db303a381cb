"""A command in this process."""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from koniq.commands import cli, door


def module_of(words: Sequence[str]) -> tuple[ModuleType, list[str]]:
    """The module of a command and what it is given, of words such as -m koniq NAME ... or NAME.py ..."""
    if words[:2] == ["-m", "koniq"]:
        return import_module(f"koniq.commands.{door.COMMANDS[words[2]][0]}"), words[3:]
    return (import_module(words[1]), words[2:]) if words[0] == "-m" else (import_module(words[0][:-3]), words[1:])


def ended(command: str | ModuleType, *arguments: object) -> int:
    """The exit code of `python -m koniq COMMAND ARGUMENTS`, or of a script that was imported."""
    module = import_module(f"koniq.commands.{command}") if isinstance(command, str) else command
    try:
        cli.run(module.main, module.Settings, list(map(str, arguments)))
    except SystemExit as end:
        return end.code
    return 0
