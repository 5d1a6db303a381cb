"""What people look at: tidy CSV, PNG and Markdown. Numbers are rounded here and nowhere before."""

import hashlib
import io
import re
import warnings
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from koniq.data.scale import USUAL, Scale
from koniq.ground import bars
from ku.files import atomic_path

# What the style sheet of pages calls the colours of a figure. Greys become its ink, its faint ink or its ground.
COLOURS = {"#1f77b4": "var(--first)", "#ff7f0e": "var(--second)"}


class Chart(NamedTuple):
    """A figure on a page, and the file of it beside the page."""

    png: bytes
    svg: str  # for HTML: its colours and letters are the page's, so that it is light or dark with it


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
    save_figure(figure, path, shown=False)  # it is drawn anew at every epoch


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


def chart(figure) -> Chart:
    """A figure for a page. It is drawn as PNG first, and on the page as it was laid out there."""
    drawn = png(figure)
    figure.set_layout_engine("none")
    return Chart(drawn, svg(figure))


def svg(figure) -> str:
    """A figure as an SVG element for HTML, the same for the same picture; text is text. It recolours densities."""
    from matplotlib import rc_context
    from matplotlib.colors import ListedColormap, to_rgb

    fading = ListedColormap([(*to_rgb("C0"), alpha) for alpha in np.linspace(0.25, 1, 256)])
    for density in (found for axes in figure.axes for found in axes.collections if found.get_array() is not None):
        density.set_cmap(fading)  # a map of colours would be for one ground, light or dark
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "koniq"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    return _for_html(buffer.getvalue())


def _for_html(text: str) -> str:
    """matplotlib's SVG as an element of HTML: the page's colours and letters, ids that no other figure of it has."""
    root = ElementTree.fromstring(text)
    own = hashlib.sha256(text.encode()).hexdigest()[:8]
    used = {*re.findall(r"(?:href=\"|url\()#([^\")]+)", text)}
    box = root.get("viewBox")
    for parent in [*root.iter()]:
        for child in [*parent]:
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        kept = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        if kept.pop("id", None) in used:
            kept["id"] = own + element.get("id")
        if "href" in kept:
            kept["href"] = f"#{own}{kept['href'][1:]}"
        if "clip-path" in kept:
            kept["clip-path"] = kept["clip-path"].replace("#", f"#{own}")
        if "style" in kept:
            style = re.sub(r"font-family: [^;]*;? ?", "", kept["style"])
            kept["style"] = re.sub("#[0-9a-f]{6}", lambda found: _of_page(found[0]), style)
        element.attrib.clear()
        element.attrib.update(kept)
        if element.tag != "text":
            element.text = element.text and element.text.strip()
        element.tail = None
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "stroke-linejoin": "round"})
    return ElementTree.tostring(root, "unicode")


def _of_page(colour: str) -> str:
    """What a colour, #rrggbb, is on a page: a variable of its style sheet, or itself."""
    if colour[1:3] == colour[3:5] == colour[5:7]:
        grey = int(colour[1:3], 16)
        return "currentColor" if grey < 0x60 else "var(--faint)" if grey < 0xC0 else "var(--behind)"
    return COLOURS.get(colour, colour)


def save_figure(figure, path: Path, shown: bool = True) -> None:
    """Write a figure as PNG, whole or not at all. shown: in a notebook, below the cell, too."""
    drawn = png(figure)
    with atomic_path(path) as temporary:
        temporary.write_bytes(drawn)
    if shown:
        bars.show(drawn)
