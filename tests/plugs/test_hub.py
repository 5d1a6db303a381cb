"""A folder of the Hugging Face hub's layout: written, read strictly, fetched from a server on the loopback."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from lite import drawn
from plugged import photos, tiny_weights
from safetensors.numpy import load_file, save_file
from tiny import TINY

import koniq
from koniq import plugs
from koniq.ground import InputError
from koniq.ground.files import file_hash
from koniq.ground.paths import ROOT, TRAINED_MODELS
from koniq.measure import calibration
from koniq.measure.calibration import Affine, Calibration
from koniq.network import TOLERANCE, find, sidecar, title, write_state
from koniq.plugs import hub

pytest.importorskip("torch")
needs_hub = pytest.mark.skipif(not find_spec("huggingface_hub"), reason="optional: requirements-hub.txt")


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("photos") / "photos", (40, 50), 1)[0]


@pytest.mark.numerical
@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".weights.h5"])
def test_weights_go_into_a_folder_and_come_back_with_what_is_kept_for_them(tmp_path, photo, suffix):
    weights = tiny_weights(tmp_path / "mine", suffix, loss="mse")
    calibration.keep(weights, TINY, file_hash(weights), Calibration(Affine(0.5, 20.0), {}, 100, "somewhere"))
    folder = plugs.save_pretrained(weights, tmp_path / "hub")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    config = json.loads((folder / "config.json").read_text())
    assert (config["network"], config["input_size"], config["loss"]) == ("tiny", [24, 32], "mse")
    assert (config["name"], config["koniq_version"]) == ("tiny", koniq.__version__)
    expected = float(plugs.metric(weights)(photo))
    np.testing.assert_allclose(float(plugs.from_pretrained(folder)(photo)), expected, rtol=0, atol=TOLERANCE)
    raw = float(plugs.from_pretrained(folder, calibrate=False)(photo))
    np.testing.assert_allclose(expected, 0.5 * raw + 20, rtol=0, atol=TOLERANCE)
    # wherever weights are asked for
    assert find(str(folder)) == folder / "model.safetensors"
    assert title(find(str(folder))) == "tiny"
    scorer = koniq.load(folder, engine="openvino", precision="float32")
    np.testing.assert_allclose(scorer(photo).mos, expected, rtol=0, atol=TOLERANCE)


def changed(folder, **arrays):
    """The weights in the folder with some arrays otherwise; None: without."""
    path = folder / "model.safetensors"
    state = load_file(path) | arrays
    save_file({key: array for key, array in state.items() if array is not None}, path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"fc.8.bias": None}, r"layer 9 of those with weights differs: expected 'fc\.8' \(1, 16\) \(1,\)\. Received"),
        ({"base.5.running_mean": None}, r"expected 'base\.5'"),
        ({"fc.9.weight": np.zeros((2, 2), np.float32)}, r"expected nothing \(no more layers\)\. Received: 'fc\.9'"),
        ({"fc.8.more": np.zeros(1, np.float32)}, r"expected 'fc\.8'|expected nothing"),
        ({"fc.8.bias": np.zeros(2, np.float32)}, r"expected 'fc\.8' .*\(1,\)\. Received: .*\(2,\)"),
    ],
)
def test_loading_is_strict(tmp_path, arrays, message):
    folder = plugs.save_pretrained(tiny_weights(tmp_path / "mine"), tmp_path / "hub")
    changed(folder, **arrays)
    with pytest.raises(InputError, match=message):
        plugs.from_pretrained(folder)


def test_what_is_no_such_folder_is_named(tmp_path):
    weights = tiny_weights(tmp_path / "mine")
    folder = plugs.save_pretrained(weights, tmp_path / "hub")
    with pytest.raises(InputError, match=r"is there already\. Give overwrite=True"):
        plugs.save_pretrained(weights, folder)
    plugs.save_pretrained(weights, folder, overwrite=True)
    with pytest.raises(InputError, match="is there already"):
        plugs.save_pretrained(folder, folder, overwrite=True)
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match=r"config\.json should name one of koncept512, .* Received: None"):
        plugs.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(
        InputError, match=r"should have config\.json and model\.safetensors\. Received: no config\.json"
    ):
        plugs.from_pretrained(folder)
    with pytest.raises(InputError, match=r"name should be a folder, or owner/name of the hub\. Received: 'none'"):
        plugs.from_pretrained("none")
    with pytest.raises(InputError, match=r"repository should be owner/name\. Received: 'mine'"):
        plugs.push(weights, "mine")
    state = {key: array for key, array in drawn(2, TINY).items() if key.startswith("base.")}
    write_state(state, tmp_path / "body.safetensors", TINY)
    sidecar.write_record(tmp_path / "body.safetensors", TINY)
    with pytest.raises(InputError, match="should fit tiny"):
        plugs.save_pretrained(tmp_path / "body.safetensors", tmp_path / "of_a_body")


def test_the_absence_of_huggingface_hub_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda name: None)
    sentence = r"^huggingface_hub should be installed for this: pip install -r requirements-hub\.txt$"
    with pytest.raises(InputError, match=sentence):
        plugs.from_pretrained("somebody/koncept_lite")
    with pytest.raises(InputError, match=sentence):
        plugs.push("koncept_lite", "somebody/koncept_lite")
    plugs.from_pretrained(plugs.save_pretrained(tiny_weights(tmp_path / "mine"), tmp_path / "hub"))


@needs_hub
def test_the_released_weights_bring_their_card_and_their_licence(tmp_path):
    from huggingface_hub import ModelCard

    folder = plugs.save_pretrained("koncept_lite", tmp_path / "koncept_lite")
    source = TRAINED_MODELS / "koncept_lite"
    weights = folder / "model.safetensors"
    assert weights.read_bytes() == (source / "koncept_lite.safetensors").read_bytes()
    card = ModelCard.load(folder / "README.md")
    data = card.data.to_dict()
    assert (data["library_name"], data["pipeline_tag"], data["license"]) == ("koniq", "image-classification", "other")
    assert (folder / data["license_link"]).is_file()
    assert {"image-quality-assessment", "koncept_lite"} <= {*data["tags"]}
    assert f"`{file_hash(weights)}`" in card.text
    assert "COPYRIGHT NOTICE STARTS" in card.text
    assert "![Pictures that are no everyday photographs" in card.text
    assert "sense.png" not in card.text
    assert (folder / "limits.png").is_file()
    assert koniq.load(folder, intervals=True).intervals  # they hold for these bytes


@needs_hub
def test_push_uploads_the_folder_in_one_commit(tmp_path, monkeypatch):
    """The calls are noted, and nothing is sent: it was never run against the hub."""
    import huggingface_hub

    calls = []

    class Noted:
        def __init__(self, token):
            calls.append(("token", token))

        def create_repo(self, name, **how):
            calls.append((name, how))

        def upload_folder(self, **how):
            calls.append(({path.name for path in how.pop("folder_path").iterdir()}, how))
            return "https://hub.example/commit/1"

    monkeypatch.setattr(huggingface_hub, "HfApi", Noted)
    weights = tiny_weights(tmp_path / "mine")
    done = plugs.push(weights, "me/tiny", private=True, token="t", license="mit")
    assert done == "https://hub.example/commit/1"
    (_, token), made, (files, how) = calls
    assert (token, made) == ("t", ("me/tiny", {"private": True, "exist_ok": True}))
    assert files == {"config.json", "model.safetensors", "README.md"}
    assert (how["repo_id"], how["repo_type"]) == ("me/tiny", "model")


FETCHES = """
import sys
sys.path[:0] = sys.argv[1:3]
import tiny
from koniq import plugs
from koniq.ground import InputError
print(float(plugs.from_pretrained("me/tiny", cache_dir=sys.argv[3])(sys.argv[4])))
try:
    plugs.from_pretrained("me/none", cache_dir=sys.argv[3])
except InputError as error:
    print(error)
"""


@needs_hub
def test_a_repository_is_fetched_from_where_the_hub_is_said_to_be(tmp_path, photo):
    from hub_server import served

    folder = plugs.save_pretrained(tiny_weights(tmp_path / "mine"), tmp_path / "hub")
    with served("me/tiny", folder) as address:
        environment = os.environ | {"HF_ENDPOINT": address, "HF_HUB_DISABLE_XET": "1", "no_proxy": "127.0.0.1"}
        environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        environment.pop("HF_HUB_OFFLINE", None)
        arguments = [str(ROOT), str(Path(__file__).resolve().parents[1] / "helpers"), tmp_path / "cache", photo]
        done = subprocess.run(
            [sys.executable, "-c", FETCHES, *arguments], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    score, refused = done.stdout.splitlines()
    np.testing.assert_allclose(float(score), float(plugs.metric(folder)(photo)), rtol=0, atol=TOLERANCE)
    assert refused.startswith("me/none should be a folder, or on the hub with config.json and model.safetensors.")
