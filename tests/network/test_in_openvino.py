"""The networks in OpenVINO, from their arrays: the scores of Keras and PyTorch, and koncept_lite's kernels in bf16."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from lite import SIZES, drawn, pictures
from PIL import Image

from koniq import engines
from koniq.engines import int8
from koniq.network import KONCEPT512, KONCEPT_LITE, TOLERANCE, sidecar, weights
from koniq.network.koncept_lite import EPSILON
from koniq.pictures.decoding import decode
from koniq.scoring.loop import predict

openvino = pytest.importorskip("openvino")
from koniq.network import in_openvino  # noqa: E402  it needs openvino
from koniq.network import in_openvino_koncept_lite as in_lite  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


def scores(state, batch, network=KONCEPT_LITE, **how):
    model = network.at(batch.shape[1:3]).build_openvino(state, **how)
    return openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(batch)[0]


@pytest.fixture(scope="module")
def module():
    torch = pytest.importorskip("torch")
    module = KONCEPT_LITE.build_torch().eval()
    module.load_state_dict(module.state_dict() | {key: torch.from_numpy(array) for key, array in drawn().items()})
    return lambda batch: module(torch.from_numpy(batch)).detach().numpy()


@pytest.mark.parametrize("size", [*SIZES, (33, 34)])
@pytest.mark.numerical
def test_scores_are_those_of_pytorch_at_any_size(module, size):
    batch = pictures(size)
    expected = module(batch)
    np.testing.assert_allclose(scores(drawn(), batch), expected, rtol=0, atol=TOLERANCE)
    assert np.ptp(expected) > 1


@pytest.mark.numerical
def test_engines_agree_on_real_pictures(test_data, tmp_path):
    path = tmp_path / "lite.safetensors"
    weights.write_state(weights.halved(drawn()), path, KONCEPT_LITE)
    sidecar.write_record(path, KONCEPT_LITE)
    paths = sorted((test_data / "biq2021" / "images").iterdir())[:5]
    found = {}
    for engine in ("torch", "openvino"):
        plan = engines.decide(path, engine, "float32", device="cpu")
        found[engine] = np.array([score.mos for score in predict(plan.start(), paths)])
    np.testing.assert_allclose(found["openvino"], found["torch"], rtol=0, atol=TOLERANCE)
    assert np.ptp(found["torch"]) > 0.1
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "lite.json"}


def test_rounding_is_to_the_nearest_and_of_two_to_the_even():
    step = 2.0**-7  # from 1 to the next number of bf16
    near = in_lite._to_bfloat16(np.float32([1, 1 + step / 2, 1 + 0.51 * step, 1 + 1.5 * step, -1 - 0.49 * step, 0]))
    np.testing.assert_array_equal(near, np.float32([1, 1, 1 + step, 1 + 2 * step, -1, 0]))


def test_the_mean_of_relu6_is_that_of_many_numbers():
    rng = np.random.default_rng(0)
    means, deviations = np.float32([0, -1, 3, 6, 8, 2]), np.float32([1, 2, 1, 4, 2, 0])
    many = (means + deviations * rng.normal(size=(100_000, 6))).clip(0, 6).mean(0)
    np.testing.assert_allclose(in_lite._mean_of_relu6(means, deviations), many, atol=0.05)


def test_kernels_in_bfloat16_move_no_mean():
    state = drawn()
    means = in_lite.means(state)
    exact = {name: in_openvino.folded(state, name, EPSILON) for name in means}
    near = in_lite.rounded(exact, means)
    for name, mean in means.items():
        (kernel, bias), (rounded, moved) = exact[name], near[name]
        inputs = mean[:, None] if name.endswith(".depth") else mean[None]
        before, after = ((k.sum((2, 3)) * inputs).sum(1) + b for k, b in ((kernel, bias), (rounded, moved)))
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
        assert np.array_equal(rounded, in_lite._to_bfloat16(rounded))
        assert 0 < np.abs(rounded - kernel).max() < 2.0**-8 * np.abs(kernel).max()
    batch = pictures((64, 80))
    assert 0 < np.abs(scores(state, batch, bfloat16=True) - scores(state, batch)).max() < 1


def test_a_record_travels_to_another_process():
    """It does where int8 is calibrated in a process of its own."""
    assert pickle.loads(pickle.dumps(KONCEPT_LITE.at((64, 80)))) == KONCEPT_LITE.at((64, 80))


@pytest.fixture(scope="module")
def koncept512(tmp_path_factory):
    """Weights of KonCept512 drawn at random, as `.safetensors`, with their record for pictures of 76x100."""
    path = tmp_path_factory.mktemp("koncept512") / "k.safetensors"
    weights.write_state(drawn(network=KONCEPT512), path, KONCEPT512)
    sidecar.write_record(path, KONCEPT512.at((76, 100)))
    return path


@pytest.mark.parametrize("size", [(76, 100), (109, 93), pytest.param((384, 512), marks=pytest.mark.long)])
@pytest.mark.slow
@pytest.mark.numerical
def test_koncept512_scores_as_in_pytorch_at_any_size(koncept512, size):
    torch = pytest.importorskip("torch")
    batch = pictures(size)
    found = scores(weights.read_state(koncept512, KONCEPT512), batch, KONCEPT512)
    module = KONCEPT512.build_torch().eval()
    weights.load_module(module, koncept512, KONCEPT512)
    with torch.no_grad():
        np.testing.assert_allclose(found, module(torch.from_numpy(batch)), rtol=0, atol=TOLERANCE)
    assert np.ptp(found) > 1


def test_what_int8_leaves_of_koncept512_is_its_stem_and_its_head(koncept512):
    model = KONCEPT512.at((76, 100)).build_openvino(weights.read_state(koncept512, KONCEPT512))
    names = [layer.get_friendly_name() for layer in int8._layers(model)]
    assert len({*names}) == len(names) == sum(layer.kind in ("Conv2D", "Dense") for layer in KONCEPT512.layers)
    assert names[: int8.STEM] == [f"base.{place}" for place in (0, 1, 2, 4, 5)]
    assert names[-int8.HEAD :] == ["fc.0", "fc.4", "fc.8", "fc.12"]


# Each file is scored as by the command itself, in a process that finds no framework that trains.
WITHOUT_FRAMEWORKS = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in ("keras", "tensorflow", "torch") else super().find_spec(name, path, target)

sys.meta_path = [Without if finder is PathFinder else finder for finder in sys.meta_path]
import lifelog_predict
from koniq.commands import cli
for path in sys.argv[3:]:
    arguments = ["--engine", "openvino", "--precision", "float32", "--weights", path, "--out", path + ".csv"]
    cli.run(lifelog_predict.main, lifelog_predict.Settings, [*sys.argv[1:3], *arguments])
"""


