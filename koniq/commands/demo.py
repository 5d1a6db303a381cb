"""What `make demo` shows: photographs distorted in known ways, and whether a model's scores follow the distortion.

python -m koniq demo demo                                    # writes demo/photos and demo/training.csv
python lifelog_predict.py demo/photos --out demo/photos_mos.csv
python -m koniq demo demo --scores demo/photos_mos.csv       # shows how the scores fall
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from koniq.evaluation.demo import PHOTOS, shown, write
from koniq.ground.facts import facts
from koniq.scoring.score_tables import read
from koniq.study.report import PAGE, fill


@dataclass(frozen=True)
class Settings:
    folder: tyro.conf.Positional[Path] = Path("demo")  # where photos/ and training.csv go
    scores: Path | None = None  # a CSV of lifelog_predict.py with scores of those photos: show how they fall
    readme: bool = False  # put that into docs/results.md of this repository, too


def main(s: Settings) -> None:
    if s.scores:
        text = shown(read(s.scores), facts(s.scores))
        print(f"\n{text}\n")
        if s.readme:
            fill(PAGE, {"demo": f"```text\n{text}\n```"})
        return
    count = write(s.folder)
    print(
        f"{count} pictures in {s.folder / 'photos'}: {len(PHOTOS)} photographs, as they are and distorted in known ways"
    )
