"""lifelog_predict.py begun and killed, again and again: `python tests/helpers/killed.py TIMES OUT ARGUMENTS`.

It imports everything and starts nothing, and forks for each time: a process that is killed is the script's own, from
its settings on, and takes no second to load. The moments are random, some of them while it writes. Prints the sizes of
OUT after each time.
"""

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image
from tiny import slow_down

import lifelog_predict
from koniq.commands import cli


def begin(arguments):
    """The id of a new process that scores."""
    if child := os.fork():
        return child
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with suppress(SystemExit):
        cli.run(lifelog_predict.main, lifelog_predict.Settings, arguments)
    os._exit(0)


def kill(child, path, size, pause):
    """Kill it `pause` seconds after the file at `path` has outgrown `size` bytes; False if it had come to its end."""
    while not os.waitpid(child, os.WNOHANG)[0]:
        if path.is_file() and path.stat().st_size > size:
            time.sleep(pause)
            os.kill(child, signal.SIGKILL)
            return os.WIFSIGNALED(os.waitpid(child, 0)[1])
        time.sleep(0.002)
    return False


def main(times, path, arguments):
    slow_down(0.02)  # to a row in 10 ms or so, for there to be moments to be killed at
    rng = np.random.default_rng(0)
    sizes = [0]
    for number in range(times):
        child = begin([*arguments, "--out", str(path)])
        if not kill(child, path, sizes[-1], rng.uniform(0, 0.15)):
            sys.exit(f"It ended before it could be killed for the {number + 1}. time.")
        if number % 3 == 0:  # as if the system had written a part of the last row only
            os.truncate(path, max(path.stat().st_size - int(rng.integers(1, 12)), 1))
        sizes.append(path.stat().st_size)
    print(json.dumps(sizes[1:]))


if __name__ == "__main__":
    import openvino  # noqa: F401  which takes most of the time

    Image.init()
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
