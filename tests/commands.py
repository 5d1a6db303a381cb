"""A command of `koniq` in this process."""

from koniq import cli


def ended(module, *arguments):
    """The exit code of `python -m koniq.MODULE ARGUMENTS`, or of a script that was imported."""
    try:
        cli.run(module.main, module.Settings, list(map(str, arguments)))
    except SystemExit as end:
        return end.code
    return 0
