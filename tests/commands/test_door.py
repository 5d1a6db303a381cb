"""The one door, as a user meets it."""

import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from koniq.commands import door
from koniq.ground import typed
from koniq.ground.exits import BAD_INPUT

ROOT = Path(__file__).resolve().parents[2]
FRAMEWORKS = {"tensorflow", "keras", "torch", "openvino", "onnxruntime", "matplotlib"}
NO_COMMANDS = {"__init__", "door", "cli", "choices"}


def koniq(*words, **how):
    return subprocess.run(
        [sys.executable, "-m", "koniq", *words], cwd=ROOT, capture_output=True, text=True, check=False, **how
    )


def test_every_command_is_listed_with_what_it_does():
    done = koniq()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == koniq("--help").stdout
    for name, (_, what) in door.COMMANDS.items():
        assert any(line.split() == [name, *what.split()] for line in done.stdout.splitlines())
    assert all(len(line) <= 120 for line in done.stdout.splitlines())


def test_every_module_of_commands_is_one():
    modules = {path.stem for path in (ROOT / "koniq/commands").glob("*.py")} - NO_COMMANDS
    assert modules == {module for module, _ in door.COMMANDS.values()}


def test_the_list_is_there_in_less_than_a_second():
    took = []
    for _ in range(3):
        begun = time.perf_counter()
        koniq()
        took.append(time.perf_counter() - begun)
    assert min(took) < 1


@pytest.mark.parametrize(
    ("word", "near"), [("scroe", "score"), ("Reports", "report"), ("replciate", "replicate"), ("tset", "test")]
)
def test_a_wrong_word_is_met_with_the_nearest_command(word, near):
    done = koniq(word)
    assert (done.returncode, done.stdout) == (BAD_INPUT, "")
    assert f"Received: {word}. Did you mean" in done.stderr
    assert f"-m koniq {near}?" in done.stderr


def test_a_word_that_is_near_nothing_is_met_with_the_list():
    done = koniq("xyzzy")
    assert done.returncode == BAD_INPUT
    assert "Did you mean" not in done.stderr
    assert done.stderr.startswith("Error: A command should be one of score, report, ")


@pytest.mark.parametrize("name", ["compare", "check", "score", "train-and-miss"])
def test_one_command_is_imported_and_no_framework_for_its_help(name):
    code = f"""
import sys
from koniq.commands.door import main
try:
    main([{name!r}, "--help"])
except SystemExit:
    pass
print(*(m for m in sys.modules if m in {FRAMEWORKS} or m.startswith("koniq.commands.")), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    found = set(done.stderr.splitlines()[-1].split())
    known = {f"koniq.commands.{each}" for each in ("door", "cli", "choices")}
    assert found - known == ({f"koniq.commands.{name}"} if name in door.COMMANDS else set())


def test_help_names_what_can_be_typed():
    text = koniq("split", "--help").stdout
    assert text.startswith(f"usage: {typed.command('split')} ")
    assert f"\n  {typed.command('split')} mine.csv" in text


def test_a_command_is_typed_as_it_was_reached(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/koniq", "fetch"])
    assert typed.command("fetch live_itw") == "koniq fetch live_itw"
    monkeypatch.setattr(sys, "argv", ["koniq/__main__.py"])
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.chdir(tmp_path)
    assert typed.command("fetch") == ".venv/bin/python -m koniq fetch"
    monkeypatch.chdir("/")
    assert typed.command("fetch") == f"{tmp_path / '.venv/bin/python'} -m koniq fetch"
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / ".venv/bin"))
    assert typed.command("fetch") == "python -m koniq fetch"


def test_a_shell_completes_commands_and_their_options(tmp_path):
    done = koniq("--tyro-print-completion", "bash")
    assert done.returncode == 0
    (tmp_path / "koniq.bash").write_text(done.stdout)
    ask = f"""
source {tmp_path}/koniq.bash
complete -p koniq
"""
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    text = (tmp_path / "koniq.bash").read_text()
    assert "--threshold" in text
    assert all(name in text for name in door.COMMANDS)


@pytest.mark.parametrize("name", sorted(door.IN_CLONE_ALONE))
def test_what_needs_a_clone_says_so_elsewhere(name, monkeypatch, capsys):
    monkeypatch.setattr(door, "IN_CLONE", False)
    with pytest.raises(SystemExit) as end:
        door.main([name])
    assert end.value.code == BAD_INPUT
    assert capsys.readouterr().err.startswith(f"Error: {name} should be run in a clone of the repository. Received: ")


def test_the_matrix_is_run_by_the_door_as_by_its_script():
    module = importlib.import_module("koniq.commands.replicate")
    assert module.Settings.__module__ == "replicate"
    done = koniq("replicate", "--list", "--no-estimate", "--rows", "kuti-*", "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert "kuti-mse-b8" in done.stdout
