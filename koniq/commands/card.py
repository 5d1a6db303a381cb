"""The card of the released weights, and the table of aims in docs/results.md, from what was measured.

python -m koniq card                 # writes trained_models/koncept_lite/card.md, and a block of docs/results.md
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.ground import InputError
from koniq.ground.paths import RESULTS, TRAINED_MODELS
from koniq.study import results
from koniq.study.card import (
    NAME,
    aims,
    card,
)
from koniq.study.report import PAGE, fill
from ku.files import atomic_path


@dataclass(frozen=True)
class Settings:
    weights: tyro.conf.Positional[Path] = TRAINED_MODELS / NAME / f"{NAME}.safetensors"  # with its record beside it
    metrics: Path = RESULTS / "metrics.csv"
    out: Path | None = None  # None: card.md beside the weights, and the table in docs/results.md


def main(s: Settings) -> None:
    if not s.weights.is_file():
        raise InputError(f"weights should be the released file. Received: {s.weights}, which is not there")
    table = results.read(s.metrics)
    out = s.out or s.weights.with_name("card.md")
    with atomic_path(out) as temporary:
        temporary.write_text(card(s.weights, table), encoding="utf-8")
    print(f"Written: {out}")
    if not s.out:
        fill(PAGE, {"aims": aims(table)})
        print(f"Written: {PAGE}")
