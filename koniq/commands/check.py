"""What is there of a data set, against its table: absent, unreadable, of a wrong size, twice there, or not of it.

Where the table has a column `group` (python -m koniq group), the groups in several of its sets are named, too.

python -m koniq check koniq10k
python -m koniq check live_itw --images ChallengeDB_release/Images --table ChallengeDB_release/Data
python -m koniq check mine.csv --images my_folder --out findings.csv
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import tyro

from koniq.fetch.inspection import Report, check
from koniq.ground import InputError
from ku.files import atomic_path


@dataclass(frozen=True)
class Settings:
    dataset: tyro.conf.Positional[str] = "koniq10k"  # koniq10k, live_itw, biq2021, sample, or a .csv table
    images: str = ""  # the folder of its pictures, if not in koniq/images
    table: str = ""  # its table (live_itw, biq2021: the folder of their tables), if not in koniq/metadata
    out: str = ""  # a .csv or .json that gets every finding, where the lines on the screen name a few
    workers: int | None = None  # threads that open pictures; None: one a core


def main(s: Settings) -> None:
    if s.out and not s.out.endswith((".csv", ".json")):
        raise InputError(f"out should be a .csv or a .json. Received: out={s.out!r}")
    report = check(s.dataset, s.table, s.images, s.workers)
    if s.out:
        write(report, Path(s.out))
    print("\n".join(report.lines()))
    if report.faults:
        sys.exit(1)


def write(report: Report, path: Path) -> None:
    """Write the findings: .csv, a row each (kind, image_name, detail, fault), or .json with the verdict as well."""
    rows = [asdict(finding) for finding in report.findings]
    with atomic_path(path) as temporary:
        if path.suffix == ".csv":
            pd.DataFrame(rows, columns=["kind", "image_name", "detail", "fault"]).to_csv(
                temporary, index=False, errors="backslashreplace"
            )
        else:
            facts = {"name": report.name, "folder": str(report.folder), "expected": report.expected}
            facts |= {"right": not report.faults, "verdict": report.verdict(), "findings": rows}
            temporary.write_text(json.dumps(facts, indent=2) + "\n")
