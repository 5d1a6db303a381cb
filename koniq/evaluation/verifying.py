"""Whether published figures come out: released weights on the data that they were published of, and if not, why not.

A claim (`koniq.data.published.CLAIMS`) holds where each of its figures lies within its tolerance; where one does not,
`koniq.evaluation.causes` finds out why.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.data import datasets
from koniq.data.datasets import DataSet
from koniq.data.published import CLAIMS, Claim
from koniq.evaluation.causes import Check, Tried, cause_of, distance
from koniq.ground import InputError, RunStopped, first_few
from koniq.ground.files import write_csv
from koniq.ground.log import LOG
from koniq.ground.text import markdown_table, slug
from koniq.ground.typed import command
from koniq.network import sidecar
from koniq.scoring import score_file
from koniq.scoring.scorer import Scorer
from ku.files import atomic_path, shown

NOT_CHECKED = "not checked"  # the cause where there are no figures


@dataclass(frozen=True)
class Outcome:
    """What came of a claim."""

    claim: Claim
    weights: Path
    data: str
    verdict: str
    cause: str = ""  # why the figures did not come out: colour order, resize, fit, input size, weights, pictures, ...
    figures: Mapping[str, float] = field(default_factory=dict)
    scores: Path | None = None
    engine: str = ""
    tried: tuple[Tried, ...] = ()

    @property
    def came_out(self) -> bool:
        return not self.cause


def verify(
    claims: Sequence[tuple[Claim, Path]],
    data: Mapping[str, DataSet],
    load: Callable[[Path, Claim, Sequence[Path]], Scorer],
    out: Path,
    known: Sequence[Claim] = CLAIMS,
) -> list[Outcome]:
    """Check each claim on the weights at its path, and write what came out into the folder `out` as it comes.

    verify.csv has a row a figure, verify.md the same in words; the scores lie beside, a CSV for weights and data, with
    which a later run goes on. data: by the names that claims have. load: what gives the network's own scores by the
    weights at a path, for a claim and its pictures. known: whose figures those of other weights may be. Raises
    InputError, before anything is computed, where a part is not whole. What goes wrong with one claim is its outcome,
    and the others are checked.
    """
    for claim, _ in claims:
        complete(claim, data[claim.dataset])
    outcomes: list[Outcome] = []
    for claim, path in claims:
        rated, right = data[claim.dataset], [one.data for one in outcomes if one.weights == path and one.came_out]
        try:
            scorer = load(path, claim, rated.part(claim.part).image_path.tolist())
            outcome = _checked(claim, path, rated, scorer, out, right, known)
        except (InputError, RunStopped) as error:
            outcome = Outcome(claim, path, rated.name, str(error), NOT_CHECKED)
        outcomes.append(outcome)
        LOG.info(f"\n{section(outcome)}")
        _write(outcomes, out)
    return outcomes


def complete(claim: Claim, data: DataSet) -> None:
    """Raise InputError unless every picture is there that the figures of a claim are of."""
    count = int((data.ids.set == claim.part).sum())
    if count == claim.pictures:
        return
    absent = f"; not there: {first_few(data.absent)}" if data.absent and count < claim.pictures else ""
    how = f"; {command(f'check {claim.dataset}')} says more" if claim.dataset in datasets.READERS else ""
    raise InputError(
        f"The {claim.part} set of {data.name} should have all of its {claim.pictures:,} pictures, of which the "
        f"published figures are. Received: {count:,}, {abs(claim.pictures - count):,} too "
        f"{'few' if count < claim.pictures else 'many'}{absent}{how}"
    )


def _checked(
    claim: Claim,
    weights: Path,
    data: DataSet,
    scorer: Scorer,
    out: Path,
    right: Sequence[str],
    known: Sequence[Claim],
) -> Outcome:
    """right: the data sets on which figures of these weights came out."""
    rows = data.part(claim.part)
    names = [path.absolute() for path in rows.image_path]
    scores = out / f"{slug(sidecar.title(weights))}-on-{slug(data.name)}-{_key(scorer, data)}.csv"
    scorer.write(names, scores, retry=(), progress=f"{claim.model} on {data.name}")
    table = score_file.read(scores).drop_duplicates("image_path", keep="last").set_index("image_path")
    table = table.reindex([shown(str(name)) for name in names]).reset_index()
    rows = rows.assign(image_path=names, score=table.MOS, width=table.width, height=table.height)
    check = Check(claim, weights, data, rows, scorer, scores)
    unscored = table[table.status != "ok"]
    engine = f"{scorer.plan.engine}, {scorer.plan.precision}, {scorer.network.resize}"
    found = Outcome(claim, weights, data.name, "", "", {}, scores, engine)
    if len(unscored):
        reasons = [f"{Path(row.image_path).name}: {row.error}" for row in unscored.itertuples()]
        said = f"{len(unscored):,} of {len(table):,} pictures have no score ({first_few(reasons)})"
        return replace(found, cause="pictures", verdict=f"All pictures should open. Received: {said}")
    found = replace(found, figures=check.figures)
    if distance(check.figures, claim) <= 1:
        return replace(found, verdict="All figures come out.")
    LOG.info(f"{claim.model} on {data.name}: {_differing(found)}; looking for the cause")
    why = cause_of(check, right, known)
    return replace(found, cause=why.cause, verdict=why.verdict, tried=why.tried)


def _key(scorer: Scorer, data: DataSet) -> str:
    """What tells scores of the same weights and data apart that were made in another way."""
    facts = {name: fact for name, fact in scorer.facts.items() if name not in score_file.ABOUT}
    text = json.dumps({**facts, "folder": str(data.folder and data.folder.absolute())}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


# What is written


def rows_of(outcome: Outcome) -> Iterator[dict[str, object]]:
    """A row of verify.csv for each figure of a claim."""
    claim = outcome.claim
    for name, value in claim.figures.items():
        found = outcome.figures.get(name, np.nan)
        near = abs(found - value) <= claim.tolerance[name] * (1 + 1e-9)
        yield {
            **{"model": claim.model, "weights": shown(str(outcome.weights)), "dataset": outcome.data},
            **{"set": claim.part, "pictures": claim.pictures, "metric": name, "published": value},
            **{"tolerance": claim.tolerance[name], "measured": found, "comes_out": bool(near)},
            **{"cause": outcome.cause, "verdict": outcome.verdict, "engine": outcome.engine},
            **{"scores": outcome.scores.name if outcome.scores else ""},
        }


def section(outcome: Outcome) -> str:
    """An outcome in Markdown: its figures beside the published ones, the verdict, the reason for the tolerances."""
    claim = outcome.claim
    rows = [
        (
            row["metric"].upper(),
            f"{row['published']:.3f}",
            f"{row['tolerance']:g}",
            _number(row["metric"], row["measured"]),
            "comes out" if row["comes_out"] else "does not",
        )
        for row in rows_of(outcome)
    ]
    text = f"## {claim.model} on {outcome.data}, {claim.part} set, {claim.pictures:,} pictures\n\n"
    text += f"{markdown_table(('', 'published', 'tolerance', 'measured', ''), rows)}\n\n**{outcome.verdict}**\n"
    if outcome.tried:
        tried = [(one.way, *_numbers(claim, one.expected), *_numbers(claim, one.figures)) for one in outcome.tried]
        names = [name.upper() for name in claim.figures]
        heads = ("tried", *(f"{name}, expected" for name in names), *(f"{name}, all" for name in names))
        text += f"\n{markdown_table(heads, tried)}\n"
    return f"{text}\nThe tolerance: {claim.reason}.\n"


def _numbers(claim: Claim, found: Mapping[str, float]) -> list[str]:
    return [_number(name, found[name]) if name in found else "" for name in claim.figures]


def _number(name: str, value: float) -> str:
    return "" if isnan(value) else f"{value:.4f}" if name.endswith("cc") else f"{value:.3f}"


def _differing(outcome: Outcome) -> str:
    rows = [row for row in rows_of(outcome) if not row["comes_out"]]
    return ", ".join(f"{row['metric'].upper()} {row['measured']:.4f} for {row['published']:.3f}" for row in rows)


def _write(outcomes: Iterable[Outcome], out: Path) -> None:
    write_csv(pd.DataFrame([row for outcome in outcomes for row in rows_of(outcome)]), out / "verify.csv")
    with atomic_path(out / "verify.md") as path:
        path.write_text("# Published figures, verified\n\n" + "\n".join(map(section, outcomes)), encoding="utf-8")
