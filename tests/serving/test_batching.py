"""Batches formed across those who ask: no picture lost, none mixed up, none beyond the room."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from koniq.ground import RunStopped
from koniq.pictures.decoding import Opened
from koniq.scoring import Score
from koniq.serving import Batches, Full


class Scorer:
    """Pictures are bytes of a number, and their score is it; b"no" is no picture."""

    def __init__(self, batch_size=4, parallel=2, pause=0.0):
        self.engine = SimpleNamespace(batch_size=batch_size, parallel=parallel)
        self.workers, self.pause, self.sizes, self.free = 3, pause, [], threading.Event()
        self.free.set()

    def opened(self, file):
        data = file.read()
        if data == b"no":
            return Opened(status="unreadable", error=file.name)
        if data == b"stop":
            raise RunStopped("the drive is gone")
        return Opened(np.full((1, 1, 3), int(data)), width=1, height=1)

    def score(self, pictures):
        assert self.free.wait(20)
        self.sizes.append(len(pictures))
        if any(opened.pixels[0, 0, 0] == 13 for _, opened in pictures):
            raise RuntimeError("thirteen")
        time.sleep(self.pause)
        return [Score.of(name, opened, float(opened.pixels[0, 0, 0])) for name, opened in pictures]


def put(batches, number):
    batches.take(1)
    return batches.put(str(number), lambda: str(number).encode())


@pytest.mark.parametrize("count", [1, 3, 4, 5, 100])
def test_each_gets_its_own_score(count):
    scorer = Scorer()
    with Batches(scorer, 200, 0.01) as batches, ThreadPoolExecutor(8) as pool:
        found = [one.result(20) for one in pool.map(lambda n: put(batches, n + 20), range(count))]
        assert [score.mos for score in found] == [n + 20 for n in range(count)]
        assert [score.name for score in found] == [str(n + 20) for n in range(count)]
        assert (batches.scored, batches.inside) == (count, 0)
    assert sum(scorer.sizes) == count
    assert max(scorer.sizes) <= 4


def test_those_who_come_together_share_a_batch():
    scorer = Scorer(batch_size=8, parallel=1)
    with Batches(scorer, 100, 0.3) as batches:
        for one in [put(batches, n + 20) for n in range(8)]:
            one.result(20)
    assert scorer.sizes == [8]


def test_beyond_the_room_nothing_is_taken():
    scorer = Scorer()
    scorer.free.clear()
    with Batches(scorer, 5, 0) as batches:
        waiting = [put(batches, n + 20) for n in range(4)]
        with pytest.raises(Full, match="4 pictures of 5"):
            batches.take(2)
        waiting.append(put(batches, 24))
        with pytest.raises(Full):
            batches.take(1)
        scorer.free.set()
        assert [one.result(20).mos for one in waiting] == [20, 21, 22, 23, 24]
        batches.take(5)


def test_what_is_no_picture_is_in_no_batch():
    scorer = Scorer()
    with Batches(scorer) as batches:
        batches.take(3)
        empty = batches.put("empty.jpg", lambda: b"").result(20)
        other = batches.put("../../x.TGA", lambda: b"no").result(20)
        unknown = batches.put("x.exe", lambda: b"no").result(20)
        assert batches.inside == 0
    assert (empty.status, empty.error) == ("unreadable", "an empty file")
    assert (other.error, unknown.error) == ("picture.tga", "picture")  # of a name, the ending alone
    assert scorer.sizes == []


def test_an_engine_that_fails_fails_a_batch_and_goes_on():
    with Batches(Scorer(batch_size=1)) as batches:
        failed = put(batches, 13)
        with pytest.raises(RuntimeError, match="thirteen"):
            failed.result(20)
        assert (batches.failed, batches.inside) == ("RuntimeError: thirteen", 0)
        assert put(batches, 14).result(20).mos == 14
        assert batches.failed == ""
        batches.take(1)
        with pytest.raises(RunStopped, match="the drive is gone"):
            batches.put("x", lambda: b"stop").result(20)
        assert batches.inside == 0


def test_left_it_finishes_what_it_is_at():
    with Batches(Scorer(pause=0.05), 100) as batches:
        waiting = [put(batches, n + 20) for n in range(20)]
    assert [one.result(0).mos for one in waiting] == [n + 20 for n in range(20)]
