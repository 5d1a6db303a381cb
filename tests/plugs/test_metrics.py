"""The metric of pyiqa's shape: the CSV's scores, gradients, and what it refuses."""

import copy
import pickle
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
from lite import drawn
from plugged import KNOTS, photos, tensor_of, tiny_weights
from tiny import TINY

import koniq
from koniq import plugs
from koniq.ground import InputError
from koniq.ground.files import file_hash
from koniq.measure import calibration
from koniq.measure.calibration import Affine, Calibration, Identity, Isotonic, Logistic
from koniq.network import TOLERANCE, write_state
from koniq.plugs import metrics

torch = pytest.importorskip("torch")

ROOT = Path(__file__).resolve().parents[2]
MAPS = (Identity(), Affine(0.5, 20.0), Logistic(10.0, 90.0, 50.0, 12.0, 30.0, 70.0), Isotonic(**KNOTS))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """Pictures of the size that the network takes."""
    return photos(tmp_path_factory.mktemp("exact") / "photos")


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("larger") / "photos", (90, 133))


def in_csv(weights, folder, out, **how):
    koniq.load(weights, engine="openvino", precision="float32", **how).write(folder, out)
    return pd.read_csv(out).MOS.to_numpy()


def test_it_has_the_attributes_that_programs_ask_for(weights):
    metric = plugs.metric(weights)
    assert isinstance(metric, torch.nn.Module)
    assert (metric.metric_mode, metric.lower_better, metric.score_range) == ("NR", False, "~0, ~100")
    assert (metric.as_loss, metric.metric_name, metric.device.type) == (False, "tiny", metric.device.type)
    assert not any(each.requires_grad for each in metric.parameters())


@pytest.mark.numerical
def test_a_path_has_the_score_of_the_csv(weights, larger, tmp_path):
    metric, expected = plugs.metric(weights), in_csv(weights, larger[0].parent, tmp_path / "scores.csv")
    found = [metric(path) for path in larger]
    assert {(tuple(each.shape), each.dtype) for each in found} == {((1, 1), torch.float32)}
    assert np.ptp(expected) > 100 * TOLERANCE
    np.testing.assert_allclose([float(each) for each in found], expected, rtol=0, atol=TOLERANCE)


@pytest.mark.numerical
def test_a_tensor_of_the_networks_size_has_it_too_alone_and_in_a_batch(weights, exact, tmp_path):
    metric, expected = plugs.metric(weights), in_csv(weights, exact[0].parent, tmp_path / "scores.csv")
    batch = metric(tensor_of(*exact))
    assert batch.shape == (len(exact), 1)
    np.testing.assert_allclose(batch[:, 0], expected, rtol=0, atol=TOLERANCE)
    alone = torch.cat([metric(tensor_of(path)) for path in exact])
    np.testing.assert_allclose(alone, batch, rtol=0, atol=TOLERANCE)
    assert metric(tensor_of(*exact)[:0]).shape == (0, 1)


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("resize", ["lanczos", "box", "nearest"])
def test_a_tensor_of_another_size_is_resized_as_a_file_is(weights, larger, fit, resize):
    """But for Pillow's rounding to 8 bits, of every pixel, twice."""
    metric = plugs.metric(weights, fit=fit, resize=resize)
    files = torch.cat([metric(path) for path in larger])
    tensors = metric(tensor_of(*larger))
    assert np.ptp(files.numpy()) > 4
    np.testing.assert_allclose(tensors, files, rtol=0, atol=0.2)


