"""The errors that end a command: scripts print their one sentence."""


class InputError(ValueError):
    """Something that was given is missing or wrong; the message says what was expected, what came and what to do.

    A script that it ends has exit code 2.
    """


class RunStopped(RuntimeError):
    """A run that could not go on. A script that it ends has exit code 1."""
