"""What is answered, as JSON and as OpenAPI describes it."""

from math import isfinite

from pydantic import BaseModel, Field

from koniq.scoring.score import Score
from koniq.serving.standing import Table


class Stands(BaseModel):
    """Where a score stands among the human scores of the table that calibrated the weights."""

    percentile: float | None = Field(description="percentage of its pictures with a lower MOS; null: not known")
    table: str | None = Field(description="what the table is called; null: not known")
    reason: str = Field(description="why there is no percentile; empty if there is one")


class Picture(BaseModel):
    """What became of one picture."""

    name: str = Field(description="as it was sent")
    score: float | None = Field(description="MOS; null unless status is ok")
    low: float | None = Field(description="lower end of the interval; null without intervals")
    high: float | None = Field(description="upper end of the interval")
    status: str = Field(description="ok, unreadable, truncated, too_large or not_finite")
    width: int = Field(description="pixels, as it is meant to be seen; 0 if not known")
    height: int
    reason: str = Field(description="why it has no score; of one that has, what there is to say, or nothing")
    stands: Stands | None = Field(description="null without a score")


class Answer(BaseModel):
    """Pictures in the order in which they came, at least one of them with a score."""

    pictures: list[Picture]


class Problem(BaseModel):
    """Why no picture of a request has a score."""

    detail: str
    pictures: list[Picture] = []


class Model(BaseModel):
    """What scores, and what its scores are placed among."""

    model: str
    intervals: str | None
    level: float | None = Field(description="share of pictures that an interval holds, such as 0.9")
    scale: list[float] = Field(description="the lowest and the highest MOS")
    table: str | None
    pictures: int = Field(description="of the table; 0 if it is not known how they lie")
    counts: list[int] = Field(description="of the table's pictures by MOS, in bins of equal width from 0 to 100")
    reason: str = Field(description="why nothing is placed there; empty if it is")
    max_mb: float
    max_pictures: int
    max_megapixels: float


def picture(score: Score, table: Table) -> Picture:
    """What is answered of a picture, its score as the CSV has it, and placed in a table."""
    fields = score.fields()
    mos, low, high = (_number(fields[name]) for name in ("MOS", "MOS_low", "MOS_high"))
    stands = None
    if mos is not None:
        stands = Stands(percentile=table.percentile(mos), table=table.name or None, reason=table.reason)
    about = {"width": score.width, "height": score.height, "reason": fields["error"], "stands": stands}
    return Picture(name=score.name, score=mos, low=low, high=high, status=score.status, **about)


def _number(text: str) -> float | None:
    """A number of a row; None where there is none, or an end of an interval that has none, which JSON cannot say."""
    return float(text) if text and isfinite(float(text)) else None
