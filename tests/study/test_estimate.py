"""How long a matrix would take: known answers, what is kept, and real steps of small networks."""

import json
from dataclasses import replace
from importlib.util import find_spec

import pytest
from commands import ended
from tiny import TINY

import koncept512_train
import pytorch_train_koncept512
import replicate
from koniq.ground import InputError
from koniq.network import NETWORKS
from koniq.study import estimate, matrix, steps
from koniq.study.estimate import Seconds
from koniq.study.recipes import Row
from koniq.study.steps import Case
from koniq.training import in_kuti

needs_torch = pytest.mark.skipif(not find_spec("torch"), reason="PyTorch is optional: requirements-torch.txt")
COUNT = {"training": 100, "validation": 40}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(estimate, "_load", lambda: 0.0)
    return tmp_path / "cache/koncept512"


@pytest.fixture
def asked(cache, monkeypatch):
    """The cases that were measured, each of which takes 2 s a step and 3 s a batch validated."""
    cases = []

    def answer(case):
        cases.append(case)
        return Seconds(2.0, 3.0, "a made-up device")

    monkeypatch.setattr(estimate, "_asked", answer)
    return cases


def plan(tmp_path, *rows, seeds=(1,), **given):
    given = {"recipe": "small", "device": "cpu"} | given
    return matrix.planned(replicate.Settings(seeds=seeds, runs=str(tmp_path / "runs"), **given), rows)


# How many hours


def test_hours_are_steps_and_batches_validated_times_epochs(tmp_path, asked):
    (run,) = plan(tmp_path, Row("tensorflow", "mse", 16))
    # Of 100 and 40 pictures: 7 steps of 2 s and 2 batches of 32 of 3 s, in 2 + 1 epochs.
    assert estimate.hours(run, Seconds(2.0, 3.0), COUNT) == pytest.approx(3 * (7 * 2 + 2 * 3) / 3600)
    (run,) = plan(tmp_path, Row("pytorch", "mse", 16, 2, "reestimated"))
    assert estimate.hours(run, Seconds(2.0, 3.0), COUNT) == pytest.approx(3 * (7 * 2 + (2 + 4) * 3) / 3600)
    (run,) = plan(tmp_path, Row("kuti", "mse", 8))  # validates by its own batches
    assert estimate.hours(run, Seconds(2.0, 3.0), COUNT) == pytest.approx(3 * (13 * 2 + 5 * 3) / 3600)


def test_an_interrupted_run_has_less_before_it_and_kutis_starts_again(tmp_path):
    given = {"epochs": (40, 20), "learning_rates": (1e-4, 2e-5)}
    for row, left in ((Row("pytorch", "mse", 8), (60, 28, 17)), (Row("kuti", "mse", 8), (60, 60, 60))):
        (run,) = plan(tmp_path, row, **given)
        run.folder.mkdir(parents=True)
        (run.folder / "settings.json").write_text(json.dumps({"settings": json.loads(json.dumps(run.settings))}))
        log = run.folder / "log.csv"
        found = [estimate.epochs_left(run)]
        for last in ("1,32", "2,3"):  # of the first stage; of the second, after one that stopped early
            log.write_text(f"stage,epoch,loss\n1,1,0.5\n{last},0.5\n")
            found.append(estimate.epochs_left(run))
        assert tuple(found) == left


def test_a_kind_is_measured_once_whatever_the_seed_and_the_loss(tmp_path, asked):
    rows = [Row("tensorflow", "mse", 16), Row("tensorflow", "plcc", 16), Row("tensorflow", "mse", 8)]
    said, total = estimate.of(plan(tmp_path, *rows, seeds=(1, 2)), COUNT, False)
    assert [case.batch_size for case in asked] == [16, 8]
    assert said[0] == ", at most 0.017 hours (2 s a step, 3 s a batch validated)"
    # 4 runs of 3 epochs of 7 steps and 2 of 13, each with 2 batches validated.
    assert total.startswith(f"At most {(4 * 3 * 20 + 2 * 3 * 32) / 3600:.2g} hours for what is left: 6 runs. ")
    assert total.endswith(
        "on a made-up device; 100 for training and 40 for validation, as of KonIQ-10k, for the data are not there"
    )


