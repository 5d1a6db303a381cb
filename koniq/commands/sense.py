"""Whether scores make sense: photographs distorted in five steps look worse with each, and should score so.

python -m koniq sense --weights koncept_lite                         # photographs that everybody can have
python -m koniq sense --weights koncept_lite --images my_photos      # your own

Of each photograph and kind of distortion, Spearman's rank correlation of the step with
the fall of the score: 1 where every step scores below the one before, -1 where every step scores above it.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.commands.choices import How
from koniq.evaluation.sense import _own, _photographs, by_kind, correlations, draw, markdown, rows, scored
from koniq.ground import InputError
from koniq.ground.files import write_csv
from koniq.ground.paths import RESULTS
from koniq.network import find, title
from koniq.network.finding import RELEASED
from koniq.study import results


@dataclass(frozen=True)
class Settings:
    weights: str = RELEASED  # a file, a training run, or a name in trained_models
    images: str = ""  # a folder of your own photographs, in place of those that everybody can have
    seed: int = 0  # of the noise
    how: tyro.conf.OmitArgPrefixes[How] = How(precision="float32")
    fetch: bool = True  # those of the photographs that are not on disk; without a network those there are used
    out: Path | None = None  # a folder for sense.csv, with a score for each step, and sense.png; None: neither
    record: str = ""  # the name under which results/metrics.csv gets a row for each kind; none, if empty


def main(s: Settings) -> None:
    if s.images and s.record:
        raise InputError(f"record should be of the photographs that everybody has. Received: images={s.images!r}")
    path = find(s.weights)
    pictures = _own(s.images) if s.images else _photographs(s.fetch)
    scorer = s.how.load(path, (), calibrate=False)
    table = scored(pictures, scorer.engine, s.seed, scorer.workers)
    found = correlations(table)
    kinds = by_kind(found)
    print(f"\n{markdown(kinds)}")
    if s.out:
        write_csv(table, s.out / "sense.csv")
        draw(table, title(path), s.out / "sense.png")
        print(f"Scores and figure: {s.out / 'sense.csv'}, {s.out / 'sense.png'}")
    if s.record:
        results.record(rows(kinds, s.record, scorer.plan), RESULTS / "metrics.csv")
