"""A drive that goes away, a server that does not answer, a process that may open no more: none is a picture's fault."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from mean import MeanPlan
from PIL import Image
from tiny import TINY

from koniq.fetch import inspection
from koniq.ground import InputError, RunStopped
from koniq.pictures import faults, inputs
from koniq.pictures.decoding import decode
from koniq.scoring import score_file
from koniq.scoring.loop import predict
from koniq.scoring.scorer import Scorer
from ku import opening

COUNT = 40


@pytest.fixture
def folder(tmp_path):
    """A list of pictures of one grey each, in two folders, one of which was never there; and the root they lie in."""
    root = tmp_path / "pictures"
    fill(root)
    return root


def fill(root):
    for day in ("2016-08-11", "2016-08-12"):
        (root / day).mkdir(parents=True, exist_ok=True)
    names = [f"2016-08-1{1 + number // 20}/{number:02}.png" for number in range(COUNT)]
    for number, name in enumerate(names):
        if number != 9:
            Image.new("RGB", (64, 48), (number,) * 3).save(root / name)
    (root.parent / "list.csv").write_text("\n".join(["image_path", *names]) + "\n")


def score(root, out, **plan):
    """The table that scoring the list into `out` gives."""
    Scorer(MeanPlan(**plan)).write(inputs.of([str(root.parent / "list.csv")], str(root)), out)
    return score_file.read(out)


@pytest.fixture
def whole(folder, tmp_path):
    """The CSV of a run in which nothing happened."""
    table = score(folder, tmp_path / "whole.csv")
    assert table.status.value_counts().to_dict() == {"ok": COUNT - 1, "missing": 1}
    return (tmp_path / "whole.csv").read_bytes()


def failing(monkeypatch, error, *names):
    """Have the opening of a file raise `error()` for the pictures of some names, and say which were asked for."""
    asked, real = [], open

    def opened(path, *more):
        asked.append(Path(path).name)
        if Path(path).stem in names:
            raise error()
        return real(path, *more)

    monkeypatch.setattr(opening, "open", opened, raising=False)
    return asked


def check_stopped(root, out, whole, monkeypatch, match, rows=None, **plan):
    """A run stops with a sentence, rows so far whole and in order; once all is well it ends as if nothing had been."""
    with pytest.raises(RunStopped, match=match):
        score(root, out, **plan)
    assert whole.startswith(out.read_bytes())
    assert rows is None or len(score_file.read(out)) == rows
    monkeypatch.undo()
    return out


@pytest.mark.parametrize(
    "number",
    [
        *(errno.ESTALE, errno.ENOTCONN, errno.EMFILE, errno.ENFILE, errno.ENODEV, errno.ENXIO),
        *(errno.EHOSTDOWN, errno.ETIMEDOUT, errno.ENETDOWN),
    ],
)
def test_what_no_picture_does_stops_the_run_after_the_rows_before_it(folder, whole, tmp_path, monkeypatch, number):
    failing(monkeypatch, lambda: OSError(number, os.strerror(number)), "23")
    match = rf"23\.png could not be read, and that is no fault of its own: {os.strerror(number)}"
    out = check_stopped(folder, tmp_path / "out.csv", whole, monkeypatch, match, rows=23)
    score(folder, out)
    assert out.read_bytes() == whole


def after(batches, work):
    """Do `work` once, after so many batches."""
    counted = iter(range(1000))

    def then():
        if next(counted) == batches:
            work()

    return then


@pytest.mark.parametrize("root_itself", [True, False])
def test_a_folder_that_goes_away_makes_no_row(folder, whole, tmp_path, monkeypatch, root_itself):
    """The root, as an unplugged drive takes it; or the folders in it, each of which a drive may be."""
    away = tmp_path / "away"
    away.mkdir()

    def unplug():
        for path in [folder] if root_itself else sorted(folder.iterdir()):
            shutil.move(path, away)

    # Between the first folder and the last a picture may be asked for that is gone as one that just opened is.
    match = "is not there any more" if root_itself else "pictures is empty now|no fault of its own"
    out = check_stopped(folder, tmp_path / "out.csv", whole, monkeypatch, match, then=after(5, unplug))
    assert 9 < len(score_file.read(out)) < COUNT
    for path in away.iterdir():
        shutil.move(path, tmp_path if root_itself else folder)
    score(folder, out)
    assert out.read_bytes() == whole


def test_a_drive_without_a_root_of_its_own_is_known_by_the_picture_that_opened_before(folder):
    """Single files have no root: the folder of the last one that opened is asked."""
    paths = [folder / f"2016-08-11/{number:02}.png" for number in range(9)]
    plan = MeanPlan(then=after(1, lambda: shutil.rmtree(folder)))
    found = []
    with pytest.raises(RunStopped, match="2016-08-11 is not there any more"):
        found.extend(predict(plan.start(), paths * 10))
    assert {score.status for score in found} == {"ok"}


def test_an_unmounted_drive_makes_no_row(whole, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    with mounted(disk):
        fill(disk)
        unmount = lambda: subprocess.run(["umount", "-l", disk], check=True)  # noqa: E731
        match = f"{disk} is empty now"
        check_stopped(disk, tmp_path / "out.csv", whole, monkeypatch, match, then=after(5, unmount))
        with pytest.raises(InputError, match=r"should hold them\. Received: an empty folder"):
            score(disk, tmp_path / "out.csv")
        (disk / "a file").touch()
        assert faults.Place([disk]).devices[disk] == disk.stat().st_dev


@contextmanager
def mounted(disk):
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        yield
    finally:
        subprocess.run(["umount", disk], check=False, capture_output=True)


def test_another_drive_in_its_place_is_known(folder, monkeypatch):
    place = faults.Place([folder])
    place.devices[folder] += 1
    with pytest.raises(RunStopped, match="pictures is on another drive now"):
        decode(folder / "2016-08-11/09.png", TINY, place)


def test_a_picture_that_is_missing_is_no_drive_that_is(folder):
    place = faults.Place([folder])
    assert decode(folder / "2016-08-11/08.png", TINY, place).status == "ok"
    assert decode(folder / "2016-08-11/09.png", TINY, place).status == "missing"
    assert decode(folder / "no such day/09.png", TINY, place).status == "missing"
    (folder / "2016-08-11/08.png").unlink()  # somebody took it, once it was scored
    assert decode(folder / "2016-08-11/09.png", TINY, place).status == "missing"


def test_a_folder_that_is_not_there_to_begin_with_is_said(folder, tmp_path):
    with pytest.raises(InputError, match=r"should be .*nowhere. Received: No such file or directory; is its drive"):
        score(tmp_path / "nowhere", tmp_path / "out.csv")
    assert len(score_file.read(tmp_path / "out.csv")) == 0


DOUBTFUL = [
    (lambda: OSError(errno.EIO, "Input/output error"), "unreadable", "Input/output error"),
    (lambda: PermissionError(errno.EACCES, "Permission denied"), "unreadable", "Permission denied"),
    (MemoryError, "too_large", "not enough memory to decode it"),
]


@pytest.mark.parametrize(("error", "status", "reason"), DOUBTFUL)
def test_one_picture_of_them_has_a_row_with_the_reason(folder, tmp_path, monkeypatch, error, status, reason):
    failing(monkeypatch, error, "23", "00")  # also before any picture opened
    table = score(folder, tmp_path / "out.csv")
    for row in (0, 23):
        assert (table.status[row], table.error[row]) == (status, reason)
    assert table.status.value_counts().to_dict() == {"ok": COUNT - 3, status: 2, "missing": 1}


@pytest.mark.parametrize(("error", "status", "reason"), DOUBTFUL)
def test_all_of_them_stop_the_run(folder, whole, tmp_path, monkeypatch, error, status, reason):
    """From a moment on every picture fails, that which was scored before, too."""
    real, gone = open, []

    def opened(path, *more):
        if gone:
            raise error()
        return real(path, *more)

    monkeypatch.setattr(opening, "open", opened, raising=False)
    match = r"could not be read, .* which opened just before, does not any more"
    plan = {"then": after(5, lambda: gone.append(True))}
    out = check_stopped(folder, tmp_path / "out.csv", whole, monkeypatch, match, **plan)
    assert len(score_file.read(out)) > 9


def test_a_root_that_may_not_be_read_any_more_stops_the_run(folder, monkeypatch):
    place = faults.Place([folder])
    failing(monkeypatch, lambda: PermissionError(errno.EACCES, "Permission denied"), "23")
    real = os.stat

    def stat(path, *more, **options):
        if path == folder:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *more, **options)

    monkeypatch.setattr(faults.os, "stat", stat)
    monkeypatch.setattr(faults.os, "scandir", stat)
    with pytest.raises(RunStopped, match="pictures: Permission denied"):
        decode(folder / "2016-08-12/23.png", TINY, place)


@pytest.mark.parametrize("error", [lambda: OSError(errno.EMFILE, "Too many open files"), MemoryError])
def test_what_was_no_room_beside_others_is_opened_alone(folder, tmp_path, monkeypatch, error):
    real, failed = open, set()

    def opened(path, *more):
        if path not in failed:
            failed.add(path)
            raise error()
        return real(path, *more)

    monkeypatch.setattr(opening, "open", opened, raising=False)
    assert (score(folder, tmp_path / "out.csv").status == "ok").sum() == COUNT - 1


def test_more_threads_than_files_may_be_open(tmp_path):
    """60 threads that decode, in a process that may have 40 files open."""
    Image.effect_noise((100, 80), 50).save(tmp_path / "0.jpg")
    for number in range(1, 80):
        (tmp_path / f"{number}.jpg").write_bytes((tmp_path / "0.jpg").read_bytes())
    code = """
