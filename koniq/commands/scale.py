"""What many pictures cost: hours of cores and of a GPU, memory and storage, from rates that were measured.

python -m koniq scale                                           # 183,227 pictures, 10 million, a billion
python -m koniq scale --pictures 50000000 --core-hour 0.04 --gb-month 0.02      # with prices, in any currency
python -m koniq scale --write                                   # docs/scale.md is that, without prices

The rates are those of results/speed.csv and results/scale.csv: what was not measured is said to be missing. Those of
your own machine go there by `python -m benchmarks.lifelog --out results/speed.csv`.
"""

from dataclasses import dataclass
from pathlib import Path

from koniq.ground import InputError
from koniq.study import scale
from koniq.study.report import fill


@dataclass(frozen=True)
class Settings:
    pictures: tuple[int, ...] = scale.COUNTS  # numbers of pictures, a column each
    core_hour: float | None = None  # the price of an hour of one core
    gpu_hour: float | None = None  # of an hour of a GPU
    gb_month: float | None = None  # of a GB (1e9 bytes) in a store, a month
    speed: Path = scale.SPEED  # rates of scoring, as `python -m benchmarks.lifelog --out` writes them
    measured: Path = scale.SCALE  # all other figures, as benchmarks write them by --record
    write: bool = False  # write docs/scale.md anew


def main(s: Settings) -> None:
    for name in ("core_hour", "gpu_hour", "gb_month"):
        if (price := getattr(s, name)) is not None and not price >= 0:
            raise InputError(f"{name} should be 0 or more. Received: {name}={price}")
    if not s.pictures or min(s.pictures) <= 0:
        raise InputError(f"pictures should be positive numbers. Received: pictures={' '.join(map(str, s.pictures))}")
    prices = scale.Prices(s.core_hour, s.gpu_hour, s.gb_month)
    if s.write and (prices != scale.Prices() or s.pictures != scale.COUNTS):
        raise InputError("write should go without prices and numbers of pictures: docs/scale.md is of none of yours")
    found = scale.blocks(s.speed, s.measured, s.pictures, prices)
    if s.write:
        fill(scale.PAGE, found)
        print(f"Written: {scale.PAGE}")
        return
    for title, block in found.items():
        print(f"## {title}\n\n{block}\n")
    if prices != scale.Prices():
        print("In brackets: what it costs, in the currency of the prices.")
