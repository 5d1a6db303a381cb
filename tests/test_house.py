"""The house: scripts stand on koniq, its rooms on one another, all of them on ku, and ku on libraries only."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(ROOT.glob("*.py"))
# From the ground up: what stands on a floor imports from its own room and from below. "koniq": what has no room.
ROOMS = tuple(
    f"koniq.{room}"
    for room in (
        *("ground", "network", "data", "measure", "pictures", "fetch", "engines", "scoring"),
        *("xmp", "reports", "evaluation", "training", "study", "commands"),
    )
)
FLOORS = ("ku", *ROOMS, "koniq", "scripts")
FILES = {
    **{room: sorted((ROOT / room.replace(".", "/")).glob("*.py")) for room in FLOORS[:-1]},
    "scripts": SCRIPTS,
}
FRAMEWORKS = {"keras", "tensorflow", "torch", "openvino", "nncf", "onnx", "onnxruntime", "kuti", "ray"}
HIDDEN = {"images", "metadata", "models", "logs"}  # folders of koniq that git does not see: data, not rooms
METHOD = 30  # lines of a script below its settings
EXPORTS = 12  # names of a room
LONGEST = 400  # lines of a file
# Files without a test of their name, and where they are tested; commands are by tests/commands and tests/test_docs.py.
TESTED_IN = {
    "data/published": "study/test_matrix",
    "data/rated": "data/test_splits",
    "data/releases": "fetch/test_inspection",
    "engines/engine": "engines/test_conversion",
    "engines/features": "evaluation/test_near_copies",
    "engines/gpu_probe": "engines/test_gpus",
    "engines/in_keras": "engines/test_gpus",
    "engines/in_onnx": "engines/test_conversion",
    "engines/in_openvino": "engines/test_plan",
    "engines/in_torch": "engines/test_gpus",
    "engines/int8": "engines/test_plan",
    "evaluation/causes": "evaluation/test_verifying",
    "evaluation/diagnosis_page": "evaluation/test_diagnosis",
    "evaluation/ending": "evaluation/test_calibrating",
    "evaluation/limits": "study/test_card",
    "evaluation/testing": "reports/test_figures",
    "fetch/photographs": "evaluation/test_sense",
    "fetch/seen": "fetch/test_installation",
    "fetch/sources": "fetch/test_installation",
    "ground/errors": "commands/test_cli",
    "ground/exits": "commands/test_cli",
    "ground/facts": "data/test_scale",
    "ground/lazy": "test_house",
    "ground/machine": "test_systems",
    "ground/text": "reports/test_figures",
    "ground/typed": "commands/test_door",
    "ku/helper_params": "ku/test_model_helper",
    "ku/raw": "ku/test_opening",
    "measure/keeping": "measure/test_calibration",
    "network/in_keras": "network/test_koncept_lite",
    "network/in_openvino_koncept512": "network/test_in_openvino",
    "network/in_openvino_koncept_lite": "network/test_in_openvino",
    "network/spec": "network/test_layers",
    "network/weight_files": "network/test_weights",
    "pictures/apart": "scoring/test_in_flight",
    "pictures/contents": "scoring/test_resume",
    "pictures/in_fsspec": "pictures/test_stores",
    "pictures/listed": "pictures/test_inputs",
    "pictures/order": "pictures/test_memory",
    "pictures/room": "fetch/test_inspection",
    "pictures/store_faults": "pictures/test_stores",
    "pictures/whole": "pictures/test_prepared",
    "reports/distribution": "reports/test_lifelog_report",
    "reports/in_duckdb": "reports/test_large",
    "reports/page": "reports/test_lifelog_report",
    "reports/pairing": "reports/test_comparison",
    "reports/times": "reports/test_lifelog_report",
    "scoring/in_duckdb": "reports/test_large",
    "scoring/in_pyarrow": "scoring/test_exporting",
    "scoring/in_xlsxwriter": "scoring/test_exporting",
    "scoring/journal": "scoring/test_resume",
    "scoring/lifelog": "scoring/test_scorer",
    "scoring/lines": "scoring/test_score_file",
    "scoring/score": "scoring/test_score_file",
    "scoring/taken": "reports/test_lifelog_report",
    "study/recipes": "study/test_matrix",
    "study/report": "study/test_matrix",
    "study/results": "study/test_matrix",
    "study/steps": "study/test_estimate",
}

every_file = pytest.mark.parametrize(
    ("room", "path"),
    [pytest.param(room, path, id=str(path.relative_to(ROOT))) for room, paths in FILES.items() for path in paths],
)
every_room = pytest.mark.parametrize("room", ROOMS)


def imports(nodes: Iterator[ast.AST]) -> set[str]:
    """The dotted names that these nodes import: of `from a import b`, both a and a.b."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def everywhere(path: Path) -> set[str]:
    """What a file imports, wherever in it."""
    return imports(ast.walk(ast.parse(path.read_text())))