def test_grey_pictures_are_those_of_three_equal_channels(weights):
    grey = torch.rand(2, 1, 30, 40, generator=torch.Generator().manual_seed(1))
    metric = plugs.metric(weights)
    torch.testing.assert_close(metric(grey), metric(grey.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("to_mos", MAPS, ids=lambda each: type(each).__name__)
def test_maps_to_mos_are_those_of_the_calibration_and_have_its_slope(to_mos):
    from koniq.plugs.in_torch import in_mos

    scores = torch.linspace(-20, 120, 57, dtype=torch.float64, requires_grad=True)
    found = in_mos(scores, to_mos)
    np.testing.assert_allclose(found.detach(), to_mos(scores.detach().numpy()), rtol=0, atol=1e-9)
    found.sum().backward()
    step, at = 1e-4, scores.detach().numpy()
    slopes = (to_mos(at + step) - to_mos(at - step)) / (2 * step)
    knots = KNOTS["scores"] if isinstance(to_mos, Isotonic) else (getattr(to_mos, "low", 1e9), 1e9)
    smooth = np.min(np.abs(at[:, None] - np.array(knots)), 1) > 0.01  # at a knot there are two
    np.testing.assert_allclose(scores.grad.numpy()[smooth], slopes[smooth], rtol=0, atol=1e-3)


@pytest.mark.numerical
def test_scores_are_in_mos_where_a_calibration_is_kept(tmp_path, exact):
    weights = tiny_weights(tmp_path)
    kept = Calibration(Affine(0.5, 20.0), {}, 100, "somewhere")
    calibration.keep(weights, TINY, file_hash(weights), kept)
    raw, mos = plugs.metric(weights, calibrate=False), plugs.metric(weights)
    expected = in_csv(weights, exact[0].parent, tmp_path / "scores.csv")
    for picture in (tensor_of(exact[0]), exact[0]):
        np.testing.assert_allclose(float(mos(picture)), expected[0], rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(float(mos(picture)), 0.5 * float(raw(picture)) + 20, rtol=0, atol=TOLERANCE)


def test_the_range_is_that_of_the_scale_and_none_where_there_is_no_scale(tmp_path):
    assert plugs.metric(tiny_weights(tmp_path / "a", scale=[1, 5])).score_range == "~1, ~5"
    assert plugs.metric(tiny_weights(tmp_path / "b", loss="plcc")).score_range is None


def test_there_are_gradients_as_a_loss_alone_and_to_the_pictures_alone(weights, exact):
    pictures = tensor_of(*exact).requires_grad_()
    assert not plugs.metric(weights)(pictures).requires_grad
    metric = plugs.metric(weights, as_loss=True)
    loss = metric(pictures)
    assert loss.shape == ()
    loss.backward()
    assert torch.isfinite(pictures.grad).all()
    assert (pictures.grad.abs().amax((1, 2, 3)) > 0).all()
    assert all(each.grad is None for each in metric.parameters())
    each = plugs.metric(weights, as_loss=True, loss_reduction="none", loss_weight=2.0)(pictures)
    assert each.shape == (len(exact), 1)
    torch.testing.assert_close(each.mean(), 2 * loss)
    torch.testing.assert_close(plugs.metric(weights, as_loss=True, loss_reduction="sum")(pictures), each.sum() / 2)
    with torch.no_grad():
        assert not metric(pictures).requires_grad
    assert metric(1.5 * pictures).isfinite()  # where it is a loss, pixels may leave [0, 1] on their way


def test_a_pictures_score_rises_along_its_gradient():
    """koncept_lite, at a small size, of a picture of another size: eight steps."""
    metric = plugs.metric("koncept_lite", as_loss=True, input_size=(96, 128))
    picture = torch.rand(1, 3, 150, 180, generator=torch.Generator().manual_seed(1)) / 2 + 0.25
    scores = []
    for _ in range(9):
        picture.requires_grad_()
        scores.append(metric(picture))
        (slope,) = torch.autograd.grad(scores[-1], picture)
        picture = (picture + 0.004 * slope.sign()).detach().clamp(0, 1)
    assert scores[-1] > scores[0] + 5
    same = plugs.metric("koncept_lite", input_size=(96, 128))
    torch.testing.assert_close(float(same(picture)), float(metric(picture)))


def test_it_stays_as_it_is_whatever_is_around_it(weights, exact):
    metric, pictures = plugs.metric(weights), tensor_of(*exact)
    expected = metric(pictures)
    metric.train()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(metric(pictures), expected, rtol=0, atol=0)
    assert not metric.net.training
    assert not any(each.training for each in metric.net.modules())
    for other in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        torch.testing.assert_close(other(pictures), expected)


def test_other_weights_take_the_place_of_the_first(weights, tmp_path, exact):
    other = tmp_path / "other.safetensors"
    write_state(drawn(7, TINY), other, TINY)
    other.with_suffix(".json").write_text(weights.with_suffix(".json").read_text())
    metric = plugs.metric(weights)
    before = metric(exact[0])
    metric.load_weights(other)
    assert abs(float(metric(exact[0]) - before)) > TOLERANCE
    torch.testing.assert_close(metric(exact[0]), plugs.metric(other)(exact[0]))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (torch.rand(3, 24, 32), r"pictures should be \(batch, 3 or 1, height, width\)\. Received: \(3, 24, 32\)"),
        (torch.rand(1, 24, 32, 3), r"Received: \(1, 24, 32, 3\)"),
        (torch.rand(1, 3, 0, 32), r"Received: \(1, 3, 0, 32\)"),
        (255 * torch.ones(1, 3, 24, 32), r"pictures should be in \[0, 1\]\. Received: 255 to 255"),
        (torch.full((1, 3, 24, 32), torch.nan), r"pictures should be in \[0, 1\]\. Received: nan to nan"),
        (torch.zeros(1, 3, 24, 32, dtype=torch.uint8), r"floating-point numbers in \[0, 1\]\. Received: torch\.uint8"),
        (np.zeros((1, 3, 24, 32)), r"target should be a path, or a tensor of 4 axes in \[0, 1\]\. Received: ndarray"),
        ("none.jpg", r"none\.jpg should be a picture that opens\. Received: no such file"),
    ],
)
def test_what_it_does_not_take_is_named(weights, target, message):
    with pytest.raises(InputError, match=message):
        plugs.metric(weights)(target)


def test_other_mistakes_are_named(weights):
    with pytest.raises(InputError, match="loss_reduction should be mean, sum or none"):
        plugs.metric(weights, loss_reduction="median")
    with pytest.raises(InputError, match="weights should be a file"):
        plugs.metric("nothing_like_it")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (plugs.metric, "PyTorch should be installed for this: pip install -r requirements-torch.txt"),
        (plugs.torchmetric, "torchmetrics should be installed for this: pip install -r requirements-metrics.txt"),
        (plugs.register_in_pyiqa, "pyiqa should be installed for this: pip install pyiqa"),
    ],
)
def test_an_absent_package_is_one_sentence(monkeypatch, call, message):
    for module in (metrics, sys.modules[metrics.needs_torch.__module__]):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        call()


