"""What people look at of the matrix: tables from metrics.csv and what was published, and figures.

In the README and in docs/results.md, `replicate.py` writes what stands between `<!-- begin: NAME -->` and
`<!-- end: NAME -->`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from koniq import training
from koniq.data.published import PICTURES, PUBLISHED, Published
from koniq.data.scale import guess
from koniq.ground import InputError, tables
from koniq.ground.paths import RESULTS, ROOT
from koniq.ground.text import markdown_table
from koniq.measure.metrics import over_seeds
from koniq.network import KONCEPT512
from koniq.network.koncept512 import AS_KERAS, Topology
from koniq.reports.figures import new_figure, plot_scatter, save_figure
from koniq.study.recipes import AS_STUDIED, RECIPES
from koniq.study.results import COMPARED, REFERENCE, framework
from koniq.training.run import LATER
from ku.files import atomic_path

NAMES = {"koniq10k": "KonIQ-10k", "live_itw": "LIVE In the Wild"}  # of the study's data sets in metrics.csv
FRAMEWORKS = {"tensorflow": "TensorFlow", "kuti": "kuti", "pytorch": "PyTorch"}
LOSSES = {"mse": "MSE", "plcc": "PLCC loss"}
STARTS = {"none": "random weights", "imagenet": "ImageNet's weights", "try-imagenet": "ImageNet's weights if in reach"}
# What all rows of a table share.
SECTION = ["network", "trained_on", "dataset", "label", "set", "input_size", "weights"]
ARM = ["framework", "loss", "batch_size", "micro_batch", "statistics", "pooling"]
HOW = [*ARM, "epochs", "learning_rates"]  # what a line is; its runs differ by seed
TOPOLOGIES = {name: Topology.of(settings) for name, settings in AS_STUDIED.items()}  # else Keras's
FIGURE = "srcc_by_batch.png"
README, PAGE = ROOT / "README.md", ROOT / "docs" / "results.md"


def write(table: pd.DataFrame, runs: Sequence[Path], folder: Path) -> None:
    """Tables and figures of the measurements in `table` and of finished `runs` into `folder`, and into README and PAGE.

    These are written where `folder` is the repository's own results; elsewhere the tables are in report.md.
    """
    draw_by_batch(table, folder / FIGURE)
    if runs:
        draw_curves(runs, folder / "curves.png")
        draw_scatters(runs, folder / "scatter.png")
    if folder.resolve() == RESULTS:
        fill(README, {"study": first_screen(table)})
        fill(PAGE, blocks(table, "../results/"))
        return
    with atomic_path(folder / "report.md") as temporary:
        temporary.write_text("\n\n".join(blocks(table).values()) + "\n", encoding="utf-8")


def fill(path: Path, blocks: Mapping[str, str]) -> None:
    """Write the marked blocks of a file anew, see `filled`."""
    text = filled(path.read_text(encoding="utf-8"), blocks)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def filled(text: str, blocks: Mapping[str, str]) -> str:
    """A text with its marked blocks written anew. Raises InputError if there is not one place for each."""
    for name, block in blocks.items():
        begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
        pattern = re.compile(f"{re.escape(begin)}\n.*?{re.escape(end)}", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise InputError(f"The text should hold one block from {begin} to {end}. Received: {text.count(begin)}")
        text = pattern.sub(lambda _, block=block: f"{begin}\n{block}\n{end}", text)  # noqa: B023
    return text


def blocks(table: pd.DataFrame, figures: str = "") -> dict[str, str]:
    """The Markdown of each block. figures: where the figures lie, as a prefix."""
    measured = "\n\n".join(_section(dict(zip(SECTION, key, strict=True)), rows) for key, rows in _sections(table))
    if any(_by_batch(table)):
        measured += f"\n\n![SRCC by the number of pictures in memory]({figures}{FIGURE})"
    return {"study": "\n\n".join(_study(table, column) for column in NAMES), "measured": measured}


# Tables


def _study(table: pd.DataFrame, column: str) -> str:
    """The study's table of a data set, published beside ours."""
    heads = [f"{NAMES[column]} ({PICTURES[column]:,} pictures)"]
    heads += [head for metric in COMPARED for head in (f"{metric.upper()}, published", "ours", "difference")]
    lines = []
    for row, title, topology in _rows_of_the_study():
        ours, line = _replicas(table, row, column, topology), [title]
        for metric, published in zip(COMPARED, getattr(row, column), strict=True):
            runs = ours[ours.metric == metric]
            cells = (_value(runs), _against(runs, published)) if len(runs) else ("not yet run", "")
            line += [number(published), *cells]
        lines.append(line)
    return markdown_table(heads, lines)


