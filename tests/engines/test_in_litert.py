"""LiteRT and ONNX of the small network: the scores of the CSV."""

import numpy as np
import pandas as pd
import pytest
from commands import ended
from plugged import photos, tiny_weights

import koniq
from koniq.engines import conversion, in_litert, in_onnx
from koniq.ground import InputError, RunStopped
from koniq.network import TOLERANCE, find, network_of, sidecar
from koniq.pictures.decoding import decode

pytest.importorskip("tensorflow")
BY = {".tflite": in_litert, ".onnx": in_onnx}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights"))


def check(weights, target, folder, out):
    """What was exported gives the scores of the CSV, in batches of any size, and has its record beside it."""
    koniq.load(weights, engine="openvino", precision="float32").write(folder, out)
    expected = pd.read_csv(out).MOS.to_numpy()
    assert np.ptp(expected) > 20 * TOLERANCE
    network = network_of(weights)
    pixels = np.stack([decode(path, network).pixels for path in sorted(folder.iterdir())])
    engine = BY[target.suffix].start(target, network)
    for size in (1, len(pixels) - 1, len(pixels)):
        np.testing.assert_allclose(engine.score(pixels[:size]), expected[:size], rtol=0, atol=TOLERANCE)
    if sidecar.record(weights):
        assert sidecar.record(target)["network"] == network.name
    return np.abs(engine.score(pixels) - expected).max()


@pytest.mark.numerical
def test_litert_gives_the_scores_of_the_csv(weights, tmp_path, capsys):
    folder = photos(tmp_path / "photos", (90, 133))[0].parent
    target = tmp_path / "tiny.tflite"
    assert ended("export", weights, target, "--pictures", folder) == 0
    said = capsys.readouterr()
    assert "The scores of 4 pictures differ by" in said.out
    assert said.err == ""
    check(weights, target, folder, tmp_path / "scores.csv")
    assert ended("export", weights, target) == 2
    assert "is there already. Give --overwrite" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.numerical
@pytest.mark.parametrize("suffix", BY)
def test_the_released_network_gives_the_scores_of_the_csv(tmp_path, suffix):
    folder = photos(tmp_path / "photos", (600, 900))[0].parent
    target = tmp_path / f"lite{suffix}"
    assert ended("export", "koncept_lite", target, "--pictures", folder) == 0
    print(check(find("koncept_lite"), target, folder, tmp_path / "scores.csv"))


def test_what_differs_is_not_written_and_what_is_absent_is_named(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(in_litert, "export", lambda path, network, target: target.write_bytes(b"x"))
    monkeypatch.setattr(in_litert, "start", lambda path, network: engine_of(network))
    with pytest.raises(RunStopped, match=r"They should differ by 0\.001 MOS at most; .* was not written"):
        conversion.to_litert(weights, tmp_path / "a.tflite", None, None, 2)
    assert not any(tmp_path.iterdir())
    monkeypatch.setattr(in_litert, "find_spec", lambda name: None)
    with pytest.raises(
        InputError, match=r"^TensorFlow should be installed for this: pip install -r requirements\.txt$"
    ):
        conversion.to_litert(weights, tmp_path / "a.tflite", None, None, 2)


def engine_of(network):
    """An engine that gives 0 for everything."""
    return koniq.engines.Engine("none", network, 8, lambda pixels: np.zeros(len(pixels), np.float32), any_batch=True)


def test_keras_by_another_framework_is_named(weights, tmp_path, monkeypatch):
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(InputError, match="KERAS_BACKEND should be tensorflow for this"):
        in_litert.export(weights, network_of(weights), tmp_path / "a.tflite")
