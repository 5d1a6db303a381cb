"""The study's matrix, and ours beyond it: run what is missing, then write results/metrics.csv, tables and figures.

Edit it here or on the command line: python replicate.py --recipe small --dataset mine.csv --rows 'pytorch-*'
"""

from dataclasses import dataclass
from typing import Literal

from koniq.recipes import RECIPES, Row

# What small batches cost and what mends it, beyond the study: batch size, micro-batch (0: none), statistics.
OTHERS = ("moving", "frozen", "trailing", "reestimated")
ARMS = ((16, 0), (16, 0, "trailing"), *((16, 2, each) for each in OTHERS), (2, 0), (2, 0, "reestimated"))
MATRIX = (
    *(Row("tensorflow", "mse", batch) for batch in (16, 8, 4, 2)),  # 16: the original
    *(Row("tensorflow", "plcc", batch) for batch in (16, 8, 4)),  # 16: not in the study, to compare with
    *(Row("kuti", "mse", 8), Row("pytorch", "mse", 8)),
    *(Row("pytorch", loss, *arm) for loss in ("mse", "plcc") for arm in ARMS),
)


@dataclass(frozen=True)
class Settings:
    recipe: Literal[*RECIPES] = "study"  # epochs, rates, momentum, start and size of all rows: see koniq/recipes.py
    network: Literal["koncept512", "koncept_lite"] = "koncept512"  # of all rows: the study's, or the small one
