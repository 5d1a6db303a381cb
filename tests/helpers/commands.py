"""A command in this process."""

from importlib import import_module
from types import ModuleType

from koniq.commands import cli


def ended(command: str | ModuleType, *arguments: object) -> int:
    """The exit code of `python -m koniq COMMAND ARGUMENTS`, or of a script that was imported."""
    module = import_module(f"koniq.commands.{command}") if isinstance(command, str) else command
    try:
        cli.run(module.main, module.Settings, list(map(str, arguments)))
    except SystemExit as end:
        return end.code
    return 0
