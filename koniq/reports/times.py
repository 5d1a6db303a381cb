"""Quality by day and by hour of day, and whose clock these are of."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from koniq.data.scale import USUAL, Scale
from koniq.reports import figures
from koniq.scoring import taken

PERIODS = {"D": "day", "W": "week", "M": "month", "Y": "year"}
BARS = 120  # as many as can be told apart on a telephone
LONGEST_GAP = 4  # drawn to scale
# Whose clock times are of, the surest first, as a page says it.
CLOCKS = {
    taken.ZONED: "by EXIF with its offset from UTC, the clock of the place",
    taken.CAMERA: "by EXIF without an offset, the camera's clock as it was set",
    taken.NAME: "by names, the clock of what wrote them",
    taken.NAME_UTC: "by names in UTC (PXL_), whose hours are not those of the place",
    taken.NAME_DAY: "the day alone by names",
    taken.FOLDER_DAY: "the day alone by folders",
    taken.NOTHING: "of nothing",
}
FEWEST = 5  # periods on a page's chart; fewer are a sentence


def by_hour(mos: pd.Series, time: pd.Series) -> pd.DataFrame:
    """Quality by hour of day, a row for each of the 24: hour, pictures, q25, median, q75, mean (nan if no pictures)."""
    hours = pd.RangeIndex(24, name="hour")
    return _quality(mos, time.dt.hour.fillna(-1).to_numpy(np.int8), hours).reset_index()


def by_period(mos: pd.Series, day: pd.Series, unit: str = "D") -> pd.DataFrame:
    """Quality by day, week ("W", from Monday), month ("M") or year ("Y"), a row for each with pictures, in order.

    Columns: first (its first day), pictures, q25, median, q75, mean.
    """
    return _by_period(mos, *_days(day), unit)


def readable(mos: pd.Series, day: pd.Series) -> tuple[pd.DataFrame, str]:
    """`by_period` in the smallest unit that gives at most BARS rows (or in years), and that unit."""
    which, days = _days(day)
    unit = next((unit for unit in PERIODS if _firsts(days, unit).nunique() <= BARS), [*PERIODS][-1])
    return _by_period(mos, which, days, unit), unit


def _days(day: pd.Series) -> tuple[np.ndarray, pd.DatetimeIndex]:
    """Of each picture which of the days it is of, or -1; and the days, in order."""
    which, days = pd.factorize(day, sort=True)
    return which.astype(np.int32, copy=False), pd.DatetimeIndex(days)


def _firsts(days: pd.DatetimeIndex, unit: str) -> pd.DatetimeIndex:
    """The first day of the period that each of some days lies in."""
    return days.to_period(unit).start_time


def _by_period(mos: pd.Series, which: np.ndarray, days: pd.DatetimeIndex, unit: str) -> pd.DataFrame:
    period, firsts = pd.factorize(_firsts(days, unit), sort=True)
    groups = np.append(period, -1)[which]  # of no day, no period
    return _quality(mos, groups, pd.DatetimeIndex(firsts, name="first")).reset_index()


def _quality(mos: pd.Series, groups: np.ndarray, names: pd.Index) -> pd.DataFrame:
    """A row for each of `names`: pictures, q25, median, q75, mean. groups: of each picture which name it has, or -1."""
    groups = groups.astype(np.int16 if len(names) < 2**15 else np.int32, copy=False)  # int16: sorted by counting
    order = np.argsort(groups, kind="stable")
    counts = np.bincount(groups + 1, minlength=len(names) + 1)
    rows = [
        (len(values), *np.quantile(values, [0.25, 0.5, 0.75]), values.mean()) if len(values) else (0, *[np.nan] * 4)
        for values in map(np.sort, np.split(mos.to_numpy()[order], np.cumsum(counts)[:-1])[1:])
    ]
    table = pd.DataFrame(rows, columns=["pictures", "q25", "median", "q75", "mean"], index=names, dtype=float)
    return table.astype({"pictures": int})


def clocks(clock: pd.Series) -> str:
    """Whose clock the times of pictures are of, how many each: a sentence. clock: of `koniq.scoring.taken.times`."""
    counts = clock.value_counts()
    parts = [f"{text}: {counts[kind]:,}" for kind, text in CLOCKS.items() if kind in counts]
    return f"When they were taken, of {len(clock):,} pictures: {'; '.join(parts)}."


def day(row) -> str:
    """A row of `by_period` as it is called."""
    return f"{row.first:%Y-%m-%d}"


def hour(row) -> str:
    """A row of `by_hour` as it is called."""
    return f"{row.hour}:00"


def in_words(table: pd.DataFrame, name: Callable[[object], str], digits: int) -> list[str]:
    """The medians of fewer than FEWEST periods, each in words; nothing of more, which are for a chart."""
    rows = [row for row in table.itertuples() if row.pictures]
    if len(rows) >= FEWEST:
        return []
    return [f"{name(row)}: {row.median:.{digits}f} ({row.pictures:,} picture{'s'[: row.pictures > 1]})" for row in rows]


def draw_hours(table: pd.DataFrame, scale: Scale = USUAL, label: str = "MOS") -> figures.Chart:
    """A chart of `by_hour`'s table. label: what the scores are."""
    figure, panels = _draw(table.hour, table, "hour of day", scale, label)
    panels[1].set(xlim=(-0.7, 23.7), xticks=range(0, 24, 3))
    return figures.chart(figure)


