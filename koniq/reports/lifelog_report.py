"""What a lifelog's scores look like: one page and its figures from the CSV that lifelog_predict.py writes."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from koniq.data.scale import of_scores
from koniq.measure import conformal
from koniq.reports import distribution, page, times
from koniq.scoring.facts import Facts
from koniq.scoring.score_file import INTERVAL

REASONS, LISTED = 20, 200  # on the page at most, of what has no score


def report(
    table: pd.DataFrame,
    about: dict,
    roots: Sequence[str],
    title: str,
    sheet: int = 24,
    scale: Sequence[float] | None = None,
    folder: Path | None = None,
    thumbnails: bool = True,
) -> dict:
    """The files of a report, by name: report.html, PNG as bytes, and as tables what they show, at full precision.

    table: of `koniq.scoring.score_tables.read`, at least one row with a score. about: of `koniq.ground.facts.facts`.
    roots: the folders that image_path starts from; a picture that is in none is named, not shown. scale: see
    `koniq.data.scale.of_scores`. folder: of the page, from which its thumbnails lead to the pictures; None: they lead
    to nothing. thumbnails: False leaves out every picture, and the contact sheets beside the page.
    """
    ok = distribution.is_scored(table)
    scored, failed = table[ok], table[~ok]
    said = Facts(about)
    on, label = of_scores(scored.MOS, about, scale), said.label
    scored = scored.join(times.taken(scored.image_path))
    intervals = has_intervals(table)
    figures = {"histogram.png": distribution.draw_histogram({"these pictures": scored.MOS}, on, label)}
    by_hour = times.by_hour(scored.MOS, scored.time)
    by_period, unit = times.readable(scored.MOS, scored.day)
    if len(by_period):
        figures["by_day.png"] = times.draw_periods(by_period, unit, on, label)
    if by_hour.pictures.any():
        figures["by_hour.png"] = times.draw_hours(by_hour, on, label)

    def captions(row) -> tuple[str, ...]:
        return (
            f"{row.MOS:.{on.digits}f}",
            f"{row.MOS_low:.{on.digits}f} to {row.MOS_high:.{on.digits}f}" if intervals else "",
            "" if pd.isna(row.time) else f"{row.time:%Y-%m-%d %H:%M}",
        )

    count = shown(scored, sheet)
    order = scored.sort_values("MOS", kind="stable")
    best, worst = (page.cells(rows[:count], captions, roots, folder, thumbnails) for rows in (order.iloc[::-1], order))
    shares = distribution.shares({"share": scored.MOS}, on)
    reasons = page.failures(failed)
    html = page.render(
        "lifelog_report.html",
        title=title,
        model=about.get("model", ""),
        mos=scored.MOS,
        rows=len(table),
        scale=said.scale(),
        calibrated=said.on_mos_scale,
        shares=shares,
        label=label,
        digits=on.digits,
        on=on,
        koniq10k=distribution.koniq10k(on),
        outside=distribution.outside(scored.MOS, on),
        figures=figures,
        no_time=int(scored.time.isna().sum()),
        no_day=int(scored.day.isna().sum()),
        unit=times.PERIODS[unit],
        by_period=by_period,
        day=times.day,
        few_days=times.in_words(by_period, times.day, on.digits - 1),
        by_hour=by_hour,
        hour=times.hour,
        few_hours=times.in_words(by_hour, times.hour, on.digits - 1),
        best=best,
        worst=worst,
        thumbnails=thumbnails,
        intervals=about.get(conformal.KEY, "intervals") if intervals else "",
        apart=[told_apart(scored, count, of) for of in ("best", "worst")] if intervals else ["", ""],
        failed=failed,
        reasons=reasons[:REASONS],
        more_reasons=sum(count for _, _, count in reasons[REASONS:]),
        listed=failed[:LISTED],
        provenance=page.provenance(about),
    )
    return {
        page.PAGE: html,
        **{name: chart.png for name, chart in figures.items()},
        "best.png": page.draw_sheet(best) if thumbnails else None,
        "worst.png": page.draw_sheet(worst) if thumbnails else None,
        "histogram.csv": distribution.histogram({"share": scored.MOS}, on),
        "shares.csv": shares,
        "by_day.csv": times.by_period(scored.MOS, scored.day),
        "by_hour.csv": by_hour,
    }


def shown(scored: pd.DataFrame, sheet: int) -> int:
    """How many pictures a sheet shows: none is among the best and the worst."""
    return min(sheet, max(1, len(scored) // 2))


def has_intervals(table: pd.DataFrame) -> bool:
    """Whether a table of scores has the ends of their intervals."""
    return {*INTERVAL} <= {*table}


def told_apart(scored: pd.DataFrame, count: int, of: str) -> str:
    """How many of the `count` best (or worst: `of`) pictures may stand first as well as the one that does: a sentence.

    scored: MOS, MOS_low, MOS_high of at least `count` pictures. Told apart are those whose intervals do not meet. This
    is careful: where two meet by a little only, the higher score is still the likelier to be the better picture's.
    """
    order = scored.sort_values("MOS", ascending=of == "worst", kind="stable")
    first = order.iloc[0]
    meet = (order.MOS_high >= first.MOS_low) & (order.MOS_low <= first.MOS_high)
    total, within = int(meet.sum()), int(meet[:count].sum())
    if total == 1:
        return f"The {of} is told apart from all others: no interval meets its own."
    if count == 1:
        return f"It is not told apart from {total - 1:,} others: their intervals meet its own."
    which = f"These {count}" if within == count else f"{within} of these {count}"
    meeting = f"their intervals meet its own, as do those of {total:,} of all {len(order):,}"
    return f"{which} are not told apart from the {of}: {meeting}."
