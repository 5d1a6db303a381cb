"""What the pages for people share: one file each, with figures and small pictures within, that needs no network.

A name that somebody else gave a file is text and nothing else wherever it stands: escaped, on its own, shortened.
"""

import base64
import io
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image, ImageDraw, ImageFont

from koniq.data.scale import KEY as SCALE
from koniq.data.scale import Scale
from koniq.ground import InputError, first_few
from koniq.ground.facts import locate
from koniq.ground.log import LOG
from koniq.ground.text import one_line, shortened
from koniq.pictures.decoding import thumbnail as thumbnail_of
from koniq.scoring.score_tables import ScoreTable
from ku.files import atomic_path, shown

PAGE = "report.html"
GENERATOR = '<meta name="generator" content="koniq">'  # by which a folder is known to be a report's
THUMBNAIL = 240  # pixels, of the longer side
LARGEST_SHEET = 100  # pictures
COLUMNS = 6  # of a contact sheet as PNG
LINE, MARGIN = 18, 8  # pixels, in a contact sheet as PNG

Content = str | bytes | pd.DataFrame | Callable[[], Iterable[pd.DataFrame]] | None  # of a file


class Cell(NamedTuple):
    """A picture of a contact sheet."""

    name: str
    captions: tuple[str, ...]  # a line each
    picture: Image.Image | None  # at most THUMBNAIL pixels wide and high; None if it is not at hand
    link: str = ""  # the picture's address, as a page has it; "" if it leads nowhere


def cell(
    name: str, captions: Sequence[str], roots: Sequence[str], folder: Path | None = None, thumbnail: bool = True
) -> Cell:
    """The cell of the picture that a CSV of scores calls `name`, with its file in one of the folders `roots` or not.

    folder: of the page, whose thumbnail leads to the picture; None: to nothing. thumbnail: False leaves both out.
    """
    path = locate(name, roots) if thumbnail else None
    try:
        picture = thumbnail_of(path, THUMBNAIL) if path else None
    except Exception:  # it opened when it was scored, but may have changed; Pillow's plugins raise anything
        picture = None
    link = address(path, folder) if picture and folder else ""
    return Cell(name, tuple(filter(None, captions)), picture, link)


def address(path: Path, folder: Path) -> str:
    """A picture's address for a page in `folder`: from there if it lies below or beside the folder, else a file://.

    So a folder of pictures may move together with the page beside it.
    """
    path, folder = Path(os.path.abspath(path)), Path(os.path.abspath(folder))  # noqa: PTH100  links stay links
    for start, up in ((folder, ""), (folder.parent, "../")):
        if path.is_relative_to(start):
            return up + quote(os.fsencode(path.relative_to(start).as_posix()))
    return path.as_uri()


def cells(rows: pd.DataFrame, captions: Callable[..., Sequence[str]], *where: object) -> list[Cell]:
    """The cells of the pictures image_path, a row each. captions: those of a row. where: what `cell` has after them."""
    return [cell(row.image_path, captions(row), *where) for row in rows.itertuples()]


