"""Two models on the same pictures: how far their scores agree, from two CSVs that lifelog_predict.py wrote.

python -m koniq.compare a.csv b.csv
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from koniq import cli, distribution, page, report
from koniq.errors import InputError
from koniq.metrics import agreement
from koniq.scores import facts, read

LABELS = {
    "srcc": "SRCC",
    "plcc": "PLCC",
    "krcc": "KRCC",
    "mean_difference": "mean difference",
    "sd_difference": "standard deviation of the differences",
    "lower_limit": "lower limit of agreement",
    "upper_limit": "upper limit of agreement",
}
MANY = 2000  # points; more are drawn as a density


@dataclass(frozen=True)
class Settings:
    first: tyro.conf.Positional[Path]  # a CSV that lifelog_predict.py wrote
    second: tyro.conf.Positional[Path]  # another, of the same pictures by another model
    images: str = ""  # where their image_path start, if the pictures are not where they were scored
    out: Path | None = None  # a folder; None: A_and_B beside A.csv
    sheet: int = 24  # pictures on the contact sheet


def join(first: pd.DataFrame, second: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """The pictures that both score, and how many there are of each other kind.

    first, second: tables of `koniq.scores.read`. A name that a table has more than once is paired in order. Returns
    image_path, first, second, difference (second - first), the largest in size first; and the numbers.
    """
    sides = []
    for name, table in (("first", first), ("second", second)):
        mos = table.MOS.where(distribution.is_scored(table))
        nth = table.groupby("image_path").cumcount()
        sides.append(pd.DataFrame({"image_path": table.image_path, "nth": nth, name: mos}))
    rows = sides[0].merge(sides[1], how="outer", on=["image_path", "nth"], indicator="where")
    a, b, both = rows["first"].notna(), rows["second"].notna(), rows["where"] == "both"
    counts = {
        "scored by both": int((a & b).sum()),
        "in both, scored by A only": int((both & a & ~b).sum()),
        "in both, scored by B only": int((both & b & ~a).sum()),
        "in both, scored by neither": int((both & ~a & ~b).sum()),
        "in A only": int((rows["where"] == "left_only").sum()),
        "in B only": int((rows["where"] == "right_only").sum()),
    }
    pairs = rows.loc[a & b, ["image_path", "first", "second"]]
    pairs = pairs.assign(difference=pairs["second"] - pairs["first"])
    return pairs.sort_values("difference", key=lambda d: -d.abs(), kind="stable", ignore_index=True), counts


def warnings(abouts: Sequence[dict]) -> list[str]:
    """What keeps two CSVs of scores from being compared, as far as the facts beside them say so."""
    found = [
        f"The scores were not made alike: {key.replace('_', ' ')} {page.text(values[0])} for A and "
        f"{page.text(values[1])} for B. Part of the differences comes from that."
        for key in ("input_size", "resize")
        if None not in (values := [about.get(key) for about in abouts]) and values[0] != values[1]
    ]
    unrated = [letter for letter, about in zip("AB", abouts, strict=True) if page.synthetic(about)]
    if unrated:
        found.append(
            f"The labels that the model of {' and that of '.join(unrated)} learnt are synthetic: they follow from "
            "known distortions, and no person gave them. Mean difference, limits and shares below a score say nothing."
        )
    sides = [(letter, about) for letter, about in zip("AB", abouts, strict=True) if letter not in unrated]
    loose = [letter for letter, about in sides if not page.is_calibrated(about)]
    if loose:
        found.append(
            f"Nothing says that the scores of {' and '.join(loose)} are calibrated to the MOS scale. Unless both are, "
            "the correlations compare the models, and mean difference, limits and shares below a MOS do not."
        )
    return found


def compare(
    tables: Sequence[pd.DataFrame], abouts: Sequence[dict], names: Sequence[str], roots: Sequence[str], sheet: int = 24
) -> dict:
    """The files of a comparison, by name: report.html, PNG as bytes, and as tables what they show, at full precision.

    tables, abouts: two each, of `koniq.scores.read` and `facts`. names: of the models. roots: the folders that
    image_path starts from. Raises InputError if fewer than 2 pictures have a score by both.
    """
    pairs, counts = join(*tables)
    if len(pairs) < 2:
        summary = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        raise InputError(f"At least 2 pictures should have a score in both CSVs. Received: {summary}")
    found = agreement(pairs["first"], pairs["second"])
    scores = {"A": pairs["first"], "B": pairs["second"]}
    values = found.set_index("metric").value
    shares = distribution.shares(scores)
    figures = {
        "histogram.png": distribution.draw_histogram({"A: " + names[0]: scores["A"], "B: " + names[1]: scores["B"]}),
        "scatter.png": _draw_scatter(pairs),
        "bland_altman.png": _draw_differences(pairs, values),
    }
    most = pairs[:sheet].itertuples()
    cells = [
        page.cell(row.image_path, (f"{row.difference:+.2f}", f"A {row.first:.2f}, B {row.second:.2f}"), roots)
        for row in most
    ]
    html = page.render(
        "compare.html",
        title=f"{names[0]} and {names[1]} on the same pictures",
        names=names,
        pairs=pairs,
        counts=counts,
        warnings=warnings(abouts),
        agreement=[_shown(row) for row in found.itertuples()],
        shares=shares,
        outside=" ".join(f"{name}: {note}" for name, mos in scores.items() if (note := distribution.outside(mos))),
        figures=figures,
        cells=cells,
        provenance=list(zip("AB", map(page.provenance, abouts), strict=True)),
    )
    return {
        page.PAGE: html,
        **figures,
        "most_different.png": page.draw_sheet(cells),
        "agreement.csv": found,
        "differences.csv": pairs,
        "shares.csv": shares,
        "histogram.csv": distribution.histogram(scores),
    }


def _shown(row) -> tuple[str, str, str]:
    """A row of `agreement` as text: label, value, interval."""
    form = "{:.4f}" if row.metric.endswith("cc") else "{:.2f}"
    interval = "" if np.isnan(row.low) else f"{form.format(row.low)} to {form.format(row.high)}"
    return LABELS[row.metric], "none" if np.isnan(row.value) else form.format(row.value), interval


def _draw_points(axes, x: pd.Series, y: pd.Series) -> None:
    if len(x) > MANY:
        axes.hexbin(x, y, gridsize=60, bins="log", mincnt=1, cmap="Blues", linewidths=0)
    else:
        axes.scatter(x, y, s=12, alpha=0.5, linewidths=0)


def _draw_scatter(pairs: pd.DataFrame) -> bytes:
    figure, axes = report.new_figure(5.4, 4.5, dpi=200)
    a, b = pairs["first"], pairs["second"]
    ends = min(0, a.min(), b.min()), max(100, a.max(), b.max())
    axes.plot(ends, ends, color="0.6", linewidth=1)
    _draw_points(axes, a, b)
    axes.set(xlabel="A", ylabel="B", xlim=ends, ylim=ends, aspect="equal")
    return report.png(figure)


def _draw_differences(pairs: pd.DataFrame, values: pd.Series) -> bytes:
    """Differences against means (Bland and Altman, 1986)."""
    figure, axes = report.new_figure(5.4, 4.5, dpi=200)
    _draw_points(axes, (pairs["first"] + pairs["second"]) / 2, pairs.difference)
    for name, style in (("upper_limit", "--"), ("mean_difference", "-"), ("lower_limit", "--")):
        label = f"{LABELS[name]} {values[name]:+.2f}"
        axes.axhline(values[name], color="0.3", linewidth=1, linestyle=style, label=label)
    axes.set(xlabel="mean of A and B", ylabel="B - A")
    figure.legend(loc="outside upper center", frameon=False, fontsize=8)
    return report.png(figure)


def _names(paths: Sequence[Path], abouts: Sequence[dict]) -> list[str]:
    """What to call two models: by their titles, or if these do not tell them apart, by their CSVs."""
    titles = [str(about.get("model", "")) for about in abouts]
    for names in (titles, [path.stem for path in paths]):
        if all(names) and names[0] != names[1]:
            return names
    return [str(path) for path in paths]


def main(s: Settings) -> None:
    page.check_sheet(s.sheet)
    paths = s.first, s.second
    tables, abouts = [read(path) for path in paths], [facts(path) for path in paths]
    if s.first.samefile(s.second):
        raise InputError(f"Two CSVs should be compared. Received: {s.first} and {s.second}, which are one file")
    for table, path in zip(tables, paths, strict=True):
        page.check_scored(table, path)
    out = s.out or s.first.with_name(f"{s.first.stem}_and_{s.second.stem}")
    page.check_folder(out)
    recorded = [root for about in abouts for root in about.get("roots", ())]
    roots = [s.images] if s.images else recorded or [str(path.parent) for path in paths]
    names = _names(paths, abouts)
    files = compare(tables, abouts, names, roots, s.sheet)
    page.write(out, files)
    print(f"A: {names[0]}\nB: {names[1]}\n{len(files['differences.csv']):,} pictures have a score by both")
    for label, value, interval in map(_shown, files["agreement.csv"].itertuples()):
        print(f"{label}: {value}" + (f" [{interval}]" if interval else ""))
    for warning in warnings(abouts):
        print(f"Note: {warning}")
    print(f"To open: {out / page.PAGE}   (its figures and tables lie beside it)")


if __name__ == "__main__":
    cli.run(main, Settings)
