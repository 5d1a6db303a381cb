"""What became of one picture that was to be scored."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite, isnan, nan
from typing import NamedTuple

import numpy as np

from koniq.ground.urls import public
from koniq.pictures.contents import Content
from koniq.pictures.decoding import Opened, Picture, name_of
from ku.files import shown


@dataclass(frozen=True, slots=True)
class Score:
    """What became of one picture: its score, or the reason why it has none."""

    name: str = ""  # what the picture is called: its path as it was given; "" if it has none
    mos: float = nan  # nan unless status is "ok"
    status: str = "ok"  # or missing, unreadable, truncated, too_large, not_finite
    width: int = 0  # as the picture is meant to be seen, pixels; 0 if that is not known
    height: int = 0
    error: str = ""  # the reason, if status is not "ok"
    raw: float = nan  # the network's own score, where `mos` is a calibrated one
    low: float = nan  # the ends of the interval about `mos`, where intervals were asked for
    high: float = nan
    content: Content | None = None  # what was in the file, where that was asked for
    note: str = ""  # what there is to say of a picture that has a score

    @classmethod
    def of(cls, name: str, opened: Opened, mos: float = nan, raw: float = nan) -> "Score":
        """What became of a picture that was opened; without a score, if that is all that became of it."""
        about = (opened.status, opened.width, opened.height, opened.error)
        return cls(name, mos, *about, raw=raw, content=opened.content, note=opened.note)

    def fields(self) -> dict[str, str]:
        """What a row of a CSV says of it, by column, MOS_low and MOS_high among them; "" where there is no number.

        In the column `error` stands the note, if there is no error.
        """
        # The shortest digits that give the same number back: a network's scores are float32, calibrated ones are not.
        mos = self.mos if isfinite(self.raw) else np.float32(self.mos)
        numbers = {"MOS": mos, "MOS_low": self.low, "MOS_high": self.high}
        return {
            "image_path": shown(public(self.name)),
            **{name: "" if isnan(number) else str(number) for name, number in numbers.items()},
            "status": self.status,
            "width": str(self.width),
            "height": str(self.height),
            "error": shown(self.error or self.note),
        }


class Given(NamedTuple):
    """A picture to score: what it is called, and the picture."""

    name: str
    picture: Picture


def given(pictures: Iterable[Picture]) -> Iterator[Given]:
    """Pictures with their names, one after another."""
    return (Given(name_of(picture), picture) for picture in pictures)
