import pytest

from koniq.ground import InputError
from koniq.network import finding, sidecar


def test_find(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "TRAINED_MODELS", tmp_path / "trained")
    monkeypatch.setattr(finding, "RELEASED_MODELS", tmp_path / "released")
    monkeypatch.setattr(finding, "MODELS", tmp_path / "models")
    named, run = tmp_path / "trained/mine.weights.h5", tmp_path / "models/run/x_best.weights.h5"
    for path in (named, run):
        path.parent.mkdir(parents=True)
        path.touch()
    assert finding.find("mine") == finding.find("mine.weights.h5") == finding.find(str(named)) == named
    assert finding.find("run") == finding.find(str(run.parent)) == run
    of_its_own = tmp_path / "trained/lite/lite.safetensors"
    of_its_own.parent.mkdir()
    of_its_own.touch()
    assert finding.find("lite") == finding.find(str(of_its_own.parent)) == of_its_own
    along = tmp_path / "released/along/along.safetensors"  # comes along, and is there where nothing was trained
    along.parent.mkdir(parents=True)
    along.touch()
    assert finding.find("along") == along
    own = tmp_path / "trained/along.h5"
    own.touch()
    assert finding.find("along") == own
    assert sidecar.title(named) == "mine"
    assert sidecar.title(run) == "run"
    with pytest.raises(InputError, match=r"Received: weights='absent'"):
        finding.find("absent")
    with pytest.raises(InputError, match=r"python -m koniq fetch koncept512/original"):
        finding.find(finding.ORIGINAL)


def test_where_nothing_is_named_the_original_goes_before_the_released_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(finding, "TRAINED_MODELS", tmp_path)
    monkeypatch.setattr(finding, "RELEASED_MODELS", tmp_path)
    monkeypatch.setattr(finding, "MODELS", tmp_path)
    with pytest.raises(InputError, match="Received: weights='koncept_lite'"):
        finding.find_or_default("")
    released, original = tmp_path / "koncept_lite/koncept_lite.safetensors", tmp_path / finding.ORIGINAL
    released.parent.mkdir()
    released.touch()
    assert finding.find_or_default("") == released
    said = capsys.readouterr().out
    assert said.startswith("Model: koncept_lite, as nothing else is named;")
    assert "python -m koniq fetch koncept512/original" in said
    original.touch()
    assert finding.find_or_default("") == original
    assert capsys.readouterr().out.startswith(
        "Model: the original KonCept512, as nothing else is named; --weights koncept_lite"
    )
    assert finding.find_or_default("koncept_lite") == released
    assert not capsys.readouterr().out
