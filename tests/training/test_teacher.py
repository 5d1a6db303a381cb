"""A network learns the scores of another: over a folder without labels, or a table's pictures."""

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import ended
from mean import MeanPlan
from PIL import Image
from tiny import NARROW, TINY

from koniq.data import datasets
from koniq.engines import plan as engines_plan
from koniq.engines.engine import Engine
from koniq.evaluation import calibrating
from koniq.ground import InputError
from koniq.network import NETWORKS, finding, network_of, sidecar, title
from koniq.scoring import score_file
from koniq.scoring.facts import Facts
from koniq.scoring.score import Score
from koniq.training import teacher as training_teacher


@pytest.fixture
def photos(tmp_path):
    """A folder of 40 grey pictures, some of them in a folder within, and one that does not open."""
    (tmp_path / "photos/day").mkdir(parents=True)
    for number in range(40):
        place = tmp_path / "photos" / ("day" if number % 2 else ".") / f"{number:02}.png"
        Image.new("RGB", (32, 24), (6 * number,) * 3).save(place)
    (tmp_path / "photos/broken.jpg").write_bytes(b"broken")
    return tmp_path / "photos"


@pytest.fixture
def wise(tmp_path):
    """Weights that may be named as a teacher."""
    path = tmp_path / "wise.h5"
    path.write_bytes(b"weights")
    sidecar.write_record(path, TINY)
    return path


class Brightness(MeanPlan):
    """A teacher in whose eyes bright is good; `then` is called after each batch."""

    def __init__(self, path, then=None):
        super().__init__(then=then)
        self.weights = path

    def facts(self):
        return {**super().facts(), "record": {"scale": [0, 255]}}


