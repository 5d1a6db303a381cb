"""When a picture was taken, as its name says it, by patterns that pandas and DuckDB read alike."""

import pandas as pd

# As lifelog cameras write it: b00000000_21i6bq_20150223_070647e.jpg, 20160811_131315_000.jpg
TIME = r"(?:^|[^0-9])((?:19|20)[0-9]{6})_([0-9]{6})(?:[^0-9/][^/]*)?$"
FOLDER = (
    r"(?s)^(?:.*/)?((?:19|20)[0-9]{2})(?:-([0-9]{2})-|([0-9]{2})/)([0-9]{2})/"  # 2015-02-23/, 201901/01/; innermost
)
FORMATS = "%Y%m%d%H%M%S", "%Y%m%d"


def taken(image_path: pd.Series) -> pd.DataFrame:
    """When pictures were taken, one row a name of `image_path`: time (NaT if the name has none), day (midnight).

    The day is that of the time, or else of the folder, or NaT. A date that no calendar has is no date.
    """
    found = image_path.str.extract(TIME)
    time = pd.to_datetime(found[0] + found[1], format=FORMATS[0], errors="coerce")
    found = image_path.where(time.isna()).str.extract(FOLDER)
    folder = pd.to_datetime(found[0] + found[1].fillna(found[2]) + found[3], format=FORMATS[1], errors="coerce")
    return pd.DataFrame({"time": time, "day": time.dt.normalize().fillna(folder)})
