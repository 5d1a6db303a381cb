"""What people look at: tidy CSV, PNG and Markdown. Numbers are rounded here and nowhere before."""

import io
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.data.scale import USUAL, Scale
from ku.files import atomic_path


def draw_scatter(
    mos: np.ndarray, predicted: np.ndarray, title: str, label: str, path: Path, scale: Scale = USUAL
) -> None:
    """Predicted scores against `label` as PNG, with the line on which they would be equal."""
    figure, axes = new_figure(6, 6)
    plot_scatter(axes, mos, predicted, scale)
    axes.set(xlabel=label, ylabel="predicted score", title=title)
    save_figure(figure, path)


def plot_scatter(axes, mos: np.ndarray, predicted: np.ndarray, scale: Scale = USUAL) -> None:
    """Predicted scores against the true ones, over the whole scale, with the line on which they would be equal."""
    ends = min(scale.low, np.min(predicted)), max(scale.high, np.max(predicted))
    axes.plot(ends, ends, color="0.6", linewidth=1, label="equal")
    axes.scatter(mos, predicted, s=12, alpha=0.5, linewidths=0)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.legend(frameon=False)


def draw_curves(log: pd.DataFrame, path: Path) -> None:
    """The learning curves of a run's log as PNG: loss, MAE and PLCC by epoch, with the stages marked."""
    pairs = [name for name in ("loss", "MAE", "plcc_tf") if name in log]
    figure, panels = new_figure(5 * len(pairs), 4, columns=len(pairs))
    epochs = np.arange(1, len(log) + 1)
    for axes, name in zip(np.atleast_1d(panels), pairs, strict=True):
        axes.plot(epochs, log[name], marker=".", label="training")
        axes.plot(epochs, log[f"val_{name}"], marker=".", label="validation")
        for start in epochs[1:][log.stage.diff().to_numpy()[1:] != 0]:
            axes.axvline(start - 0.5, color="0.7", linewidth=1, linestyle=":")
        axes.set(xlabel="epoch", title={"plcc_tf": "PLCC (mean of batches)"}.get(name, name))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
    save_figure(figure, path)


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, dpi: int = 120, **layout):
    """A figure of `width` x `height` inches and its axes, that need no display. layout: of matplotlib's subplots."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    return figure, figure.subplots(rows, columns, **layout)


def png(figure) -> bytes:
    """A figure as PNG. Without the date and the version of matplotlib, the same picture is the same file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # of somebody's file name: drawn as a box
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def save_figure(figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(png(figure))