def first_screen(table: pd.DataFrame) -> str:
    """The study's table of KonIQ-10k in short, and a sentence that names the rows that are not run here."""
    heads = [f"{NAMES['koniq10k']} ({PICTURES['koniq10k']:,} pictures)"]
    heads += [head for metric in COMPARED for head in (f"{metric.upper()}, published", "ours")]
    lines, lacking = [], []
    for row in PUBLISHED:
        topology = TOPOLOGIES.get(row.framework, AS_KERAS)
        ours, line = _replicas(table, row, "koniq10k", topology), [row.model]
        for metric, published in zip(COMPARED, row.koniq10k, strict=True):
            runs = ours[ours.metric == metric]
            line += [number(published), number(runs.value.mean()) if len(runs) else ""]
        lines.append(line)
        lacking += [] if len(ours) else [row.model]
    which = f"all of the {len(lines)} rows" if len(lacking) == len(lines) else "; ".join(lacking)
    return markdown_table(heads, lines) + (f"\n\nNot yet run here, for want of KonIQ-10k: {which}." if lacking else "")


def _rows_of_the_study() -> Iterator[tuple[Published, str, Topology]]:
    """The study's rows, each with its title and network; and ours after one whose network is not Keras's."""
    for row in PUBLISHED:
        topology = TOPOLOGIES.get(row.framework, AS_KERAS)
        yield row, row.model, topology
        if topology != AS_KERAS:
            yield row, f"{row.model}: our network beside it", AS_KERAS


def _replicas(table: pd.DataFrame, row: Published, column: str, topology: Topology) -> pd.DataFrame:
    """What was measured of a row of the study: by its recipe, at its size, on all of its pictures."""
    study = RECIPES["study"]
    asked = {
        "network": KONCEPT512.name,
        "trained_on": NAMES["koniq10k"],
        "dataset": NAMES[column],
        "set": "test",
        "n": PICTURES[column],
        "framework": row.framework,
        "loss": row.loss,
        "batch_size": str(row.batch_size),
        "micro_batch": "0",
        "statistics": "moving",
        **{name: str(value) for name, value in asdict(topology).items()},
        "weights": study.weights,
        "input_size": str(list(study.input_size)),
        "epochs": str(list(study.epochs[row.framework])),
    }
    return table[np.logical_and.reduce([table[name] == value for name, value in asked.items()])]


def _against(runs: pd.DataFrame, published: float) -> str:
    """How far ours lies from a published number; of several seeds, whether by more than seeds and pictures explain."""
    value, low, high = (each - published for each in over_seeds(runs.value, runs.low, runs.high))
    verdict = "one seed" if len(runs) == 1 else "significant" if low > 0 or high < 0 else "not significant"
    return f"{number(value)} [{number(low)}, {number(high)}], {verdict}"


def _sections(table: pd.DataFrame) -> Iterator[tuple[tuple[str, ...], pd.DataFrame]]:
    yield from table.groupby(SECTION, sort=True)


def _section(shared: Mapping[str, str], rows: pd.DataFrame) -> str:
    """What was measured on one data set at one size: a line an arm, beside batch 16 of its framework and loss."""
    size = shared["input_size"].strip("[]").replace(", ", "x")
    machines = ", ".join(sorted({device.split(",")[0] for device in rows.device}))
    start = STARTS.get(shared["weights"], shared["weights"])
    where = "Trained and tested on" if shared["trained_on"] == shared["dataset"] else "Tested on"
    where += f" **{shared['dataset']}**{'' if shared['label'] == 'MOS' else ' (' + shared['label'] + ')'}"
    where += "" if shared["trained_on"] == shared["dataset"] else f", trained on {shared['trained_on']}"
    head = f"{where}: {rows.n.max():,.0f} pictures, {size}, {_named(shared)}from {start}; {machines}"
    heads = ("", "epochs at rate", "SRCC [95 %]", "PLCC [95 %]", f"SRCC less that of batch {REFERENCE} [95 %]", "p")
    lines = []
    for how, runs in sorted(_arms(rows), key=lambda item: _order(item[0])):
        of = {metric: runs[runs.metric == metric].sort_values("seed", key=_whole) for metric in runs.metric.unique()}
        name = f"{FRAMEWORKS[how['framework']]}, {LOSSES.get(how['loss'], how['loss'])}, {arm_title(how)}"
        stages = zip(json.loads(how["epochs"]), json.loads(how["learning_rates"]), strict=True)
        epochs = ", ".join(f"{count} at {rate:g}" for count, rate in stages)
        less = of.get("srcc_difference")
        beside = ("", "") if less is None else (_value(less), ", ".join(number(p) for p in less.p))
        lines.append((name, epochs, _value(of["srcc"]), _value(of["plcc"]), *beside))
    return f"{head}\n\n{markdown_table(heads, lines)}"