import resource, sys, time
import numpy as np
from pathlib import Path
sys.path.insert(0, "tests/helpers")
from tiny import TINY
from PIL import Image, ImageFile
from koniq.engines.engine import Engine
from koniq.scoring.loop import predict
load = ImageFile.ImageFile.load
ImageFile.ImageFile.load = lambda *which: (time.sleep(0.1), load(*which))[1]  # a slow drive: all are open at a time
Image.init()
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
engine = Engine("none", TINY, 60, lambda batch: np.zeros(len(batch), np.float32))
print([score.status for score in predict(engine, sorted(Path(sys.argv[1]).glob("*.jpg")), workers=60)].count("ok"))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "80\n", done.stderr


def test_what_libraries_say_without_a_number_is_asked_of_the_file(folder, monkeypatch):
    """libtiff reads by itself, and says "decoder error" of a server that does not answer."""
    failing(monkeypatch, lambda: OSError("decoder error -2"), "23")
    path = folder / "2016-08-12/23.png"
    assert decode(path, TINY).error == "OSError: decoder error -2"
    monkeypatch.setattr(faults, "unread", lambda path: OSError(errno.ESTALE, "Stale file handle"))
    with pytest.raises(RunStopped, match="Stale file handle"):
        decode(path, TINY)


def test_listing_and_checking_stop_for_the_machine_too(folder, monkeypatch):
    def stale(path, *_, **__):
        raise OSError(errno.ESTALE, "Stale file handle", path)

    (folder / "no ending").write_text("perhaps a picture")
    with monkeypatch.context() as patch:
        patch.setattr(opening, "open", stale, raising=False)
        with pytest.raises(RunStopped, match=r"no ending could not be read, .*Stale file handle"):
            inputs.pictures_in(folder)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", stale)
        with pytest.raises(RunStopped, match=r"pictures could not be read, .*Stale file handle"):
            inputs.pictures_in(folder)
    monkeypatch.setattr(opening, "open", stale, raising=False)
    with pytest.raises(RunStopped, match="Stale file handle"):
        inspection._opened(folder / "2016-08-12/23.png")
