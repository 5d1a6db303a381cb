"""What is trained: the rows of a matrix, the recipes that they follow, and the run that a row and a seed are."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

from koniq.ground.text import slug
from koniq.network import KONCEPT512
from koniq.network.koncept512 import STUDY_PORT
from koniq.training.run import LATER, Statistics, arm, of_network

Framework = Literal["tensorflow", "kuti", "pytorch"]


@dataclass(frozen=True)
class Row:
    """One way to train, whatever the data, the recipe and the seed."""

    framework: Framework
    loss: Literal["mse", "plcc"]
    batch_size: int
    micro_batch: int = 0  # pictures at a time through the body; 0: the whole batch
    statistics: Statistics = "moving"  # of batch normalisation
    study: bool = False  # network and training as the study had them, where ours are others: see AS_STUDIED

    @property
    def arm(self) -> str:
        """What is done about the batch: b2, b16m2-frozen, ..."""
        return arm(self.batch_size, self.micro_batch, self.statistics)

    @property
    def name(self) -> str:
        return f"{self.framework}-{self.loss}-{self.arm}{'-study' if self.study else ''}"


@dataclass(frozen=True)
class Recipe:
    """How every row is trained."""

    epochs: Mapping[Framework, tuple[int, ...]]  # at most, one a stage
    learning_rates: Mapping[str, tuple[float, ...]]  # by loss, one a stage, for as many stages as there are
    weights: str  # where training starts
    input_size: tuple[int, int]  # (height, width)
    momentum: Mapping[int, float] = field(default_factory=dict)  # by batch size; not in it: the script's own
    more: Mapping[Framework, Mapping[str, Any]] = field(default_factory=dict)  # what scripts of one framework are given


def _all(stages: tuple) -> dict[Framework, tuple]:
    return dict.fromkeys(("tensorflow", "kuti", "pytorch"), stages)


# The study's PyTorch row, read in its source: the network of its port; the best by the mean PLCC of batches of 8; the
# second stage from the best of the first; the rest of a batch trained on, no early stop, and a start at 0.
AS_STUDIED: dict[Framework, dict[str, Any]] = {
    "pytorch": {
        **asdict(STUDY_PORT),
        "whole_batches": False,
        "validation_batch": 8,
        "select_by": "plcc",
        "reload_best": True,
        "patience": 0,
        "start_at_mean": False,
    }
}
# In PyTorch the best is selected, and each stage started, as the others do it, so that rows differ in one thing only.
ALIKE = {"pytorch": {"select_by": "loss", "reload_best": True, "precision": "float32"}}
# As many pictures are remembered at every batch size: .9 ** (batch / 16), rounded.
HORIZON = {16: 0.9, 8: 0.95, 4: 0.97, 2: 0.99}
FROM_RANDOM = {"mse": (1e-3, 2e-4), "plcc": (5e-4, 1e-4)}  # results/LOG.md says why MSE needs the higher rate

RECIPES = {
    # Ribeiro, Trifan and Neves, 2023. What is not said here, nor AS_STUDIED, is the default of the scripts.
    "study": Recipe(
        epochs={"tensorflow": (40, 20, 10), "kuti": (40, 20), "pytorch": (40, 20)},
        learning_rates=dict.fromkeys(("mse", "plcc"), (1e-4, 2e-5, 1e-5)),
        weights="imagenet",
        input_size=KONCEPT512.input_size,
        more={"pytorch": {"precision": "float32"}},  # the other scripts' own
    ),
    # What two cores train in minutes a run: from random weights, so that it needs no download.
    "small": Recipe(_all((2, 1)), FROM_RANDOM, "none", (76, 100), HORIZON, ALIKE),
    # What two cores train in minutes a run with koncept_lite, whose ImageNet weights come as a package.
    "lite": Recipe(_all((1,)), dict.fromkeys(("mse", "plcc"), (3e-4,)), "imagenet", (96, 128), HORIZON, ALIKE),
    # Whether everything works; nothing is learnt in so few steps.
    "quick": Recipe(_all((1,)), FROM_RANDOM, "none", (76, 100), dict.fromkeys(HORIZON, 0.5), ALIKE),
}


class Chosen(Protocol):
    """The settings of replicate.py that decide what a run is; empty or None: by the recipe."""

    dataset: str
    table: str
    images: str
    skip_missing: bool
    recipe: str
    network: str
    epochs: tuple[int, ...]
    learning_rates: tuple[float, ...]
    momentum: float | None
    weights: str
    input_size: tuple[int, int] | None
    device: str


def settings_of(row: Row, seed: int, s: Chosen) -> dict[str, Any]:
    """The settings that the training script of the row's framework is given; all others are its own."""
    recipe = RECIPES[s.recipe]
    epochs = s.epochs or recipe.epochs[row.framework]
    chosen = {
        "dataset": s.dataset,
        "table": s.table,
        "images": s.images,
        "skip_missing": s.skip_missing,
        "network": s.network,
        "batch_size": row.batch_size,
        "micro_batch": row.micro_batch,
        "statistics": row.statistics,
        "loss": row.loss,
        "epochs": epochs,
        "learning_rates": s.learning_rates or recipe.learning_rates[row.loss][: len(epochs)],
        "momentum": s.momentum or recipe.momentum.get(row.batch_size),
        "weights": s.weights or recipe.weights,
        "input_size": s.input_size or recipe.input_size,
        "seed": seed,
        **recipe.more.get(row.framework, {}),
        **(AS_STUDIED[row.framework] if row.study else {}),
        "device": None if s.device == "mps" and row.framework != "pytorch" else s.device,
    }
    return {name: value for name, value in chosen.items() if value is not None}


# Settings that a script need not have yet, or a run not have recorded: what their absence means.
ABSENT = {"table": "", "images": "", "skip_missing": False, **LATER}


def arguments(settings: Mapping[str, Any]) -> list[str]:
    """The settings as a command line; those that are as if absent are left out."""
    given = []
    for name, value in settings.items():
        if name in ABSENT and value == ABSENT[name]:
            continue
        flag = f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
        values = value if isinstance(value, tuple) else () if isinstance(value, bool) else (value,)
        given += [flag, *map(str, values)]
    return given


def run_name(row: Row, seed: int, dataset: str, network: str = KONCEPT512.name) -> str:
    """The name of a run: koniq10k-pytorch-plcc-b16m2-reestimated-s1, or mine-koncept-lite-pytorch-mse-b8-s1."""
    stem = dataset.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".csv")
    return f"{slug(stem)}-{of_network(network)}{row.name}-s{seed}"
