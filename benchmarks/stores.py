"""Pictures a second that are read from a store of S3, beside the same from the disk: both decoded as for scoring.

python -m benchmarks.stores --record

The store is moto's test server, on the loopback, in a process of its own on the same cores: it is no measure of what S3
gives, but of what reading from a store costs here, and how much of the waiting threads hide. `latency` is added to each
request, as a network would. Pictures are JPEGs of 1024x768; bytes a second are of fetching alone.
"""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.bounds import photographs
from benchmarks.lifelog import SIZE
from benchmarks.recorded import record
from koniq.commands import cli
from koniq.ground import machine
from koniq.ground.text import markdown_table
from koniq.ground.threads import each
from koniq.ground.urls import Remote
from koniq.network import KONCEPT_LITE
from koniq.pictures import in_fsspec
from koniq.pictures.decoding import decode
from koniq.scoring.scorer import FETCHING

COMMAND = "python -m benchmarks.stores --record"
BUCKET = "pictures"


@dataclass(frozen=True)
class Settings:
    pictures: int = 150  # that are read in a round
    rounds: int = 3  # in which all take turns
    latency: float = 0.03  # seconds that a request takes longer, in one of the cases
    record: bool = False  # put the figures into results/scale.csv


def main(s: Settings) -> None:
    with tempfile.TemporaryDirectory() as folder, store() as url:
        paths = photographs(Path(folder, "made"), s.pictures, SIZE)
        places = [Remote(f"{url}/{path.name}") for path in paths]
        for path, place in zip(paths, places, strict=True):
            in_fsspec.put(path, place)
        size = sum(path.stat().st_size for path in paths) / s.pictures
        workers, far = machine.cores(), f"{1000 * s.latency:.0f} ms more a request"
        cases: dict[str, Callable[[], float]] = {
            f"disk, {workers} threads": lambda: rate(paths, workers, opened),
            f"store, {FETCHING} threads": lambda: rate(places, FETCHING, opened),
            f"store, {workers} threads": lambda: rate(places, workers, opened),
            f"store, {FETCHING} threads, fetched alone": lambda: rate(places, FETCHING, in_fsspec.fetch),
            f"store, {FETCHING} threads, {far}": lambda: later(s.latency, places, FETCHING),
            f"store, {workers} threads, {far}": lambda: later(s.latency, places, workers),
        }
        found: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(s.rounds):
            for name, case in cases.items():
                found[name].append(case())
    print(f"{machine.machine()}; {machine.in_words(machine.versions())}; commit {machine.commit()}")
    print(f"{s.pictures} JPEGs of {SIZE[1]}x{SIZE[0]}, {size:,.0f} bytes each\n")
    disk, fast, _, alone, *_ = found
    ratio = median(found[disk])
    lines = [
        [name, *(f"{value:.1f}" for value in (median(rates), min(rates), max(rates))), f"{median(rates) / ratio:.2f}"]
        for name, rates in found.items()
    ]
    print(markdown_table(["pictures a second", "median", "least", "most", "ratio to the disk"], lines))
    if s.record:
        put("pictures read from S3 (moto, loopback)", found[fast], "pictures/s")
        put("pictures read from the disk beside it", found[disk], "pictures/s")
        put("bytes fetched from S3 (moto, loopback)", [size * value for value in found[alone]], "bytes/s")


def opened(path: Path | Remote) -> None:
    decode(path, KONCEPT_LITE)


def rate(places: Sequence[Path | Remote], workers: int, work: Callable[[Path | Remote], object]) -> float:
    """Pictures a second that `work` does in threads."""
    started = time.perf_counter()
    for _ in each(workers, work, places):
        pass
    return len(places) / (time.perf_counter() - started)


def later(latency: float, places: Sequence[Remote], workers: int) -> float:
    """The same, where each request is answered later."""
    real = in_fsspec._of_s3

    async def slow(*given: object) -> object:
        await asyncio.sleep(latency)
        return await real(*given)

    in_fsspec._of_s3 = slow
    try:
        return rate(places, workers, opened)
    finally:
        in_fsspec._of_s3 = real


def put(case: str, values: list[float], unit: str) -> None:
    record("store", case, median(values), unit, COMMAND, min(values), max(values))


@contextmanager
def store() -> Iterator[str]:
    """The address of an empty bucket of moto's server, which the environment says from now on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.environ |= {
        **{"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"},
        **{"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "something", "no_proxy": "127.0.0.1"},
    }
    try:
        for _ in range(100):
            with suppress(URLError, ConnectionError), urlopen(f"http://127.0.0.1:{port}/moto-api/"):
                break
            time.sleep(0.2)
        bucket = Remote(f"s3://{BUCKET}")
        files, path = in_fsspec.system(bucket)
        files.mkdir(path)
        yield bucket.url
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    cli.run(main, Settings)
