"""A score for every picture, or the reason why not: a CSV with a row for every input, which a killed run goes on with.

python -m koniq score my_photos                  # by the original KonCept512 if it is there, or koncept_lite
python -m koniq score photo.jpg 'more/*.png' list.csv --out scores.csv
python -m koniq score my_photos --weights my_run --intervals
python -m koniq score my_photos --shard 3/8      # the third of eight parts; koniq merge puts them together
"""

from dataclasses import dataclass
from typing import Literal

import tyro

from koniq.commands.choices import How
from koniq.ground.exits import UNSCORED
from koniq.network import find_or_default
from koniq.pictures import inputs


@dataclass(frozen=True)
class Settings:
    pictures: tyro.conf.Positional[tuple[str, ...]]  # lists (.csv with image_path), folders, globs, files; or s3://...
    images: str = ""  # where the paths of a list start; lsc21-image beside the list, or the list's folder, if empty
    weights: str = ""  # a file, a training run, or a name in trained_models; if empty, the original, or koncept_lite
    how: tyro.conf.OmitArgPrefixes[How] = How()
    calibrate: bool = True  # scores in MOS by the map that is kept beside the weights, if there is one
    intervals: bool = False  # MOS_low and MOS_high after MOS, where the weights have them
    out: str = "lifelog_mos.csv"  # image_path, MOS, status, width, height, error; what is in it is not done again
    shard: str = ""  # such as 3/8: of eight machines, what the third does, into lifelog_mos_3_of_8.csv, or out
    retry: tuple[str, ...] | None = None  # what has no score, again; --retry missing: of that status alone
    exclude: tuple[str, ...] = ()  # globs of what is left out of folders, such as '*_small.jpg' or 'drafts/*'
    list_excluded: bool = False  # name what was left out: that, hidden files, and what systems keep beside pictures
    columns: Literal["all", "study"] = "all"  # study: image_path, MOS, as its result files; without a score: no MOS
    overwrite: bool = False  # begin the file anew


def main(s: Settings) -> int:
    path = find_or_default(s.weights)
    pictures = inputs.of(s.pictures, s.images, s.exclude, s.shard)
    print(pictures.summary(s.list_excluded))
    scorer = s.how.load(path, pictures.whole, calibrate=s.calibrate, intervals=s.intervals)
    out = pictures.out(s.out, Settings.out)
    file = scorer.write(pictures, out, overwrite=s.overwrite, retry=s.retry, columns=s.columns, progress="scoring")
    return UNSCORED if file.unscored else 0
