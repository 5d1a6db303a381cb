import pytest
from tiny import TINY

from koniq.ground import InputError, paths
from koniq.network import KONCEPT512, sidecar


def test_record_gives_the_network_its_size_and_resize(tmp_path):
    path = tmp_path / "a.weights.h5"
    assert sidecar.network_of(path) == KONCEPT512
    sidecar.write_record(path, TINY.at((48, 64), "nearest"), loss="mse")
    assert sidecar.network_of(path) == TINY.at((48, 64), "nearest")
    assert sidecar.network_of(path, (24, 32), "bicubic") == TINY.at((24, 32), "bicubic")


def test_nothing_is_kept_beside_weights_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "IN_CLONE", False)
    monkeypatch.setattr(paths, "_PACKED", tmp_path / "released")
    with pytest.raises(InputError, match=r"should be yours: copy .*released.a into .*trained_models"):
        sidecar.write_record(tmp_path / "released/a/a.weights.h5", TINY)
    assert not (tmp_path / "released").exists()
    sidecar.write_record(tmp_path / "a.weights.h5", TINY)
    assert sidecar.network_of(tmp_path / "a.weights.h5") == TINY


def test_rules_are_those_of_the_record_or_of_what_is_kept_there_or_the_newest(tmp_path):
    path = tmp_path / "a.weights.h5"
    sidecar.write_record(path, TINY.at(rules="1", fit="crop"))
    assert sidecar.network_of(path) == TINY.at(rules="1", fit="crop")
    assert sidecar.network_of(path, rules="2", fit="pad") == TINY.at(fit="pad")
    assert sidecar.network_of(path, rules="study").resize == "nearest"
    older = {key: value for key, value in TINY.record().items() if key != "rules"}
    sidecar.write(path, older)
    assert sidecar.network_of(path).rules == "2"
    sidecar.write(path, older | {"calibrated": {"for": {"weights": ["abc"], "input_size": [24, 32]}}})
    assert sidecar.network_of(path).rules == "1"  # a calibration from before there were rules
    assert sidecar.network_of(path, rules="2").rules == "2"
    sidecar.write(path, TINY.record() | {"rules": "3"})
    with pytest.raises(InputError, match=r"should name rules that are known here: 2, 1, study\. Received: '3'"):
        sidecar.network_of(path)
