"""What one of several machines does, without any other: a block becomes a part, and an error of its own is said."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from odd_files import encoded, photograph
from store import s3

import koniq
from koniq.ground import InputError, RunStopped
from koniq.pictures import apart
from koniq.scoring.in_flight import InFlight
from koniq.scoring.parts import Parts, Planned
from koniq.scoring.worker import Job, Worker

HOW = {"input_size": (96, 128), "precision": "float32", "engine": "openvino"}


@pytest.fixture(scope="module")
def scorer():
    return koniq.load("koncept_lite", **HOW)


@pytest.fixture
def job(scorer, tmp_path, monkeypatch):
    """A job in a folder of four pictures, of which one is broken, and the working directory as it was afterwards."""
    photos = tmp_path / "photos"
    photos.mkdir()
    (tmp_path / "parts").mkdir()
    for number in range(3):
        (photos / f"{number}.jpg").write_bytes(encoded(photograph(seed=number)))
    (photos / "3.jpg").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    facts = {**scorer.facts, "device": "another"}
    return Job(scorer.recipe(), facts, str(tmp_path / "parts"), 1, str(tmp_path), ["photos"])


BLOCK = [Planned(f"{number}.jpg", 0, f"photos/{number}.jpg") for number in range(4)]


def test_a_block_becomes_a_part_with_the_scores_of_one_machine(job, scorer):
    assert Worker(job).score(BLOCK) == 4
    (path,) = Parts(Path(job.folder), {}, 0).paths()
    found = [*Parts(Path(job.folder), {}, 0).in_order([one.row for one in BLOCK])]
    alone = list(scorer.scores([one.where for one in BLOCK]))
    for one, other in zip(found, alone, strict=True):
        assert (one.status, one.width, one.height, one.error) == (other.status, other.width, other.height, other.error)
        assert one.mos == pytest.approx(other.mos, abs=1e-3, nan_ok=True)
        assert one.content
    assert path.name.startswith("000001-")
    assert list((Path(job.folder) / "in_flight").iterdir()) == []
    Parts(Path(job.folder), scorer.facts).check()


def test_what_a_worker_died_at_is_decoded_apart(job, monkeypatch):
    at_work = Path(job.folder) / "in_flight"
    at_work.mkdir()
    dead = InFlight(at_work / "dead", BLOCK[1:3])
    assert next(iter(dead)) == BLOCK[1]  # and it never came back
    decoded = []
    decode = apart.Apart.decode
    monkeypatch.setattr(apart.Apart, "decode", lambda self, path: (decoded.append(str(path)), decode(self, path))[1])
    assert Worker(job).score(BLOCK) == 4
    assert decoded == ["photos/1.jpg", "photos/2.jpg"]
    assert [score.status for score in Parts(Path(job.folder), {}, 0).in_order([one.row for one in BLOCK])][:3] == [
        "ok"
    ] * 3


def test_a_drive_that_goes_away_ends_the_run_and_what_was_scored_is_written(job, monkeypatch):
    worker = Worker(job)
    worker.start()
    opened = worker.scorer.opened

    def gone(path, place):
        if path.name == "2.jpg":
            shutil.move("photos", "elsewhere")
        return opened(path, place)

    worker.scorer.workers = 1
    monkeypatch.setattr(worker.scorer, "opened", gone)
    with pytest.raises(RunStopped, match=r"2\.jpg could not be read, and that is no fault of its own"):
        worker.score(BLOCK)
    assert [known.planned.name for _, _, known in Parts(Path(job.folder), {}, 0).known()] == ["0.jpg", "1.jpg"]


def test_pictures_of_a_store_are_fetched_by_the_worker_and_a_store_that_is_gone_ends_the_run(job, scorer, monkeypatch):
    monkeypatch.setenv("KONIQ_STORE_TIMEOUT", "2")
    with s3(monkeypatch) as store:
        store.put("a/0.jpg", encoded(photograph()))
        store.put("a/1.jpg", b"no picture")
        block = [Planned(f"{number}.jpg", 0, f"s3://pictures/a/{number}.jpg") for number in range(3)]
        job = replace(job, places=["s3://pictures/a"])
        worker = Worker(job)
        assert worker.score(block) == 3
        found = [*Parts(Path(job.folder), {}, 0).in_order([one.row for one in block])]
        assert [score.status for score in found] == ["ok", "unreadable", "missing"]
        assert found[0].mos == pytest.approx(scorer(encoded(photograph())).mos, abs=1e-3)
        assert found[0].content.size == len(encoded(photograph()))
        store.stop()
        with pytest.raises(RunStopped, match=r"s3://pictures/a/0\.jpg could not be read"):
            worker.score(block)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"here": "/nowhere/at/all"}, "/nowhere/at/all should be seen by every machine"),
        ({"folder": "/nowhere/parts"}, "/nowhere/parts should be seen by every machine"),
        ({"places": ["drive"]}, "The folder of the pictures should be drive"),
        ({"facts": {"weights": "of another file"}}, "Every machine should score with .*weights='of another file'"),
    ],
)
def test_what_a_machine_lacks_is_one_sentence(job, changed, message):
    with pytest.raises(InputError, match=message):
        Worker(replace(job, **changed)).score(BLOCK)


def test_weights_that_a_machine_does_not_have_are_one_sentence(job):
    recipe = {**job.recipe, "weights": os.fspath(Path(job.folder) / "none.safetensors")}
    with pytest.raises(InputError, match=r"none\.safetensors"):
        Worker(replace(job, recipe=recipe)).score(BLOCK)


def test_a_recipe_leaves_nothing_to_the_machine(scorer):
    recipe = scorer.recipe()
    assert (recipe["engine"], recipe["precision"], recipe["rules"]) == ("openvino", "float32", scorer.facts["rules"])
    assert os.path.isabs(recipe["weights"])  # noqa: PTH117
    assert dict(koniq.load(**recipe).facts) == dict(scorer.facts)
