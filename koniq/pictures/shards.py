"""One of so many parts of the pictures, for machines that know nothing of each other: by a hash of each one's name."""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from koniq.ground import InputError


class Shard(NamedTuple):
    """Those pictures whose names fall into part `number` of `of`; of pictures that are added the others know nothing.

    As text it is "3/8": the third of eight.
    """

    number: int  # from 1
    of: int

    @classmethod
    def read(cls, text: str) -> "Shard":
        """The shard that is called "3/8". Raises InputError if none is."""
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip(), re.ASCII)
        shard = cls(*map(int, found.groups())) if found else cls(0, 0)
        if not 1 <= shard.number <= shard.of:
            raise InputError(f"shard should be such as 3/8, the third of eight, 1/8 the first. Received: {text}")
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, name: str) -> bool:
        """Whether a picture is in this shard. name: its image_path, as the CSV of scores has it."""
        return number_of(name, self.of) == self.number

    def beside(self, out: Path) -> Path:
        """The file of this shard where `out` is the whole's: scores.csv becomes scores_3_of_8.csv."""
        return out.with_name(f"{out.stem}_{self.number}_of_{self.of}{out.suffix}")


def number_of(name: str, of: int) -> int:
    """In which of so many shards a picture is, from 1, on every machine and for ever. name: its image_path."""
    # Not Python's hash, which is another one in every process.
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") % of + 1