def test_statistics_that_are_set_after_an_epoch_take_the_step_of_the_moving_ones(tmp_path):
    moving, after, trailing = (
        estimate.case_of(*plan(tmp_path, Row("pytorch", "mse", 16, 2, kind)))
        for kind in ("moving", "reestimated", "trailing")
    )
    assert moving == after != trailing
    assert estimate.in_words(trailing) == (
        "PyTorch, koncept512, 76x100, batch 16 in micro-batches of 2, statistics trailing"
    )


def test_what_the_settings_do_not_say_is_as_in_the_scripts():
    for framework, script in (("tensorflow", koncept512_train), ("pytorch", pytorch_train_koncept512)):
        settings = script.Settings()
        assert estimate.UNSAID[framework] == {name: getattr(settings, name) for name in estimate.UNSAID[framework]}


def test_what_cannot_be_run_or_is_done_takes_nothing(tmp_path, asked, monkeypatch):
    monkeypatch.setitem(matrix.TRAIN, "kuti", (str(tmp_path / "python"), "script"))
    assert estimate.of(plan(tmp_path, Row("kuti", "mse", 8)), COUNT, True) == ([""], "")
    assert asked == []


def test_a_kind_that_cannot_be_measured_says_why_and_is_tried_again(tmp_path, cache, monkeypatch):
    answers = iter([Seconds(error="no memory"), Seconds(1.0, 1.0, "x"), Seconds(error="no memory")])
    monkeypatch.setattr(estimate, "_asked", lambda case: next(answers))
    runs = plan(tmp_path, Row("tensorflow", "mse", 16), Row("tensorflow", "mse", 8))
    said, total = estimate.of(runs, COUNT, True)
    assert said[0] == ", hours not known: no memory"
    assert "for what is left: 1 run, besides 1 of which no step could be measured. " in total
    assert estimate.of(runs, COUNT, True)[0] == said  # the third answer; the second was kept


# What is kept


def test_an_answer_is_kept_for_this_machine_and_these_versions(asked, cache, monkeypatch):
    case = Case("pytorch", "koncept512", (24, 32), 8)

    def count():
        before = len(asked)
        assert estimate.measured([case, case]) == {case: Seconds(2.0, 3.0, "a made-up device")}
        return len(asked) - before

    assert (count(), count()) == (1, 0)
    versions = estimate.machine.versions()
    monkeypatch.setattr(estimate.machine, "versions", lambda: versions | {"koniq": "another"})
    assert count() == 0
    monkeypatch.setattr(estimate.machine, "versions", lambda: versions | {"torch": "another"})
    assert (count(), count()) == (1, 0)
    monkeypatch.setattr(estimate.platform, "node", lambda: "another")
    assert (count(), count()) == (1, 0)
    for path in cache.iterdir():
        path.write_text('{"step": []}')
    assert (count(), count()) == (1, 0)


def test_what_is_measured_beside_other_work_is_said_and_not_kept(asked, cache, monkeypatch, capsys):
    case = Case("pytorch", "koncept512", (24, 32), 8)
    monkeypatch.setattr(estimate, "_load", lambda: estimate.machine.cores() + 0.5)
    estimate.measured([case])
    said = capsys.readouterr().out
    assert "Other work has the processors (load " in said
    assert not cache.exists()
    monkeypatch.setattr(estimate, "_load", lambda: 0.0)
    estimate.measured([case])
    assert "Other work" not in capsys.readouterr().out
    estimate.measured([case])
    assert asked == [case, case]


# Steps


def test_seconds_are_the_median_of_a_few_after_the_first(monkeypatch):
    clock, takes = [0.0], iter([100.0, 5.0, 1.0, 2.0])

    def call():
        clock[0] += next(takes)

    monkeypatch.setattr(steps.time, "perf_counter", lambda: clock[0])
    assert steps.seconds(call) == 2.0
    takes = iter([100.0, 70.0])  # one that takes more than all may is timed once
    assert steps.seconds(call) == 70.0
    takes = iter([9.0] + [0.01] * 50)
    assert steps.seconds(call) == pytest.approx(0.01)
    assert next(takes, None) is None  # fifty of those that take little


