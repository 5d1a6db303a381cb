import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scored import write_scores

from koniq import engines
from koniq.commands import cli
from koniq.commands import compare as commands_compare
from koniq.commands import report as commands_report
from koniq.data import datasets
from koniq.data.datasets import DataSet
from koniq.data.scale import USUAL, Scale, given, guess, of_scores
from koniq.engines.engine import Engine
from koniq.evaluation import calibrating
from koniq.evaluation.testing import test_report as write_report
from koniq.ground import InputError
from koniq.ground import files as ground_files
from koniq.ground.facts import facts
from koniq.measure import calibration
from koniq.network import KONCEPT512, sidecar
from koniq.reports import distribution, lifelog_report, page
from koniq.scoring.score import Score
from koniq.scoring.score_tables import ScoreTable, read
from koniq.scoring.scorer import Scorer
from koniq.training.run import Run

OPINIONS = Scale(1, 5)


def run(module, *arguments):
    cli.run(module.main, module.Settings, list(map(str, arguments)))


@pytest.mark.parametrize(
    ("mos", "expected"),
    [
        ([0.2, 0.9], (0, 1)),
        ([1, 4.3], (1, 5)),
        ([0.8, 4.3], (0, 5)),
        ([1, 9.5], (1, 10)),
        ([0.5, 9.5], (0, 10)),
        ([3.91, 88.39], (0, 100)),
        ([-2, 3], (0, 100)),
        ([1, 120], (0, 100)),
        ([1.5, np.nan], (1, 5)),
        ([], (0, 100)),
    ],
)
def test_the_scale_of_a_table_by_its_range(mos, expected):
    assert guess(np.array(mos)) == expected


def test_a_scale_that_is_given_or_said_goes_before_a_guess():
    mos = np.array([1.5, 4])
    assert of_scores(mos, {}) == (1, 5)
    assert of_scores(mos, {"model": "old"}) == USUAL  # what was written before there were scales is on 0 to 100
    assert of_scores(mos, {"record": {"scale": [0, 10]}}) == (0, 10)
    assert of_scores(mos, {"record": {"scale": [0, 10]}}, (1, 7)) == (1, 7)
    for wrong in ((5, 1), (1, 1), (0, float("inf"))):
        with pytest.raises(InputError, match=r"scale should be the lowest and the highest MOS. Received: scale="):
            given(wrong)


def opinions(folder, count=60):
    """A table of opinions from 1 to 5, with its pictures: each is as grey as its MOS says."""
    (folder / "images").mkdir(parents=True)
    mos = np.round(np.random.default_rng(0).uniform(1.2, 4.8, count), 3)
    for number, value in enumerate(mos):
        Image.new("RGB", (8, 6), (int(50 * value),) * 3).save(folder / f"images/{number}.png")
    sets = np.where(np.arange(count) % 2, "validation", "test")
    path = folder / "mine.csv"
    pd.DataFrame({"image_name": [f"{n}.png" for n in range(count)], "MOS": mos, "set": sets}).to_csv(path, index=False)
    return path


def test_the_scale_goes_from_a_table_to_the_record_and_the_facts(tmp_path, capsys):
    data = datasets.load(str(opinions(tmp_path)))
    assert data.scale == OPINIONS
    assert "(MOS from 1 to 5)" in data.summary()
    assert datasets.load(str(tmp_path / "mine.csv"), scale=(1, 10)).scale == (1, 10)
    path = tmp_path / "net.h5"
    path.write_bytes(b"weights")
    sidecar.write_record(path, KONCEPT512, loss="mse", **data.scale.record())
    plan = engines.Plan(path, KONCEPT512, "keras", "float32", 8)
    assert plan.facts()["record"]["scale"] == [1, 5]
    engine = Engine("grey", KONCEPT512, 8, lambda pixels: pixels[:, 0, 0, 0].astype(np.float32))
    found = calibrating.calibrate(path, engine, data, "validation", 2)
    assert found.scale == OPINIONS
    kept = calibration.kept(path, KONCEPT512, ground_files.file_hash(path))
    assert kept == found
    about = Scorer(plan, kept).facts
    assert about["record"]["scale"] == [1, 5]
    usual = dataclasses.replace(kept, scale=USUAL)  # a calibration on KonIQ-10k of a network trained on opinions
    assert "scale" not in Scorer(plan, usual).facts["record"]


def test_an_old_record_is_of_0_to_100(tmp_path):
    mos = np.linspace(10, 90, 30)
    old = calibration.fit(0.5 * mos, mos, "KonIQ-10k, validation").to_json()
    del old["scale"]
    found = calibration.Calibration.from_json(json.loads(json.dumps(old)))
    assert found.scale == USUAL
    assert "scale" not in {**DataSet("KonIQ-10k", pd.DataFrame()).scale.record()}