class Registry(dict):
    """What pyiqa keeps classes in, as far as it is asked here."""

    def register(self, what, name, override):
        assert override or name not in self
        self[name] = what


@pytest.mark.parametrize("times", [1, 2])
def test_pyiqa_is_told_of_the_networks(monkeypatch, exact, times):
    """A stand-in with the two tables that pyiqa 0.1.16 looks networks up in: pyiqa itself was never run."""
    configs, classes = {}, Registry()
    made = {"pyiqa": {}, "pyiqa.utils": {}, "pyiqa.default_model_configs": {"DEFAULT_CONFIGS": configs}}
    for name, content in (made | {"pyiqa.utils.registry": {"ARCH_REGISTRY": classes}}).items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "koniq.plugs.in_pyiqa", raising=False)
    monkeypatch.delattr(plugs, "in_pyiqa", raising=False)
    monkeypatch.setattr(metrics, "find_spec", lambda name: True)
    for _ in range(times):
        assert plugs.register_in_pyiqa() == ("koncept_lite", "koncept512")
    config = configs["koncept_lite"]
    assert (config["metric_mode"], config["lower_better"], config["score_range"]) == ("NR", False, "~0, ~100")
    options = dict(config["metric_opts"])
    network = classes[options.pop("type")](**options)
    torch.testing.assert_close(network(tensor_of(exact[0])), plugs.metric("koncept_lite")(tensor_of(exact[0])))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pyiqa.archs"] == {"koniq": "koniq.plugs.in_pyiqa:register"}


@pytest.mark.long
def test_the_lines_of_the_page_run(tmp_path, monkeypatch):
    pytest.importorskip("torchmetrics")
    photos(tmp_path / "photos", (480, 640), 1)[0].rename(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    texts = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/plugs.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(texts) == 4
    for text in texts:
        exec(compile(text, "plugs.md", "exec"), {"print": lambda *things: None})
