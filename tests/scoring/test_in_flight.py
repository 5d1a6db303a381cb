"""What kills the process once does not kill every resume; and pictures in memory have bounds."""

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TINY

from koniq.engines import int8
from koniq.engines.engine import Engine
from koniq.ground import RunStopped, exits
from koniq.pictures import apart, decoding
from koniq.pictures.apart import Apart
from koniq.pictures.decoding import decode
from koniq.pictures.faults import Place
from koniq.pictures.inputs import Input
from koniq.pictures.room import ROOM, Room, size_in_memory
from koniq.scoring import in_flight, score_file
from koniq.scoring.in_flight import EVERY, InFlight
from koniq.scoring.loop import predict

ROOT = Path(__file__).resolve().parents[2]
# As a broken decoder does, or a system without memory: a picture whose decoding ends the process, or never ends.
HOOK = """
import os, signal, time
from PIL import ImageFile
load = ImageFile.ImageFile.load
def loaded(self, *more):
    name = os.path.basename(str(getattr(self.fp, "name", "")))
    if "killer" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "endless" in name:
        time.sleep(3600)
    return load(self, *more)
ImageFile.ImageFile.load = loaded
"""


@pytest.fixture
def hooked(tmp_path, monkeypatch):
    """A folder for processes to come, in which some names kill."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hook"))


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(60):
        Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8)).save(folder / f'{number:02}, "x"\n.png')
    return folder


def test_a_picture_that_kills_the_run_kills_it_once(pictures, hooked, tmp_path):
    """By the script itself: killed by two pictures, one after the other, and then done, with a row for each."""
    command = [sys.executable, ROOT / "tests/helpers/mean.py", pictures, "--out"]
    subprocess.run([*command, tmp_path / "whole.csv"], check=True, capture_output=True)
    out, journal = tmp_path / "out.csv", tmp_path / ".out.csv.inflight"
    for name in ("30a killer.png", "50a killer.png"):
        Image.new("RGB", (40, 30)).save(pictures / name)
    codes = []
    while not codes or codes[-1] == -signal.SIGKILL:
        done = subprocess.run([*command, out], check=False, capture_output=True, text=True)
        codes.append(done.returncode)
        assert journal.exists() == (codes[-1] == -signal.SIGKILL)
    assert codes == [-signal.SIGKILL] * 2 + [exits.UNSCORED], done.stderr
    assert "at when it was killed are decoded apart" in done.stdout
    table = score_file.read(out)
    assert table.image_path.is_monotonic_increasing
    killers = table.image_path.str.contains("killer")
    assert (table.status == "unreadable").equals(killers)
    assert set(table.error[killers]) == {"decoding it ended the process (signal 9)"}
    rows = [line for line in out.read_bytes().split(b"\n") if b"killer" not in line]
    assert b"\n".join(rows) == (tmp_path / "whole.csv").read_bytes()


def test_apart_a_picture_is_what_it_is_in_the_run(pictures, tmp_path):
    path = sorted(pictures.iterdir())[0]
    (tmp_path / "broken.jpg").write_text("no picture")
    named = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (9, 9)).save(named)
    network = TINY.at((12, 10), "nearest")
    with Apart(network, Place([pictures])) as process:
        for each in (path, tmp_path / "broken.jpg", named, pictures / "none.jpg"):
            found, expected = process.decode(each), decode(each, network)
            assert replace(found, pixels=None) == replace(expected, pixels=None)
            np.testing.assert_array_equal(found.pixels, expected.pixels)
        (started := process._process).poll()
        pictures.rename(tmp_path / "away")
        with pytest.raises(RunStopped, match="is not there any more"):
            process.decode(path)
    assert started.returncode == 0


def test_apart_neither_death_nor_delay_is_waited_for(hooked, tmp_path):
    for name in ("killer.png", "endless.png", "good.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    with Apart(TINY, Place(), limit=2) as process:
        for name, error in (
            ("killer.png", "decoding it ended the process (signal 9)"),
            ("endless.png", "decoding it took over 2 s"),
            ("good.png", ""),
        ):
            assert process.decode(tmp_path / name).error == error


def test_int8_is_calibrated_beside_a_picture_that_kills(hooked, tmp_path):
    for name in ("a.png", "killer.png", "z.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    assert len(int8._opened(sorted(tmp_path.glob("*.png")), TINY)) == 2


def test_apart_no_picture_is_blamed_for_a_process_that_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "ROOT", tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(apart.subprocess, "Popen", lambda *_, **options: real([sys.executable, "-c", ""], **options))
    with Apart(TINY, Place()) as process, pytest.raises(RunStopped, match="process of its own should start"):
        process.decode(tmp_path / "a.png")


real = subprocess.Popen


def test_apart_is_where_the_system_should_end_a_process_first(pictures):
    if not Path("/proc/self/oom_score_adj").exists():
        pytest.skip("this system has no such setting")
    with Apart(TINY, Place()) as process:
        process.decode(sorted(pictures.iterdir())[0])
        assert Path(f"/proc/{process._process.pid}/oom_score_adj").read_text() == "1000\n"


def journal(out, count=100):
    names = [f'{number}, "é\udce9"\n.jpg' for number in range(count)]
    return InFlight(out, [Input(name, Path("root")) for name in names])


def test_names_are_known_before_they_are_handed_out_and_forgotten_once_they_have_rows(tmp_path):
    out = tmp_path / "out.csv"
    with journal(out) as first:
        for number, _ in enumerate(first):
            known = set(in_flight._read(first.path))
            assert first.items[number].name in known
            assert len(known) <= 4 + 2 * EVERY
            if number >= 4:
                first.scored()
        assert out.with_name(".out.csv.inflight") == first.path
        left = first.path.read_bytes()
    assert not first.path.exists()
    first.path.write_bytes(left[:-3])  # as a killed run leaves it, and a power cut
    again = journal(out)
    assert again.suspects == set(again.items[92:99])


def test_suspects_stay_until_they_have_a_row(tmp_path):
    out = tmp_path / "out.csv"
    first = journal(out)
    first._write([first.items[number].name for number in (3, 40, 90)])
    for scored, expected in ((0, {3, 40, 90}), (4, {40, 90}), (41, {90}), (91, set())):
        with journal(out) as again:
            for _ in range(scored):
                again.scored()
            if scored == 4:  # killed here, they would be known, too
                next(iter(again))
                assert set(in_flight._read(again.path)) >= {again.items[number].name for number in (40, 90)}
        assert set(in_flight._read(first.path)) == {first.items[number].name for number in expected}
    assert not first.path.exists()


def test_a_journal_that_cannot_be_written_ends_no_run(tmp_path):
    in_flight.path_of(tmp_path / "out.csv").mkdir()
    with journal(tmp_path / "out.csv") as names:
        assert len(list(names)) == len(names) == 100


def test_an_interrupted_run_leaves_no_suspects(tmp_path):
    path = in_flight.path_of(tmp_path / "out.csv")

    def interrupted():
        with journal(tmp_path / "out.csv") as names:
            next(iter(names))
            assert path.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not path.exists()


def test_large_pictures_are_decoded_one_at_a_time_and_small_ones_beside_each_other(tmp_path, monkeypatch):
    """Sizes mixed, in order, with room for one large or eight small ones."""
    sizes = [(400, 400) if number % 5 == 2 else (100, 200) for number in range(40)]
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (number,) * 3).save(tmp_path / f"{number:02}.png")
    monkeypatch.setattr(decoding, "ROOM", Room(400 * 400 * 8))
    at_work, most, lock, real = [], [0, 0], threading.Lock(), decoding.decoding.decoded

    def slow(picture, rules):
        pixels = picture.width * picture.height
        with lock:
            at_work.append(pixels)
            most[:] = max(most[0], sum(at_work)), max(most[1], len(at_work))
        time.sleep(0.01)
        with lock:
            at_work.remove(pixels)
        return real(picture, rules)

    monkeypatch.setattr(decoding.decoding, "decoded", slow)
    engine = Engine("mean", TINY, 4, lambda batch: batch.mean((1, 2, 3), dtype=np.float32))
    found = [score.mos for score in predict(engine, sorted(tmp_path.glob("*.png")), workers=8)]
    assert found == list(range(40))
    assert most[0] <= 400 * 400
    assert 4 <= most[1] <= 8


def test_more_than_there_is_room_for_waits_and_goes_in_alone():
    room, order = Room(10), []

    def work(size):
        with room.entered(), room.taken(size):
            order.append(size)

    with room.entered(), room.taken(1):
        thread = threading.Thread(target=work, args=(99,))
        thread.start()
        work(9)
        assert order == [9]
    thread.join(5)
    assert order == [9, 99]


def test_two_of_the_largest_pictures_have_no_room_beside_each_other():
    picture = Image.new("1", (13377, 13377))
    assert size_in_memory(picture) > ROOM.most / 2
    assert size_in_memory(Image.new("1", (4000, 3000))) < ROOM.most / 10
    assert size_in_memory(Image.new("I;16", (4, 3))) > size_in_memory(Image.new("L", (4, 3)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGB"])
def test_a_huge_picture_takes_what_is_reserved_for_it(mode, tmp_path):
    """36 megapixels, measured in a process that does nothing else."""
    Image.new(mode, (6000, 6000)).save(tmp_path / "huge.png", compress_level=1)
    code = f"""
import resource
from koniq.pictures.decoding import decode
from koniq.network import KONCEPT512
from PIL import Image
Image.init()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert decode({str(tmp_path / "huge.png")!r}, KONCEPT512).status == "ok"
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    start = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"  # in little memory
    )
    done = subprocess.run([sys.executable, "-c", start, code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) << 10 < 10 * 6000 * 6000
