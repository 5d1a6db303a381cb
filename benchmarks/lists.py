"""Lists of millions: the memory and the time that going on with one takes, and merging the parts of one.

python -m benchmarks.lists
python -m benchmarks.lists --rows 10000000 --record

What is measured is the list, not a network. Going on: `FEW` pictures of a list are not scored yet, all others have a
row and a line of what was in them, and none of them is there, as of a list whose disk is not mounted, so that no file
is read; what scores is a stub. Merging: eight shards of the same list, without the contents of pictures, by names and
by the list. Each is a process of its own, whose most memory is that of the system's count.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import measured
from benchmarks.recorded import record
from koniq.commands import cli
from koniq.ground import InputError, machine
from koniq.ground.files import write_json
from koniq.ground.text import markdown_table
from koniq.pictures.shards import number_of
from koniq.scoring.score import Score
from koniq.scoring.score_file import COLUMNS, ScoreFile

NAMED = "2015-02-{:02}/b{:08}_21i6bq_20150223_{:06}e.jpg"  # as LSC'21 names them
FEW = 20  # pictures that are not scored yet
SHARDS = 8
FACTS = {"model": "stub", "weights": "abc"}
COMMAND = "python -m benchmarks.lists --rows {} --record"
GOES_ON = """
import sys, time
from pathlib import Path
import numpy as np
from benchmarks.lists import FACTS
from koniq.engines.engine import Engine
from koniq.network import KONCEPT_LITE
from koniq.pictures import inputs
from koniq.scoring import lifelog, loop
from koniq.scoring.scorer import Scorer

class Plan:
    network = KONCEPT_LITE.at((64, 80))
    def settled(self): return self
    def facts(self): return FACTS
    def start(self): return Engine("stub", self.network, 8, lambda batch: batch.mean((1, 2, 3)))

began = time.perf_counter()
Scorer(Plan()).write(inputs.of([sys.argv[1]]), sys.argv[2])
print(time.perf_counter() - began)
"""
MERGES = """
import sys, time
from pathlib import Path
from koniq.pictures import inputs
from koniq.scoring.merging import merge

out, pictures, *parts = sys.argv[1:]
began = time.perf_counter()
merge([*map(Path, parts)], Path(out), inputs.of([pictures]) if pictures else None)
print(time.perf_counter() - began)
"""
APPENDS = """
import sys, time
from pathlib import Path
from benchmarks.lists import FACTS, NAMED
from koniq.pictures.contents import Content
from koniq.scoring.score import Score
from koniq.scoring.score_file import ScoreFile

began = time.perf_counter()
with ScoreFile(Path(sys.argv[1]), FACTS) as file:
    for number in range(int(sys.argv[2])):
        name, content = NAMED.format(1, number, number), Content(1, 1, "ab" * 16)
        file.append(Score(name, 50.0, width=1024, height=768, content=content))
print(time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Settings:
    rows: int = 1_000_000  # of the list
    appended: int = 100_000  # rows that are written one by one
    record: bool = False  # put the figures into results/scale.csv


def main(s: Settings) -> None:
    if min(s.rows, s.appended) <= 2 * FEW:
        raise InputError(f"rows and appended should be more than {2 * FEW}. Received: {s.rows} and {s.appended}")
    print(f"{machine.machine()}; {machine.in_words(machine.versions())}; commit {machine.commit()}\n")
    found: dict[tuple[str, str], tuple[float, str]] = {}
    size = f"{s.rows:,} rows"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds, _ = run(APPENDS, folder / "appended.csv", s.appended)
        found["append", "rows"] = s.appended / seconds, "rows/s"
        write(folder, s.rows)
        seconds, peak = run(GOES_ON, folder / "list.csv", folder / "scores.csv")
        found["going on", size] = s.rows / seconds, "rows/s"
        found["memory", f"a list of {s.rows:,}, gone on with"] = peak, "MiB"
        parts = sorted(folder.glob("part_*.csv"))
        seconds, peak = run(MERGES, folder / "merged.csv", "", *parts)
        found["merge", size] = s.rows / seconds, "rows/s"
        found["memory", f"merge of {size}"] = peak, "MiB"
        (folder / "merged.csv").unlink()
        seconds, peak = run(MERGES, folder / "merged.csv", folder / "list.csv", *parts)
        found["merge in the order of a list", size] = s.rows / seconds, "rows/s"
        found["memory", f"merge of {size} in the order of a list"] = peak, "MiB"
    print(markdown_table(["", "", ""], [[*key, f"{value:,.0f} {unit}"] for key, (value, unit) in found.items()]))
    if s.record:
        for (step, case), (value, unit) in found.items():
            record(step, case, value, unit, COMMAND.format(s.rows), value, value)


def run(code: str, *arguments: object) -> tuple[float, float]:
    """The seconds that a process says it took, and the most MiB that it had."""
    lines, peak = measured([sys.executable, "-c", code, *arguments])
    return float(lines[-1]), peak / 2**20


def names(count: int) -> Iterator[str]:
    """The pictures of a list, in the order of their names."""
    return (NAMED.format(1 + number * 28 // count, number, number % 240_000) for number in range(count))


def write(folder: Path, count: int) -> None:
    """A list, its scores and what was in its pictures but for `FEW`, and the scores in shards."""
    facts = {**FACTS, "roots": [str(folder)]}
    rows = folder / "scores.csv"
    with ScoreFile(rows, facts) as file:
        file.append(Score("first.jpg"))
    begun = time.perf_counter()
    parts = [(folder / f"part_{number}.csv").open("w") for number in range(1, SHARDS + 1)]
    counts = [0] * SHARDS
    head = ",".join(COLUMNS) + "\n"
    with (
        (folder / "list.csv").open("w") as listed,
        rows.open("w") as scores,
        (folder / "scores.csv.contents").open("w") as contents,
    ):
        listed.write("image_path\n")
        for file in (scores, *parts):
            file.write(head)
        for number, name in enumerate(names(count)):
            row = f"{name},{number % 9973 / 100},ok,1024,768,\n"
            listed.write(f"{name}\n")
            shard = number_of(name, SHARDS) - 1
            parts[shard].write(row)
            counts[shard] += 1
            if number % (count // FEW):
                scores.write(row)
                contents.write(f'["{name}", 0, 250000, 1424649600000000000, "{number:032x}"]\n')
    for number, part in enumerate(parts, 1):
        part.close()
        about = {**facts, "shard": f"{number}/{SHARDS}", "shard_pictures": counts[number - 1]}
        write_json(about, folder / f"part_{number}.csv.json")
    print(f"A list of {count:,}, its scores and its parts made in {time.perf_counter() - begun:,.0f} s\n")


if __name__ == "__main__":
    cli.run(main, Settings)
