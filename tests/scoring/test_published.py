"""Scores in a store: gone on with on any machine, sent while they come, and never lost when nothing takes them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mean import MeanPlan
from PIL import Image
from store import BUCKET, environment, s3

from koniq.ground import InputError, RunStopped
from koniq.pictures import in_fsspec, inputs
from koniq.scoring import published, score_file
from koniq.scoring.scorer import Scorer

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("moto")
OUT = f"s3://{BUCKET}/results/scores.csv"
BESIDE = ["results/scores.csv", "results/scores.csv.contents", "results/scores.csv.json"]
COUNT = 24


@pytest.fixture
def store(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with s3(monkeypatch) as store:
        yield store
        store.start()


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(COUNT):
        add(folder, number)
    return folder


def add(folder, number):
    Image.new("RGB", (64, 48), (5 * number + 3,) * 3).save(folder / f"{number:02}.png")


def write(photos, out=OUT, overwrite=False, **plan):
    """What scored, once all of it is written."""
    plan = MeanPlan(**plan)
    Scorer(plan).write(inputs.of([str(photos)]), out, overwrite=overwrite)
    return plan


def whole(photos, tmp_path):
    """The bytes of the CSV that a run here writes."""
    write(photos, tmp_path / "whole.csv")
    return (tmp_path / "whole.csv").read_bytes()


def after(batches, work):
    counted = iter(range(1000))
    return lambda: work() if next(counted) == batches else None


def stops():
    raise RunStopped("the power is gone")


def another_machine(monkeypatch, tmp_path, name="another"):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))


def test_what_is_sent_is_what_a_run_here_writes_and_another_machine_goes_on(store, photos, tmp_path, monkeypatch):
    assert write(photos).scored == COUNT
    assert store.keys() == BESIDE
    assert store.get(BESIDE[0]) == whole(photos, tmp_path)
    assert json.loads(store.get(BESIDE[2]))["roots"] == [str(photos)]
    assert write(photos).scored == 0
    another_machine(monkeypatch, tmp_path)
    assert write(photos).scored == 0
    add(photos, COUNT)
    add(photos, 40)
    Image.new("RGB", (60, 50), (9, 9, 9)).save(photos / "03.png")
    assert write(photos).scored == 3  # the edited one is known by the contents that were sent
    assert store.get(BESIDE[0]).count(b"\n") == 1 + COUNT + 2
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert write(photos).scored == 0  # the first machine fetches what the other sent
    assert write(photos, overwrite=True).scored == COUNT + 2
    assert store.get(BESIDE[0]) == whole(photos, tmp_path)


def test_a_run_that_stops_has_sent_its_rows(store, photos, tmp_path, monkeypatch):
    with pytest.raises(RunStopped, match="the power is gone"):
        write(photos, then=after(6, stops))
    sent = store.get(BESIDE[0])
    assert 8 < sent.count(b"\n") < COUNT
    another_machine(monkeypatch, tmp_path)
    assert write(photos).scored == COUNT + 1 - sent.count(b"\n")
    assert store.get(BESIDE[0]) == whole(photos, tmp_path)


def test_rows_are_sent_while_they_come(store, photos, monkeypatch):
    monkeypatch.setattr(published, "EVERY", 0.05)
    seen = []
    write(photos, pause=0.1, then=lambda: seen.append(store.get(BESIDE[0])))
    lengths = [data.count(b"\n") for data in seen if data]
    assert lengths == sorted(lengths)
    assert any(1 < length <= COUNT for length in lengths)
    assert all(data.endswith(b"\n") for data in seen if data)


def test_a_store_that_takes_nothing_at_the_end_loses_nothing(store, photos, tmp_path, monkeypatch, capsys):
    def away():
        store.stop()
        monkeypatch.setenv("KONIQ_STORE_TIMEOUT", "1")

    with pytest.raises(RunStopped, match=r"could not be written to: .*What was scored is whole, in ") as stopped:
        write(photos, then=after(3, away))
    here = Path(str(stopped.value).partition("whole, in ")[2].partition("; once")[0])
    assert len(score_file.read(here)) == COUNT
    with pytest.raises(RunStopped, match=r"could not be begun or gone on with: .*is whole, in "):
        write(photos)
    store.start()
    monkeypatch.delenv("KONIQ_STORE_TIMEOUT")
    assert write(photos).scored == 0
    assert store.get(BESIDE[0]) == whole(photos, tmp_path)
    assert f"{OUT} has been written; its copy here is {here}" in capsys.readouterr().out


def test_a_run_that_was_killed_between_sending_and_noting_it_goes_on_with_its_own(store, photos, tmp_path, capsys):
    write(photos)
    (noted,) = (tmp_path / "cache").rglob("sent.json")
    noted.unlink()
    store.put(BESIDE[0], store.get(BESIDE[0])[:-20])
    assert write(photos).scored == 0
    assert store.get(BESIDE[0]) == whole(photos, tmp_path)
    assert "another" not in capsys.readouterr().err


def test_what_could_not_be_sent_is_kept_when_another_has_written_since(store, photos, tmp_path, monkeypatch, capsys):
    def away():
        store.stop()
        monkeypatch.setenv("KONIQ_STORE_TIMEOUT", "0.5")

    with pytest.raises(RunStopped):
        write(photos, then=after(3, away))
    store.start()
    monkeypatch.delenv("KONIQ_STORE_TIMEOUT")
    first = whole(photos, tmp_path)
    another_machine(monkeypatch, tmp_path)
    Image.new("RGB", (64, 48), (200, 0, 0)).save(photos / "00 and more.png")
    write(photos)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert write(photos).scored == 0
    told = capsys.readouterr().err
    assert "was changed by another; rows here that were not sent are kept in" in told
    (kept,) = (tmp_path / "cache").rglob("scores-unsent.csv")
    assert kept.read_bytes() == first


def test_of_two_the_last_to_send_wins_and_says_so(store, photos, tmp_path, capsys):
    write(photos, then=after(3, lambda: store.put(BESIDE[0], b"of another")))
    assert store.get(BESIDE[0]) == whole(photos, tmp_path)
    assert "was changed by another meanwhile" in capsys.readouterr().err


def test_what_was_taken_away_is_begun_anew(store, photos):
    write(photos)
    for key in BESIDE:
        store.remove(key)
    assert write(photos).scored == COUNT
    assert store.keys() == BESIDE


def test_what_lies_there_and_is_no_csv_of_scores_or_of_others_stays(store, photos, tmp_path, monkeypatch, capsys):
    store.put(BESIDE[0], b"dear diary")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"lifelog_predict\.py wrote"):
            write(photos, overwrite=overwrite)
    assert store.get(BESIDE[0]) == b"dear diary"
    store.remove(BESIDE[0])
    write(photos)
    monkeypatch.setattr(MeanPlan, "facts", lambda self: {"model": "mean", "weights": "others"})
    another_machine(monkeypatch, tmp_path)
    capsys.readouterr()
    before = store.get(BESIDE[0])
    with pytest.raises(InputError, match='was begun with weights="abc"'):
        write(photos)
    assert store.get(BESIDE[0]) == before
    assert "has been written" not in capsys.readouterr().out


def test_what_cannot_be_written_to_is_said_first(store, photos):
    plan = MeanPlan()
    for out, error, match in (
        ("https://host/scores.csv", InputError, "out should be a file, or an address in a store that can be written"),
        ("s3://nowhere/scores.csv", RunStopped, r"could not be begun or gone on with: NoSuchBucket"),
        ("store://bucket/scores.csv", InputError, "should begin with"),
    ):
        with pytest.raises(error, match=match):
            Scorer(plan).write(inputs.of([str(photos)]), out)
    assert plan.scored == 0
    with published.Published(in_fsspec.Remote(OUT)), pytest.raises(InputError, match="Another process is writing s3"):
        write(photos)


def test_any_file_system_of_fsspec(store, photos, tmp_path):
    write(photos, "memory://somewhere/scores.csv")
    assert fsspec.filesystem("memory").cat("/somewhere/scores.csv") == whole(photos, tmp_path)
    write(photos, f"file://{tmp_path}/there.csv")
    assert (tmp_path / "there.csv").read_bytes() == whole(photos, tmp_path)


def test_the_command_reads_and_writes_stores(store, photos, tmp_path):
    store.put_folder(photos, "photos/")
    helper = Path(__file__).parents[1] / "helpers/mean.py"
    command = [sys.executable, str(helper), f"s3://{BUCKET}/photos", "--out", OUT]
    environ = {**os.environ, **environment(store.port), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # nor what libraries have to say of their sessions
    assert f"{OUT} has been written" in done.stdout
    assert store.get(BESIDE[0]) == whole(photos, tmp_path)
    environ["AWS_ENDPOINT_URL"], environ["KONIQ_STORE_TIMEOUT"] = "http://127.0.0.1:9", "1"
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: s3://{BUCKET}/photos could not be read")
    assert "Traceback" not in done.stderr
