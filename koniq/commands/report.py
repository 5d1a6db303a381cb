"""What a lifelog's scores look like: one page and its figures from the CSV that lifelog_predict.py writes.

python -m koniq report lifelog_mos.csv
python -m koniq report lifelog_mos.parquet      # of any number of rows; or a folder of such files
"""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.data.scale import of_scores
from koniq.reports import page
from koniq.reports.lifelog_report import report, shown, told_apart
from koniq.scoring.score_tables import ScoreTable, facts, named, opened
from koniq.scoring.taken import How


@dataclass(frozen=True)
class Settings:
    scores: tyro.conf.Positional[Path]  # a CSV that lifelog_predict.py wrote, or any with a name and a score; Parquet
    column: str = ""  # of the scores; MOS, if empty
    images: str = ""  # where its image_path start, if the pictures are not where they were scored
    out: Path | None = None  # a folder; None: NAME_report beside NAME.csv
    scale: tuple[float, float] | None = None  # the worst and best score; None: as the JSON beside, or the range, says
    times: How = "auto"  # when pictures were taken: names, EXIF where they say no time, folders; exif: EXIF first
    sheet: int = 24  # pictures on each of the contact sheets
    thumbnails: bool = True  # --no-thumbnails: no picture within or beside the page, and no link to one


def main(s: Settings) -> None:
    place = named(s.scores)
    out = s.out or place.with_name(f"{place.stem}_report")
    with closing(opened(s.scores, s.column)) as table:
        _report(s, table, facts(s.scores), out)


def _report(s: Settings, table: ScoreTable, about: dict, out: Path) -> None:
    page.check(out, s.sheet)
    page.check_scored(table, s.scores)
    roots = [s.images] if s.images else about.get("roots", [str(named(s.scores).parent)])
    title = f"Quality of the pictures in {s.scores.name}"
    files = report(table, about, roots, title, s.sheet, s.scale, out, s.thumbnails, s.times)
    mos = table.mos
    below = ", ".join(f"{100 * row.share:.1f} % below {row.below:g}" for row in files["shares.csv"].itertuples())
    digits = of_scores(mos, about, s.scale).digits
    average = f"mean {mos.mean():.{digits}f}, median {mos.median():.{digits}f}"
    said = [f"{len(mos):,} of {len(table):,} pictures have a score: {average}"]
    if table.has_intervals:
        count = shown(table, s.sheet)
        said += [f"The {count} {of}: {told_apart(table, count, of)}" for of in ("best", "worst")]
    page.publish(out, files, "\n".join([*said, below]))
