"""The study's matrix, and ours beyond it: run what is missing, then write results/metrics.csv, tables and figures.

Edit it here or on the command line: python replicate.py --recipe small --dataset mine.csv --rows 'pytorch-*'
"""

from dataclasses import dataclass
from typing import Literal

from koniq.commands import cli
from koniq.engines.plan import DeviceName
from koniq.study import matrix
from koniq.study.recipes import RECIPES, Row

# What small batches cost and what mends it, beyond the study: batch size, micro-batch (0: none), statistics.
OTHERS = ("moving", "frozen", "trailing", "reestimated")
ARMS = ((16, 0), (16, 0, "trailing"), *((16, 2, each) for each in OTHERS), (2, 0), (2, 0, "reestimated"))
MATRIX = (
    *(Row("tensorflow", "mse", batch) for batch in (16, 8, 4, 2)),  # 16: the original
    *(Row("tensorflow", "plcc", batch) for batch in (16, 8, 4)),  # 16: not in the study, to compare with
    *(Row("kuti", "mse", 8), Row("pytorch", "mse", 8, study=True)),  # the latter's network is the study's own
    *(Row("pytorch", "mse", 8), Row("pytorch", "mse", 4)),
    *(Row("pytorch", loss, *arm) for loss in ("mse", "plcc") for arm in ARMS),
)


@dataclass(frozen=True)
class Settings:
    recipe: Literal[*RECIPES] = "study"  # epochs, rates, momentum, start, size of all rows: see koniq/study/recipes.py
    network: Literal["koncept512", "koncept_lite"] = (
        "koncept512"  # of all rows: the study's, or the small one of this project
    )
    rows: tuple[str, ...] = ("*",)  # patterns of rows, such as 'pytorch-*' or '*-b16*'; --list names them all
    seeds: tuple[int, ...] = (1, 2, 3)  # a run of every row for each
    dataset: str = "koniq10k"  # koniq10k, biq2021, sample (built in, synthetic labels), or a .csv: image_name, MOS, set
    table: str = ""  # its table, if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    skip_missing: bool = False  # go on without the pictures of the table that are not there, or do not open
    cross: str = "live_itw"  # tested on as well, across data sets, where it is there; "" for none
    cross_table: str = ""  # its table, if not in koniq/metadata
    cross_images: str = ""  # the folder of its pictures, if not in koniq/images
    epochs: tuple[int, ...] = ()  # at most, one a stage; with learning_rates; empty: the recipe's, as all that follow
    learning_rates: tuple[float, ...] = ()  # of Adam, one a stage
    momentum: float | None = None  # of the moving statistics of batch normalisation
    weights: str = ""  # start: imagenet, try-imagenet, none (random), a file, a run
    input_size: tuple[int, int] | None = None  # (height, width)
    device: DeviceName | None = None  # cpu, cuda; mps: of PyTorch; None: as each script would, which is auto
    workers: int = 2  # threads that make batches
    runs: str = ""  # the folder of the runs, if not koniq/models
    out: str = ""  # the folder of what is written, if not results; the README's tables are written with the latter
    list: bool = False  # only say what is there, what is missing, and the command of each
    estimate: bool = True  # with --list: hours at most of each, by a step measured here, once (minutes on a processor)
    render: bool = False  # train nothing: measure the runs that are there, write tables and figures
    quick: bool = False  # two rows on a few pictures of the built-in sample, into quick/: whether everything works


def main(s: Settings) -> None:
    matrix.replicate(s, MATRIX)


if __name__ == "__main__":
    cli.run(main, Settings)
