"""LIVE In the Wild by the protocol of its literature: ten random splits of 80 to 20, a network tuned on each, medians.

python -m benchmarks.live_splits --weights my_run          (a run of koncept_lite that has seen nothing of LIVE)

One recipe for all splits, that of `pytorch_train_koncept512.py` but for what is said here. A tenth of the pictures is
for validation, which chooses the epoch; the test pictures of a split are seen once, when it is over. OUT/metrics.csv
has the median over splits of each metric, with the lowest and the highest, and OUT/splits.csv each of them.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import pytorch_train_koncept512 as script
from koniq import engines
from koniq.commands import cli
from koniq.data import datasets
from koniq.data.datasets import DataSet
from koniq.data.splits import split
from koniq.engines.in_torch import of_module, prepare, settle
from koniq.ground import InputError, machine
from koniq.ground.files import write_csv
from koniq.ground.text import markdown_table
from koniq.measure.metrics import METRICS
from koniq.network import Network, finding, sidecar
from koniq.pictures.memory import Pictures
from koniq.scoring.loop import predict
from koniq.training import in_torch
from koniq.training.in_torch_held import Held, Tail
from koniq.training.in_torch_processes import Group, processes

SAME = datasets.RELEASES["live_itw"].same[0]


@dataclass(frozen=True)
class Settings:
    weights: str = "koncept_lite-biq2021-13"  # where each split starts: a file or a run that has seen nothing of LIVE
    table: str = ""  # the folder of LIVE's .mat files, if not koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    splits: int = 10  # how many
    first: int = 1  # the number of the first, which is its seed
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)  # training, validation, test
    batch_size: int = 64
    epochs: tuple[int, ...] = (30, 10)
    learning_rates: tuple[float, ...] = (5e-4, 1e-4)
    body_rate: float = 1.0  # what the body has of it
    hold: int = 17  # parts that stay as they are: all, so that a split takes seconds
    average: float = 0.95  # of the weights over batches
    device: engines.DeviceName = "auto"
    workers: int = 2  # threads that decode pictures
    out: str = "live-splits"  # the folder of the runs, a name in koniq/models or a path


def main(s: Settings) -> None:
    data = datasets.load("live_itw", s.table, s.images)
    path = finding.find(s.weights)
    network, out = sidecar.network_of(path), in_torch.TorchRun.place(s.out)
    if "live" in str(sidecar.record(path).get("trained_on", "")).lower():
        raise InputError(f"weights should have seen nothing of LIVE In the Wild. Received: {s.weights}")
    print(f"{data.summary()}\n{machine.machine()}, PyTorch {torch.__version__}")
    recipe = script.Settings(
        batch_size=s.batch_size,
        statistics="kept",
        loss="plcc_mse",
        epochs=s.epochs,
        learning_rates=s.learning_rates,
        body_rate=s.body_rate,
        hold=s.hold,
        average=s.average,
        patience=sum(s.epochs),
        network=network.name,
        test=False,
        weights=str(path),
        device=s.device,
        workers=s.workers,
        overwrite=True,
    )
    with processes(s.device) as group:
        held = _held(network, _divided(data, s.first, s.shares), recipe, group, out) if s.hold else None
        found = []
        for number in range(s.first, s.first + s.splits):
            found.append(_split(number, network, data, s, recipe, group, held, out))
            print(f"split {number}: SRCC {found[-1]['srcc']:.3f}, PLCC {found[-1]['plcc']:.3f}")
    table = pd.DataFrame(found)
    write_csv(table, out / "splits.csv")
    of = table[[*METRICS]]
    summary = pd.DataFrame({"value": of.median(), "low": of.min(), "high": of.max()}).rename_axis("metric")
    part = f"{'ten' if len(table) == 10 else len(table)} splits"
    about = {"n": len(table), "dataset": data.name, "label": data.label, "set": part, "model": out.name}
    write_csv(summary.reset_index().assign(**about), out / "metrics.csv")  # as koniq.study.results takes it
    lines = [(name, *(f"{number:.3f}" for number in row)) for name, *row in summary.itertuples()]
    print(markdown_table(("", f"median of {len(table)}", "lowest", "highest"), lines))
    print(f"To open: {out / 'metrics.csv'}, {out / 'splits.csv'}")


def _held(network: Network, data: DataSet, recipe: script.Settings, group: Group, out: Path) -> Held:
    """What the held parts give of all pictures: the same for every split, for they all start from one file."""
    whole = in_torch.start(network, data, recipe)
    tail = prepare(Tail(whole, recipe.hold), group.device)
    precision, _, _ = settle(group.device, recipe.precision, recipe.compile)
    pictures = Pictures(data.ids, network, out, recipe.workers)
    return Held(tail, data.ids, pictures, out, group.device, precision)


def _divided(data: DataSet, seed: int, shares: tuple[float, float, float]) -> DataSet:
    """The same pictures in other sets, by seed; what the release holds under two names is in one of them."""
    names = data.ids.image_name
    group = names.where(~names.isin(SAME), "-".join(sorted(SAME)))
    sets = split(data.ids.assign(group=group), "group", shares, seed)
    return replace(data, ids=data.ids.assign(set=sets.to_numpy()))


def _split(
    number: int,
    network: Network,
    data: DataSet,
    s: Settings,
    recipe: script.Settings,
    group: Group,
    held: Held | None,
    out: Path,
) -> dict[str, float]:
    """Train on one split, and measure on its test pictures."""
    own, recipe = _divided(data, number, s.shares), replace(recipe, seed=number, run=str(out / f"split-{number}"))
    run = in_torch.open_run(group, own, asdict(recipe))
    module = in_torch.train(run, group, network, own, recipe, held)
    rows = own.part("test")
    scores = predict(of_module(module, network, 16), rows.image_path.tolist(), s.workers, "testing")
    predicted = np.array([score.mos for score in scores])
    write_csv(rows[["image_name", "MOS"]].assign(predicted=predicted), run.folder / "predictions.csv")
    metrics = {name: metric(rows.MOS.to_numpy(), predicted) for name, metric in METRICS.items()}
    return {"split": number, **metrics, "training": len(own.part("training")), "test": len(rows)}


if __name__ == "__main__":
    cli.run(main, Settings)