def draw_sheet(cells: Sequence[Cell]) -> bytes:
    """PNG of a contact sheet: the pictures in rows, each above its captions and its file's name."""
    from matplotlib import font_manager

    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 13)
    width, height = THUMBNAIL + MARGIN, THUMBNAIL + MARGIN + LINE * (1 + max(len(cell.captions) for cell in cells))
    columns = min(COLUMNS, len(cells))
    sheet = Image.new("RGB", (columns * width + MARGIN, -(-len(cells) // columns) * height + MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (name, captions, picture, _) in enumerate(cells):
        x, y = MARGIN + number % columns * width, MARGIN + number // columns * height
        if picture:
            sheet.paste(picture, (x + (THUMBNAIL - picture.width) // 2, y + (THUMBNAIL - picture.height) // 2))
        else:
            draw.rectangle((x, y, x + THUMBNAIL - 1, y + THUMBNAIL - 1), fill="#eee")
            draw.text((x + THUMBNAIL // 2, y + THUMBNAIL // 2), "not at hand", "#555", font, anchor="mm")
        for line, text in enumerate((*captions, name.rsplit("/", 1)[-1])):
            draw.text((x, y + THUMBNAIL + 2 + line * LINE), _fitting(text, font), "black", font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _fitting(text: str, font: ImageFont.FreeTypeFont) -> str:
    """A text shortened in its middle to the width of a thumbnail."""
    length = min(len(text), THUMBNAIL)
    while font.getlength(shown := one_line(text, length)) > THUMBNAIL:
        length -= 1
    return shown


def data_uri(content: bytes | Image.Image) -> str:
    """PNG bytes, or a picture as JPEG, as an address that holds it."""
    kind = "png"
    if isinstance(content, Image.Image):
        kind, buffer = "jpeg", io.BytesIO()
        content.save(buffer, "JPEG", quality=75)
        content = buffer.getvalue()
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def interval(bounded: Sequence[float], form: str) -> str:
    """A number and its interval (value, low, high) as text, all by one format: 0.931 [0.896, 0.957]."""
    value, low, high = (format(number, form) for number in bounded)
    return f"{value} [{low}, {high}]"


def breakable(text: str) -> Markup:
    """Other people's text for HTML, a file's name for instance: `shortened`, broken where its parts meet, if at all."""
    return Markup("<wbr>").join(map(escape, re.split(r"(?<=[/_=])(?=[^/_=\s])", shortened(text))))


def render(template: str, **values: object) -> str:
    """A page by a template of koniq/templates; in HTML, all values are escaped."""
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    environment = Environment(
        loader=loader,
        autoescape=lambda name: name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"data_uri": data_uri, "shortened": shortened, "breakable": breakable}
    environment.filters |= {"number": format, "interval": interval}
    return environment.get_template(template).render(generator=GENERATOR, **values)


def check(out: Path, sheet: int) -> None:
    """Raise InputError unless a page with contact sheets of `sheet` pictures may be written to the folder `out`.

    To be asked before what takes long; `publish` is what follows it.
    """
    _check_sheet(sheet)
    _check_folder(out)


def publish(out: Path, files: Mapping[str, Content], said: str = "") -> None:
    """Write a page and what lies beside it into the folder `out`, say the lines `said`, and what to open."""
    write(out, files)
    LOG.info(f"{said}\n" * bool(said) + f"To open: {out / PAGE}   (its figures and tables lie beside it)")


def _check_folder(folder: Path) -> None:
    """Raise InputError unless a report may be written to `folder`: a new or empty one, or that of an earlier report."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    page = folder / PAGE
    if not (page.is_file() and GENERATOR in page.read_text(encoding="utf-8", errors="replace")[:500]):
        raise InputError(
            "out should be a new or empty folder, or that of an earlier report, so that nothing else is overwritten. "
            f"Received: {folder}"
        )


def write(folder: Path, files: Mapping[str, Content]) -> None:
    """Write a report into `folder`, each file whole or not at all, the page first, as it marks the folder.

    None: a file that an earlier report may have left there, and that this one does not have. A function: gives a table
    in pieces.
    """
    for name in sorted(files, key=lambda name: name != PAGE):
        content = files[name]
        if content is None:
            (folder / name).unlink(missing_ok=True)
            continue
        with atomic_path(folder / name) as path:
            if callable(content):
                with path.open("w", encoding="utf-8", newline="") as file:
                    for number, piece in enumerate(content()):
                        file.write(shown(piece.to_csv(index=False, header=number == 0)))
                continue
            if isinstance(content, pd.DataFrame):
                content = content.to_csv(index=False)
            path.write_bytes(shown(content).encode() if isinstance(content, str) else content)


def provenance(facts: Mapping[str, object]) -> list[tuple[str, str]]:
    """What the scores depend on, as label and text, without where the pictures lie: the user's folders stay private."""
    return [
        (key.replace("_", " "), text(value)) for key, value in facts.items() if key != "roots" and value is not None
    ]


def text(value: object) -> str:
    """A fact as text: 384 x 512, or keras 3.15.1, numpy 2.4.6."""
    if isinstance(value, Mapping):
        parts = {**value, **({SCALE: str(Scale.of(value))} if SCALE in value else {})}
        return ", ".join(f"{key} {text(part)}" for key, part in parts.items())
    return " x ".join(map(text, value)) if isinstance(value, list) else str(value)


def check_scored(table: ScoreTable, path: Path) -> None:
    """Raise InputError, saying why, if no picture of a table of scores has one."""
    if not table.scored:
        why = first_few(shortened(f"{status}, {error}") for status, error, _ in table.failures())
        raise InputError(f"{path} should have a score. Received: {len(table):,} rows without one ({why or 'no rows'})")


def _check_sheet(sheet: int) -> None:
    """Raise InputError if a contact sheet cannot have that many pictures."""
    if not 1 <= sheet <= LARGEST_SHEET:
        raise InputError(f"sheet should be 1 to {LARGEST_SHEET} pictures. Received: sheet={sheet}")
