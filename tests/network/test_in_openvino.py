"""koncept_lite in OpenVINO, from its arrays: PyTorch's scores, and kernels in bf16 that move no mean."""

import pickle

import numpy as np
import pytest
from lite import SIZES, drawn, pictures

from koniq import engines
from koniq.network import KONCEPT_LITE, TOLERANCE, sidecar, weights
from koniq.scoring.loop import predict

openvino = pytest.importorskip("openvino")
from koniq.network import in_openvino  # noqa: E402  it needs openvino


def scores(state, batch, **how):
    model = KONCEPT_LITE.at(batch.shape[1:3]).build_openvino(state, **how)
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
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "lite.json"}  # nothing was exported


def test_rounding_is_to_the_nearest_and_of_two_to_the_even():
    step = 2.0**-7  # from 1 to the next number of bf16
    near = in_openvino._to_bfloat16(np.float32([1, 1 + step / 2, 1 + 0.51 * step, 1 + 1.5 * step, -1 - 0.49 * step, 0]))
    np.testing.assert_array_equal(near, np.float32([1, 1, 1 + step, 1 + 2 * step, -1, 0]))


def test_the_mean_of_relu6_is_that_of_many_numbers():
    rng = np.random.default_rng(0)
    means, deviations = np.float32([0, -1, 3, 6, 8, 2]), np.float32([1, 2, 1, 4, 2, 0])
    many = (means + deviations * rng.normal(size=(100_000, 6))).clip(0, 6).mean(0)
    np.testing.assert_allclose(in_openvino._mean_of_relu6(means, deviations), many, atol=0.05)


def test_kernels_in_bfloat16_move_no_mean():
    state = drawn()
    means = in_openvino.means(state)
    exact = {name: in_openvino._fold(state, name) for name in means}
    near = in_openvino.rounded(exact, means)
    for name, mean in means.items():
        (kernel, bias), (rounded, moved) = exact[name], near[name]
        inputs = mean[:, None] if name.endswith(".depth") else mean[None]
        before, after = ((k.sum((2, 3)) * inputs).sum(1) + b for k, b in ((kernel, bias), (rounded, moved)))
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
        assert np.array_equal(rounded, in_openvino._to_bfloat16(rounded))
        assert 0 < np.abs(rounded - kernel).max() < 2.0**-8 * np.abs(kernel).max()
    batch = pictures((64, 80))
    assert 0 < np.abs(scores(state, batch, bfloat16=True) - scores(state, batch)).max() < 1


def test_a_record_travels_to_another_process():
    """It does where int8 is calibrated, and a network exported, in a process of its own."""
    assert pickle.loads(pickle.dumps(KONCEPT_LITE.at((64, 80)))) == KONCEPT_LITE.at((64, 80))
