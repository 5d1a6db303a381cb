"""Engines: one score whatever computes it, int8 that is kept and must agree with float32."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import DEEP, TINY

from koniq import engines
from koniq.engines import in_openvino, int8
from koniq.engines import plan as engines_plan
from koniq.ground import InputError, RunStopped, files
from koniq.network import TOLERANCE, sidecar, weight_files
from koniq.scoring.loop import predict

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)


def trained(folder, network, **arguments):
    """The path of a network's weights, with statistics as after training and scores that differ by some MOS."""
    import keras

    keras.utils.set_random_seed(1)
    model = network.build(**arguments)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(RNG.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(RNG.uniform(0.5, 1.5, layer.moving_variance.shape))
    model.layers[-1].kernel.assign(30 * model.layers[-1].kernel)
    path = folder / f"{network.name}.weights.h5"
    model.save_weights(path)
    sidecar.write_record(path, network)
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("tiny"), TINY, output_bias=50)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("deep"), DEEP, output_bias=50)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Sixty pictures, each brighter than the one before."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(60):
        noise = RNG.normal(4 * number + 8, 10, (48, 64, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).resize((160, 120)).save(folder / f"{number:02}.png")
    return sorted(folder.iterdir())


def scores(path, pictures, **choice):
    return np.array([score.mos for score in predict(engines.decide(path, **choice).start(), pictures)])


def test_auto_is_openvino_on_a_processor(tiny, monkeypatch):
    plan = engines.decide(tiny).settled()
    assert (plan.engine, plan.precision) == ("openvino", in_openvino.best_precision())
    assert engines.decide(tiny, precision="float32").precision == "float32"
    monkeypatch.setattr(engines_plan, "auto", lambda _, device, **__: ("keras", device))
    assert (engines.decide(tiny).engine, engines.decide(tiny).precision) == ("keras", "float32")


def test_without_openvino_auto_is_keras_and_says_what_is_missed(tiny, monkeypatch, capsys):
    monkeypatch.setattr(engines_plan, "find_spec", lambda name: None if name == "openvino" else find_spec(name))
    assert engines.decide(tiny).engine == "keras"
    assert "pip install -r requirements.txt" in capsys.readouterr().out
    with pytest.raises(InputError, match="openvino should be installed"):
        engines.decide(tiny, "openvino")


def test_openvino_needs_no_keras_and_pytorch_for_a_pth_alone(tiny, tmp_path, monkeypatch):
    pth = tmp_path / "mine.pth"
    pth.touch()
    monkeypatch.setattr(engines_plan, "has_keras", lambda: False)
    monkeypatch.setattr(weight_files, "has_torch", lambda: False)
    assert engines.decide(tiny).engine == "openvino"
    for choice in ("auto", "openvino"):
        with pytest.raises(InputError, match=r"to read \S*mine\.pth: pip install -r requirements-torch\.txt"):
            engines.decide(pth, choice)


def test_wrong_choices_are_named(tiny, pictures, monkeypatch):
    with pytest.raises(InputError, match="precision=int8 should go with engine=openvino"):
        engines.decide(tiny, "keras", "int8")
    with pytest.raises(InputError, match=r"device=cuda should go with another engine.* Received: engine=openvino"):
        engines.decide(tiny, "openvino", device="cuda")
    with pytest.raises(InputError, match=r"should have 40 pictures at least .* Received: 39"):
        engines.decide(tiny, "openvino", "int8", pictures=pictures[:39])
    monkeypatch.setattr(in_openvino, "abilities", lambda: ("FP32",))
    assert engines.decide(tiny, "openvino").settled().precision == "float32"
    with pytest.raises(InputError, match=r"that this processor has \(FP32\)\. Received: mixed_bfloat16"):
        engines.decide(tiny, "openvino", "mixed_bfloat16").start()


@pytest.mark.parametrize("batch_size", [1, 3, 8])
@pytest.mark.numerical
def test_openvino_scores_as_keras_does(tiny, pictures, batch_size):
    expected = scores(tiny, pictures, engine="keras", precision="float32")
    received = scores(tiny, pictures, engine="openvino", precision="float32", batch_size=batch_size)
    np.testing.assert_allclose(received, expected, rtol=0, atol=TOLERANCE)
    assert np.ptp(expected) > 1


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.numerical
def test_a_score_does_not_depend_on_its_place_to_the_bit(deep, pictures, precision):
    """What a run that was resumed rests on: its batches are cut elsewhere."""
    if in_openvino.ABILITIES[precision] not in in_openvino.abilities():
        pytest.skip(f"this processor has no {precision}")
    whole = scores(deep, pictures, engine="openvino", precision=precision)
    for start in (1, 3, 59):
        np.testing.assert_array_equal(
            scores(deep, pictures[start:], engine="openvino", precision=precision), whole[start:]
        )


@pytest.mark.numerical
def test_bfloat16_is_near_float32(deep, pictures):
    if "BF16" not in in_openvino.abilities():
        pytest.skip("this processor has no bfloat16")
    exact, near = (scores(deep, pictures, engine="openvino", precision=kind) for kind in ("float32", "mixed_bfloat16"))
    assert 0 < np.abs(near - exact).max() < 0.02 * np.ptp(exact)


@pytest.mark.numerical
def test_other_weights_in_the_same_file_are_read_anew_and_nothing_is_kept(tmp_path):
    path = trained(tmp_path, TINY, output_bias=50)
    engines.decide(path, "openvino", "float32").start()
    model = TINY.build(output_bias=20)
    model.save_weights(path)
    engine = engines.decide(path, "openvino", "float32").start()
    grey = np.full((engine.batch_size, 24, 32, 3), 128, np.uint8)
    expected = model.predict_on_batch(grey)[:, 0]
    np.testing.assert_allclose(engine.score(grey), expected, rtol=0, atol=TOLERANCE)
    assert {file.name for file in tmp_path.iterdir()} == {"tiny.weights.h5", "tiny.json"}


def test_where_one_may_not_write_the_int8_model_goes_to_the_cache(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert int8.kept(tiny, TINY) == tmp_path / "koncept512" / "tiny-24x32-int8.openvino"


def test_the_weights_are_hashed_once_and_only_for_the_facts(tiny, monkeypatch):
    hashed = []
    monkeypatch.setattr(engines_plan, "file_hash", lambda path: hashed.append(path) or "hash")
    plan = engines.decide(tiny, "keras")
    plan.start()
    assert hashed == []
    assert plan.facts()["weights"] == plan.facts()["weights"] == "hash"
    assert hashed == [tiny]


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_what_is_settled_later_takes_no_second_hash(tiny, monkeypatch, engine):
    hashed = []
    monkeypatch.setattr(engines_plan, "file_hash", lambda path: hashed.append(path) or "hash")
    plan = engines.decide(tiny, engine)
    assert plan.about["weights"] == plan.settled().facts()["weights"] == "hash"
    assert hashed == [tiny]
    assert plan.changed(network=TINY.at(resize="nearest")).about["resize"] == "nearest"
    assert hashed == [tiny, tiny]


def test_facts_follow_what_a_score_depends_on(tiny, monkeypatch):
    first = engines.decide(tiny).facts()
    assert first["weights"] == files.file_hash(tiny)
    assert (first["network"], first["input_size"], first["model"]) == ("tiny", [24, 32], "tiny")
    assert engines.decide(tiny, resize="nearest").facts()["resize"] == "nearest"
    assert engines.decide(tiny, precision="float32").facts()["precision"] == "float32"
    assert (first["rules"], engines.decide(tiny, rules="1").facts()["rules"]) == ("2", "1")
    record = sidecar.record(tiny)
    sidecar.record_path(tiny).write_text(json.dumps(record | {"calibration": [1, 2]}))
    said = {key: value for key, value in record.items() if key != "rules"}  # which stand beside it
    assert engines.decide(tiny).facts()["record"] == said | {"calibration": [1, 2]}
    sidecar.record_path(tiny).write_text(json.dumps(record))


@pytest.fixture(scope="module")
def calibrated(deep, pictures):
    """The plan and the scores of an int8 engine that was calibrated in this module."""
    plan = engines.decide(deep, "openvino", "int8", pictures=pictures)
    return plan, np.array([score.mos for score in predict(plan.start(), pictures)])


@pytest.mark.numerical
def test_int8_is_calibrated_once_and_checked(deep, pictures, calibrated, capsys):
    plan, received = calibrated
    assert len(plan.sample.pictures) == 60
    about = json.loads((deep.parent / "deep-24x32-int8.openvino" / "about.json").read_text())
    assert about["agreement"].startswith(("SRCC 1.00", "SRCC 0.999"))
    assert "on 30 pictures that it was not calibrated on" in about["agreement"]
    exact = scores(deep, pictures, engine="openvino", precision="float32")
    assert 0 < np.abs(received - exact).max() < 0.2 * np.ptp(exact)
    again = engines.decide(deep, "openvino", "int8", pictures=pictures[:50])  # another list: the kept one is used
    assert again.sample.pictures == ()
    assert again.facts()["calibrated_on"] == plan.facts()["calibrated_on"]
    np.testing.assert_array_equal(scores(deep, pictures, engine="openvino", precision="int8"), received)
    assert "Calibrating" not in capsys.readouterr().out
    other_weights = {**plan.about, "weights": "other"}
    assert len(int8.sample_of(deep, DEEP, other_weights, pictures).pictures) == 60


def test_int8_that_disagrees_is_refused(deep, pictures, calibrated, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "AGREEMENT", 1.1)
    with pytest.raises(RunStopped, match=r"should agree with float32 at an SRCC of 1.1 .*; give --precision auto"):
        int8._quantize(deep, DEEP, pictures, 8, tmp_path)
    with pytest.raises(InputError, match=r"40 pictures that open. Received: 39 of 45"):
        int8._quantize(deep, DEEP, [*pictures[:39], *map(Path, "abcdef")], 8, tmp_path)


def in_another_process(code):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests/helpers'}"}
    imports = "import os, tiny; from pathlib import Path; from koniq import engines; from koniq.engines import int8"
    code = f"{imports}; from koniq.ground.log import aloud; aloud()\n{code}"
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


def start_of_int8(path, pictures):
    pictures = f"sorted(Path({str(pictures[0].parent)!r}).iterdir())"
    return f"engines.decide(Path({str(path)!r}), 'openvino', 'int8', pictures={pictures}).start()"


def test_a_killed_calibration_leaves_nothing_that_is_used(tmp_path, pictures, monkeypatch):
    path = trained(tmp_path, DEEP)
    killed = in_another_process(f"int8._apart = lambda work, *rest: os._exit(9)\n{start_of_int8(path, pictures)}")
    assert killed.wait() == 9
    half = tmp_path / ".deep-24x32-int8.openvino.tmp"
    assert half.is_dir()
    plan = engines.decide(path, "openvino", "int8", pictures=pictures)
    assert len(plan.sample.pictures) == 60
    monkeypatch.setattr(int8, "_apart", lambda work, folder: work(folder))
    folder = int8.kept(path, DEEP)
    int8._make(folder, plan.about, "Calibrating", lambda folder: {"files": [*folder.iterdir()]})
    assert not half.exists()
    assert int8._is_of(folder, {**plan.about, "files": []})


@pytest.mark.long
def test_of_two_processes_one_calibrates_and_the_other_waits(tmp_path, pictures):
    path = trained(tmp_path, DEEP, output_bias=50)
    both = [in_another_process(start_of_int8(path, pictures)) for _ in range(2)]
    said = sorted(process.communicate()[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert "Calibrating int8 on some of the pictures" in said[0]
    assert "Waiting for another process that prepares the same network" in said[1]
    assert "Calibrating" not in said[1]