def test_a_run_keeps_the_scale_that_it_was_trained_on(tmp_path):
    data = datasets.load(str(opinions(tmp_path)))
    for scale, expected in ((OPINIONS, [1, 5]), (USUAL, None)):
        folder = tmp_path / f"run {scale}"
        training = Run(str(folder), {"loss": "mse", "scale": None})
        training.begin(dataclasses.replace(data, scale=scale), KONCEPT512, "cpu", folder / "x_best.weights.h5")
        assert sidecar.record(folder / "x_best.weights.h5").get("scale") == expected


@pytest.fixture
def scored(tmp_path):
    """Scores from 1 to 5, calibrated, and as many on 0 to 100 that say the same."""
    mos = np.random.default_rng(1).uniform(1.1, 4.9, 40).round(3)
    rows = [(f"2016-08-{1 + n % 28:02}/20160811_{n % 24:02}1315_000.jpg", value) for n, value in enumerate(mos)]
    record = {"calibrated": "affine, fitted on mine", "scale": [1, 5]}
    five = write_scores(tmp_path / "five.csv", rows, model="A", record=record)
    hundred = write_scores(
        tmp_path / "hundred.csv",
        [(name, 25 * (value - 1) + 2) for name, value in rows],
        model="B",
        record={"calibrated": "affine, fitted on KonIQ-10k"},
    )
    return five, hundred, mos


def test_a_report_on_another_scale(scored, capsys):
    five, _, mos = scored
    run(commands_report, five)
    printed = capsys.readouterr().out
    share = 100 * np.mean(mos < 1.8)
    assert 0 < share < 50
    assert f"{share:.1f} % below 1.8, " in printed
    assert "below 20" not in printed
    folder = five.with_name("five_report")
    text = re.sub(r"data:image/[^\"]*", "", (folder / page.PAGE).read_text())
    assert "calibrated to the MOS scale, here from 1 to 5." in text
    assert "stretched from 0 to 100 to 1 to 5" in text
    assert "scale 1 to 5" in text
    assert f'<td>1.8</td><td class="number">{share:.1f} %</td>' in text
    assert "lie below" not in text
    table = pd.read_csv(folder / "histogram.csv")
    assert table.low.tolist()[1:] == pytest.approx(np.linspace(1, 5, 51))
    assert table.share.iloc[1:-1].sum() == pytest.approx(1)
    shares = pd.read_csv(folder / "shares.csv")
    assert shares.below.tolist() == [1.8, 2.2, 2.6, 3]
    assert shares.koniq10k.tolist() == distribution.shares({}).koniq10k.tolist()
    run(commands_report, five, "--scale", 0, 10)
    assert "% below 2, " in capsys.readouterr().out


def test_the_axes_are_those_of_the_scale(monkeypatch, scored):
    drawn = []
    monkeypatch.setattr("koniq.reports.figures.png", lambda figure: drawn.append(figure) or b"")
    monkeypatch.setattr(page, "data_uri", lambda content: "")
    five, _, _ = scored
    files = lifelog_report.report(ScoreTable(read(five)), facts(five), [], "five")
    assert files[page.PAGE]
    histogram, by_day, by_hour = (figure.axes[0] for figure in drawn)
    assert histogram.get_xlim() == (1, 5)
    assert histogram.get_ylabel() == "share of pictures in 0.08 MOS [%]"
    assert by_day.get_ylim() == by_hour.get_ylim() == (1, 5)


def test_two_files_on_one_scale_are_compared_on_it(scored, capsys):
    five, _, mos = scored
    other = five.with_name("other.csv")
    other.write_bytes(five.read_bytes())
    other.with_name("other.csv.json").write_text(five.with_name("five.csv.json").read_text().replace('"A"', '"B"'))
    run(commands_compare, five, other)
    printed = capsys.readouterr().out
    assert "SRCC: 1.0000\n" in printed
    assert "Note" not in printed
    shares = pd.read_csv(five.with_name("five_and_other") / "shares.csv")
    assert shares.A.tolist() == [np.mean(mos < bound) for bound in (1.8, 2.2, 2.6, 3)]


def test_two_files_on_two_scales_are_taken_to_one_and_said_to_be(scored, capsys):
    run(commands_compare, *scored[:2])
    printed = capsys.readouterr().out
    assert "SRCC: 1.0000\n" in printed
    assert "mean difference: 2.00 " in printed
    note = "The scores of A go from 1 to 5 and those of B from 0 to 100: both are taken to 0 to 100 here"
    assert printed.count(note) == 1
    assert note in (scored[0].with_name("five_and_hundred") / page.PAGE).read_text()


def test_a_test_on_another_scale_shows_its_errors_as_finely(tmp_path, capsys):
    ids = pd.DataFrame({"image_name": list("abcd"), "MOS": [0.1, 0.4, 0.6, 0.9], "set": "test", "image_path": None})
    scores = [Score("", mos) for mos in (0.12, 0.41, 0.6, 0.95)]
    write_report(tmp_path, DataSet("mine", ids, scale=Scale(0, 1)), "test", scores, "net")
    assert "0.0200 [" in (tmp_path / "report.md").read_text()