@needs_torch
@pytest.mark.parametrize(
    ("more", "seen"),
    [
        ({}, [(6, True)]),
        ({"micro_batch": 2}, [(2, True)] * 5),  # two without a graph, the last with it, two computed again
        ({"micro_batch": 2, "statistics": "frozen"}, [(4, False), (2, False), (2, False), (2, False)]),
        ({"statistics": "trailing"}, [(6, False)]),
        ({"statistics": "kept", "precision": "mixed_bfloat16"}, [(6, False)]),
    ],
)
def test_a_step_of_pytorch_is_what_training_does(monkeypatch, more, seen):
    passed = []

    def build(*arguments, **settings):
        module = TINY.build_torch(*arguments, **settings)
        # Whether the body is normalised by its batch, and how many pictures it sees.
        module.base.register_forward_pre_hook(lambda base, x: passed.append((len(x[0]), base[2].training)))
        return module

    network = replace(TINY, torch_builder=lambda output_bias: build(output_bias))
    monkeypatch.setitem(NETWORKS, "tiny", network)
    step, validate, device = steps.in_pytorch(Case("pytorch", "tiny", (24, 32), 6, device="cpu", **more))
    before = step()
    assert passed == seen
    assert step() != before  # it learns
    passed.clear()
    validate()
    assert passed == [(32, False)]
    assert "PyTorch" in device


@pytest.mark.parametrize("more", [{}, {"micro_batch": 2, "statistics": "frozen"}])
def test_a_step_of_tensorflow_is_what_training_does(monkeypatch, more):
    monkeypatch.setitem(NETWORKS, "tiny", TINY)
    step, validate, device = steps.in_tensorflow(Case("tensorflow", "tiny", (24, 32), 6, device="cpu", **more))
    before = [float(each) for each in step()]
    assert [float(each) for each in step()] != before  # it learns
    assert float(validate()[0]) > 0
    assert "Keras" in device


@pytest.mark.long
@needs_torch
def test_a_program_of_its_own_measures_and_says_what_is_wrong(cache, monkeypatch):
    case = Case("pytorch", "koncept_lite", (48, 64), 2, device="cpu")
    found = estimate._asked(case)
    assert not found.error
    assert 0 < found.step < 60
    assert 0 < found.validation < 60
    assert "PyTorch" in found.device
    assert "code 1: KeyError: 'nothing'" in estimate._asked(replace(case, network="nothing")).error
    monkeypatch.setattr(estimate, "LIMIT", 0.1)
    assert estimate._asked(case) == Seconds(error="a few steps take more than 0 minutes")


@pytest.mark.long
@pytest.mark.skipif(not in_kuti.PYTHON.is_file(), reason="kuti's environment is not there: make kuti")
def test_kuti_is_measured_in_its_own_environment():
    found = estimate._asked(Case("kuti", "koncept512", (76, 100), 2, device="cpu"))
    assert found.error == ""
    assert found.step > 0
    assert "kuti 0.9.8.1" in found.device


def test_a_gpu_that_would_be_left_idle_is_said(monkeypatch, capsys):
    def refuse(case):
        raise InputError("TensorFlow finds no GPU")

    monkeypatch.setitem(steps.READY, "tensorflow", refuse)
    steps.main(Case("tensorflow", "koncept512", (24, 32), 2).dumped())
    assert json.loads(capsys.readouterr().out) == {"error": "TensorFlow finds no GPU"}


# The command


@needs_torch
def test_the_list_has_hours_and_their_sum_and_measures_nothing_the_second_time(tmp_path, asked, capsys):
    only = ["--network", "koncept_lite", "--rows", "pytorch-mse-b2", "--seeds", 1, 2, "--recipe", "small"]
    only += ["--input-size", 48, 64, "--device", "cpu", "--runs", tmp_path / "runs", "--list"]
    assert ended(replicate, *only) == 0
    first = capsys.readouterr().out.splitlines()
    assert first[0].startswith("Measuring a training step of 1 kind, once on this machine")
    # 3 epochs of 3,529 steps of 2 s and 32 batches of 3 s
    assert first[1].startswith("koniq10k-koncept-lite-pytorch-mse-b2-s1: missing, at most 6 hours (2 s a step, ")
    assert "hours for what is left: 2 runs. Early stop is not counted" in first[-1]
    assert "7,058 for training and 1,000 for validation" in first[-1]
    assert ended(replicate, *only) == 0
    assert capsys.readouterr().out.splitlines() == first[1:]
    assert ended(replicate, *only, "--no-estimate") == 0
    assert "at most" not in capsys.readouterr().out.lower()
    assert len(asked) == 1
    assert not (tmp_path / "runs").exists()
