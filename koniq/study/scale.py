"""What many pictures cost: hours, memory and storage for any number of them, from rates that were measured.

Rates of scoring are those of results/speed.csv (`python -m benchmarks.lifelog --out`), all others those of
results/scale.csv (benchmarks with `--record`). Nothing here is measured, and nothing is given that was not: a rate that
is not there is said to be missing. What is computed for a number of pictures is the number by the rate.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from koniq.ground import InputError, tables
from koniq.ground.paths import RESULTS, ROOT
from koniq.ground.text import markdown_table

PAGE = ROOT / "docs" / "scale.md"
SPEED, SCALE = RESULTS / "speed.csv", RESULTS / "scale.csv"
COUNTS = 183_227, 10_000_000, 1_000_000_000  # the study's lifelog; a large archive; the archive of many lives
NETWORKS = {"koncept512": "KonCept512", "koncept_lite": "koncept_lite"}
WHOLE, ALONE, DECODING = "JPEG to CSV", "engine alone", "decoding alone"
CORES = re.compile(r"\((\d+) cores\)$")
GPU = re.compile("NVIDIA|AMD Instinct")
NONE = "not measured"
NO_GPU = (
    "**No GPU was at hand: not measured.** `python -m benchmarks.lifelog --out results/speed.csv` on one, and this "
    "table has its line."
)
GB = 1e9


@dataclass(frozen=True)
class Prices:
    """What is paid, in any currency; None: nothing is said of it."""

    core_hour: float | None = None
    gpu_hour: float | None = None
    gb_month: float | None = None  # of a store


@dataclass(frozen=True)
class Rate:
    """How fast a network scores on a machine, in pictures a second: JPEG to CSV, and what bounds it."""

    network: str
    precision: str
    machine: str
    cores: int
    whole: float
    engine: float
    decoding: float

    @property
    def on_gpu(self) -> bool:
        return bool(GPU.match(self.machine))

    @property
    def title(self) -> str:
        return f"{NETWORKS[self.network]}, {self.precision}"

    @property
    def bound(self) -> str:
        """What most of the time goes to: on a processor both share the cores, beside a GPU the slower one bounds."""
        share = (1 / self.decoding) / (1 / self.decoding + 1 / self.engine)
        if self.on_gpu:
            return "decoding" if self.decoding < self.engine else "the network"
        return f"the network, {1 - share:.0%}" if share < 0.5 else f"decoding, {share:.0%}"

    def hours(self, pictures: int) -> float:
        """Hours of one core, or of the GPU, that so many pictures take."""
        return pictures / self.whole / 3600 * (1 if self.on_gpu else self.cores)


def rates(path: Path = SPEED) -> list[Rate]:
    """The measured rates of scoring, the latest of each network, precision and machine.

    Raises InputError if there is no such table.
    """
    if not path.is_file():
        raise InputError(
            f"The measured rates should be at {path}, where `python -m benchmarks.lifelog --out` puts them"
        )
    table = tables.read_typed(path, ("case", "machine", "limits"))
    found: dict[tuple[str, str, str], Rate] = {}
    decoding: dict[tuple[str, str], float] = {}
    medians = {}
    for row in table.itertuples():
        on = row.machine + (f", limited by {row.limits}" if isinstance(row.limits, str) and row.limits else "")
        medians[row.case, on] = row.median
        if row.case == DECODING:
            decoding[row.machine, on] = row.median
    for (case, on), median in medians.items():
        title, _, measured = case.partition(": ")
        network, _, precision = title.partition(", ")
        machine = on.partition(", limited by")[0]
        alone, opened = medians.get((f"{title}: {ALONE}", on)), decoding.get((machine, on))
        if measured == WHOLE and network in NETWORKS and alone and opened:
            cores = int(found_cores[1]) if (found_cores := CORES.search(machine)) else 1
            found[network, precision, on] = Rate(network, precision, on, cores, median, alone, opened)
    return list(found.values())


@dataclass(frozen=True)
class Figure:
    """A measured figure: the median of its rounds, its unit, where and by which command."""

    value: float
    unit: str
    device: str
    command: str


class Figures:
    """The figures of results/scale.csv, by step and case; of several machines the one that was measured last."""

    def __init__(self, path: Path = SCALE):
        self.table = tables.read_typed(path, ("step", "case", "unit", "device", "command")) if path.is_file() else None

    def get(self, step: str, case: str) -> Figure | None:
        """A figure, or None where it was not measured."""
        if self.table is None:
            return None
        rows = self.table[(self.table.step == step) & (self.table.case == case)]
        if rows.empty:
            return None
        last = rows.iloc[-1]
        return Figure(float(last.value), last.unit, last.device, last.command)

    @property
    def devices(self) -> list[str]:
        """The machines that the figures are of."""
        return [] if self.table is None else sorted(set(self.table.device))


def duration(hours: float, unit: str = "") -> str:
    """Hours in the words that suit them: seconds, minutes, or hours, which are called `unit`."""
    if hours < 1:
        for each, name in ((60, "minute"), (3600, "second")):
            if hours * each >= 0.995:
                count = round(hours * each)
                return f"{count} {name}{'s' if count > 1 else ''}"
        return "under a second"
    return (f"{hours:,.1f}" if hours < 100 else f"{hours:,.0f}") + unit


def size(count: float) -> str:
    """Bytes in decimal units, as stores count them."""
    for unit, each in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if count >= each:
            return f"{count / each:,.1f} {unit}"
    return f"{count / 1e6:,.0f} MB"


def named(count: int) -> str:
    """A number of pictures as a head of a table."""
    return f"{count / 1e9:g} billion" if count >= 1e9 else f"{count / 1e6:g} million" if count >= 1e6 else f"{count:,}"


def hours_table(found: Iterable[Rate], counts: Sequence[int], price: float | None = None) -> str:
    """Core-hours, or GPU-hours, of scoring: a line a network and machine; with a price an hour, what they cost."""
    heads = ["", "machine", "a second", *(named(count) for count in counts), "most of it goes to"]
    lines = [
        [rate.title, rate.machine, f"{rate.whole:.1f}"]
        + [_with_price(rate.hours(count), duration(rate.hours(count)), price) for count in counts]
        + [rate.bound]
        for rate in found
    ]
    return markdown_table(heads, lines)


def _with_price(amount: float, text: str, price: float | None) -> str:
    return text if price is None else f"{text} ({amount * price:,.2f})"


STORED = {  # what a picture takes on a disk or in a store: its case of the step "bytes", and what it is
    "JPEG 1024x768": "the pictures themselves, JPEG of 1024x768",
    "CSV": "rows of the CSV",
    "contents": "what was in the pictures (`.contents`)",
    "Parquet": "the same scores as Parquet",
}


def storage_table(figures: Figures, counts: Sequence[int], price: float | None = None) -> str:
    """What lies on a disk or in a store; with a price a GB and month, what it costs a month."""
    lines = []
    for case, title in STORED.items():
        each = figures.get("bytes", case)
        if each is None:
            lines.append([title, NONE, *("" for _ in counts)])
            continue
        amounts = [each.value * count for count in counts]
        lines.append(
            [title, f"{each.value:,.0f}", *(_with_price(amount / GB, size(amount), price) for amount in amounts)]
        )
    return markdown_table(["", "bytes each", *(named(count) for count in counts)], lines)


@dataclass(frozen=True)
class Step:
    """Work beside scoring that was measured as a rate: its step and case, what it is called, and what bounds it."""

    step: str
    case: str
    title: str
    bound: str


RAY = "Ray, one machine"
MEASURED = "10,000,000 rows"  # that lists were of when they were gone on with and merged
STEPS = (
    Step("append", "rows", "rows appended to the CSV as they are scored", "a core"),
    Step("going on", MEASURED, "rows looked up in the CSV when it is gone on with", "a core; 160 bytes a row of disk"),
    Step("merge", MEASURED, "rows of shards merged, in the order of names", "a core"),
    Step("merge in the order of a list", MEASURED, "rows of shards merged, in the order of a list", "a core"),
    Step(
        "store",
        "pictures read from S3 (moto, loopback)",
        "pictures fetched from a store and decoded",
        "decoding, and here the server beside it",
    ),
    Step(RAY, "koncept_lite, 1,200 pictures, with its start", "pictures scored through Ray", "the network; starting"),
    Step("export", "rows", "rows written as Parquet", "two cores"),
    Step("report", "rows", "rows of Parquet in a report", "memory: 55 bytes a row"),
    Step("select", "rows", "rows of Parquet selected from", "two cores"),
    Step("compare", "rows", "rows of Parquet compared with as many", "a core; memory: 130 bytes a row"),
)


def steps_table(figures: Figures, counts: Sequence[int]) -> str:
    """How long all else takes, by one process: a line a step, at its measured rate."""
    lines = []
    for step in STEPS:
        found = figures.get(step.step, step.case)
        if found is None:
            lines.append([step.title, NONE, *("" for _ in counts), step.bound])
        else:
            times = [duration(count / found.value / 3600, " hours") for count in counts]
            lines.append([step.title, f"{found.value:,.0f}", *times, step.bound])
    return markdown_table(["", "a second", *(named(count) for count in counts), "bound by"], lines)


def memory_table(figures: Figures) -> str:
    """The most memory that a process had, as it was measured."""
    if figures.table is None:
        return NONE
    rows = figures.table[figures.table.unit == "MiB"]
    lines = [[row.case, f"{row.value:,.0f}", row.device] for row in rows.itertuples()]
    return markdown_table(["", "MiB", "machine"], lines)


def network_table(found: Iterable[Rate], figures: Figures) -> str:
    """What pictures that come over a network ask of it, at the rate at which they are scored: a line a network."""
    each = figures.get("bytes", "JPEG 1024x768")
    if each is None:
        return NONE
    lines = []
    for rate in found:
        asked = rate.whole / rate.cores * each.value * 8 / 1e6
        per = "the GPU" if rate.on_gpu else "a core"
        lines.append([rate.title, rate.machine, f"{asked:.1f} for {per}", f"{1000 / asked:,.0f}"])
    return markdown_table(["", "machine", "Mbit/s", "of these for 1 Gbit/s"], lines)


def blocks(speed: Path, measured: Path, counts: Sequence[int] = COUNTS, prices: Prices | None = None) -> dict[str, str]:
    """The Markdown of each block of docs/scale.md, in order; for other numbers of pictures, or with prices in brackets.

    speed, measured: the tables of rates, see the module. Raises InputError if there is no table of rates of scoring.
    """
    found, figures, prices = rates(speed), Figures(measured), prices or Prices()
    gpus = [rate for rate in found if rate.on_gpu]
    return {
        "hours of cores": hours_table([rate for rate in found if not rate.on_gpu], counts, prices.core_hour),
        "hours of a GPU": hours_table(gpus, counts, prices.gpu_hour) if gpus else NO_GPU,
        "other steps": steps_table(figures, counts),
        "network": network_table(found, figures),
        "memory": memory_table(figures),
        "storage": storage_table(figures, counts, prices.gb_month),
        "sources": sources(found, figures),
    }


def sources(found: Sequence[Rate], figures: Figures) -> str:
    """Which commands measured what is shown, and where."""
    lines = [
        f"- scoring, on {'; '.join(dict.fromkeys(rate.machine for rate in found))}: `python -m benchmarks.lifelog`"
    ]
    if figures.table is not None:
        for (command, device), rows in figures.table.groupby(["command", "device"], sort=True):
            lines.append(f"- {', '.join(dict.fromkeys(rows.step))}, on {device}: `{command}`")
    return "\n".join(lines)
