"""What a server counts, as text that Prometheus reads (its exposition format, version 0.0.4)."""

import os
import threading
from collections import Counter
from pathlib import Path

from koniq.pictures.decoding import UNSCORED
from koniq.serving.batching import Batches

KIND = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # the bounds of the histogram of requests


class Counts:
    """Requests by status of HTTP, pictures by theirs, and how long requests took."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._requests: Counter[int] = Counter()
        self._pictures: Counter[str] = Counter(dict.fromkeys(("ok", *UNSCORED), 0))
        self._within: Counter[float] = Counter()
        self._seconds, self._timed = 0.0, 0

    def request(self, code: int) -> None:
        """Count a request that was answered with `code`."""
        with self._changing:
            self._requests[code] += 1

    def picture(self, status: str) -> None:
        """Count a picture."""
        with self._changing:
            self._pictures[status] += 1

    def took(self, seconds: float) -> None:
        """Count a request whose pictures were scored after so many seconds."""
        with self._changing:
            self._seconds, self._timed = self._seconds + seconds, self._timed + 1
            for bound in SECONDS:
                self._within[bound] += seconds <= bound

    def text(self, batches: Batches) -> str:
        """All of it, with what the batches count."""
        with self._changing:
            by_code = [(f'{{code="{code}"}}', count) for code, count in sorted(self._requests.items())]
            by_status = [(f'{{status="{status}"}}', count) for status, count in self._pictures.items()]
            within = [(f'_bucket{{le="{bound:g}"}}', self._within[bound]) for bound in SECONDS]
            seconds = [*within, ('_bucket{le="+Inf"}', self._timed), ("_sum", self._seconds), ("_count", self._timed)]
        parts = [
            ("koniq_requests_total", "counter", "Requests by the status that they were answered with.", by_code),
            ("koniq_pictures_total", "counter", "Pictures by what became of them.", by_status),
            ("koniq_request_seconds", "histogram", "Seconds from a whole request to its scores.", seconds),
            ("koniq_batches_total", "counter", "Batches that were scored.", [("", batches.batches)]),
            ("koniq_batched_pictures_total", "counter", "Pictures in these batches.", [("", batches.scored)]),
            ("koniq_pictures_waiting", "gauge", "Pictures that wait or are being scored.", [("", batches.inside)]),
        ]
        if memory := resident():
            name = "process_resident_memory_bytes"
            parts.append((name, "gauge", "Resident memory size in bytes.", [("", memory)]))
        lines = []
        for name, kind, about, samples in parts:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {value}" for labels, value in samples]
        return "\n".join([*lines, ""])


def resident() -> int:
    """Bytes that this process has in memory; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
