"""Why small batches fail: what normalisation by few pictures does to trained runs, and how much other statistics mend.

python -m benchmarks.small_batches RUN... --dataset mine.csv       (runs of PyTorch or TensorFlow, tested in PyTorch)
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from tqdm import tqdm

from koniq.commands import cli
from koniq.data import datasets
from koniq.ground import machine
from koniq.ground.text import markdown_table
from koniq.measure.metrics import METRICS
from koniq.network import KONCEPT512, Network, finding, sidecar, weights
from koniq.network.in_torch import Rating
from koniq.pictures.memory import Pictures
from koniq.training import Run, about
from koniq.training.in_torch_batch import norms, reestimate, still

LIVE = ("moving", "reestimated")  # statistics by which training normalises the body by the pictures at hand
SIZES = ((76, 100), (192, 256), KONCEPT512.input_size)  # (height, width) at which the body's noise is measured
ALONE = 64  # pictures that it is measured on
ROUNDS = 3  # of training-time scores, each with the pictures in other batches


@dataclass(frozen=True)
class Settings:
    runs: tyro.conf.Positional[tuple[str, ...]]  # folders of finished runs, or their names in koniq/models
    dataset: str = "koniq10k"  # what they were trained on: koniq10k, sample, or a .csv with image_name, MOS, set
    table: str = ""  # its table, if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    skip_missing: bool = False  # go on without the pictures of the table that are not on disk
    seed: int = 0  # of the batches


def main(s: Settings) -> None:
    data = datasets.load(s.dataset, s.table, s.images, s.skip_missing)
    print(f"{data.summary()}\n{machine.machine()}, PyTorch {torch.__version__}, float32\n")
    rows, heads, kept = [], [], {}
    for name in tqdm(s.runs, desc="runs", unit="run", disable=None):
        path = finding.find(name)
        network, settings = sidecar.network_of(path), _settings(path.parent)
        module = _module(path, network)
        if (key := (network.input_size, network.resize)) not in kept:
            kept[key] = {part: _pixels(data.part(part), network) for part in ("training", "test")}
        training, test = kept[key]["training"], kept[key]["test"]
        mos = data.part("test").MOS.to_numpy()
        batch = settings["batch_size"]
        micro = settings.get("micro_batch") or batch
        live = norms(module) if settings.get("statistics", LIVE[0]) in LIVE else norms(module.fc)
        rows.append((path.parent.name, *_row(module, live, training, test, mos, batch, micro, s.seed)))
        heads.append((path.parent.name, *_head(module, test, s.seed)))
    titles = ("as tested", "as in training", "body re-estimated", "head re-estimated", "both", "body off", "head off")
    print("SRCC on the test set, and how far the moving statistics are from those over the training set")
    print(markdown_table(("run", *titles), rows))
    print("\nSpread (sd / mean) of the distances between pictures before and after the first normalisation of the head")
    print(markdown_table(("run", "before", "by 2", "by 4", "by 8", "by 16", "by the moving statistics"), heads))
    print(f"\nNoise of the body's normalisation in the features of {s.runs[0]}, in their variance in batches of 16")
    print(markdown_table(("size", "by 2", "by 4", "by 8"), [_noise(s.runs[0], data, size, s.seed) for size in SIZES]))


def _settings(folder: Path) -> Mapping[str, Any]:
    return about(Run.place(str(folder))).settings


def _module(path: Path, network: Network) -> Rating:
    module = network.build_torch()
    weights.load_module(module, path, network)
    return module


def _pixels(rows, network) -> torch.Tensor:
    return torch.from_numpy(Pictures(rows, network, Path(), quiet=True).pixels)


def _scores(module: Rating, pictures: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return torch.cat([module(each)[:, 0] for each in pictures.split(32)]).numpy()


def _row(module, live, training, test, mos, batch, micro, seed) -> Iterator[str]:
    def srcc(scores: np.ndarray) -> float:
        return METRICS["srcc"](mos, scores)

    module.eval()
    yield f"{srcc(_scores(module, test)):.3f}"
    yield f"{np.mean([srcc(_as_trained(module, live, test, batch, micro, seed + n)) for n in range(ROUNDS)]):.3f}"
    moving = _statistics(module)
    reestimate(module, training[: len(training) // batch * batch].split(batch), micro, nullcontext)
    found = _statistics(module)
    for of in (("base",), ("fc",), ("base", "fc")):
        _put(module, {name: found[name] if name.startswith(of) else moving[name] for name in moving})
        yield f"{srcc(_scores(module, test)):.3f}"
    for of in ("base", "fc"):
        yield f"{_apart(moving, found, of):.2f}"
    _put(module, moving)


def _as_trained(module: Rating, live, pictures: torch.Tensor, batch: int, micro: int, seed: int) -> np.ndarray:
    """The scores of pictures as training sees them, in random batches, by which the live norms normalise.

    Dropout is off, and the moving statistics are left as they are.
    """
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(pictures)))
    module.eval()
    for layer in live:
        layer.train()
    scores = torch.empty(len(pictures))
    with torch.no_grad(), still(module):
        for rows in order.split(batch):
            if len(rows) == 1:  # cannot be normalised by itself; it takes part in the batch of the first
                rows = torch.cat([rows, order[:1]])
            features = torch.cat([module.features(pictures[each]) for each in rows.split(micro)])
            scores[rows] = module.rate(features)[:, 0]
    module.eval()
    return scores.numpy()


def _statistics(module: Rating) -> dict[str, torch.Tensor]:
    return {
        name: each.clone() for name, each in module.named_buffers() if name.rpartition(".")[2].startswith("running")
    }


def _put(module: Rating, statistics: dict[str, torch.Tensor]) -> None:
    module.load_state_dict(module.state_dict() | statistics)


def _apart(moving: dict, found: dict, of: str) -> float:
    """The median over channels of |mean - true mean| / true sd."""
    means = [name for name in moving if name.startswith(of) and name.endswith("mean")]
    off = [
        (moving[name] - found[name]).abs() / found[name.replace("mean", "var")].clamp(min=1e-12).sqrt()
        for name in means
    ]
    return float(torch.cat(off).median())


def _head(module: Rating, pictures: torch.Tensor, seed: int) -> Iterator[str]:
    """How much the distances between pictures differ from pair to pair: a normalisation by 2 makes them all alike."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(pictures) // 16 * 16))
    with torch.inference_mode():
        features = torch.cat([module.features(each) for each in pictures[order].split(32)])
        before = module.fc[1](module.fc[0](features))
    norm = module.fc[2]

    def spread(normalised: Callable[[torch.Tensor], torch.Tensor], count: int) -> str:
        distances = torch.cat([torch.pdist(normalised(group)) for group in before.split(count)])
        return f"{float(distances.std() / distances.mean()):.2f}"

    def by_batch(group: torch.Tensor) -> torch.Tensor:
        return (group - group.mean(0)) / (group.var(0, correction=0) + norm.eps).sqrt()

    yield spread(lambda group: group, 16)
    for count in (2, 4, 8, 16):
        yield spread(by_batch, count)
    yield spread(lambda group: (group - norm.running_mean) / (norm.running_var + norm.eps).sqrt(), 16)


def _noise(run: str, data: datasets.DataSet, size: tuple[int, int], seed: int) -> tuple[str, ...]:
    """How far the features of a picture are from those that it has in a batch of 16, if the body sees fewer at a time.

    The median over features of the mean square of the difference, in variances of the feature over pictures.
    """
    path = finding.find(run)
    network = sidecar.network_of(path).at(size)
    module = _module(path, network).train()
    pictures = _pixels(data.part("test").sample(ALONE, random_state=seed), network)

    def features(count: int) -> torch.Tensor:
        return torch.cat([module.features(group) for group in pictures.split(count)])

    with torch.no_grad(), still(module):
        true = features(16)
        apart = [((features(count) - true).square().mean(0) / true.var(0)).nanmedian() for count in (2, 4, 8)]
    return f"{size[0]}x{size[1]}", *(f"{float(share):.2f}" for share in apart)


if __name__ == "__main__":
    cli.run(main, Settings)