@pytest.mark.parametrize(
    "endings",
    [(".h5",), pytest.param((".safetensors", ".h5", ".weights.h5", ".keras"), marks=pytest.mark.long)],
    ids=("one", "all"),
)
@pytest.mark.slow
@pytest.mark.numerical
def test_koncept512_scores_as_in_keras_without_a_framework_from_every_file_but_a_pth(koncept512, tmp_path, endings):
    pytest.importorskip("keras")
    state, network = weights.read_state(koncept512, KONCEPT512), KONCEPT512.at((76, 100))
    shown = [tmp_path / f"{number}.png" for number in range(2)]
    for path, pixels in zip(shown, pictures((120, 160)), strict=False):
        Image.fromarray(pixels).save(path)
    files = [tmp_path / ending.strip(".") / f"k{ending}" for ending in endings]
    model = network.build()
    weights.load(model, koncept512)
    for path in files:
        path.parent.mkdir()
        model.save(path) if path.suffix == ".keras" else weights.write_state(state, path, network)
        sidecar.write_record(path, network)

    def done(*paths):
        command = [sys.executable, "-c", WITHOUT_FRAMEWORKS, *shown, *paths]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done(*files).returncode == 0
    tables = [pd.read_csv(f"{path}.csv") for path in files]
    expected = model.predict_on_batch(np.stack([decode(path, network).pixels for path in shown]))[:, 0]
    np.testing.assert_allclose(tables[0].MOS, expected, rtol=0, atol=TOLERANCE)
    assert np.ptp(tables[0].MOS) > 0.1
    for path, table in zip(files, tables, strict=True):
        np.testing.assert_array_equal(table.MOS, tables[0].MOS)
        assert {file.suffix for file in path.parent.iterdir()} <= {path.suffix, ".json", ".csv", ".contents"}
    pth = tmp_path / "k.pth"
    pth.touch()
    sidecar.write_record(pth, network)
    refused = done(pth)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert f"PyTorch should be installed to read {pth}: pip install -r requirements-torch.txt" in refused.stderr
