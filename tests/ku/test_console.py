"""What is printed, drawn, asked and timed."""

import threading

import numpy as np
import pytest

from ku import console

pytestmark = pytest.mark.any_backend


def test_pretty_print(capsys):
    console.pretty({"a": 1, "b": {"c": "x" * 100}}, key_sep=" =")
    assert capsys.readouterr().out.splitlines() == ["a = 1", "b =", "  c = " + "x" * 77 + "..."]
    console.pretty_print({"c": "x" * 100}, trim=False)
    assert "x" * 100 in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "expected"), [("y", True), (" Yes ", True), ("", False), ("no", False)])
def test_raw_confirm(monkeypatch, answer, expected):
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    assert console.raw_confirm("Delete?") is expected


def test_show_progress(capsys):
    for i in range(3):
        console.show_progress(i, 2, "read", length=4, fill="#")
    lines = capsys.readouterr().out.split("\r")[1:]
    assert lines == ["read |----| 0.0% ", "read |##--| 50.0% ", "read |####| 100.0% \n"]


def test_timer(capsys):
    with console.Timer("decode") as timer:
        threading.Event().wait(0.02)
    assert 0.02 <= timer.elapsed < 2
    assert capsys.readouterr().out == f"decode: {timer.elapsed:.3f} s\n"


def test_print_sizes(capsys):
    console.print_sizes([np.zeros(3)])
    assert capsys.readouterr().out == "[array<3>]\n"
