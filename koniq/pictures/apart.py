"""Pictures decoded one at a time in a process of their own, which a picture may end in place of the run."""

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self

from koniq.ground import RunStopped
from koniq.ground.paths import ROOT
from koniq.ground.urls import Remote
from koniq.network import KONCEPT512, Network
from koniq.pictures.decoding import Opened, Picture, decode
from koniq.pictures.faults import Place
from koniq.pictures.room import MEGAPIXELS, ROOM

LIMIT = 300.0  # seconds for a picture; the largest that Pillow decodes takes some, and a slow drive some more


class Apart:
    """A process that decodes pictures, started when the first is asked for, and again when one has ended it.

    place: where the pictures lie, see koniq.pictures.faults. A context manager; leaving it ends the process.
    """

    def __init__(self, network: Network, place: Place, max_megapixels: float = MEGAPIXELS, limit: float = LIMIT):
        self.network, self.place, self.max_megapixels, self.limit = network, place, max_megapixels, limit
        self._process: subprocess.Popen | None = None
        self._one = threading.Lock()

    def decode(self, path: Picture) -> Opened:
        """As `decode` here, of what can be pickled; what ends the process twice, or takes too long, is unreadable."""
        with self._one, ROOM.entered(alone=True):
            for _ in range(2):  # twice, for the system may end a process that it has no memory for on any picture
                found, cause = self._ask(path)
                if isinstance(found, RunStopped):
                    raise found
                if found:
                    if found.pixels is not None and isinstance(path, str | PathLike) and not isinstance(path, Remote):
                        self.place.opened = path, os.stat(path).st_dev  # noqa: PTH116
                    return found
                if not cause:
                    break
        error = f"decoding it ended the process ({cause})" if cause else f"decoding it took over {self.limit:g} s"
        return Opened(status="unreadable", error=error)

    def _ask(self, path: Picture) -> tuple[Opened | RunStopped | None, str]:
        """What the process says of a picture, or else None and how it ended: "" if it was for taking too long."""
        process = self._process = self._process or self._started()
        late = threading.Event()
        timer = threading.Timer(self.limit, lambda: (late.set(), process.kill()))
        timer.start()
        try:
            pickle.dump((path, self.place.opened), process.stdin)
            process.stdin.flush()
            return pickle.load(process.stdout), ""
        except (OSError, EOFError, pickle.UnpicklingError):
            self._process = None
            code = _end(process)
            return None, "" if late.is_set() else f"signal {-code}" if code < 0 else f"exit code {code}"
        finally:
            timer.cancel()

    def _started(self) -> subprocess.Popen:
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "koniq.pictures.apart"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": paths},
        )
        try:
            pickle.dump((self.network.way(), self.place, self.max_megapixels, self.limit), process.stdin)
            process.stdin.flush()
            pickle.load(process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise RunStopped(
                "A process of its own should start for the pictures that an earlier run ended at. Received: one that "
                f"ended with exit code {_end(process)}, perhaps for want of memory"
            ) from error
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._process:
            _end(self._process)


def _end(process: subprocess.Popen) -> int:
    """End a process, if it has not ended, and give its exit code."""
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):  # what was not sent yet, to nobody
            pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(5)
    process.kill()
    return process.wait()


def serve() -> None:
    """The process: settings in, then paths in and what became of them out, as pickles, until the other side goes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run; a process that it ended would be a picture's
    with contextlib.suppress(OSError):  # where memory runs out, Linux should end this process, not the run
        Path("/proc/self/oom_score_adj").write_text("1000")
    given, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native code prints is no answer
    way, place, max_megapixels, limit = pickle.load(given)
    network = KONCEPT512.at(**way)

    def answer(what: object) -> None:
        pickle.dump(what, answers)
        answers.flush()

    answer("ready")
    with contextlib.suppress(EOFError):
        while True:
            path, place.opened = pickle.load(given)
            if hasattr(signal, "alarm"):  # for a run that was killed, and ends nothing any more
                signal.alarm(round(2 * limit) + 1)
            try:
                answer(decode(path, network, place, max_megapixels))
            except RunStopped as error:
                answer(error)


if __name__ == "__main__":
    serve()
