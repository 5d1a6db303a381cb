"""What a lifelog's scores look like: one page and its figures from the CSV that lifelog_predict.py writes."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from koniq.data.scale import of_scores
from koniq.measure import conformal
from koniq.reports import distribution, page, times
from koniq.scoring import taken
from koniq.scoring.facts import Facts
from koniq.scoring.score_tables import ScoreTable

REASONS, LISTED = 20, 200  # on the page at most, of what has no score


def report(
    table: ScoreTable,
    about: dict,
    roots: Sequence[str],
    title: str,
    sheet: int = 24,
    scale: Sequence[float] | None = None,
    folder: Path | None = None,
    thumbnails: bool = True,
    by: taken.How = "auto",
) -> dict:
    """The files of a report, by name: report.html, PNG as bytes, and as tables what they show, at full precision.

    table: of `koniq.scoring.score_tables.opened`, at least one row with a score. about: of `koniq.ground.facts.facts`.
    roots: the folders that image_path starts from; a picture that is in none is named, not shown. scale: see
    `koniq.data.scale.of_scores`. folder: of the page, from which its thumbnails lead to the pictures; None: they lead
    to nothing. thumbnails: False leaves out every picture, and the contact sheets beside the page. by: what says when
    pictures were taken, see `koniq.scoring.taken.times`.
    """
    by = table.times_by(by)
    scored, said, intervals = table.timed(by, roots), Facts(about), table.has_intervals
    mos = scored.MOS
    on, label = of_scores(mos, about, scale), said.label
    figures = {"histogram.png": distribution.draw_histogram({"these pictures": mos}, on, label)}
    by_hour = times.by_hour(mos, scored.time)
    by_period, unit = times.readable(mos, scored.day)
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

    count = shown(table, sheet)
    best, worst = (
        page.cells(rows.assign(time=taken.times(rows.image_path, by, roots).time), captions, roots, folder, thumbnails)
        for rows in (table.ends(count, best) for best in (True, False))
    )
    shares = distribution.shares({"share": mos}, on)
    reasons = table.failures()
    html = page.render(
        "lifelog_report.html",
        title=title,
        model=about.get("model", ""),
        mos=mos,
        rows=len(table),
        scale=said.scale(),
        calibrated=said.on_mos_scale,
        shares=shares,
        label=label,
        digits=on.digits,
        on=on,
        koniq10k=distribution.koniq10k(on),
        outside=distribution.outside(mos, on),
        figures=figures,
        clocks=times.clocks(scored.clock),
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
        apart=[told_apart(table, count, of) for of in ("best", "worst")] if intervals else ["", ""],
        failed=len(table) - len(mos),
        reasons=reasons[:REASONS],
        more_reasons=sum(count for _, _, count in reasons[REASONS:]),
        listed=table.failed(LISTED),
        provenance=page.provenance(about),
    )
    return {
        page.PAGE: html,
        **{name: chart.png for name, chart in figures.items()},
        "best.png": page.draw_sheet(best) if thumbnails else None,
        "worst.png": page.draw_sheet(worst) if thumbnails else None,
        "histogram.csv": distribution.histogram({"share": mos}, on),
        "shares.csv": shares,
        "by_day.csv": by_period if unit == "D" else times.by_period(mos, scored.day),
        "by_hour.csv": by_hour,
    }


def shown(table: ScoreTable, sheet: int) -> int:
    """How many pictures a sheet shows: none is among the best and the worst."""
    return min(sheet, max(1, table.scored // 2))


def told_apart(table: ScoreTable, count: int, of: str) -> str:
    """How many of the `count` best (or worst: `of`) pictures may stand first as well as the one that does: a sentence.

    table: with intervals, and at least `count` scores. Told apart are those whose intervals do not meet. This
    is careful: where two meet by a little only, the higher score is still the likelier to be the better picture's.
    """
    order = table.ends(count, of == "best")
    first = order.iloc[0]
    total = table.meeting(first.MOS_low, first.MOS_high)
    within = int(((order.MOS_high >= first.MOS_low) & (order.MOS_low <= first.MOS_high)).sum())
    if total == 1:
        return f"The {of} is told apart from all others: no interval meets its own."
    if count == 1:
        return f"It is not told apart from {total - 1:,} others: their intervals meet its own."
    which = f"These {count}" if within == count else f"{within} of these {count}"
    meeting = f"their intervals meet its own, as do those of {total:,} of all {table.scored:,}"
    return f"{which} are not told apart from the {of}: {meeting}."