def draw_periods(table: pd.DataFrame, unit: str, scale: Scale = USUAL, label: str = "MOS") -> figures.Chart:
    """A chart of `by_period`'s table. Gaps in the calendar stay gaps; the longest are shortened and dotted.

    label: what the scores are.
    """
    steps = np.diff(table["first"].dt.to_period(unit).astype("int64"), prepend=0)
    steps[:1] = 0
    x = np.cumsum(np.minimum(steps, LONGEST_GAP))
    figure, panels = _draw(x, table, PERIODS[unit], scale, label)
    for gap in np.flatnonzero(steps > LONGEST_GAP):
        for axes in panels:
            axes.axvline(x[gap] - LONGEST_GAP / 2, color="0.5", linewidth=0.8, linestyle=":")
    marked = np.unique(np.linspace(0, len(x) - 1, 7).round().astype(int))
    labels = table["first"].iloc[marked].dt.strftime({"M": "%Y-%m", "Y": "%Y"}.get(unit, "%Y-%m-%d"))
    panels[1].set(xlim=(x[0] - 0.7, x[-1] + 0.7))
    panels[1].set_xticks(x[marked], labels, rotation=30, ha="right", fontsize=8)
    return figures.chart(figure)


def _draw(x: np.ndarray, table: pd.DataFrame, xlabel: str, scale: Scale, label: str):
    """Median and quartiles above, numbers of pictures below, at the positions `x`."""
    figure, panels = figures.new_figure(5.4, 3.6, rows=2, dpi=200, sharex=True, height_ratios=(3, 1))
    width = min(8, 300 / (np.ptp(x) + 1))  # points
    panels[0].vlines(x, table.q25, table.q75, linewidth=width, alpha=0.35, label="quartiles")
    panels[0].plot(x, table["median"], "o", markersize=max(1.5, 0.7 * width), label="median")
    low, high = min(scale.low, table.q25.min()), max(scale.high, table.q75.max())
    panels[0].set(ylabel=label, ylim=(low, high))
    panels[0].grid(axis="y", alpha=0.3)
    panels[1].bar(x, table.pictures, color="0.6")
    panels[1].set(xlabel=xlabel, ylabel="pictures")
    panels[1].yaxis.get_major_locator().set_params(integer=True, nbins=3)
    figure.legend(frameon=False, fontsize=8, ncols=2, loc="outside upper center")
    return figure, panels
