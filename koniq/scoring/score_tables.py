"""Scores of pictures by whatever wrote them: our own CSVs, the study's result files, tables of other programs."""

from pathlib import Path

import numpy as np
import pandas as pd

from koniq.ground import InputError, tables
from koniq.scoring import score_file


def read(path: Path, column: str = "") -> pd.DataFrame:
    """The scores in the table at `path`: image_path, MOS (nan without a score), status, width, height, error.

    That is a CSV that lifelog_predict.py wrote, or any table (see koniq.ground.tables) with image_path or image_name
    and a number a picture, such as the study's own result files, `image_path,MOS`. column: of the scores; MOS, if
    empty. What such a table does not say is "ok", 0 and "". An entry that is empty, nan or infinite is no score. Raises
    InputError if there is no such table or column, or if an entry is neither a number nor one of these.
    """
    if not path.is_file():
        raise InputError(f"A CSV with a score for each picture should be at {path}, and is not there.")
    if column in ("", "MOS") and score_file.is_ours(path):
        return score_file.read(path)
    table = tables.read(path)
    name = next((name for name in tables.NAMES if name in table), None)
    score = column or "MOS"
    if name is None or score not in table:
        raise InputError(
            f"{path} should have a column image_path or image_name, and the scores in a column {score}; --column names "
            f"another. Received: {', '.join(table) or 'no columns'}"
        )
    if not column and "predicted" in table:  # of a test: what the raters said, and what a model did
        raise InputError(
            f"{path} should have one column of scores. Received: MOS and predicted. Give --column MOS or "
            "--column predicted"
        )
    mos = tables.numbers(table[score], path)
    given = table[score].where(table[score] != "", "nothing")
    ok = np.isfinite(mos)
    status, error = (table.get(key, pd.Series("", table.index, dtype=object)) for key in ("status", "error"))
    return pd.DataFrame(
        {
            "image_path": tables.separated(table[name]),
            "MOS": mos.where(ok),
            "status": status.where(status != "", np.where(ok, "ok", score_file.NO_SCORE)),
            "width": 0,
            "height": 0,
            "error": error.where(ok | (error != ""), "the score is " + given),
        }
    )
