"""How every command takes its settings and ends: exit codes for scripts, and one sentence, no traceback, for a mistake.

All of them have `--quiet` and `--version` besides their own settings.
"""

import dataclasses
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated, Literal, TextIO, TypeVar, get_args, get_origin, get_type_hints

import tyro

from koniq import __version__
from koniq.ground import InputError, RunStopped, machine, typed
from koniq.ground.exits import BAD_INPUT, INTERRUPTED, STOPPED
from koniq.ground.log import aloud

Settings = TypeVar("Settings")

POSITIVE = ("batch_size", "workers", "max_megapixels", "input_size", "learning_rates", "epochs")
NOT_NEGATIVE = ("patience", "validation_batch")
EXIT_CODES = """Exit codes:
  0    done; where pictures are scored, each of them has its score
  1    stopped: it could not go on (check: something is not as it should be)
  2    something that was given is missing or wrong
  3    done, and there are pictures without a score: their rows say why (tag: left out, for reasons printed)
  130  interrupted"""
FLAGS = {
    "quiet": "print errors alone: no lines, no bars; what comes out is in the files and in the exit code",
    "version": "print the version and the commit, and end",
}

_errors: TextIO | None = None  # where errors go while everything else is silent


def version() -> str:
    """The version and the commit, as `--version` prints them."""
    return f"koniq {__version__}, commit {machine.commit() or 'unknown'}"


def run(
    main: Callable[[Settings], int | None],
    settings: type[Settings],
    arguments: list[str] | None = None,
    prog: str | None = None,
) -> None:
    """Read `settings`, a dataclass whose comments are its help, from the command line, and call `main` with them.

    Ends the process with an exit code other than 0 as EXIT_CODES says: UNSCORED, or another one, is what `main`
    returns. A name that the terminal cannot show is printed with escapes. prog: what was typed to get here.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = sys.argv[1:] if arguments is None else arguments
    aloud()
    if "--version" in arguments:  # before what is required
        print(version())
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # tyro's, of a default that `check` finds wrong
            chosen, quiet = _read(settings, arguments, sys.modules[main.__module__].__doc__, prog)
        check(chosen)
        warnings.filterwarnings("ignore", module="PIL")  # of odd pictures; what matters of them becomes their status
        logging.getLogger("PIL").setLevel(logging.CRITICAL)
        with _silence() if quiet else ExitStack():
            code = main(chosen)
    except InputError as error:
        code = complain(error, BAD_INPUT)
    except (RunStopped, OSError) as error:
        code = complain(error, STOPPED)
    except Exception as error:
        names = ("ResourceExhaustedError", "OutOfMemoryError")  # of TensorFlow, and of PyTorch on a GPU
        if type(error).__name__ not in names and "DefaultCPUAllocator" not in str(error):
            raise
        code = complain("the device is out of memory; try a smaller batch_size, or mixed precision", STOPPED)
    except KeyboardInterrupt:
        code = complain(
            "interrupted; what was written stays, and the same command (training: --resume) goes on", INTERRUPTED
        )
    if code:
        sys.exit(code)


def _read(settings: type[Settings], arguments: list[str], about: str | None, prog: str | None) -> tuple[Settings, bool]:
    """The settings by the command line, and whether it says --quiet."""
    fields = [("settings", Annotated[settings, tyro.conf.arg(name="")])]
    for name, text in FLAGS.items():
        flag = Annotated[bool, tyro.conf.arg(help=text), tyro.conf.FlagCreatePairsOff]
        fields.append((name, flag, dataclasses.field(default=False)))
    command = dataclasses.make_dataclass("Command", fields)
    chosen = tyro.cli(command, prog=prog, args=arguments, description=f"{_typed(about or '')}\n\n{EXIT_CODES}")
    return chosen.settings, chosen.quiet


def _typed(about: str) -> str:
    """A module's docstring with its commands as they can be typed here, a line each, which indentation keeps."""

    def here(found: re.Match) -> str:
        return "\n  " + (typed.command("") if found[1] else f"{typed.interpreter()} ")

    return re.sub(r"\n+python (-m koniq )?", here, about).rstrip()


def complain(error: object, code: int = STOPPED) -> int:
    """Print an error, which --quiet does not keep back. Returns `code`, that of what it ends with."""
    kind = type(error).__name__ if isinstance(error, OSError) else "Error"
    print(f"{kind}: {error}", file=_errors or sys.stderr)
    return code


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing is printed but by `complain`, and by native code to stderr: its last words are of what it died of."""
    global _errors
    with ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w"))
        sys.stdout.flush()
        kept = os.dup(1)  # the descriptor, too: of processes below this one
        stack.callback(os.close, kept)
        os.dup2(nowhere.fileno(), 1)
        stack.callback(os.dup2, kept, 1)
        _errors = sys.stderr
        stack.enter_context(redirect_stdout(nowhere))
        stack.enter_context(redirect_stderr(nowhere))  # no terminal, so that there are no bars
        try:
            yield
        finally:
            _errors = None


def check(settings: object) -> None:
    """Raise InputError if a setting, of a group of settings too, is outside of what its name allows."""
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if dataclasses.is_dataclass(value):
            check(value)
            continue
        values = value if isinstance(value, tuple) else (value,)
        if name in POSITIVE and any(number is not None and number <= 0 for number in values):
            raise InputError(f"{name} should be positive. Received: {name}={value}")
        if name in NOT_NEGATIVE and value < 0:
            raise InputError(f"{name} should be positive, or 0. Received: {name}={value}")
        choices = [
            choice for part in (hint, *get_args(hint)) if get_origin(part) is Literal for choice in get_args(part)
        ]
        # What was edited in the script came past the command line.
        if choices and any(one is not None and one not in choices for one in values):
            raise InputError(f"{name} should be one of {', '.join(choices)}. Received: {name}={value!r}")
    micro_batch = getattr(settings, "micro_batch", 0)
    if micro_batch < 0 or (micro_batch and settings.batch_size % micro_batch):
        raise InputError(
            f"micro_batch should divide batch_size={settings.batch_size}, or be 0. Received: micro_batch={micro_batch}"
        )
    lengths = [len(getattr(settings, name, ())) for name in ("epochs", "learning_rates")]
    if lengths[0] != lengths[1]:
        raise InputError(f"epochs and learning_rates should be one a stage. Received: {lengths[0]} and {lengths[1]}")