def room_of(name: str) -> str | None:
    """The floor that a dotted name belongs to; None: a library's."""
    if name in {script.stem for script in SCRIPTS}:
        return "scripts"
    inside = [floor for floor in FLOORS[:-1] if name == floor or name.startswith(f"{floor}.")]
    return max(inside, key=len, default=None)


@every_file
def test_nothing_imports_from_above_its_floor(room, path):
    allowed = FLOORS[: FLOORS.index(room) + 1]
    # "koniq" itself is imported by the way with any room of it
    above = {
        name for name in everywhere(path) - {"koniq", "koniq.__version__"} if room_of(name) not in (None, *allowed)
    }
    assert not above


def named(room: str) -> dict[str, Path]:
    """The files of a room by what they are called."""
    return {path.stem: path for path in FILES[room] if path.stem != "__init__"}


@every_room
def test_no_circle_within_a_room(room):
    files, graph = named(room), {}
    for stem, path in files.items():
        own = {name.split(".")[2] for name in everywhere(path) if name.startswith(f"{room}.")}
        assert own <= {*files}, "the room's own files are imported by their names"
        graph[stem] = own
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError


def without_frameworks(names: list[str]) -> None:
    """Import these in one process, one after the other, and name the first that brings a framework with it."""
    code = f"""
import sys
from importlib import import_module
for name in {names}:
    import_module(name)
    if found := {FRAMEWORKS} & {{*sys.modules}}:
        sys.exit(f"{{name}}: {{found}}")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_framework_is_imported_by_its_own_file_alone():
    """Anywhere else it would make everybody wait who does not compute."""
    others = []
    for room in ROOMS:
        for stem, path in named(room).items():
            if not stem.startswith("in_"):
                top = {name.split(".")[0] for name in imports(ast.parse(path.read_text()).body)}
                assert not top & FRAMEWORKS, path
                others.append(f"{room}.{stem}")
    without_frameworks(others)


@every_room
def test_a_room_says_what_it_is_and_exports_a_few_names_none_of_them_a_file(room):
    module = import_module(room)
    assert module.__doc__
    assert 0 < len(module.__all__) <= EXPORTS
    assert not {*module.__all__} & {*named(room)}  # the file would be had in place of the name
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = module.nothing_like_it


@every_file
def test_a_file_is_no_longer_than_one_reads_at_a_time(room, path):
    assert len(path.read_text().splitlines()) <= LONGEST


def test_tests_mirror_the_rooms():
    """Every file has a test of its name, or stands in a list with the test that it is tested in."""
    tests = {
        path.relative_to(ROOT / "tests").with_suffix("").as_posix() for path in (ROOT / "tests").rglob("test_*.py")
    }
    without = set()
    for room in ("ku", *ROOMS):
        name = room.removeprefix("koniq.")
        without |= {f"{name}/{stem}" for stem in named(room) if f"{name}/test_{stem}" not in tests}
    assert {name for name in without if not name.startswith("commands/")} == {*TESTED_IN}
    assert {*TESTED_IN.values()} <= tests


def test_every_folder_of_koniq_with_modules_is_a_room():
    folders = {path.parent.name for path in (ROOT / "koniq").glob("*/*.py")}
    assert {f"koniq.{name}" for name in folders} == set(ROOMS)
    assert not folders & HIDDEN


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_settings_and_then_a_method_of_a_few_lines(path):
    text = path.read_text()
    (settings,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    assert settings.name == "Settings"
    assert len(text.splitlines()) - settings.end_lineno <= METHOD


def test_scripts_there():
    assert {"koncept512_train", "koncept512_test", "lifelog_predict"} <= {path.stem for path in SCRIPTS}


def test_help_and_bad_input_do_not_wait_for_tensorflow():
    without_frameworks([script.stem for script in SCRIPTS])
