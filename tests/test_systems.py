"""Other systems: what scoring needs of macOS and Windows, file systems without locks, terminals without letters."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import TINY
from tqdm import tqdm

from koniq.commands import cli
from koniq.commands import sample as commands_sample
from koniq.data import datasets, sample
from koniq.engines import int8
from koniq.fetch import installation
from koniq.ground import machine
from koniq.network import sidecar, weights
from koniq.pictures import inputs, prepared
from koniq.scoring import score_file
from koniq.training import run
from ku import files

ROOT = Path(__file__).resolve().parents[1]
# Run as any Python starts: what is not there on macOS (no /proc, no sched_getaffinity) or Windows (no fcntl, ...).
ELSEWHERE = """
import builtins, io, os, sys

HIDDEN = {"fcntl", "grp", "pwd", "resource", "termios"}


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def without_proc(call):
    def called(file, *arguments, **settings):
        if isinstance(file, (str, os.PathLike)) and os.fspath(file).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", file)
        return call(file, *arguments, **settings)

    return called


for name in HIDDEN:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Hidden())
io.open = builtins.open = without_proc(io.open)
os.open, os.stat = without_proc(os.open), without_proc(os.stat)
for name in ("fork", "geteuid", "getuid", "posix_fallocate", "sched_getaffinity", "statvfs", "sysconf"):
    delattr(os, name)
"""
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NAMES = [os.fsdecode(b"caf\xe9.png"), "\u6f22\u5b57.png", "plain.png"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights of the small network with the record beside them."""
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    TINY.build(output_bias=50).save_weights(path)
    sidecar.write_record(path, TINY)
    return path


@pytest.fixture
def photographs(tmp_path):
    """A folder with a picture for each of NAMES, and a file that is none."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in NAMES:
        Image.new("RGB", (40, 30), "grey").save(folder / name)
    (folder / os.fsdecode(b"\xe9.txt")).write_text("no picture")
    return folder


def scored(*arguments, **environment):
    command = [sys.executable, ROOT / "tests/helpers/tiny.py", "lifelog_predict", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env=os.environ | environment)


def test_scoring_needs_nothing_that_other_systems_do_not_have(tmp_path, trained, photographs):
    (tmp_path / "sitecustomize.py").write_text(ELSEWHERE)
    code = "import os, fcntl"
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    hidden = subprocess.run([sys.executable, "-c", code], capture_output=True, env=os.environ | {"PYTHONPATH": path})
    assert b"No module named 'fcntl'" in hidden.stderr
    out = tmp_path / "scores.csv"
    done = scored(photographs, "--weights", trained, "--engine", "openvino", "--out", out, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr.decode()
    assert score_file.read(out).status.tolist() == ["ok"] * 3
    assert done.stderr.decode().count("has no locks (fcntl is unavailable)") == 1
    assert b"Warning" not in done.stderr


def test_memory_and_processor_are_known_without_proc(monkeypatch):
    def refuse(path, *arguments, **settings):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert machine.free_memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    monkeypatch.delattr(os, "sysconf")
    assert machine.free_memory() == 4 << 30
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert machine.machine().endswith(f" ({os.cpu_count()} cores)")
    assert len(machine.machine()) > len(f" ({os.cpu_count()} cores)")


def test_folders_that_the_file_system_does_not_number_are_all_gone_through(tmp_path, monkeypatch):
    for name in ("a/1.jpg", "b/2.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "b/back").symlink_to("..")
    status = os.stat

    def without_number(path, **settings):
        found = status(path, **settings)
        return os.stat_result((found.st_mode, 0, *found[2:]))

    monkeypatch.setattr(os, "stat", without_number)
    assert inputs.pictures_in(tmp_path).pictures == ["a/1.jpg", "b/2.jpg"]


# Locks


def into_scores(folder):
    with score_file.ScoreFile(folder / "a.csv", {}):
        pass


def into_a_run(folder):
    run.Run(str(folder / "run"), {"loss": "mse"})


def into_a_prepared_file(folder):
    (folder / "images").mkdir()
    Image.new("RGB", (40, 30)).save(folder / "images/0.png")
    pd.DataFrame({"image_name": ["0.png"], "MOS": [1], "set": ["test"]}).to_csv(folder / "mine.csv", index=False)
    prepared.prepare(datasets.load(str(folder / "mine.csv")), TINY, folder / "mine.h5")


def into_a_fetch(folder):
    with installation._alone("koniq10k", folder):
        pass


def into_an_int8_model(folder):
    int8._make(folder / "a.openvino", {"of": "a"}, "Calibrating", os.listdir)


@pytest.mark.parametrize("write", [into_scores, into_a_run, into_a_prepared_file, into_a_fetch, into_an_int8_model])
def test_a_file_system_without_locks_ends_no_command(tmp_path, monkeypatch, capsys, write):
    def refuse(*arguments, **settings):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    monkeypatch.setattr(files, "_without_locks", set())
    monkeypatch.setattr(int8, "_apart", lambda work, folder: None)
    write(tmp_path)
    assert capsys.readouterr().err.count("has no locks (No locks available)") == 1


def test_no_lock_is_left_beside_the_scores(tmp_path):
    with score_file.ScoreFile(tmp_path / "a.csv", {}):
        assert (tmp_path / ".a.csv.lock").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.csv.contents", "a.csv.json"]


def test_a_link_to_scores_that_another_process_writes_is_known(tmp_path):
    (tmp_path / "link.csv").symlink_to("a.csv")
    with score_file.ScoreFile(tmp_path / "a.csv", {}):
        code = f"from koniq.scoring.score_file import *; ScoreFile(Path({str(tmp_path / 'link.csv')!r}), {{}})"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Another process is writing" in done.stderr


# Links to other disks


def test_what_we_make_goes_to_where_a_link_leads(tmp_path, other_disk, monkeypatch):
    """The sample's folder, an int8 model, a prepared file."""
    monkeypatch.setattr(sample, "PICTURES", {"training": 9, "validation": 2, "test": 3})
    monkeypatch.setattr(int8, "_apart", lambda work, folder: None)
    for name in ("sample", "a.openvino", "mine.h5"):
        (tmp_path / name).symlink_to(other_disk / name)
    (other_disk / "sample").mkdir()
    (other_disk / "sample/old").touch()
    for _ in range(2):  # the second time they are there
        sample.ensure(tmp_path / "sample")
        int8._make(tmp_path / "a.openvino", {"of": "a"}, "Calibrating", os.listdir)
        int8._make(tmp_path / "a.openvino", {"of": "b"}, "Calibrating", os.listdir)
    into_a_prepared_file(tmp_path)
    assert sorted(path.name for path in other_disk.iterdir()) == ["a.openvino", "mine.h5", "sample"]
    assert len(list((other_disk / "sample" / sample.IMAGES_NAME).iterdir())) == 14
    assert all((tmp_path / name).is_symlink() for name in ("sample", "a.openvino", "mine.h5"))
    assert prepared.Prepared(tmp_path / "mine.h5").places


