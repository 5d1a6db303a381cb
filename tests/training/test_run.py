"""A run's folder: what it says of itself, where its files lie, and the names that settings give."""

import json
from pathlib import Path

import pytest

from koniq import training
from koniq.ground import InputError
from koniq.study.recipes import Row
from koniq.training import run


def test_a_run_says_what_it_is_and_an_older_one_what_it_did(tmp_path):
    assert not training.begun(tmp_path)
    with pytest.raises(FileNotFoundError):
        training.about(tmp_path)
    facts = {"settings": {"seed": 3, "statistics": "frozen"}, "device": "cpu", "of_a_later_version": 1}
    (tmp_path / "settings.json").write_text(json.dumps(facts))
    about = training.about(tmp_path)
    assert training.begun(tmp_path)
    assert (about.device, about.finished, about.commit) == ("cpu", None, "")
    assert [about.setting(name) for name in ("seed", "statistics", "micro_batch", "unheard")] == [3, "frozen", 0, None]
    (tmp_path / "settings.json").write_text(json.dumps(facts | {"finished": {"epochs": 2}}))
    assert training.about(tmp_path).finished == {"epochs": 2}


def test_its_test_lies_in_it():
    tested = training.tested(Path("some"))
    assert (tested.metrics, tested.predictions) == (Path("some/test/metrics.csv"), Path("some/test/predictions.csv"))


def test_a_run_of_before_there_were_rules_of_decoding_goes_on_by_the_first(tmp_path):
    (tmp_path / "settings.json").write_text(json.dumps({"settings": {"seed": 3}}))
    now = {"seed": 3, "rules": "1", "fit": "squash"}
    assert not training.Run(str(tmp_path), now, resume=True).finished
    with pytest.raises(InputError, match=r"that it began with: rules='1'\. Received: rules='2'"):
        training.Run(str(tmp_path), now | {"rules": "2"}, resume=True)


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ((2, 0, "moving"), "b2"),
        ((16, 2, "moving"), "b16m2"),
        ((16, 2, "reestimated"), "b16m2-reestimated"),
        ((8, 0, "frozen"), "b8-frozen"),
    ],
)
def test_an_arm_has_one_name_in_runs_and_in_the_matrix(how, name):
    assert run.arm(*how) == name
    assert Row("pytorch", "mse", *how).arm == name
