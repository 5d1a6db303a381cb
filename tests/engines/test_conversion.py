"""The converter as a command, ONNX, and files that are no weights."""

import os
import pickle
import subprocess
import sys
from itertools import product
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from tiny import TINY

from koniq import engines
from koniq.commands import cli, convert
from koniq.engines import conversion, gpus, in_onnx
from koniq.engines.plan import Plan
from koniq.ground import InputError, RunStopped
from koniq.network import TOLERANCE, sidecar, weights
from koniq.scoring.loop import predict

ROOT = Path(__file__).resolve().parents[2]
PICTURES = np.random.default_rng(5).integers(0, 256, (8, 24, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Weights of the small network as Keras writes them, all drawn anew, with their record."""
    keras.utils.set_random_seed(3)
    model = TINY.build(output_bias=50)
    rng = np.random.default_rng(3)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, layer.moving_mean.shape))
    model.layers[-1].kernel.assign(30 * model.layers[-1].kernel)
    path = tmp_path_factory.mktemp("tiny") / "tiny.weights.h5"
    model.save_weights(path)
    sidecar.write_record(path, TINY)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number, pixels in enumerate(PICTURES):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.jpg").write_text("no picture")
    return folder


@pytest.mark.numerical
def test_one_file_gives_one_score_through_every_engine(tiny, folder, tmp_path):
    targets = [tmp_path / f"tiny{suffix}" for suffix in (".keras", ".pth")]
    for before, after in zip((tiny, targets[0]), targets, strict=True):
        conversion.convert(before, after)
    paths = sorted(folder.glob("*.png"))
    expected = [score.mos for score in predict(engines.decide(tiny, "keras", "float32").start(), paths)]
    assert np.ptp(expected) > 0.5  # five hundred times what may differ
    every = [(path, engine) for path in (tiny, *targets) for engine in ("keras", "torch")]
    # OpenVINO's export, in a process of its own, reads weights as Keras's engine does: once is enough.
    for path, engine in (*every, (targets[-1], "openvino")):
        found = [score.mos for score in predict(engines.decide(path, engine, "float32").start(), paths)]
    for path, engine in product((tiny, *targets), ("keras", "torch", "openvino")):
        found = [score.mos for score in predict(engines.decide(path, engine, "float32").start(), paths)]
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE, err_msg=f"{path.suffix} {engine}")


@pytest.mark.numerical
def test_torch_in_bfloat16_is_near_float32(tiny):
    exact, near = (
        engines.decide(tiny, "torch", kind).start().score(PICTURES) for kind in ("float32", "mixed_bfloat16")
    )
    assert 0 < np.abs(near - exact).max() < 0.1 * np.ptp(exact)


def test_wrong_choices_of_the_torch_engine_are_named(tiny):
    with pytest.raises(InputError, match=r"precision=int8 should go with engine=openvino\. Received: engine=torch"):
        engines.decide(tiny, "torch", "int8")
    if not torch.cuda.is_available():
        with pytest.raises(
            InputError, match=r"device should be one that PyTorch has here: cpu\. Received: device=cuda"
        ):
            engines.decide(tiny, "torch", device="cuda").settled()


@pytest.mark.parametrize("source", ["tiny.weights.h5", "tiny.safetensors"])
@pytest.mark.numerical
def test_onnx_takes_any_batch_and_scores_the_same(tiny, folder, tmp_path, source, capsys):
    path = tmp_path / source
    conversion.convert(tiny, path)
    target = tmp_path / "tiny.onnx"
    conversion.to_onnx(path, target, None, folder, 8)
    framework = "torch" if source.endswith("safetensors") else "keras"
    assert f"MOS at most from those of {framework}." in capsys.readouterr().out
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].type == "tensor(uint8)"
    expected = engines.decide(path, framework, "float32").start().score(PICTURES)
    for count in (1, 7, 8):
        found = session.run(None, {"pictures": PICTURES[:count]})[0][:, 0]
        np.testing.assert_allclose(found, expected[:count], rtol=0, atol=TOLERANCE)
    assert sidecar.record(target) == sidecar.record(tiny)
    assert {file.name for file in tmp_path.iterdir()} == {source, "tiny.json", "tiny.onnx"}


@pytest.mark.parametrize("source", ["tiny.weights.h5", "tiny.safetensors"])
@pytest.mark.numerical
def test_onnx_is_made_and_checked_on_the_processor_whatever_the_default(tiny, tmp_path, monkeypatch, source):
    """Where a process works on a GPU by default: here on "meta", on which nothing can be computed."""
    path = tmp_path / source
    conversion.convert(tiny, path)
    for name in (*gpus.HIDING, "KERAS_TORCH_DEVICE"):
        monkeypatch.setenv(name, "0")
    seen, export, start, device = [], in_onnx.export, Plan.start, keras.device

    def note(what, call):
        def noted(*arguments):
            seen.append((what, arguments[0].device if what == "start" else None, os.environ["CUDA_VISIBLE_DEVICES"]))
            return call(*arguments)

        return noted

    monkeypatch.setattr(in_onnx, "export", note("export", export))
    monkeypatch.setattr(Plan, "start", note("start", start))
    monkeypatch.setattr(keras, "device", lambda name: seen.append(("keras", name, "")) or device(name))
    torch.set_default_device("meta")
    try:
        conversion.to_onnx(path, tmp_path / "tiny.onnx", None, None, 2)
    finally:
        torch.set_default_device(None)
    held = [("keras", "cpu:0", "")] if source.endswith("h5") else []
    assert seen == [("export", None, "-1"), *held, ("start", "cpu", "-1")]
    assert (tmp_path / "tiny.onnx").is_file()


def test_onnx_that_differs_is_not_written(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(conversion, "TOLERANCE", -1.0)
    with pytest.raises(RunStopped, match=r"They should differ by -1\.0 MOS at most; .* was not written"):
        conversion.to_onnx(tiny, tmp_path / "tiny.onnx", None, None, 2)
    assert not any(tmp_path.iterdir())


def command(*arguments):
    code = "import sys; sys.path.insert(0, 'tests/helpers'); import tiny; from koniq.commands import cli, convert;"
    code += "cli.run(convert.main, convert.Settings, sys.argv[1:])"
    arguments = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=ROOT)


def test_the_command_converts_and_says_what_is_wrong(tiny, tmp_path, capsys):
    target = tmp_path / "tiny.pth"
    done = command(tiny, target)
    assert (done.returncode, done.stdout) == (0, f"{tiny} is now {target}\n")
    for arguments, message in (
        ((tiny, target), "is there already. Give --overwrite"),
        ((target, target, "--overwrite"), "another file than the source"),
        ((tiny, tmp_path / "half.pth", "--half"), "half should go with a target that ends in .safetensors"),
        ((tiny, tmp_path / "tiny.txt"), "target should end in one of .weights.h5, .h5"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.run(convert.main, convert.Settings, list(map(str, arguments)))
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


class Harmful:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("kind", ["text", "empty", "pickle", "harmful", "module"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_no_weights_are_refused_and_nothing_in_them_is_executed(tmp_path, monkeypatch, kind, suffix):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"file{suffix}"
    if kind in ("text", "empty"):
        path.write_text("<!DOCTYPE html>" * (kind == "text"))
    elif kind == "pickle":
        path.write_bytes(pickle.dumps([1, 2]))
    else:
        torch.save(Harmful() if kind == "harmful" else torch.nn.Linear(2, 1), path)
    with pytest.raises(InputError, match=r"should be a weights file of PyTorch"):
        weights.read_state(path, TINY)
    assert not (tmp_path / "executed").exists()
