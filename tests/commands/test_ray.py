"""What koniq ray says before it starts anything."""

import importlib

import pytest
from commands import ended

from koniq.ground.exits import BAD_INPUT

command = importlib.import_module("koniq.commands.ray")


def test_without_ray_a_sentence_names_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "ray" else True)
    assert ended("ray", tmp_path) == BAD_INPUT
    assert capsys.readouterr().err == "Error: Ray should be installed for this: pip install -r requirements-ray.txt\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--address", "ray://head:10001"), "address should be auto, or host:port of the cluster's head"),
        (("--out", "s3://bucket/scores.csv"), "out should be a file on a storage that all machines see"),
        (("--actors", 0), "actors should be positive. Received: actors=0"),
        (("--block", -1), "block should be positive. Received: block=-1"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, capsys, options, message):
    assert ended("ray", tmp_path, *options) == BAD_INPUT
    said = capsys.readouterr().err
    assert said.startswith(f"Error: {message}")
    assert len(said.splitlines()) == 1