def _named(shared: Mapping[str, str]) -> str:
    """The network of a section, where it is another than the study's."""
    return "" if shared["network"] == KONCEPT512.name else f"{shared['network']} "


def _arms(rows: pd.DataFrame) -> Iterator[tuple[dict[str, str], pd.DataFrame]]:
    for key, runs in rows.groupby(HOW):
        yield dict(zip(HOW, key, strict=True)), runs


def _whole(texts: pd.Series) -> pd.Series:
    return texts.astype(int)


def _order(how: Mapping[str, str]) -> tuple:
    batch, micro = int(how["batch_size"]), int(how["micro_batch"])
    return list(FRAMEWORKS).index(how["framework"]), how["loss"], -batch, micro, *how.values()


def arm_title(how: Mapping[str, str]) -> str:
    """What was done about the batch, in words."""
    micro = f" in micro-batches of {how['micro_batch']}" if int(how["micro_batch"]) else ""
    statistics = "" if how["statistics"] == "moving" else f", statistics {how['statistics']}"
    pooling = how.get("pooling", AS_KERAS.pooling)
    network = "" if pooling == AS_KERAS.pooling else f", the study's network (pooling {pooling})"
    return f"batch {how['batch_size']}{micro}{statistics}{network}"


def _value(runs: pd.DataFrame) -> str:
    """The mean over seeds with its interval, and, of several, each."""
    value, low, high = over_seeds(runs.value, runs.low, runs.high)
    text = f"{number(value)} [{number(low)}, {number(high)}]"
    return text if len(runs) == 1 else f"{text} ({', '.join(number(value) for value in runs.value)})"


