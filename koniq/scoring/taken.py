"""When a picture was taken: as its name says it, by patterns that pandas and DuckDB read alike, or as its EXIF does."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, get_args

import numpy as np
import pandas as pd

from koniq.ground import InputError, threads
from koniq.ground.facts import locate
from koniq.scoring import exif

How = Literal["auto", "exif", "names", "folders"]
# Whose clock a time is of, the surest last.
NOTHING, FOLDER_DAY, NAME_DAY, NAME, NAME_UTC, CAMERA, ZONED = range(7)

# As lifelog cameras, phones, messengers and screenshots write it: b00000000_21i6bq_20150223_070647e.jpg,
# 20160811_131315_000.jpg, IMG_20230102_030405.jpg, PXL_20230102_030405678.jpg, Screenshot_20230102-030405.png,
# signal-2023-01-02-030405.jpg, photo_2023-01-02_03-04-05.jpg, 2011-07-19 11.36.39.jpg, and, perhaps by a clock of
# twelve hours, WhatsApp Image 2023-01-02 at 3.04.05 PM.jpeg (before PM may stand a narrow space, U+202F).
TIME = (
    r"(?:^|[^0-9])((?:19|20)[0-9]{6}|(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2})"
    r"(?:[-_ T]|[ _]at[ _])([0-9]{6}|[0-9]{1,2}[-.][0-9]{2}[-.][0-9]{2})(?:[0-9]{3})?"
    "(?:[ _\u202f]([AP]M)(?:[^0-9A-Za-z/][^/]*)?|[^0-9/][^/]*)?$"
)
UTC = r"(?:^|/)PXL_[^/]*$"  # a Pixel writes the time of Greenwich, whatever its own clock says
DAY = r"(?:^|/)[A-Z]{3}-((?:19|20)[0-9]{6})-WA[0-9]+[^0-9/][^/]*$"  # of WhatsApp, IMG-20230102-WA0001.jpg
FOLDER = (  # 2015-02-23/, 2015-02-23 A walk/, 201901/01/, 2019/01/01/; innermost
    r"(?s)^(?:.*/)?((?:19|20)[0-9]{2})(?:-([0-9]{2})-|/?([0-9]{2})/)([0-9]{2})(?:[ _-][^/]*)?/"
)
FORMATS = "%Y%m%d%H%M%S", "%Y%m%d", "%Y%m%d%I%M%S%p"


def taken(image_path: pd.Series, how: How = "names") -> pd.DataFrame:
    """When pictures were taken, one row a name of `image_path`: time (NaT if the name has none), day (midnight), clock.

    The day is that of the time, or else of the name, or of the folder, or NaT. A date that no calendar has is no date.
    clock: what says so, int8, NOTHING to NAME_UTC. how: "folders" goes by folders alone, all others by names, too.
    """
    time, clock = pd.Series(pd.NaT, image_path.index, "datetime64[s]"), np.zeros(len(image_path), np.int8)
    day = time
    if how != "folders":
        time = _named(image_path)
        day = time.dt.normalize()
        day = day.fillna(_date(image_path.where(time.isna()).str.extract(DAY)[0]))
        utc = image_path.where(time.notna()).str.contains(UTC, na=False)
        clock = np.select([time.notna() & utc, time.notna(), day.notna()], [NAME_UTC, NAME, NAME_DAY], NOTHING)
    found = image_path.where(day.isna()).str.extract(FOLDER)
    folder = _date(found[0] + found[1].fillna(found[2]) + found[3])
    clock = np.where(folder.notna(), FOLDER_DAY, clock).astype(np.int8)
    return pd.DataFrame({"time": time, "day": day.fillna(folder), "clock": clock})


def _named(image_path: pd.Series) -> pd.Series:
    found = image_path.str.extract(TIME)
    half = found[2].notna()  # AM or PM
    text = found[0].str.replace("-", "") + found[1].str.replace("[-.]", "", regex=True).str.zfill(6)
    time = pd.to_datetime(text.where(~half), format=FORMATS[0], errors="coerce")
    if not half.any():
        return time
    return time.fillna(pd.to_datetime((text + found[2]).where(half), format=FORMATS[2], errors="coerce"))


def _date(text: pd.Series) -> pd.Series:
    return pd.to_datetime(text, format=FORMATS[1], errors="coerce")


def times(image_path: pd.Series, how: How = "auto", roots: Sequence[str] = (), title: str = "") -> pd.DataFrame:
    """When pictures were taken, see `taken`, or as their EXIF says it, to the millisecond, on the clock of the place.

    how: "auto" opens the pictures whose names say no time, or that of Greenwich; "exif" opens all of them, and goes by
    names and folders where EXIF says nothing; "names" and "folders" open none. An open takes a fraction of a
    millisecond where the disk is fast. roots: the folders that image_path starts from; what is in none says nothing.
    title: of the bar; "" for none. Raises InputError if `how` is none of these.
    """
    if how not in get_args(How):
        raise InputError(f"times should be one of {', '.join(get_args(How))}. Received: times={how}")
    found = taken(image_path, how)
    if how in ("names", "folders"):
        return found
    asked = np.flatnonzero((how == "exif") | ~found.clock.isin([NAME]).to_numpy())
    said = [*threads.each(None, lambda name: _of_file(name, roots), image_path.iloc[asked].tolist(), title=title)]
    there = [number for number, answer in enumerate(said) if answer]
    if not there:
        return found
    rows = asked[there]
    time = found.time.astype("datetime64[ms]")
    time.iloc[rows] = np.array([said[number][0] for number in there], "datetime64[ms]")
    clock = found.clock.to_numpy(copy=True)
    clock[rows] = [ZONED if said[number][1] else CAMERA for number in there]
    day = found.day.astype("datetime64[ms]").where(time.isna(), time.dt.normalize())
    return pd.DataFrame({"time": time, "day": day, "clock": clock})


def _of_file(name: str, roots: Sequence[str]) -> tuple[datetime, bool] | None:
    path = locate(name, roots)
    return exif.taken_at(path) if path else None
