"""The house: scripts stand on koniq, koniq on ku, and ku on libraries only; a script is a page long."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(ROOT.glob("*.py"))
MODULES = sorted([*ROOT.glob("ku/*.py"), *ROOT.glob("koniq/*.py")])


def imported(path: Path) -> set[str]:
    """The top-level names of everything that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", [*SCRIPTS, *MODULES], ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_from_above_its_floor(path):
    above = {script.stem for script in SCRIPTS}
    if path.parent == ROOT / "ku":
        above.add("koniq")
    assert not imported(path) & above


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_under_60_lines(path):
    assert len(path.read_text().splitlines()) < 60


def test_scripts_there():
    assert {"koncept512_train", "koncept512_test", "lifelog_predict"} <= {path.stem for path in SCRIPTS}


def test_help_and_bad_input_do_not_wait_for_tensorflow():
    for script in SCRIPTS:
        code = f"import sys, {script.stem}; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0, script.name
