"""What is said while something is done: a user at the command line reads it, whoever imports koniq hears nothing.

Modules say it by `LOG`: with `info` what a command prints to stdout, with `warning` what it prints to stderr. To hear
it in a program of one's own: logging.basicConfig(level=logging.INFO).
"""

import logging
import sys

LOG = logging.getLogger("koniq")
LOG.addHandler(logging.NullHandler())


class _Aloud(logging.Handler):
    """Plain lines to what stdout and stderr are when they are said."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        print(record.getMessage(), file=stream, flush=True)


def aloud() -> None:
    """From now on, what is said is printed, as commands do."""
    if not any(isinstance(handler, _Aloud) for handler in LOG.handlers):
        LOG.addHandler(_Aloud())
    LOG.setLevel(logging.INFO)
    LOG.propagate = False  # else a library that sets up the root logger has it said twice
