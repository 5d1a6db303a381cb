"""Whether scores make sense: photographs distorted in five steps look worse with each, and should score so.

Of each photograph and kind of distortion (`koniq.pictures.distortions`), Spearman's rank correlation of the step with
the fall of the score: 1 where every step scores below the one before, -1 where every step scores above it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from koniq import engines
from koniq.engines.engine import Engine
from koniq.fetch import photographs
from koniq.ground import InputError, first_few
from koniq.ground.bars import tqdm
from koniq.ground.log import LOG
from koniq.ground.text import markdown_table
from koniq.measure.metrics import METRICS, measure
from koniq.pictures import inputs
from koniq.pictures.decoding import Opened, as_seen
from koniq.pictures.distortions import STEPS, distorted
from koniq.reports.figures import new_figure, save_figure
from koniq.scoring.loop import predict

# Pixels of a photograph before it is distorted: KonIQ-10k's, so that a step means the same in large ones.
LONGEST = 1024
TITLES = {
    "blur": "blurred",
    "jpeg": "JPEG",
    "noise": "noise",
    "darken": "darkened",
    "brighten": "brightened",
    "rescale": "scaled down and up",
}


def _photographs(fetch: bool) -> dict[str, Path]:
    failed = photographs.fetch(photographs.FETCHED) if fetch else {}
    found = photographs.at_hand(photographs.FETCHED)
    counts = ", ".join(f"{count} of {name}" for name, count in photographs.collections(found).items())
    LOG.info(f"{len(found)} of {len(photographs.PHOTOGRAPHS)} photographs are at hand: {counts}")
    if failed:
        LOG.info(f"Not fetched: {first_few(failed)}: {first_few(dict.fromkeys(failed.values()))}")
    return found


def _own(folder: str) -> dict[str, Path]:
    found = inputs.of([folder])
    return {name: path for (name, _), path in zip(found.pictures, found, strict=True)}


def scored(pictures: Mapping[str, Path], engine: Engine, seed: int = 0, workers: int = 2) -> pd.DataFrame:
    """The scores of every picture at every step of every kind: photograph, kind, step (0 to 4), strength, MOS.

    seed: of the noise, which the picture's name and the step decide further, so that no other picture does. What does
    not open is left out, and named. Raises InputError if nothing opens.
    """
    found, closed = [], []
    for name, path in tqdm(pictures.items(), desc="photographs", unit="pic", disable=None):
        try:
            pixels = np.asarray(photographs.opened(path, LONGEST))
        except Exception:  # Pillow's plugins raise anything
            closed.append(name)
            continue
        variants = {Path(name, kind, str(step)): (kind, step) for kind in STEPS for step in range(len(STEPS[kind]))}

        def opened(variant: Path, pixels=pixels, name=name, variants=variants) -> Opened:
            kind, step = variants[variant]
            rng = np.random.default_rng([seed, step, *name.encode()])
            picture = Image.fromarray(distorted(pixels, kind, STEPS[kind][step], rng))
            return Opened(as_seen(picture, engine.network))

        for score, (kind, step) in zip(
            predict(engine, list(variants), workers, decoded=opened), variants.values(), strict=True
        ):
            found.append((name, kind, step, STEPS[kind][step], score.mos))
    if not found:
        raise InputError(f"There should be photographs that open. Received: {len(closed)} pictures, none of which does")
    if closed:
        LOG.info(f"{len(closed)} pictures that do not open are left out: {first_few(closed)}")
    return pd.DataFrame(found, columns=["photograph", "kind", "step", "strength", "MOS"])


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """How the score falls with the step, a row a photograph, a column a kind: Spearman's rank correlation, -1 to 1.

    table: photograph, kind, step, MOS. Scores that are all the same follow nothing: 0.
    """
    found = {
        key: METRICS["srcc"](rows.step.to_numpy(), -rows.MOS.to_numpy())
        for key, rows in table.groupby(["photograph", "kind"], sort=False)
    }
    return pd.Series(found).unstack(sort=False).fillna(0.0)


def by_kind(found: pd.DataFrame) -> pd.DataFrame:
    """The mean of `correlations` over photographs, a row a kind: kind, value, low, high, n, lowest, of.

    low and high: the 95 % interval of a bootstrap over photographs (nan of a single one). lowest: the smallest
    correlation, and of: its photograph.
    """
    lines = []
    for kind, values in found.items():
        low = high = float("nan")
        if len(values) > 1:
            mean = measure(values, values, metrics={"sense": lambda _, drawn: float(np.mean(drawn))})
            low, high = mean.low[0], mean.high[0]
        lines.append((kind, values.mean(), low, high, len(values), values.min(), values.idxmin()))
    return pd.DataFrame(lines, columns=["kind", "value", "low", "high", "n", "lowest", "of"])


def markdown(kinds: pd.DataFrame) -> str:
    """What `by_kind` found, as a table."""
    lines = []
    for row in kinds.itertuples():
        interval = "" if np.isnan(row.low) else f"[{row.low:.3f}, {row.high:.3f}]"
        lines.append((TITLES[row.kind], f"{row.value:.3f}", interval, row.n, f"{row.lowest:.2f} ({row.of})"))
    heads = ("distortion", "mean rank correlation of step and fall", "95 %", "photographs", "lowest")
    return markdown_table(heads, lines)


def rows(kinds: pd.DataFrame, model: str, plan: engines.Plan) -> pd.DataFrame:
    """`by_kind` as rows of results/metrics.csv: metric "sense", one a kind, which is the column `set`."""
    about = {"metric": "sense", "dataset": "photographs in five steps", "label": "step", "set": kinds.kind}
    return kinds[["value", "low", "high", "n"]].assign(**about, model=model, **engines.scored_by(plan))


def draw(table: pd.DataFrame, model: str, path: Path) -> None:
    """Score by step as PNG: a panel a kind, a line a photograph, and their mean."""
    figure, panels = new_figure(12, 7, 2, 3, sharey=True)
    for axes, (kind, of_kind) in zip(panels.flat, _panels(table), strict=True):
        for _, line in of_kind.groupby("photograph"):
            axes.plot(line.step, line.MOS, color="0.75", linewidth=1)
        axes.plot(of_kind.groupby("step").MOS.mean(), color="C0", linewidth=2.5, marker="o")
        axes.set(title=TITLES[kind], xticks=range(5), xticklabels=[f"{each:g}" for each in STEPS[kind]])
        axes.grid(axis="y", color="0.92")
    panels[0, 0].set_ylabel("score")
    panels[1, 0].set_ylabel("score")
    count = table.photograph.nunique()
    figure.suptitle(f"{model}: {count} photographs, each distorted in five steps; blue: their mean")
    save_figure(figure, path)


def _panels(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    return ((kind, table[table.kind == kind]) for kind in STEPS)
