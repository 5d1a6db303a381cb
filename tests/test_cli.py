from dataclasses import dataclass
from typing import Literal

import pytest

from koniq import cli
from koniq.errors import InputError, RunStopped


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
