"""Locks between real processes, renames across disks and to the disk: ku.files."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from ku import files

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_LOCKS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP]


def started(code, *arguments):
    """A Python process that runs `code`, in which ku.files is there."""
    command = [sys.executable, "-c", f"import sys, time; from ku.files import *\n{code}", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


# Locks


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_lock_is_one_processs_until_it_ends_however_it_ends(tmp_path, end):
    path = tmp_path / ".lock"
    holder = started("lock = lock_file(sys.argv[1]); print('held', flush=True); time.sleep(60)", path)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError):
        files.lock_file(path)
    holder.send_signal(end)
    holder.wait()
    with files.lock_file(path), pytest.raises(BlockingIOError):
        files.lock_file(path)
    assert list(tmp_path.iterdir()) == []


def test_no_two_processes_are_in_although_the_lock_goes_whenever_it_is_given_up(tmp_path):
    (tmp_path / "count").write_text("0")
    code = """
for _ in range(100):
    while True:
        try:
            lock = lock_file(sys.argv[1] + "/.lock")
            break
        except BlockingIOError:
            time.sleep(1e-4)
    with lock:
        count = int(Path(sys.argv[1], "count").read_text())
        time.sleep(1e-5)
        Path(sys.argv[1], "count").write_text(str(count + 1))
