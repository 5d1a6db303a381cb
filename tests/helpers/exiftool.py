"""ExifTool, the judge of what is written as XMP: `tags(path)` are what it reads."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

BY_NPM = Path(__file__).parents[2] / ".venv/exiftool/node_modules/exiftool-vendored.pl/bin/exiftool"  # of make
# What is of the file system, and not of the file.
NOT_OURS = {"SourceFile", "ExifTool", "System", "File"}


@cache
def exiftool() -> tuple[str, ...]:
    """ExifTool's command; installed on Debian if it is not there, else the test is skipped, but not where CI is set."""
    if BY_NPM.is_file() and (perl := shutil.which("perl")):
        return perl, str(BY_NPM)
    if not shutil.which("exiftool") and shutil.which("apt-get") and os.geteuid() == 0:
        command = ["apt-get", "install", "-y", "-qq", "libimage-exiftool-perl"]
        subprocess.run(command, capture_output=True, check=False, timeout=300)
    if found := shutil.which("exiftool"):
        return (found,)
    why = "no ExifTool: none is there, nor could be installed by npm (make .venv/exiftool/installed) or apt-get"
    return pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)


def run(*arguments: object) -> str:
    """What ExifTool prints. Raises CalledProcessError if it fails."""
    done = subprocess.run(
        [*exiftool(), *map(str, arguments)], capture_output=True, text=True, check=True, timeout=120, encoding="utf-8"
    )
    return done.stdout


def tags(*paths: Path, own: bool = True) -> list[dict]:
    """All that ExifTool reads of files, each of which it finds well-formed, by group and name, as they are stored.

    own: with what is of koniq, as of a namespace that it does not know.
    """
    found = json.loads(run("-j", "-a", "-U", "-n", "-G1", "-struct", "-Warning", "-Error", "-all:all", *paths))
    odd = [one[key] for one in found for key in one if key.endswith((":Warning", ":Error"))]
    assert not [said for said in odd if not said.startswith("[minor]")], found
    left_out = NOT_OURS | (set() if own else {"XMP-koniq"})
    return [{key: value for key, value in one.items() if key.partition(":")[0] not in left_out} for one in found]
