"""What a person at the console sees and is asked: nested values, sizes, progress, times, a yes or no."""

import time
from collections.abc import Mapping
from typing import Any

from ku.containers import get_sizes, trimmed


def pretty_print(d: Mapping, indent: int = 0, key_sep: str = ":", trim: bool = True) -> None:
    """Print a mapping, one key a line and nested ones indented; trim cuts long values."""
    for key, value in d.items():
        if isinstance(value, Mapping):
            print(f"{' ' * indent}{key}{key_sep}")
            pretty_print(value, indent + 2, key_sep, trim)
        else:
            print(f"{' ' * indent}{key}{key_sep} {trimmed(value) if trim else value}")


pretty = pretty_print


def print_sizes(x: Any) -> None:
    """Print `get_sizes(x)`."""
    print(get_sizes(x))


def raw_confirm(message: str) -> bool:
    """Ask for a yes on the console; anything but y or yes is a no."""
    return input(f"{message} [y/n] ").strip().lower() in ("y", "yes")


def show_progress(
    iteration: int,
    total: int,
    prefix: str = "",
    suffix: str = "",
    decimals: int = 1,
    length: int = 50,
    fill: str = "█",
) -> None:
    """Draw a bar for `iteration` of `total` over the console's current line; the last one ends the line."""
    share = iteration / total if total else 1.0
    bar = (fill * round(length * share)).ljust(length, "-")
    end = "\n" if iteration >= total else ""
    print(f"\r{prefix} |{bar}| {100 * share:.{decimals}f}% {suffix}", end=end, flush=True)


class Timer:
    """A context manager that prints how long its block took and keeps it in `elapsed` (seconds)."""

    def __init__(self, name: str | None = None):
        self.name = name
        self.elapsed = 0.0

    def __enter__(self) -> "Timer":
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exception) -> None:
        self.elapsed = time.perf_counter() - self._start
        print(f"{self.name or 'elapsed'}: {self.elapsed:.3f} s")
