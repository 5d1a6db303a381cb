"""koncept_lite: the same weights in every framework and file, the same scores."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lite import SIZES, drawn, pictures
from scipy.stats import norm as normal

from koniq.engines import conversion
from koniq.fetch import bodies
from koniq.ground import InputError
from koniq.network import KONCEPT512, KONCEPT_LITE, TOLERANCE, sidecar, weights
from koniq.network.koncept_lite import BLOCKS, FEATURES, koncept_lite_name, padding

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("lite") / "lite.safetensors"
    weights.write_state(drawn(), path, KONCEPT_LITE)
    sidecar.write_record(path, KONCEPT_LITE)
    return path


def test_there_are_16_blocks_and_4096_features():
    assert len(BLOCKS) == 16
    assert FEATURES == 4096
    assert sum(int(np.prod(shape)) for layer in KONCEPT_LITE.layers for shape in layer.shapes) == 4_478_497


@pytest.mark.parametrize(("kernel", "expected"), [(3, {8: (0, 1), 9: (1, 1)}), (5, {8: (1, 2), 9: (2, 2)})])
def test_padding_is_that_of_tensorflow(kernel, expected):
    assert {size: padding(size, kernel, 2) for size in expected} == expected
    assert padding(8, kernel, 1) == (kernel // 2, kernel // 2)
    assert padding(1, 1, 2) == (0, 0)


@pytest.mark.numerical
def test_features_and_scores_agree_at_even_and_odd_sizes_and_the_saved_model_gives_them_too(path, tmp_path):
    keras, torch = pytest.importorskip("keras"), pytest.importorskip("torch")
    from ku.virtual_batch import split

    module = KONCEPT_LITE.build_torch().eval()
    assert weights.load_module(module, path, KONCEPT_LITE) is True
    model = KONCEPT_LITE.at((None, None)).build()
    assert weights.load(model, path) is True
    body = split(model, KONCEPT_LITE.features).body
    for size in SIZES:
        batch = pictures(size)
        with torch.no_grad():
            features, scores = module.features(torch.from_numpy(batch)), module(torch.from_numpy(batch)).numpy()
        assert features.dtype == torch.float32
        np.testing.assert_allclose(np.asarray(body(batch, training=False)), features, atol=1e-3, rtol=1e-4)
        np.testing.assert_allclose(np.asarray(model(batch, training=False)), scores, atol=TOLERANCE, rtol=0)
        assert np.ptp(scores) > 20 * TOLERANCE
    for name in ("m.keras", "m.weights.h5"):
        (model.save if name.endswith(".keras") else model.save_weights)(tmp_path / name)
        state = weights.read_state(tmp_path / name, KONCEPT_LITE)
        assert all(np.array_equal(state[key], array) for key, array in drawn().items())
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(np.asarray(again(batch, training=False)), scores, atol=TOLERANCE, rtol=0)


def test_features_are_the_mean_and_the_spread_of_each_level_after_another():
    torch = pytest.importorskip("torch")
    from koniq.network.in_torch import mean_and_spread

    quantiles = normal.ppf((np.arange(4000) + 0.5) / 4000).astype(np.float32)
    x = torch.from_numpy(np.stack([quantiles, 5 + 2 * quantiles, np.full_like(quantiles, 7)])).view(1, 3, 50, 80)
    mean, spread = mean_and_spread(x)
    np.testing.assert_allclose(mean[0], [0, 5, 7], atol=1e-4)
    np.testing.assert_allclose(spread[0], [1, 2, 1e-5**0.5], atol=2e-3)
    module = KONCEPT_LITE.build_torch()
    seen = []
    module.base.blocks[2].register_forward_hook(lambda *of: seen.append(of[2]))
    features = module.features(torch.from_numpy(pictures((64, 80), 2)))
    assert torch.equal(features[:, :48], torch.cat(mean_and_spread(seen[0]), 1))


def test_the_gradient_of_a_grey_picture_is_finite():
    torch = pytest.importorskip("torch")
    module = KONCEPT_LITE.build_torch()
    module(torch.full((2, 64, 80, 3), 127, dtype=torch.uint8)).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("ending", [".safetensors", ".weights.h5", ".h5"])
def test_weights_are_read_without_a_framework(path, tmp_path, ending):
    target = tmp_path / f"lite{ending}"
    code = (
        "import sys; from pathlib import Path\n"
        "from koniq.network import KONCEPT_LITE, network_of, read_state, weights\n"
        f"source, target = Path({str(path)!r}), Path({str(target)!r})\n"
        "weights.write_state(read_state(source, network_of(source)), target, KONCEPT_LITE)\n"
        "state, again = read_state(source, KONCEPT_LITE), read_state(target, KONCEPT_LITE)\n"
        "assert all((state[key] == again[key]).all() for key in state | again)\n"
        "sys.exit(' '.join({'torch', 'keras', 'tensorflow'} & {*sys.modules}) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.numerical
def test_it_is_converted_to_every_format_and_back_and_to_onnx(path, tmp_path, capsys):
    pytest.importorskip("keras"), pytest.importorskip("torch")
    before = path
    for number, ending in enumerate((".pth", ".keras", ".h5", ".weights.h5", ".safetensors")):
        after = tmp_path / f"{number}{ending}"
        conversion.convert(before, after)
        assert sidecar.network_of(after) == KONCEPT_LITE
        before = after
    state = weights.read_state(before, KONCEPT_LITE)
    assert all(np.array_equal(state[key], array) for key, array in drawn().items())
    pytest.importorskip("onnxruntime")
    conversion.to_onnx(before, tmp_path / "lite.onnx", SIZES[1], None, 3)  # raises where scores differ
    assert "The scores of 3 pictures differ by" in capsys.readouterr().out


def test_half_precision_halves_the_file_and_is_read_as_float32(path, tmp_path):
    state, half = drawn(), tmp_path / "half.safetensors"
    weights.write_state(weights.halved(state), half, KONCEPT_LITE)
    assert half.stat().st_size < 0.51 * path.stat().st_size < 10e6
    found = weights.read_state(half, KONCEPT_LITE)
    for key, array in found.items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, state[key], rtol=1e-3, atol=1e-7)
    state["fc.0.running_var"][5] = 1e5
    with pytest.raises(InputError, match=r"fc\.0\.running_var should have numbers up to 65504 .* Received: 100000"):
        weights.halved(state)


def test_bfloat16_is_read_as_float32(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    state = {key: torch.from_numpy(array).bfloat16() for key, array in drawn().items()}
    save_file(state, tmp_path / "b.safetensors")
    found = weights.read_state(tmp_path / "b.safetensors", KONCEPT_LITE)
    assert all(np.array_equal(found[key], state[key].float()) for key in state)


def test_a_file_of_the_other_network_is_refused_by_record_and_by_shapes(path, tmp_path):
    with pytest.raises(InputError, match=r"should have weights of koncept512\. Received: weights of koncept_lite, by"):
        weights.read_state(path, KONCEPT512)
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"should fit koncept512, and layer 1 .* expected 'base\.0\.conv'"):
        weights.read_state(alone, KONCEPT512)
    sidecar.write_record(alone, KONCEPT512)
    with pytest.raises(InputError, match=r"should fit koncept512, and layer 1 "):
        weights.read_state(alone, sidecar.network_of(alone))


def test_names_of_the_public_port():
    expected = {
        "_conv_stem.weight": "base.stem.conv.weight",
        "_bn0.bias": "base.stem.bn.bias",
        "_bn1.running_var": "base.top.bn.running_var",
        "_blocks.0._bn1.weight": "base.blocks.0.depth.bn.weight",
        "_blocks.15._bn0.weight": "base.blocks.15.expand.bn.weight",
        "_blocks.3._project_conv.weight": "base.blocks.3.project.conv.weight",
        "_fc.weight": "",
        "fc.2.bias": "fc.2.bias",
    }
    assert {key: koncept_lite_name(key) for key in expected} == expected


def test_a_training_starts_from_imagenet_alike_in_both_frameworks():
    keras, torch = pytest.importorskip("keras"), pytest.importorskip("torch")
    pytest.importorskip(bodies.PACKAGE)
    path = bodies.body_weights(KONCEPT_LITE)
    module, model = KONCEPT_LITE.build_torch(7.0).eval(), KONCEPT_LITE.at((64, 80)).build(7.0)
    assert weights.load_module(module, path, KONCEPT_LITE, body=True) is False
    assert weights.load(model, path, KONCEPT_LITE, body=True) is False
    body = keras.Model(model.input, model.get_layer(KONCEPT_LITE.features).output)
    batch = pictures((64, 80))
    with torch.no_grad():
        features = module.features(torch.from_numpy(batch))
    np.testing.assert_allclose(np.asarray(body(batch, training=False)), features, atol=1e-3, rtol=1e-4)
    assert float(model.layers[-1].bias[0]) == module.fc[-1].bias.item() == 7
    with pytest.raises(InputError, match=r"expected 'fc\.0' \(4096,\) .* \(not there\)"):
        weights.load(model, path, KONCEPT_LITE)