"""
    processes = [started(code, tmp_path) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert (tmp_path / "count").read_text() == "400"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_a_turn_waits_and_says_so_once(tmp_path):
    held, said = files.lock_file(tmp_path / ".lock"), []

    def waiting():
        said.append("waits")
        held.close()

    with files.turn(tmp_path / ".lock", waiting), pytest.raises(BlockingIOError):
        files.lock_file(tmp_path / ".lock")
    assert said == ["waits"]


def test_a_file_and_a_link_to_it_have_one_lock(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "there" / "scores.csv")
    assert files.lock_path(tmp_path / "link.csv") == tmp_path / "there" / ".scores.csv.lock"
    assert files.lock_path(tmp_path / "there" / "scores.csv") == tmp_path / "there" / ".scores.csv.lock"


@pytest.mark.parametrize("number", WITHOUT_LOCKS)
def test_a_file_system_without_locks_says_so_once_and_goes_on(tmp_path, monkeypatch, capsys, number):
    def refuse(*arguments, **settings):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    monkeypatch.setattr(files, "_without_locks", set())
    for _ in range(3):
        with files.turn(tmp_path / ".lock", pytest.fail), files.lock_file(tmp_path / ".lock"):
            pass
    said = capsys.readouterr().err
    assert said == (
        f"Note: the file system of {tmp_path} has no locks ({os.strerror(number)}): see to it that no second process "
        "writes there.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_another_error_of_a_lock_is_one(tmp_path, monkeypatch):
    def fail(*arguments, **settings):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(filelock, "lock_descriptor", fail)
    with pytest.raises(OSError, match="Input/output error"):
        files.lock_file(tmp_path / ".lock")


def test_a_file_system_that_never_knows_a_file_again_is_not_asked_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "samestat", lambda *status: False)
    with files.lock_file(tmp_path / ".lock"):
        pass


# Other disks


def test_what_a_link_leads_to_on_another_disk_is_replaced_and_not_the_link(tmp_path, other_disk):
    link = tmp_path / "scores.csv"
    link.symlink_to(other_disk / "below" / "kept.csv")  # there or not
    for text in ("first", "second"):
        with files.atomic_path(link) as temporary:
            assert temporary.parent == other_disk / "below"
            temporary.write_text(text)
        assert link.is_symlink()
        assert (other_disk / "below" / "kept.csv").read_text() == text
    assert [path.name for path in (other_disk / "below").iterdir()] == ["kept.csv"]
    assert list(tmp_path.iterdir()) == [link]


def test_a_folder_that_is_a_link_to_another_disk_is_replaced_there(tmp_path, other_disk):
    (other_disk / "sample").mkdir()
    (other_disk / "sample" / "old").touch()
    link = tmp_path / "linked"
    link.symlink_to(other_disk / "sample")
    with files.atomic_folder(link) as temporary:
        (temporary / "within").mkdir()
        (temporary / "within" / "new").write_text("new")
        assert (link / "old").exists()
    assert link.is_symlink()
    assert [path.name for path in link.rglob("*")] == ["within", "new"]
    assert [path.name for path in other_disk.iterdir()] == ["sample"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "made"
    (tmp_path / ".made.tmp" / "left").mkdir(parents=True)  # by a process that was killed

    def make(error=None):
        with files.atomic_folder(folder) as temporary:
            assert list(temporary.iterdir()) == []
            (temporary / "new").write_text("new" if error is None else "half")
            if error:
                raise error

    make()
    with pytest.raises(InterruptedError):
        make(InterruptedError())
    assert (folder / "new").read_text() == "new"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_goes_to_another_disk_whole(tmp_path, other_disk):
    (tmp_path / "a").write_text("a")
    (other_disk / "b").write_text("b")
    files.replace_file(tmp_path / "a", other_disk / "b")
    assert (other_disk / "b").read_text() == "a"
    assert [*tmp_path.iterdir(), *other_disk.iterdir()] == [other_disk / "b"]


def test_where_a_rename_crosses_disks_the_file_is_copied_beside_its_place_first(tmp_path, monkeypatch):
    rename, renamed = os.replace, []

    def within_a_folder(source, target):
        renamed.append((Path(source).parent.name, Path(target).parent.name))
        if Path(source).parent != Path(target).parent:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(source, target)

    monkeypatch.setattr(os, "replace", within_a_folder)
    for name in "ab":
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "x").write_text("x")
    files.replace_file(tmp_path / "a" / "x", tmp_path / "b" / "x")
    assert renamed == [("a", "b"), ("b", "b")]
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["x"]
    assert not (tmp_path / "a" / "x").exists()


# To the disk


@pytest.fixture
def calls(monkeypatch):
    """What is synced (a folder by its name, a file by its content) and renamed (to what), in order."""
    noted, rename = [], os.replace

    def note_sync(file):
        path = Path(f"/proc/self/fd/{file}").resolve()
        noted.append(("sync", path.name if stat.S_ISDIR(os.fstat(file).st_mode) else path.read_text()))

    def note_rename(source, target):
        noted.append(("rename", Path(target).name))
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_rename)
    return noted


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="files are told by /proc")
def test_the_content_is_on_the_disk_before_the_name_and_then_the_name(tmp_path, calls):
    folder = tmp_path / "folder"
    with files.atomic_path(folder / "a.csv") as temporary:
        temporary.write_text("content")
    assert calls == [("sync", "content"), ("rename", "a.csv"), ("sync", "folder")]
    calls.clear()
    with files.atomic_path(folder / "a.png", durable=False) as temporary:
        temporary.write_text("one of thousands")
    assert calls == [("rename", "a.png")]
    calls.clear()
    with files.atomic_folder(folder / "made") as temporary:
        (temporary / "b").write_text("b")
    assert calls == [("sync", "b"), ("sync", ".made.tmp"), ("sync", "folder")]


def test_a_disk_that_did_not_take_the_content_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def write(number):
        def fail(file):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        with files.atomic_path(path) as temporary:
            temporary.write_text("new")

    with pytest.raises(OSError, match="Input/output error"):
        write(errno.EIO)
    assert path.read_text() == "old"
    write(errno.EINVAL)  # of a file system that has no such thing
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_path_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "net_lr0.1_best.weights.h5"
    with files.atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.endswith(".weights.h5")
        temporary.write_text("whole")
        assert not path.exists()

    def write_half():
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_half()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_make_dirs(tmp_path):
    files.make_dirs(tmp_path / "a" / "b.txt")
    files.make_dirs(f"{tmp_path}/c/d/")
    assert (tmp_path / "a").is_dir()
    assert not (tmp_path / "a" / "b.txt").exists()
    assert (tmp_path / "c" / "d").is_dir()
