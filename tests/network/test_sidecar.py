from tiny import TINY

from koniq.network import KONCEPT512, sidecar


def test_record_gives_the_network_its_size_and_resize(tmp_path):
    path = tmp_path / "a.weights.h5"
    assert sidecar.network_of(path) == KONCEPT512
    sidecar.write_record(path, TINY.at((48, 64), "nearest"), loss="mse")
    assert sidecar.network_of(path) == TINY.at((48, 64), "nearest")
    assert sidecar.network_of(path, (24, 32), "bicubic") == TINY.at((24, 32), "bicubic")
