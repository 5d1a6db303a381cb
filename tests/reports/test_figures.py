import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from koniq.commands import results as commands_results
from koniq.data.datasets import DataSet
from koniq.evaluation import testing
from koniq.ground import InputError
from koniq.ground import text as ground_text
from koniq.measure import conformal
from koniq.reports import figures
from koniq.scoring.score import Score
from koniq.study import results


@pytest.fixture
def rated(tmp_path):
    mos = np.linspace(0, 100, 12)
    paths = [tmp_path / f"{n}.jpg" for n in range(12)]
    ids = pd.DataFrame({"image_name": [path.name for path in paths], "MOS": mos, "set": "test", "image_path": paths})
    scores = [Score(str(path), value + 5, width=4, height=3) for path, value in zip(paths, mos, strict=True)]
    return ids, scores


def test_a_report_shows_ours_beside_the_published_rows(rated, tmp_path, capsys):
    ids, scores = rated
    found = testing.test_report(tmp_path / "out", DataSet("KonIQ-10k", ids), "test", scores, "mine").set_index("metric")
    assert found.value.srcc == pytest.approx(1)
    assert found.value.mae == pytest.approx(5)
    printed = capsys.readouterr().out
    assert "| TensorFlow, MSE, batch 2 | 0.426 | 0.413 |  |  |  |" in printed
    assert (
        "| **mine** (measured) | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] | 1.000 [1.000, 1.000] | 5.00" in printed
    )
    assert (tmp_path / "out/report.md").read_text() in printed
    assert pd.read_csv(tmp_path / "out/predictions.csv").predicted.tolist() == pytest.approx(list(ids.MOS + 5))


def test_coverage_and_width_of_intervals_are_measured(rated, tmp_path, capsys):
    ids, scores = rated
    about = conformal.made(np.arange(19.0), np.arange(19.0), "mine, validation")
    with_ends = [replace(score, low=score.mos - 10 + n % 3, high=score.mos + 10) for n, score in enumerate(scores)]
    with_ends[0] = replace(with_ends[0], low=1)  # one MOS that is not within
    data = DataSet("mine", ids)
    found = testing.test_report(tmp_path, data, "test", with_ends, "m", about).set_index("metric")
    assert found.value.coverage == 11 / 12
    assert found.value.interval_width == pytest.approx(18.5)
    assert found.low.coverage < 11 / 12 < found.high.coverage <= 1
    assert f"Of the MOS, 0.917 [{found.low.coverage:.3f}, 1.000] lie within their intervals" in capsys.readouterr().out
    assert str(about) in (tmp_path / "report.md").read_text()
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert table.columns.tolist()[:6] == ["image_name", "MOS", "predicted", "MOS_low", "MOS_high", "status"]
    assert table.MOS_low[0] == 1


def test_synthetic_labels_are_called_so(rated, tmp_path):
    ids, scores = rated
    testing.test_report(tmp_path, DataSet("sample", ids, label="synthetic MOS"), "test", scores, "mine")
    assert "no person gave them" in (tmp_path / "report.md").read_text()
    assert set(pd.read_csv(tmp_path / "metrics.csv").label) == {"synthetic MOS"}


def test_subsets_and_what_has_no_near_copy_are_given_by_themselves(rated, tmp_path, capsys):
    ids, scores = rated
    scores[4] = Score(scores[4].name, status="missing", error="no such file")
    scores = [replace(score, mos=100 - score.mos) if number in (0, 1) else score for number, score in enumerate(scores)]
    training = ids.iloc[:2].assign(image_name=["x.jpg", "y.jpg"], set="training")
    ids = pd.concat([training, ids], ignore_index=True)
    ids["subset"] = [1, 1, *[1, 2, 3] * 4]
    ids["group"] = [7, np.nan, 7, 7, *[np.nan] * 8, 5, 5]
    found = testing.test_report(tmp_path, DataSet("mine", ids), "test", scores, "mine")
    assert (set(found.set), set(found.n)) == ({"test"}, {11})
    table = pd.read_csv(tmp_path / "metrics.csv")
    counts = {"test": 11, "test, subset 1": 4, "test, subset 2": 3, "test, subset 3": 4, "test, without near copies": 9}
    assert table.groupby("set").n.first().to_dict() == counts
    assert table.groupby("set").size().eq(5).all()
    srcc = table[table.metric == "srcc"].set_index("set").value
    assert srcc["test"] < 1
    assert srcc["test, without near copies"] == pytest.approx(1)
    assert "| test, without near copies | 9 | 1.000 [1.000, 1.000] |" in capsys.readouterr().out


def test_nothing_that_opens_is_an_error(rated, tmp_path):
    ids, scores = rated
    scores = [Score(score.name, status="missing", error="no such file") for score in scores]
    with pytest.raises(InputError, match=r"should open. Received: 0 of 12 \(no such file\)"):
        testing.test_report(tmp_path, DataSet("mine", ids), "test", scores, "mine")


def test_curves_are_drawn_from_one_epoch_on(tmp_path):
    row = {"stage": 1, "epoch": 1, "loss": 3.0, "val_loss": 4.0, "MAE": 1.0, "val_MAE": 2.0}
    for epochs in (1, 2, 5):
        figures.draw_curves(pd.DataFrame([row] * epochs), tmp_path / "curves.png")
        assert Image.open(tmp_path / "curves.png").size == (1200, 480)


def test_a_table_of_markdown_keeps_its_cells_apart():
    text = ground_text.markdown_table(["a", "b"], [["1|2", "3"]])
    assert text == "| a | b |\n| --- | --- |\n| 1\\|2 | 3 |"


def test_runs_are_recorded_once_each(rated, tmp_path):
    ids, scores = rated
    run = tmp_path / "run"
    testing.test_report(run / "test", DataSet("mine", ids), "test", scores, "run")
    chosen = dict.fromkeys(results.SETTINGS, "x")
    facts = {"settings": chosen, "versions": {"python": "3"}, "device": "cpu", "commit": "abc", "label": "MOS"}
    (run / "settings.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=r"should hold a finished training run\. Received: no 'finished'"):
        results.measurements(run)
    facts["finished"] = {"epochs": 3, "seconds": 1.5, "best": 2.0}
    (run / "settings.json").write_text(json.dumps(facts))
    out = tmp_path / "metrics.csv"
    for name in ("first", "second", "first"):
        commands_results.main(commands_results.Settings((run,), name, out))
    table = pd.read_csv(out)
    assert table.groupby("model").size().to_dict() == {"first": 5, "second": 5}
    assert {"metric", "value", "low", "high", "n", "seed", "epochs_run", "seconds", "device", "commit"} <= set(table)
