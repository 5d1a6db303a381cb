"""Pictures of all requests, decoded in threads and scored in batches that are formed across requests."""

import io
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import TracebackType
from typing import BinaryIO, Self

from koniq.pictures.decoding import Opened
from koniq.scoring.score import Score
from koniq.scoring.scorer import Scorer
from ku import opening

Opener = Callable[[BinaryIO], Opened]
EMPTY = Opened(status="unreadable", error="an empty file")


class Full(Exception):
    """There is no room for so many pictures more."""


@dataclass
class Waiting:
    """A picture that was decoded and is to be scored."""

    name: str
    opened: Opened
    score: Future[Score]


class Batches:
    """What scores pictures for many who ask at a time.

    queue: pictures that may be in it, waiting or being scored. wait: seconds for which a batch that is not full waits
    for more pictures. opened: what opens a file; None: the scorer, in this process. A context manager; leaving it
    finishes what it is at.
    """

    def __init__(self, scorer: Scorer, queue_size: int = 128, wait: float = 0.005, opened: Opener | None = None):
        self.opened = opened or scorer.opened
        self.scorer, self.most, self.wait = scorer, queue_size, wait
        self.batches = 0  # that were scored
        self.scored = 0  # pictures in them
        self.failed = ""  # what the last batch failed of, if it did: the engine's fault, not a picture's
        self._inside = 0
        self._changing, self._forming = threading.Lock(), threading.Lock()
        self._ready: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()

    def __enter__(self) -> Self:
        engine = self.scorer.engine
        self._decoders = ThreadPoolExecutor(self.scorer.workers, "decoder")
        self._scorers = [threading.Thread(target=self._run, daemon=True) for _ in range(engine.parallel)]
        for thread in self._scorers:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._decoders.shutdown()
        for _ in self._scorers:
            self._ready.put(None)
        for thread in self._scorers:
            thread.join()

    @property
    def inside(self) -> int:
        """Pictures that wait or are being scored."""
        return self._inside

    def take(self, count: int) -> None:
        """Room for `count` pictures, each of which is to be `put`. Raises Full, and takes none, if there is less."""
        with self._changing:
            if self._inside + count > self.most:
                raise Full(f"{self._inside} pictures of {self.most} wait already")
            self._inside += count

    def put(self, name: str, read: Callable[[], bytes]) -> Future[Score]:
        """The score, once there is one, of a picture for which there is room.

        name: what it is called; no more than the ending of it is looked at. read: gives the bytes of its file, in the
        thread that decodes it, so that no more files are in memory than are decoded. The result is an exception where
        the machine fails.
        """
        score: Future[Score] = Future()
        score.add_done_callback(self._left)
        self._decoders.submit(self._decode, name, read, score)
        return score

    def _left(self, _: Future) -> None:
        with self._changing:
            self._inside -= 1

    def _decode(self, name: str, read: Callable[[], bytes], score: Future[Score]) -> None:
        if not score.set_running_or_notify_cancel():
            return
        try:
            data = read()
            opened = self.opened(_file(name, data)) if data else EMPTY
        except BaseException as error:
            score.set_exception(error.with_traceback(None))  # which would keep the picture
            return
        if opened.pixels is None:
            score.set_result(Score.of(name, opened))
        else:
            self._ready.put(Waiting(name, opened, score))

    def _run(self) -> None:
        """What a thread does that scores, until it is told to end."""
        while batch := self._batch():
            try:
                found = self.scorer.score([(one.name, one.opened) for one in batch])
            except BaseException as error:
                self.failed = f"{type(error).__name__}: {error}"
                for one in batch:
                    one.score.set_exception(error.with_traceback(None))
                continue
            self.failed = ""
            with self._changing:
                self.batches += 1
                self.scored += len(batch)
            for one, score in zip(batch, found, strict=True):
                one.score.set_result(score)

    def _batch(self) -> list[Waiting]:
        """The pictures of the next batch; none at the end."""
        with self._forming:  # else two threads would share what fits into one batch
            first = self._ready.get()
            batch = [first] if first else []
            end = time.monotonic() + self.wait
            while batch and len(batch) < self.scorer.engine.batch_size:
                try:
                    more = self._ready.get(timeout=max(0, end - time.monotonic()))
                except queue.Empty:
                    break
                if more is None:
                    self._ready.put(None)  # for the next round
                    break
                batch.append(more)
            return batch


def _file(name: str, data: bytes) -> io.BytesIO:
    """The bytes of a picture as an open file, which is called by no more than an ending that pictures have.

    There are formats that are told by it alone.
    """
    file, ending = io.BytesIO(data), PurePosixPath(name).suffix.lower()
    file.name = f"picture{ending}" if ending in opening.ENDINGS else "picture"
    return file
