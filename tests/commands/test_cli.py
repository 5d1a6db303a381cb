import importlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from tqdm import tqdm

from koniq import __version__
from koniq.commands import cli, door
from koniq.ground import InputError, RunStopped, exits, machine

ROOT = Path(__file__).resolve().parents[2]
MODULES = [f"koniq.commands.{module}" for module, _ in door.COMMANDS.values()]
SCRIPTS = [path.stem for path in sorted(ROOT.glob("*.py")) if "__main__" in path.read_text("utf-8")]


@dataclass(frozen=True)
class Settings:
    batch_size: int = 8  # pictures a step
    loss: Literal["mse", "plcc"] = "mse"
    resize: Literal["lanczos"] | None = None
    epochs: tuple[int, ...] = (4, 2)
    learning_rates: tuple[float, ...] = (1e-4, 1e-5)


def ended(capsys, main, *arguments):
    """The exit code of a script and what it said."""
    with pytest.raises(SystemExit) as end:
        cli.run(main, Settings, list(arguments))
    return end.value.code, capsys.readouterr().err


def raising(error):
    def main(settings):
        raise error

    return main


def test_settings_come_from_the_command_line():
    got = []
    arguments = ["--batch-size", "4", "--loss", "plcc", "--epochs", "1", "2"]
    cli.run(lambda settings: got.append(settings), Settings, arguments)
    assert got == [Settings(batch_size=4, loss="plcc", epochs=(1, 2))]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size should be positive. Received: batch_size=0"),
        ({"epochs": (1, -1)}, r"epochs should be positive. Received: epochs=\(1, -1\)"),
        ({"epochs": (1,)}, "one a stage. Received: 1 and 2"),
        ({"loss": "mape"}, "loss should be one of mse, plcc. Received: loss='mape'"),
        ({"resize": "bilinear"}, "resize should be one of lanczos. Received: resize='bilinear'"),
    ],
)
def test_settings_edited_wrongly_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        cli.check(Settings(**wrong))


def test_exit_codes(capsys):
    assert ended(capsys, raising(InputError("no data"))) == (2, "Error: no data\n")
    assert ended(capsys, raising(RunStopped("the loss is nan"))) == (1, "Error: the loss is nan\n")
    assert ended(capsys, raising(PermissionError("read-only")))[0] == 1
    assert ended(capsys, raising(KeyboardInterrupt()))[0] == 130
    assert ended(capsys, raising(type("ResourceExhaustedError", (Exception,), {})())) == (
        1,
        "Error: the device is out of memory; try a smaller batch_size, or mixed precision\n",
    )
    assert ended(capsys, print, "--batch-size", "many")[0] == 2


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(raising(ZeroDivisionError()), Settings, [])


@pytest.mark.parametrize("code", [None, 0, exits.UNSCORED])
def test_what_main_returns_is_the_exit_code(code):
    try:
        cli.run(lambda settings: code, Settings, [])
        ended = 0
    except SystemExit as end:
        ended = end.code
    assert ended == (code or 0)


def test_quiet_prints_errors_alone(capfd):
    def main(settings):
        assert settings == Settings(batch_size=4)
        print("a line")
        for _ in tqdm(range(3), desc="a bar"):
            print("a note", file=sys.stderr)
        subprocess.run([sys.executable, "-c", "print('of a process below')"], check=True)
        os.write(1, b"of native code")
        cli.complain("the first of two failed")
        raise RunStopped("the loss is nan")

    with pytest.raises(SystemExit) as end:
        cli.run(main, Settings, ["--quiet", "--batch-size", "4"])
    assert end.value.code == 1
    assert tuple(capfd.readouterr()) == ("", "Error: the first of two failed\nError: the loss is nan\n")
    print("all is as before")
    assert capfd.readouterr().out == "all is as before\n"


def test_a_fault_of_the_program_is_no_secret_to_quiet():
    code = (
        "from koniq.commands import cli, sample\ndef main(s): print(1 / 0)\ncli.run(main, sample.Settings, ['--quiet'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert cli._errors is None


@pytest.mark.parametrize("name", [*SCRIPTS, *MODULES])
def test_every_command_has_quiet_version_and_exit_codes(capsys, name):
    command = importlib.import_module(name)
    with pytest.raises(SystemExit) as end:
        cli.run(command.main, command.Settings, ["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert "--quiet " in text
    assert "--version " in text
    assert cli.EXIT_CODES in text
    cli.run(command.main, command.Settings, ["--version"])
    assert capsys.readouterr().out == f"koniq {__version__}, commit {machine.commit() or 'unknown'}\n"


def test_the_page_of_commands_has_the_exit_codes():
    text = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    for code in (0, exits.STOPPED, exits.BAD_INPUT, exits.UNSCORED, exits.INTERRUPTED):
        assert f"| {code} |" in text
