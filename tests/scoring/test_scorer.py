import doctest
import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mean import MeanPlan
from odd_files import PROFILES, encoded, in_space
from PIL import Image
from skimage import data as photographs
from tiny import TINY

import koniq
from koniq.engines import numbers
from koniq.engines.engine import Engine
from koniq.ground import InputError
from koniq.ground.facts import facts_path
from koniq.ground.log import LOG
from koniq.scoring import scorer as scoring_scorer
from koniq.scoring.score_file import read
from koniq.scoring.scorer import Scorer

ROOT = Path(__file__).resolve().parents[2]
LITE = ROOT / "trained_models/koncept_lite/koncept_lite.safetensors"
ON_CPU = ("--precision", "float32", "--device", "cpu")
SLOW = {"tensorflow", "keras", "torch", "openvino", "onnxruntime", "matplotlib"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs, one without a name to tell it by, and two files that are no whole pictures."""
    folder = tmp_path_factory.mktemp("scorer")
    (folder / "my_photos/day").mkdir(parents=True)
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(getattr(photographs, name)()).save(folder / f"my_photos/{name}.png")
    Image.fromarray(photographs.astronaut()).save(folder / "photo.jpg")
    whole = (folder / "photo.jpg").read_bytes()
    (folder / "my_photos/day/half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "my_photos/text.jpg").write_text("a text")
    return folder


@pytest.fixture(scope="module")
def lite():
    """The released network, on the processor."""
    return koniq.load(LITE, precision="float32", device="cpu")


def same(one, other):
    """Whether two scores are one, nan included, whatever the pictures are called."""
    return str(one).split(", ", 1)[1] == str(other).split(", ", 1)[1]


def test_the_examples_of_the_docstring_hold(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(LOG, "disabled", True)  # what it says is no output of the examples
    failed, tried = doctest.testmod(scoring_scorer)
    assert tried > 4
    assert not failed


def test_a_picture_is_one_score_however_it_is_given(lite, folder):
    path = folder / "my_photos/coffee.png"
    expected = lite(path)
    assert (expected.name, expected.status, expected.width, expected.height) == (str(path), "ok", 600, 400)
    pixels = np.asarray(Image.open(path))
    with path.open("rb") as file, Image.open(path) as picture:
        for given in (str(path), path.read_bytes(), bytearray(path.read_bytes()), file, picture, pixels):
            assert same(lite(given), expected)
        assert not file.closed
        assert picture.load()  # still open
    assert same(lite(pixels[:, ::-1][:, ::-1]), expected)  # of any strides
    assert lite(io.BytesIO(path.read_bytes())).name == ""
    assert np.isnan(expected.raw) == (lite.to_mos is None)


def test_a_picture_of_the_caller_stays_as_it_is(lite):
    turned = Image.effect_noise((60, 40), 80).convert("RGB")
    turned.getexif()[0x0112] = 6
    assert (lite(turned).width, lite(turned).height) == (40, 60)
    assert turned.size == (60, 40)


@pytest.mark.parametrize(
    ("picture", "status", "error"),
    [
        ("none.jpg", "missing", "no such file"),
        ("nul\0.jpg", "unreadable", "ValueError"),
        (b"", "unreadable", "not a picture"),
        (b"a text", "unreadable", "not a picture"),
        (io.StringIO("a text"), "unreadable", "Error"),
        (np.zeros((4, 4, 3), np.float32), "unreadable", "uint8 (height, width, 3), RGB. Received: float32 (4, 4, 3)"),
        (np.zeros((4, 4), np.uint8), "unreadable", "Received: uint8 (4, 4)"),
        (np.zeros((0, 4, 3), np.uint8), "unreadable", "Received: uint8 (0, 4, 3)"),
        (None, "unreadable", "Received: NoneType"),
        (7, "unreadable", "Received: int"),
    ],
    ids=("absent", "no name", "empty", "text", "texts", "floats", "grey", "none of it", "nothing", "a number"),
)
def test_a_bad_picture_is_a_status(lite, picture, status, error):
    for found in (lite(picture), *lite.scores([picture])):
        assert (found.status, np.isnan(found.mos)) == (status, True)
        assert error in found.error
    half = Image.fromarray(photographs.coffee())
    data = io.BytesIO()
    half.save(data, "JPEG")
    assert lite(data.getvalue()[:9000]).status == "truncated"


def test_scores_and_the_table_are_those_of_the_csv(lite, folder, tmp_path, monkeypatch):
    file = lite.write(folder / "my_photos", tmp_path / "s.csv")
    expected = read(tmp_path / "s.csv")
    assert len(file.unscored) == 2
    pd.testing.assert_frame_equal(lite.table(folder / "my_photos"), expected, check_exact=True)
    paths = [folder / "my_photos" / name for name in expected.image_path]
    pd.testing.assert_frame_equal(
        lite.table(paths), expected.assign(image_path=pd.Series([*map(str, paths)], dtype=object)), check_exact=True
    )
    streamed = list(lite.scores(iter(paths)))
    assert [score.name for score in streamed] == [*map(str, paths)]
    for score, path in zip(streamed, paths, strict=True):
        assert same(score, lite(path))  # its batch is filled up
    assert [score.status for score in streamed].count("ok") == 3
    script = tmp_path / "script.csv"
    done = subprocess.run(
        [sys.executable, "lifelog_predict.py", folder / "my_photos", "--weights", LITE, *ON_CPU, "--out", script],
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 3
    assert script.read_bytes() == (tmp_path / "s.csv").read_bytes()
    assert (tmp_path / "script.csv.json").read_bytes() == (tmp_path / "s.csv.json").read_bytes()
    monkeypatch.chdir(folder)
    assert lite.table("my_photos/*.png").image_path.tolist() == [
        f"my_photos/{n}.png" for n in ("astronaut", "chelsea", "coffee")
    ]
    with pytest.raises(InputError, match="A glob should match pictures"):
        lite.table("nothing/*.png")


def test_the_csv_goes_on_where_it_stopped(folder, tmp_path):
    plan = MeanPlan()
    scorer, paths = Scorer(plan), sorted((folder / "my_photos").glob("*.png"))
    scorer.write(paths[:1], tmp_path / "s.csv")
    assert plan.scored == 1
    file = scorer.write(paths, tmp_path / "s.csv")
    assert (plan.scored, file.done.total(), file.unscored) == (3, 3, {})
    assert scorer.write(iter(paths), tmp_path / "s.csv").summary() == file.summary()
    assert plan.scored == 3
    with pytest.raises(InputError, match="pictures should name"):
        scorer.write([], tmp_path / "s.csv")


def test_a_file_is_gone_on_with_by_the_rules_that_it_was_begun_with(folder, tmp_path, capsys):
    photos, out = folder / "my_photos", tmp_path / "out.csv"
    load = {"precision": "float32", "device": "cpu"}
    koniq.load(LITE, rules="1", **load).write(photos, out)
    about = json.loads(facts_path(out).read_text())
    assert about.pop("rules") == "1"
    assert "rules" not in about["record"]  # of the weights: it had none then
    facts_path(out).write_text(json.dumps(about))  # as it was written before there were rules
    before = out.read_text().splitlines()
    Image.fromarray(photographs.astronaut()).save(photos / "more.png")
    koniq.load(LITE, **load).write(photos, out)
    assert "are decoded by the rules 1, as" in capsys.readouterr().out
    assert [*before, out.read_text().splitlines()[-1]] == out.read_text().splitlines()
    assert json.loads(facts_path(out).read_text()) == about
    with pytest.raises(InputError, match=r'was begun with rules="1".*Received: rules="2"'):
        koniq.load(LITE, rules="2", **load).write(photos, out)
    koniq.load(LITE, **load).write(photos, out, overwrite=True)
    assert json.loads(facts_path(out).read_text())["rules"] == "2"
    (photos / "more.png").unlink()


@pytest.mark.parametrize("how", [{"rules": "study"}, {"fit": "pad"}, {"fit": "crop"}, {"dct_scaling": False}])
def test_scores_by_two_ways_to_the_network_are_not_mixed(folder, tmp_path, how):
    load = {"precision": "float32", "device": "cpu"}
    koniq.load(LITE, **load).write(folder / "photo.jpg", tmp_path / "out.csv")
    with pytest.raises(InputError, match="scores of two kinds should not stand in one file"):
        koniq.load(LITE, **load, **how).write(folder / "photo.jpg", tmp_path / "out.csv")


def test_what_there_is_to_say_of_a_scored_picture_stands_where_errors_do(lite, tmp_path):
    Image.fromarray(photographs.coffee()).save(tmp_path / "odd.jpg", icc_profile=b"broken")
    note = "its profile is broken, and is not applied"
    score = lite(tmp_path / "odd.jpg")
    assert (score.status, score.error, score.note) == ("ok", "", note)
    lite.write(tmp_path / "odd.jpg", tmp_path / "out.csv")
    row = read(tmp_path / "out.csv").iloc[0]
    assert (row.status, row.error) == ("ok", note)
    assert pytest.approx(score.mos, abs=1e-3) == row.MOS


def test_the_same_colours_in_four_spaces_score_alike(lite):
    """As their numbers stand, they score up to 7 MOS apart."""
    for photograph in (photographs.coffee(), photographs.chelsea()):
        apart = {}
        for rules in ("2", "1"):
            scorer = lite.changed(rules=rules)
            files = (
                encoded(in_space(Image.fromarray(photograph), profile), "PNG", icc_profile=profile)
                for profile in PROFILES.values()
            )
            apart[rules] = np.ptp([score.mos for score in scorer.scores(files)])
        assert apart["2"] < 0.3
        assert apart["1"] > 1


def test_a_stream_takes_no_more_than_it_needs_ahead():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield np.full((4, 4, 3), len(taken) % 200, np.uint8)

    scores = Scorer(MeanPlan()).scores(endless())
    found = [next(scores).mos for _ in range(100)]
    scores.close()
    assert found == [float(number % 200) for number in range(1, 101)]
    assert len(taken) <= 100 + 2 * 2 + 2 + 2 * 3 + 1  # decoded ahead, of two batches and a bit


def test_threads_share_one_and_two_live_side_by_side():
    """The engine starts once, and does no more at a time than it says it can."""
    starts, at_work, most, lock = [], [], [0], threading.Lock()

    class Plan(MeanPlan):
        def start(self):
            starts.append(1)
            return super().start()

        def score(self, batch):
            with lock:
                at_work.append(1)
                most[0] = max(most[0], len(at_work))
            found = super().score(batch)
            with lock:
                at_work.pop()
            return found

    shared, other = Scorer(Plan(pause=0.002)), Scorer(MeanPlan())
    found = {}

    def work(number):
        pictures = [np.full((4, 4, 3), number * 20 + each, np.uint8) for each in range(10)]
        alone = [shared(picture).mos for picture in pictures]
        found[number] = (alone, [score.mos for score in shared.scores(pictures)], other(pictures[0]).mos)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for number in range(6):
        expected = [float(number * 20 + each) for each in range(10)]
        assert found[number] == (expected, expected, expected[0])
    assert (len(starts), most[0]) == (1, 1)


def test_another_one_shares_the_engine_where_that_stays_the_same(lite, folder):
    path = folder / "my_photos/chelsea.png"
    lite(path)
    resized = lite.changed(resize="nearest")
    assert resized._engine.score is lite.engine.score
    assert resized(path).mos != lite(path).mos
    assert lite.changed(batch_size=1)._engine is None
    with pytest.raises(InputError, match=r"changed should be of engine, .*Received: size"):
        lite.changed(size=3)


def test_numbers_of_arrays_in_whole_batches_or_as_they_come():
    shapes = []

    def score(batch):
        shapes.append(len(batch))
        return batch.mean((1, 2, 3), dtype=np.float32)

    pictures = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.ones((1, 24, 32, 3), np.uint8)
    for any_batch, expected in ((False, [2, 2, 2]), (True, [2, 2, 1])):
        engine = Engine("mean", TINY, 2, score, any_batch=any_batch)
        for given in (pictures, [*pictures]):
            shapes.clear()
            np.testing.assert_array_equal(numbers(engine, given), np.arange(5, dtype=np.float32))
            assert shapes == expected
        assert numbers(engine, []).shape == (0,)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"workers": 0}, {"precision": "int8", "engine": "torch"}])
def test_what_does_not_go_together_is_said_at_once(wrong):
    with pytest.raises(InputError, match="Received"):
        koniq.load(LITE, **wrong)
    with pytest.raises(InputError, match="weights should be a file"):
        koniq.load("no such weights")


def test_importing_and_loading_start_no_framework_and_nothing_is_printed(folder):
    """In a process of its own, with what Pillow warns of."""
    odd = folder / "odd.tif"
    Image.fromarray(photographs.coffee()).save(odd)
    data = odd.read_bytes()
    odd.write_bytes(data[: len(data) // 2])
    code = f"""
import sys
slow = {SLOW}
import koniq
assert not slow & sys.modules.keys(), slow & sys.modules.keys()
scorer = koniq.load({str(LITE)!r})
repr(scorer)
assert not slow & sys.modules.keys(), slow & sys.modules.keys()
from PIL import Image
Image.MAX_IMAGE_PIXELS = 200_000  # coffee is above it: a warning
assert scorer({str(folder / "my_photos/coffee.png")!r}).status == "ok"
assert [score.status for score in scorer.scores([{str(odd)!r}, b"a"])].count("ok") == 0
scorer.table({str(folder / "my_photos")!r})
assert not slow - {{"openvino"}} & sys.modules.keys(), slow & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_the_package_gives_is_documented():
    assert koniq.__all__ == ["InputError", "RunStopped", "Score", "Scorer", "load"]
    for name in koniq.__all__:
        assert getattr(koniq, name).__doc__
    for name in ("__call__", "scores", "table", "write", "changed", "plan", "facts", "engine"):
        assert getattr(koniq.Scorer, name).__doc__
