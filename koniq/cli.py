"""How every script takes its settings and ends: one sentence and exit code 2 for what a user can mend, no traceback."""

import logging
import sys
import warnings
from collections.abc import Callable
from typing import Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from koniq.errors import InputError, RunStopped

Settings = TypeVar("Settings")

POSITIVE = ("batch_size", "patience", "workers", "input_size", "learning_rates", "epochs")


def run(main: Callable[[Settings], None], settings: type[Settings], arguments: list[str] | None = None) -> None:
    """Read `settings`, a dataclass whose comments are its help, from the command line, and call `main` with them.

    Ends the process with exit code 2 if something given is missing or wrong, 1 if the run could not go on, 130 if it
    was interrupted.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # tyro's, of a default that `check` finds wrong
            chosen = tyro.cli(settings, args=arguments, description=sys.modules[main.__module__].__doc__)
        check(chosen)
        warnings.filterwarnings("ignore", module="PIL")  # of odd pictures; what matters of them becomes their status
        logging.getLogger("PIL").setLevel(logging.CRITICAL)
        main(chosen)
    except InputError as error:
        sys.exit(_say(error, 2))
    except (RunStopped, OSError) as error:
        sys.exit(_say(error, 1))
    except Exception as error:
        names = ("ResourceExhaustedError", "OutOfMemoryError")  # of TensorFlow, and of PyTorch on a GPU
        if type(error).__name__ not in names and "DefaultCPUAllocator" not in str(error):
            raise
        sys.exit(_say("the device is out of memory; try a smaller batch_size, or mixed precision", 1))
    except KeyboardInterrupt:
        sys.exit(_say("interrupted; what was written stays, and the same command (training: --resume) goes on", 130))


def check(settings: object) -> None:
    """Raise InputError if a setting is outside of what its name allows."""
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        values = value if isinstance(value, tuple) else (value,)
        if name in POSITIVE and any(number is not None and number <= 0 for number in values):
            raise InputError(f"{name} should be positive. Received: {name}={value}")
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


def _say(error: object, code: int) -> int:
    print(f"{type(error).__name__ if isinstance(error, OSError) else 'Error'}: {error}", file=sys.stderr)
    return code
