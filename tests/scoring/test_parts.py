"""Parts: what was written is read again, later runs count, and scores of two kinds are not mixed."""

import math
import os

import pytest

from koniq.ground import InputError, RunStopped
from koniq.pictures.contents import Content
from koniq.scoring.journal import Row
from koniq.scoring.parts import Parts, Planned, planned, write_list
from koniq.scoring.score import Score

FACTS = {"weights": "abc", "input_size": [96, 128], "device": "one"}
BYTES = os.fsdecode(b"caf\xe9.jpg")  # a name that is no UTF-8
SCORES = [
    Score("a.jpg", 41.25, "ok", 640, 480, content=Content(12, 1_700_000_000_123_456_789, "ff"), note="odd"),
    Score("a.jpg", 0.1 + 0.2, "ok", 640, 480, raw=3.0, low=-math.inf, high=9.0),
    Score("caf\\xe9.jpg", status="unreadable", error="no picture", content=Content(3, 4)),
]
PLAN = [Planned("a.jpg", 0, "p/a.jpg"), Planned("a.jpg", 1, "p/a.jpg"), Planned("caf\\xe9.jpg", 0, f"p/{BYTES}")]


def test_what_was_written_comes_back_in_the_order_that_is_asked_for(tmp_path):
    parts = Parts(tmp_path / "parts", FACTS)
    parts.write([(PLAN[2], SCORES[2]), (PLAN[0], SCORES[0])])
    parts.write([(PLAN[1], SCORES[1])])
    found = list(parts.in_order([one.row for one in PLAN]))
    assert [*map(repr, found)] == [*map(repr, SCORES)]  # in which one nan is as another
    assert {known.planned: (known.status, known.content) for _, _, known in parts.known()} == {
        one: (score.status, score.content) for one, score in zip(PLAN, SCORES, strict=True)
    }


def test_of_what_was_scored_again_the_latest_counts(tmp_path):
    folder = tmp_path / "parts"
    again = Score("a.jpg", 50.0)
    for score in (SCORES[0], again, again):  # the last two as a retried block leaves them: in one run
        parts = Parts(folder, FACTS)
        parts.write([(PLAN[0], score)])
    assert parts.run == 3
    assert [score.mos for score in parts.in_order([PLAN[0].row])] == [50.0]


def test_a_row_in_no_part_is_said_before_any_is_given(tmp_path):
    parts = Parts(tmp_path, FACTS)
    parts.write([(PLAN[0], SCORES[0])])
    with pytest.raises(RunStopped, match="2 pictures have no score in"):
        parts.in_order([PLAN[0].row, PLAN[1].row, Row("b.jpg")])


def test_parts_of_other_facts_are_refused_but_not_those_of_another_machine(tmp_path):
    Parts(tmp_path, FACTS).write([(PLAN[0], SCORES[0])])
    Parts(tmp_path, {**FACTS, "device": "two"}).check()
    with pytest.raises(InputError, match=r"were begun with input_size=\[96, 128\].*Received: input_size=\[192, 256\]"):
        Parts(tmp_path, {**FACTS, "input_size": (192, 256)}).check()


def test_a_part_is_not_written_where_the_folder_is_gone(tmp_path):
    parts = Parts(tmp_path / "parts", FACTS)
    parts.clear()
    with pytest.raises(RunStopped, match=r"could not be written to .*no such folder"):
        parts.write([(PLAN[0], SCORES[0])])
    assert not parts.folder.exists()


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6])
def test_the_list_goes_through_parquet(tmp_path, count):
    from pyarrow import parquet

    plan = [Planned(f"{number}.jpg", number % 2, f"{BYTES}/{number}.jpg") for number in range(count)]
    write_list(tmp_path / "list.parquet", plan, 5)
    file = parquet.ParquetFile(tmp_path / "list.parquet")
    assert planned(file.read().to_pylist()) == plan
    assert file.num_row_groups == -(-count // 5)
