"""Two models on the same pictures: how far their scores agree, from two CSVs of scores.

python -m koniq compare a.csv b.csv
python -m koniq compare a.csv b.csv --column MOS score      # where they call their scores otherwise
"""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.ground import InputError
from koniq.reports import page
from koniq.reports.comparison import _names, _shown, common, compare, scales_of, warnings
from koniq.scoring.score_tables import ScoreTable, facts, named, opened


@dataclass(frozen=True)
class Settings:
    first: tyro.conf.Positional[Path]  # a CSV that lifelog_predict.py wrote, or any with a name and a score; Parquet
    second: tyro.conf.Positional[Path]  # another, of the same pictures by another model
    by_name: bool = False  # pair by the file's name alone what no path pairs: of folders of one content
    column: tuple[str, ...] = ()  # of the scores, one for both or one each; MOS, if none is given
    images: str = ""  # where their image_path start, if the pictures are not where they were scored
    out: Path | None = None  # a folder; None: A_and_B beside A.csv
    scale: tuple[float, float] | None = None  # the worst and best score; None: as the JSON beside, or the range, says
    sheet: int = 24  # pictures on the contact sheet
    thumbnails: bool = True  # --no-thumbnails: no picture within or beside the page, and no link to one


def main(s: Settings) -> None:
    paths = s.first, s.second
    if len(s.column) > 2:
        raise InputError(f"column should be one for both CSVs, or one each. Received: {' '.join(s.column)}")
    columns = (*s.column, *s.column, "", "")[:2]
    with ExitStack() as stack:
        tables = [
            stack.enter_context(closing(opened(path, column))) for path, column in zip(paths, columns, strict=True)
        ]
        if named(s.first).samefile(named(s.second)) and columns[0] == columns[1]:
            raise InputError(f"Two CSVs should be compared. Received: {s.first} and {s.second}, which are one file")
        _compare(s, tables)


def _compare(s: Settings, tables: Sequence[ScoreTable]) -> None:
    paths = s.first, s.second
    abouts = [facts(path) for path in paths]
    places = [named(path) for path in paths]
    out = s.out or places[0].with_name(f"{places[0].stem}_and_{places[1].stem}")
    page.check(out, s.sheet)
    for table, path in zip(tables, paths, strict=True):
        page.check_scored(table, path)
    recorded = [root for about in abouts for root in about.get("roots", ())]
    roots = [s.images] if s.images else recorded or [str(place.parent) for place in places]
    names = _names(places, abouts)
    files = compare(tables, abouts, names, roots, s.sheet, s.scale, s.by_name, out, s.thumbnails)
    said = [f"A: {names[0]}\nB: {names[1]}\n{files['agreement.csv'].n[0]:,} pictures have a score by both"]
    scales = scales_of(tables, abouts, s.scale)
    for row in files["agreement.csv"].itertuples():
        label, value, interval = _shown(row, common(scales))
        said.append(f"{label}: {value}" + (f" [{interval}]" if interval else ""))
    said += [f"Note: {warning}" for warning in warnings(abouts, scales)]
    page.publish(out, files, "\n".join(said))