# What is on the disk before it has its name


class Training(run.Run):
    """A run of a framework that is none."""

    STATE = "state.txt"

    def write_state(self, path, progress):
        path.write_text(progress)


def test_what_matters_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    synced, rename, early = set(), os.replace, []

    def note(file):
        synced.add(os.fstat(file).st_ino)

    def renamed(source, target):
        if Path(source).stat().st_ino not in synced:
            early.append(Path(target).name)
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(os, "replace", renamed)
    into_scores(tmp_path)
    into_a_prepared_file(tmp_path)
    sidecar.write_record(tmp_path / "w.weights.h5", TINY)
    weights.write_state({"base.0.weight": np.zeros(3, np.float32)}, tmp_path / "w.safetensors", TINY)
    training = Training(str(tmp_path / "run"), {"loss": "mse"})
    training.save()
    training.wait()
    assert early == []
    names = ("a.csv.json", "mine.h5", "w.json", "w.safetensors", "run/state.txt")
    assert {(tmp_path / name).stat().st_ino for name in names} <= synced


# Terminals


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, marks=pytest.mark.long),
        {"PYTHONIOENCODING": "ascii"},
        pytest.param({"PYTHONIOENCODING": "cp1252"}, marks=pytest.mark.long),
        C_LOCALE,
    ],
    ids=str,
)
def test_every_name_is_printed_wherever_it_is(tmp_path, trained, photographs, environment):
    out = tmp_path / os.fsdecode(b"scores \xff \xe6\xbc\xa2.csv")
    done = scored(photographs, "--weights", trained, "--engine", "torch", "--out", out, **environment)
    assert done.returncode == 0, done.stderr
    assert b"plain.png: " in done.stdout
    assert rb"caf\xe9.png: " in done.stdout
    assert score_file.read(out).image_path.tolist() == [r"caf\xe9.png", "plain.png", "\u6f22\u5b57.png"]
    command = [sys.executable, "-m", "koniq", "report", out]
    done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    page = next(tmp_path.glob("*_report/report.html")).read_text(encoding="utf-8")
    assert "scores \\xff \u6f22" in page


def test_a_bar_has_a_name_that_the_terminal_lacks(monkeypatch):
    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal(io.BytesIO(), encoding="ascii"))

    def main(settings):
        for name in NAMES:
            list(tqdm(range(2), desc=name, disable=None))
            tqdm.write(name, file=sys.stderr)
        with machine.native_silence():
            print(*NAMES, file=sys.stderr)

    cli.run(main, commands_sample.Settings, [])
    sys.stderr.flush()
    assert rb"\u6f22\u5b57.png: 100%" in sys.stderr.buffer.getvalue()


def test_a_data_set_of_any_name_is_written_of(tmp_path, monkeypatch):
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images/0.png")
    table = tmp_path / f"{name}.csv"
    pd.DataFrame({"image_name": ["0.png"], "MOS": [1], "set": ["test"]}).to_csv(table, index=False)
    data = datasets.load(str(table))
    assert data.name == r"caf\xe9"
    assert sidecar.title(tmp_path / f"{name}.weights.h5") == r"caf\xe9"
    (tmp_path / "images").rename(tmp_path / name)
    data = datasets.load(str(table), images=str(tmp_path / name))
    prepared.prepare(data, TINY, tmp_path / "mine.h5")
    assert prepared.Prepared(tmp_path / "mine.h5").facts["source"].endswith(r"caf\xe9")
