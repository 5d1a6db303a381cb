"""Commands as they can be typed here, by whatever was typed to get here: for messages that say what to do."""

import os
import shutil
import sys
from pathlib import Path


def command(words: str) -> str:
    """A command of koniq, such as "fetch live_itw", as `koniq fetch live_itw` or by the interpreter that is running."""
    return f"koniq {words}" if Path(sys.argv[0]).stem == "koniq" else f"{interpreter()} -m koniq {words}"


def interpreter() -> str:
    """The interpreter that is running: by its name, where the shell finds it so, else by its shortest path."""
    running = Path(sys.executable or "python")
    for name in ("python", "python3"):
        found = shutil.which(name)
        if found and Path(found) == running:
            return name
    below = Path(os.path.abspath(running))  # noqa: PTH100  not resolved: of an environment, it is a link
    here = Path.cwd()
    return str(below.relative_to(here)) if here != here.parent and below.is_relative_to(here) else str(running)
