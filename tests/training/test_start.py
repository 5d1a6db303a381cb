"""Where initial weights come from, and what is said of it."""

from pathlib import Path

import pytest

from koniq.ground import InputError
from koniq.network import KONCEPT512
from koniq.training.start import Initial, initial


def test_random_weights_are_said_to_be(capsys):
    assert initial("none", KONCEPT512) == Initial("random")
    assert capsys.readouterr().out == "Initial weights: random.\n"


def test_a_file_is_taken_as_it_is_and_one_that_is_not_there_refused(tmp_path, capsys):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"")
    begins = initial(str(path), KONCEPT512)
    assert begins == Initial("file", path)
    begins.say(whole=True)
    begins.say(whole=False)
    said = f"Initial weights: {path}.\nInitial weights: {path} for the body, random for the head.\n"
    assert capsys.readouterr().out == said
    with pytest.raises(InputError, match=r"nowhere\.safetensors"):
        initial(str(tmp_path / "nowhere.safetensors"), KONCEPT512)


def test_only_this_file_says_how_a_training_starts():
    room = Path(__file__).resolve().parents[2] / "koniq"
    saying = [path for path in room.rglob("*.py") if "Initial weights: " in path.read_text()]
    assert [path.name for path in saying] == ["start.py"]
