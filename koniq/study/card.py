"""The card of the released weights, and the table of aims in docs/results.md, from what was measured."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from koniq.evaluation import limits, sense
from koniq.ground import InputError
from koniq.ground.files import file_hash
from koniq.ground.text import markdown_table
from koniq.measure import calibration, conformal
from koniq.network import sidecar
from koniq.network.finding import RELEASED
from koniq.pictures.distortions import STEPS
from koniq.reports import page
from koniq.study.report import number

NAME = RELEASED
NOT_RUN = "not run"
BIQ, LIVE = "BIQ2021", "LIVE In the Wild"  # as `dataset` of results/metrics.csv
HELD_OUT = "held-out fifth"  # as `set`: the pictures of LIVE that no weights were trained on
# Models of results/metrics.csv beside the released one: other data, the same recipe.
WITH, WITHOUT = f"{NAME}-with-biq2021", f"{NAME}-without-biq2021"
# Heads of the same body: of all BIQ2021, of its subsets 1 and 3, and one of each split of LIVE In the Wild.
OF_BIQ, ACROSS, SPLITS = f"{NAME}-biq2021", f"{NAME}-biq2021-13", f"{NAME}-live-splits"
LEFT_OUT = {calibration.KEY, conformal.KEY, "label"}  # of the record: maps, which say little to a reader


@dataclass(frozen=True)
class Aim:
    """A measurement that was aimed at: its rows of results/metrics.csv, and the number to reach."""

    title: str
    model: str
    dataset: str
    set: str
    srcc: float
    plcc: float | None = None
    published: str = ""  # for scale


AIMS = (
    Aim(
        "BIQ2021's official test part, by a head of its training part",
        *(OF_BIQ, BIQ, "test", 0.89, 0.90),
        "DeepEns .792, .810; InceptionResNetV2 .662, .700",
    ),
    Aim("the same without near copies of its training part", OF_BIQ, BIQ, "test, without near copies", 0.87),
    Aim("the same, subset 3 alone", OF_BIQ, BIQ, "test, subset 3", 0.80),
    Aim(
        "LIVE In the Wild, ten random 80:20 splits, median",
        *(SPLITS, LIVE, "ten splits", 0.88, 0.90),
        "DB-CNN .844, .862; HyperIQA .859, .882; LoDa .876, .899",
    ),
    Aim(
        "trained on BIQ2021 alone (heads: subsets 1 and 3), all of LIVE In the Wild",
        *(ACROSS, LIVE, "test", 0.80),
        published="from KonIQ-10k: HyperIQA .755 to .785, KonCept512 .825",
    ),
)
SENSE_AIM = 0.95


def card(weights: Path, table: pd.DataFrame) -> str:
    """The card in Markdown. weights: the released file. table: of `results.read`; what it lacks is "not run"."""
    record = sidecar.record(weights)
    return page.render(
        "card.md",
        name=NAME,
        file={"name": weights.name, "size": weights.stat().st_size, "sha256": file_hash(weights)},
        facts=[(key.replace("_", " "), page.text(value)) for key, value in record.items() if key not in LEFT_OUT],
        intervals=conformal.KEY in record,
        calibrated=calibration.KEY in record,
        with_biq2021="biq2021" in str(record.get("trained_on", "")).lower(),
        aims=aims(table),
        sense=sense_table(table),
        variants=variants(table),
        limits=limits_table(table),
        everything=everything(table),
    )


def measured(table: pd.DataFrame, model: str, dataset: str, part: str, metric: str) -> str:
    """One measurement as text, with its interval where it has one: .891 [.880, .902], or "not run"."""
    found = table[(table.model == model) & (table.dataset == dataset) & (table.set == part) & (table.metric == metric)]
    if found.empty:
        return NOT_RUN
    if len(found) > 1:
        raise InputError(
            f"results/metrics.csv should have one {metric} of {model} on {dataset}, {part}. Received: {len(found)}"
        )
    return with_interval(found.iloc[0])


def with_interval(row: pd.Series) -> str:
    ends = "" if pd.isna(row.low) else f" [{number(row.low)}, {number(row.high)}]"
    return f"{number(row.value)}{ends}"


def aims(table: pd.DataFrame) -> str:
    """What was aimed at beside what was reached, in Markdown."""
    lines = []
    for aim in AIMS:
        found = (measured(table, aim.model, aim.dataset, aim.set, metric) for metric in ("srcc", "plcc"))
        asked = ", ".join(_aim(value) for value in (aim.srcc, aim.plcc) if value)
        lines.append((aim.title, asked, *found, aim.published))
    kinds = [_of_kind(table, kind) for kind in STEPS]
    if reached := [row.value for row in kinds if row is not None]:
        lowest = f"{number(min(reached))} to {number(max(reached))} by kind"
    else:
        lowest = NOT_RUN
    sense_line = ("photographs distorted in five steps: mean rank correlation of each kind", _aim(SENSE_AIM), lowest)
    lines.append((*sense_line, "", ""))
    return markdown_table(("", "aim: SRCC, PLCC", "SRCC", "PLCC", "published: SRCC, PLCC"), lines)


def _aim(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def _of_kind(table: pd.DataFrame, kind: str) -> pd.Series | None:
    found = table[(table.model == NAME) & (table.metric == "sense") & (table.set == kind)]
    return None if found.empty else found.iloc[0]


def sense_table(table: pd.DataFrame) -> str:
    """The mean rank correlation of score and distortion, by kind."""
    lines = []
    for kind in STEPS:
        row = _of_kind(table, kind)
        found = (NOT_RUN, "") if row is None else (with_interval(row), f"{row.n:.0f}")
        lines.append((sense.TITLES[kind], ", ".join(f"{step:g}" for step in STEPS[kind]), _aim(SENSE_AIM), *found))
    return markdown_table(("", "steps", "aim", "mean [95 %]", "photographs"), lines)


def variants(table: pd.DataFrame) -> str:
    """The same recipe with BIQ2021 and without."""
    lines = [
        (title, *(measured(table, model, LIVE, HELD_OUT, metric) for metric in ("srcc", "plcc")))
        for title, model in (("with", WITH), ("without", WITHOUT), ("released", NAME))
    ]
    return markdown_table(("", "SRCC", "PLCC"), lines)


def limits_table(table: pd.DataFrame) -> str:
    """The scores of pictures that are no everyday photographs."""
    lines = []
    for picture in limits.PICTURES:
        found = table[(table.model == NAME) & (table.dataset == limits.DATASET) & (table.set == picture)]
        scores = found.set_index("metric").value
        pair = (f"{scores[name]:.1f}" if name in scores else NOT_RUN for name in ("score", "score_blurred"))
        lines.append((picture, *pair))
    return markdown_table(("", "score as it is", "blurred"), lines)


def everything(table: pd.DataFrame) -> str:
    """All correlations of the released model and of those beside it, a line a model and a set of pictures."""
    ours = table[table.model.str.startswith(NAME) & table.metric.isin(["srcc", "plcc"])]
    lines = list(_lines(ours))
    return markdown_table(("model", "tested on", "pictures", "SRCC", "PLCC"), lines or [(NOT_RUN, "", "", "", "")])


def _lines(ours: pd.DataFrame) -> Iterator[Sequence[str]]:
    for (model, dataset, part), rows in ours.groupby(["model", "dataset", "set"]):
        by_metric = {row.metric: with_interval(row) for _, row in rows.iterrows()}
        cells = (by_metric.get(metric, NOT_RUN) for metric in ("srcc", "plcc"))
        yield model, f"{dataset}, {part}", f"{rows.n.max():,.0f}", *cells