@pytest.fixture
def run(tmp_path):
    """The folder of a run that was opened."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


@pytest.fixture
def plans(monkeypatch):
    """The teachers that were started by koniq.training.teacher, as Brightness."""
    made = []
    monkeypatch.setattr(
        training_teacher.scorer, "decide", lambda path, *_, **__: made.append(Brightness(path)) or made[-1]
    )
    return made


def chosen(images, teacher, **more):
    fixed = {"dataset": "koniq10k", "table": "", "skip_missing": False, "scale": None, "device": "cpu", "workers": 1}
    return Namespace(**fixed | {"images": str(images), "teacher": str(teacher), "seed": 1} | more)


def test_of_a_folder_every_picture_that_opens_has_the_score_of_the_teacher(photos, wise, plans, capsys, run):
    s = chosen(photos, wise)
    data = training_teacher.load(s)
    assert (data.name, data.label) == ("photos by wise", "scores of wise")
    assert {name: data.has(name) for name in ("training", "validation", "test")} == dict.fromkeys(
        ("training", "validation", "test"), True
    )
    found = training_teacher.taught(data, run, s)
    assert "1 have no score and are left out (broken.jpg)" in capsys.readouterr().out
    assert found.ids.MOS.tolist() == [6 * int(Path(name).stem) for name in found.ids.image_name]
    assert len(found.ids) == 40
    assert found.of_table == 41
    assert found.scale == (0, 255)
    assert found.teacher["weights"] == "abc"
    table = pd.read_csv(run / training_teacher.TABLE)
    assert table.columns.tolist() == ["image_name", "MOS", "set"]
    assert table.set.value_counts().min() >= 3
    assert score_file.read(run / training_teacher.SCORES).status.value_counts().to_dict() == {"ok": 40, "unreadable": 1}
    again = training_teacher.taught(training_teacher.load(s), run, s)
    assert len(plans) == 1  # nothing is scored again
    pd.testing.assert_frame_equal(again.ids, found.ids)
    other = training_teacher.load(chosen(photos, wise, seed=2))
    assert not other.ids.set.equals(data.ids.set)


def test_a_run_that_was_stopped_goes_on_with_what_the_teacher_had_said(photos, wise, monkeypatch, run):
    s = chosen(photos, wise)

    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr(training_teacher.scorer, "decide", lambda path, *_, **__: Brightness(path, stop))
    with pytest.raises(KeyboardInterrupt):
        training_teacher.taught(training_teacher.load(s), run, s)
    assert not (run / training_teacher.TABLE).exists()
    about = {**Brightness(wise).facts(), "roots": [str(photos)]}
    with score_file.ScoreFile(run / training_teacher.SCORES, about) as file:
        file.append(Score("00.png", 77.0))
    plan = Brightness(wise)
    monkeypatch.setattr(training_teacher.scorer, "decide", lambda *_, **__: plan)
    found = training_teacher.taught(training_teacher.load(s), run, s).ids.set_index("image_name").MOS
    assert found["00.png"] == 77
    assert found["day/01.png"] == 6
    assert len(found) == 40


def test_pictures_that_came_later_are_not_learnt_and_those_that_went_are_named(photos, wise, plans, run):
    s = chosen(photos, wise)
    before = training_teacher.taught(training_teacher.load(s), run, s).ids
    Image.new("RGB", (32, 24)).save(photos / "later.png")
    pd.testing.assert_frame_equal(training_teacher.taught(training_teacher.load(s), run, s).ids, before)
    (photos / "00.png").unlink()
    with pytest.raises(InputError, match=r"should still be there. Received: 1 that are not \(00\.png\)"):
        training_teacher.taught(training_teacher.load(s), run, s)


def test_of_a_table_the_pictures_and_sets_count_and_not_the_mos(data, wise, plans, run):
    s = chosen("", wise, dataset=str(data))
    found = training_teacher.taught(training_teacher.load(s), run, s)
    own = datasets.load(str(data))
    assert found.ids.set.tolist() == own.ids.set.tolist()
    np.testing.assert_allclose(found.ids.MOS, 2.55 * own.ids.MOS, atol=12)
    assert found.name == "grey by wise"
    none = chosen("", "", dataset=str(data))
    assert training_teacher.taught(training_teacher.load(none), run, none).ids.MOS.equals(own.ids.MOS)


def test_labels_of_a_teacher_are_no_ones_mos(data, wise, plans, capsys, run):
    s = chosen("", wise, dataset=str(data))
    found = training_teacher.taught(training_teacher.load(s), run, s)
    rows = found.ids.assign(set=np.where(found.ids.set == "test", "test", "validation"))
    engine = Engine("x", TINY, 8, lambda pixels: (pixels.astype(float).mean((1, 2, 3)) / 10).astype(np.float32))
    calibrating.calibrate(wise, engine, replace(found, ids=rows), "validation", 1)
    assert "No intervals: the labels are scores of wise, and nobody's MOS would lie within." in capsys.readouterr().out
    assert "intervals" not in sidecar.record(wise)
    said = Facts({"record": {"label": found.label}}).scale()
    assert said.startswith(
        "The scores are scores of wise: the model learnt labels that are another network's scores, and"
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"teacher": "absent"}, "Received: weights='absent'"),
        (
            {"images": "/nowhere"},
            "images should be a folder of pictures for the teacher. Received: /nowhere, which is none",
        ),
    ],
)
def test_what_cannot_teach_or_be_learnt_is_named(photos, wise, more, message):
    with pytest.raises(InputError) as error:
        training_teacher.load(chosen(**{"images": photos, "teacher": wise} | more))
    assert message in str(error.value)


def test_where_nothing_opens_nothing_is_learnt(wise, plans, tmp_path, run):
    (tmp_path / "none").mkdir()
    for number in range(3):
        (tmp_path / f"none/{number}.png").write_bytes(b"broken")
    s = chosen(tmp_path / "none", wise)
    with pytest.raises(
        InputError, match=r"The teacher should have scored pictures. Received: none; .*teacher\.csv says"
    ):
        training_teacher.taught(training_teacher.load(s), run, s)


@pytest.fixture(params=["tiny", pytest.param("koncept_lite", marks=pytest.mark.long)])
def wide(request, tmp_path):
    """A teacher: random weights of the small network, or those that are released."""
    if request.param == "koncept_lite":
        try:
            return finding.find("koncept_lite")
        except InputError:
            pytest.skip("koncept_lite has no weights here")
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    module = TINY.build_torch(50.0)
    with torch.no_grad():
        module.fc[-1].weight *= 30
    save_file(module.state_dict(), tmp_path / "tiny.safetensors")
    sidecar.write_record(tmp_path / "tiny.safetensors", TINY)
    return tmp_path / "tiny.safetensors"


def test_a_narrower_network_learns_the_scores_of_a_wider_one(photos, wide, tmp_path, monkeypatch, capsys):
    """By the script, in PyTorch: what it learns is the teacher's, and what it is compared with, too."""
    script = pytest.importorskip("pytorch_train_koncept512")
    monkeypatch.setitem(NETWORKS, "koncept512", NARROW)
    monkeypatch.setattr(engines_plan, "auto", lambda *_, **__: ("torch", "cpu"))
    run = tmp_path / "run"
    arguments = ["--teacher", wide, "--images", photos, "--weights", "none", "--run", run]
    fixed = ["--input-size", 24, 32, "--batch-size", 8, "--epochs", 8, "--learning-rates", 1e-2, "--device", "cpu"]
    assert ended(script, *arguments, *fixed, "--momentum", 0.5, "--precision", "float32") == 0
    facts = json.loads((run / "settings.json").read_text())
    assert facts["label"] == f"scores of {title(wide)}"
    assert facts["teacher"]["network"] == network_of(wide).name
    best = finding.find(str(run))
    assert network_of(best).name == "narrow"
    assert best.stat().st_size < wide.stat().st_size
    predictions = pd.read_csv(run / "test/predictions.csv")
    said = pd.read_csv(run / training_teacher.TABLE).set_index("image_name")
    assert predictions.MOS.tolist() == said.MOS[predictions.image_name].tolist()
    assert pd.read_csv(run / "log.csv").val_plcc_tf.max() > 0.8
    assert "they are another network's scores" in capsys.readouterr().out


@pytest.mark.long
@pytest.mark.parametrize("wide", ["tiny"], indirect=True)
def test_what_keras_draws_does_not_depend_on_whether_the_teacher_was_at_work(photos, wide, tmp_path, monkeypatch):
    script = pytest.importorskip("koncept512_train")
    monkeypatch.setitem(NETWORKS, "koncept512", TINY)
    monkeypatch.setattr(engines_plan, "auto", lambda *_, **__: ("keras", "cpu"))
    fixed = ["--weights", "none", "--input-size", 24, 32, "--batch-size", 8, "--epochs", 1, "--learning-rates", 1e-2]
    logs = []
    (tmp_path / "second").mkdir()
    for run in ("first", "second"):
        assert ended(script, "--teacher", wide, "--images", photos, "--run", tmp_path / run, *fixed) == 0
        logs.append(pd.read_csv(tmp_path / run / "log.csv").drop(columns="seconds"))
        for path in (tmp_path / "first").glob("teacher*"):
            (tmp_path / "second" / path.name).write_bytes(path.read_bytes())
    pd.testing.assert_frame_equal(logs[0], logs[1], rtol=1e-3)
