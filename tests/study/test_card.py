"""The card of the released weights says what was measured, and of which file."""

import hashlib
import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image

from koniq.commands import choices
from koniq.commands import limits as commands_limits
from koniq.evaluation import limits
from koniq.ground import InputError
from koniq.ground.paths import RESULTS, TRAINED_MODELS
from koniq.pictures.distortions import STEPS
from koniq.study import card, results
from koniq.study.report import PAGE, filled

RELEASED = TRAINED_MODELS / card.NAME / f"{card.NAME}.safetensors"
CARD = RELEASED.with_name("card.md")
released = pytest.mark.skipif(not RELEASED.is_file(), reason="no weights are released")


def row(value, model=card.NAME, dataset=card.BIQ, part="test", metric="srcc", **more):
    ends = {"low": value - 0.01, "high": value + 0.01}
    return {"metric": metric, "value": value, "dataset": dataset, "set": part, "model": model, "n": 2000, **ends} | more


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "koncept_lite.safetensors"
    path.write_bytes(b"some weights")
    record = {"network": "koncept_lite", "input_size": [384, 512], "trained_on": "BIQ2021, LIVE In the Wild"}
    path.with_suffix(".json").write_text(json.dumps(record))
    return path


def read(tmp_path, *rows):
    """A table as results/metrics.csv is read."""
    pd.DataFrame(rows).to_csv(tmp_path / "metrics.csv", index=False)
    return results.read(tmp_path / "metrics.csv")


def test_numbers_file_and_record_are_in_the_card_and_what_is_not_there_is_not_run(weights, tmp_path):
    table = read(
        tmp_path,
        row(0.8914, card.OF_BIQ),
        row(0.9026, card.OF_BIQ, metric="plcc"),
        row(0.8126, card.ACROSS, card.LIVE),
        row(0.96, dataset="photographs in five steps", part="blur", metric="sense", n=21),
        row(41.25, dataset=limits.DATASET, part="text", metric="score", low=np.nan, high=np.nan),
    )
    text = card.card(weights, table)
    lines = text.splitlines()
    (line,) = (line for line in lines if line.startswith("| BIQ2021's official test part"))
    assert "| .89, .90 | .891 [.881, .901] | .903 [.893, .913] |" in line
    (line,) = (line for line in lines if line.startswith("| the same, subset 3"))
    assert "| .80 | not run | not run |" in line
    (line,) = (line for line in lines if line.startswith("| trained on BIQ2021 alone"))
    assert "| .80 | .813 [.803, .823] | not run |" in line
    assert "| blurred | 0, 1, 2, 4, 8 | .95 | .960 [.950, .970] | 21 |" in lines
    assert "| text | 41.2 | not run |" in lines
    assert "| koncept_lite-biq2021 | BIQ2021, test | 2,000 | .891 [.881, .901] | .903 [.893, .913] |" in lines
    assert f"| SHA-256 | `{hashlib.sha256(b'some weights').hexdigest()}` |" in lines
    assert "| input size | 384 x 512 |" in lines
    assert "**trained with BIQ2021**" in text
    assert "Copyright (c) 2015 The University of Texas at Austin" in text
    assert "&" not in text.replace("&lt;", "")  # nothing is escaped for HTML


def test_without_biq2021_the_card_says_why(weights, tmp_path):
    weights.with_suffix(".json").write_text(json.dumps({"trained_on": "LIVE In the Wild"}))
    text = card.card(weights, read(tmp_path, row(0.5)))
    assert "**trained without BIQ2021**, because its repository has no licence file" in text
    assert "training part | no licence file" not in text


def test_two_rows_for_one_number_are_refused(weights, tmp_path):
    with pytest.raises(InputError, match=r"should have one srcc of koncept_lite-biq2021 on BIQ2021, test. Received: 2"):
        card.card(weights, read(tmp_path, row(0.5, card.OF_BIQ), row(0.6, card.OF_BIQ)))


def test_the_command_writes_where_it_is_told_and_names_a_file_that_is_not_there(weights, tmp_path, capsys):
    read(tmp_path, row(0.5))
    arguments = ["--metrics", tmp_path / "metrics.csv", "--out", tmp_path / "card.md"]
    assert ended("card", weights, *arguments) == 0
    assert (tmp_path / "card.md").read_text() == card.card(weights, results.read(tmp_path / "metrics.csv"))
    assert ended("card", tmp_path / "none.safetensors", *arguments) == 2
    assert "should be the released file" in capsys.readouterr().err


def test_the_page_of_results_has_a_place_for_the_aims_and_what_it_says_is_what_was_measured():
    text = PAGE.read_text(encoding="utf-8")
    table = card.aims(results.read(RESULTS / "metrics.csv"))
    assert filled(text, {"aims": table}) == text


@released
def test_the_card_is_what_the_measurements_the_record_and_the_file_say():
    assert CARD.read_text(encoding="utf-8") == card.card(RELEASED, results.read(RESULTS / "metrics.csv"))
    assert RELEASED.stat().st_size <= 10_000_000
    assert (CARD.parent / "limits.png").is_file()


@released
def test_every_measured_number_of_the_card_is_in_the_metrics():
    """Read from the card's own text, by nothing that wrote it."""
    table = pd.read_csv(RESULTS / "metrics.csv")
    table = table[table.model.str.startswith(card.NAME)]
    known = {f"{number:.3f}".replace("0.", ".", 1) for number in table[["value", "low", "high"]].to_numpy().ravel()}
    number = r"(-?\d?\.\d{3})"
    shown = re.findall(rf"\| {number} \[{number}, {number}\] \|", CARD.read_text())
    assert shown
    assert not set(sum(shown, ())) - known
    found = re.search(r"SHA-256 \| `(\w+)`", CARD.read_text())
    assert found[1] == hashlib.sha256(RELEASED.read_bytes()).hexdigest()


def test_what_is_no_photograph_is_scored_as_it_is_and_blurred(tmp_path, monkeypatch, capsys):
    from mean import MeanPlan

    plan = MeanPlan()
    plan.engine, plan.facts = "openvino", lambda: {"device": "some"}
    monkeypatch.setattr(commands_limits, "find", lambda name: tmp_path / name)
    monkeypatch.setattr(choices, "load", lambda *_, **__: SimpleNamespace(plan=plan, engine=plan.start()))
    monkeypatch.setattr(commands_limits, "RESULTS", tmp_path)
    some = {name: limits.PICTURES[name] for name in ("chart", "screenshot", "plain")}
    monkeypatch.setattr(limits, "PICTURES", some)
    assert ended("limits", "--weights", "a", "--out", tmp_path / "limits.png", "--record", card.NAME) == 0
    assert "| plain | 128.0 | 128.0 |" in capsys.readouterr().out
    assert Image.open(tmp_path / "limits.png").size[0] == 6 * 248 + 8
    table = results.read(tmp_path / "metrics.csv")
    assert table[table.set == "plain"].value.tolist() == [128, 128]
    assert "| plain | 128.0 | 128.0 |" in card.limits_table(table)


@pytest.mark.parametrize("name", limits.PICTURES)
def test_each_of_them_is_a_picture_of_at_least_400_pixels(name):
    picture = limits.PICTURES[name]()
    assert picture.mode == "RGB"
    assert min(picture.size) >= 400
    assert (np.ptp(np.asarray(picture)) > 100) == (name != "plain")


def test_the_kinds_of_the_card_are_those_of_the_distortions():
    assert card.sense_table(pd.DataFrame({"model": [], "metric": [], "set": []})).count("not run") == len(STEPS)