def number(value: float) -> str:
    """Three decimals, without the zero before the point: .921."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{round(value, 3) + 0:.3f}")


# Figures


def _by_batch(table: pd.DataFrame) -> list[tuple[dict[str, str], pd.DataFrame]]:
    """The sections with something to compare, by data set and size, and of them the SRCC."""
    found = [(dict(zip(SECTION, key, strict=True)), rows[rows.metric == "srcc"]) for key, rows in _sections(table)]
    return [(shared, rows) for shared, rows in found if len(rows[ARM[2:]].drop_duplicates()) > 1]


def draw_by_batch(table: pd.DataFrame, path: Path) -> None:
    """SRCC by the number of pictures in memory, a line an arm, a dot a seed with its interval; by data set and loss."""
    sections = _by_batch(table)
    if not sections:
        return
    losses = [loss for loss in LOSSES if any((rows.loss == loss).any() for _, rows in sections)]
    size = (6 * len(losses), 5.5 * len(sections))
    figure, panels = new_figure(*size, len(sections), len(losses), squeeze=False, sharey="row")
    for (shared, rows), axes_of_section in zip(sections, panels, strict=True):
        for axes, loss in zip(axes_of_section, losses, strict=True):
            _plot_by_batch(axes, rows[rows.loss == loss])
            column = "live_itw" if shared["dataset"] == NAMES["live_itw"] else "koniq10k"
            published = {row.batch_size: getattr(row, column)[0] for row in PUBLISHED if _on_curve(row, loss)}
            label = f"published, {NAMES[column]}, 384x512"
            axes.plot(published.keys(), published.values(), ":", color="0.6", label=label)
            axes.set_xscale("log", base=2)
            axes.set_xticks([2, 4, 8, 16], ["2", "4", "8", "16"])
            of = _named(shared) + shared["dataset"] + ("" if shared["label"] == "MOS" else f" ({shared['label']})")
            across = "" if shared["dataset"] == shared["trained_on"] else f", trained on {shared['trained_on']}"
            axes.set(xlabel="pictures in memory at a time", title=f"{of}{across}\n{LOSSES[loss]}")
            _legend_below(axes)
        axes_of_section[0].set_ylabel("SRCC, 95 % interval over pictures")
    save_figure(figure, path)


def _legend_below(axes, *entries) -> None:
    axes.legend(*entries, frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12))


def _on_curve(row: Published, loss: str) -> bool:
    return (row.framework, row.loss) == ("tensorflow", loss)


def _plot_by_batch(axes, rows: pd.DataFrame) -> None:
    memory = np.where(rows.micro_batch == "0", "whole batch", rows.batch_size + " in micro-batches")
    kind = rows.framework.map(FRAMEWORKS) + ", " + memory
    kind += np.where(rows.statistics == "moving", "", ", " + rows.statistics)
    if rows.epochs.nunique() > 1:
        kind += ", " + rows.epochs.str.strip("[]").str.replace(", ", " + ") + " epochs"
    at = np.where(rows.micro_batch == "0", rows.batch_size, rows.micro_batch).astype(int)
    groups = list(rows.assign(at=at).groupby(kind))
    for position, (label, runs) in enumerate(groups):
        aside = 2 ** (0.12 * (position - (len(groups) - 1) / 2))  # or they would hide one another
        means = runs.groupby("at").value.mean()
        (line,) = axes.plot(means.index * aside, means, label=label)
        ends = np.abs(runs[["low", "high"]].to_numpy().T - runs.value.to_numpy())
        axes.errorbar(runs["at"] * aside, runs.value, ends, fmt="o", markersize=5, color=line.get_color(), elinewidth=1)


def _about(run: Path) -> tuple[dict, str, str]:
    """Of a run: its settings, its loss, and what it is called in a legend."""
    about = training.about(run)
    how = {name: str(value) for name, value in {**LATER, **about.settings}.items()}
    return dict(about.settings), how["loss"], f"{FRAMEWORKS[framework(about)]}, {arm_title(how)}"


def draw_curves(runs: Sequence[Path], path: Path) -> None:
    """Validation PLCC and training loss by epoch: a colour an arm, a line a seed; a column a loss."""
    about = [(run, *_about(run)) for run in runs]
    losses = [loss for loss in LOSSES if any(loss == of for _, _, of, _ in about)]
    figure, panels = new_figure(6 * len(losses), 9, 2, len(losses), squeeze=False)
    for column, loss in zip(panels.T, losses, strict=True):
        labels = sorted({label for _, _, of, label in about if of == loss})
        for run, _, of, label in about:
            if of != loss:
                continue
            log, first = (
                tables.read_typed(run / "log.csv"),
                not any(line.get_label() == label for line in column[0].lines),
            )
            for axes, name in zip(column, ("val_plcc_tf", "loss"), strict=True):
                axes.plot(
                    np.arange(1, len(log) + 1),
                    log[name],
                    marker=".",
                    color=f"C{labels.index(label)}",
                    label=label if first else "",
                )
        column[0].set(title=LOSSES[loss], ylabel="validation PLCC (mean of batches)")
        column[1].set(xlabel="epoch", ylabel="training loss")
        for axes in column:
            axes.xaxis.get_major_locator().set_params(integer=True)
        _legend_below(column[1], *column[0].get_legend_handles_labels())
    save_figure(figure, path)


def draw_scatters(runs: Sequence[Path], path: Path) -> None:
    """Predicted against true scores of the test set, a panel for the first run of each arm."""
    panels = {}
    for run in runs:
        _, loss, label = _about(run)
        panels.setdefault(f"{label}\n{LOSSES.get(loss, loss)}", run)
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = new_figure(4 * columns, 4.4 * rows, rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes, (title, run) in zip(grid.flat, panels.items(), strict=False):
        table = tables.read_typed(training.tested(run).predictions)
        table = table[table.status == "ok"]
        plot_scatter(axes, table.MOS, table.predicted, guess(table.MOS))
        axes.set(title=title, xlabel=tables.read_typed(training.tested(run).metrics).label[0], ylabel="predicted score")
        axes.title.set_fontsize(9)
    save_figure(figure, path)
