"""What the build of a wheel adds (hatchling's hooks, see pyproject.toml): dependencies, released files, the commit.

Dependencies and extras are the lists in requirements/, by which a clone is installed, too. A list pins what the tests
run with; a package lies beside others, with pins of their own, so that it asks for that version or a later one.
`pip install koniq --constraint requirements/scoring.txt` takes those of the tests.
"""

import runpy
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

BUILT = "koniq/ground/built.py"
NOTED = "koniq/ground/commit.txt"  # as koniq.ground.built calls it


def listed(path: Path) -> Iterator[str]:
    """The requirements of a file, and of those that it names by -r."""
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            yield from listed(path.parent / line.removeprefix("-r ").strip())
        elif line:
            yield line


def asked(path: Path) -> list[str]:
    """What a package asks for by a list of pins."""
    return [line.replace("==", ">=") for line in listed(path)]


class Requirements(MetadataHookInterface):
    """dependencies and optional-dependencies; the extras are named in pyproject.toml, each after its list."""

    def update(self, metadata: dict) -> None:
        folder = Path(self.root, "requirements")
        metadata["dependencies"] = asked(folder / "scoring.txt")
        metadata["optional-dependencies"] = {name: asked(folder / f"{name}.txt") for name in self.config["extras"]}


class Released(BuildHookInterface):
    """The commit, in whatever is built; and in a wheel what comes along but lies elsewhere in a clone."""

    def initialize(self, version: str, build_data: dict) -> None:
        self._temporary = TemporaryDirectory()
        if version == "editable":  # that is the clone itself
            return
        if self.target_name == "wheel":
            build_data["force_include"] |= self.config["released"]
        commit = runpy.run_path(str(Path(self.root, BUILT)))["commit"]()
        if commit and not Path(self.root, NOTED).exists():  # a source distribution has it
            path = Path(self._temporary.name, "commit.txt")
            path.write_text(f"{commit}\n", encoding="utf-8")
            build_data["force_include"][str(path)] = NOTED

    def finalize(self, version: str, build_data: dict, artifact_path: str) -> None:
        self._temporary.cleanup()
