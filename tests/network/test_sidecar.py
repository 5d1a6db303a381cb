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
