"""Rows looked up on the disk say what a dictionary of them would say, and take no memory each."""

import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from koniq.ground import RunStopped
from koniq.pictures import inputs, listed
from koniq.pictures.contents import Content
from koniq.pictures.inputs import Input
from koniq.scoring import index
from koniq.scoring.index import AGAIN, KEPT, NEW, Index, Unscored, Verdicts
from koniq.scoring.journal import Row
from koniq.scoring.resume import todo
from koniq.scoring.score import Score
from koniq.scoring.score_file import ScoreFile

FACTS = {"weights": "abc"}


def test_it_counts_as_a_counter_does():
    names = ["b", "a", "größe", "b", "", "nul\0", "nul\0b", "b"]
    found, expected = Index((name, "ok") for name in names), Counter(names)
    assert found == expected
    assert list(found) == list(expected)
    assert (found.total(), len(found), bool(found)) == (8, 6, True)
    assert all(found[name] == expected[name] and (name in found) == (name in expected) for name in [*names, "c", "nul"])
    found.add("c", "missing")
    found.add("b", "ok")
    assert (found["c"], found["b"], found.total()) == (1, 4, 10)
    assert not Index()
    assert "b" not in Index()


def test_statuses_are_by_row():
    rows = [("a", "ok"), ("b", "missing"), ("a", "unreadable"), ("b", "truncated")]
    found = Index(rows)
    unscored = Unscored(found, 3)
    expected = {Row("b", 0): "missing", Row("a", 1): "unreadable", Row("b", 1): "truncated"}
    assert unscored == expected
    assert unscored.get(Row("a", 0)) is unscored.get(Row("a", 2)) is unscored.get(Row("c", 0)) is None
    found.change(Row("a", 1), "ok")
    found.change(Row("a", 0), "missing")
    assert dict(Unscored(found, 3)) == {Row("a", 0): "missing", Row("b", 0): "missing", Row("b", 1): "truncated"}


def test_of_contents_the_last_counts_and_those_of_no_row_are_passed_over(monkeypatch):
    monkeypatch.setattr(index, "AT_ONCE", 2)
    found = Index([("a", "ok"), ("b", "ok"), ("a", "ok")])
    lines = [("a", 0, 1), ("a", 1, 2), ("c", 0, 3), ("b", 1, 4), ("a", 0, 5)]
    found.know((Row(name, nth), Content(size, -(2**62), "ab")) for name, nth, size in lines)
    sizes = {name: [said.content and said.content.size for said in found.rows_of(name)] for name in "abc"}
    assert sizes == {"a": [5, 2], "b": [None], "c": []}


def test_verdicts_come_back_in_order(monkeypatch):
    monkeypatch.setattr(index, "AT_ONCE", 3)
    verdicts = Verdicts(KEPT)
    verdicts.name([("a", "a", False), ("b", "x/b", True), ("a", "a", False), ("c", "c", False)])
    assert verdicts.twice() == {hash("a")}
    assert [each for some in verdicts.named() for each in some] == [
        *((1, None, False), (2, "x/b", True), (3, None, False), (4, None, False))
    ]
    verdicts.say([(1, KEPT, 0), (2, AGAIN, 0), (3, KEPT, 1), (4, NEW, 0)])
    assert verdicts.counts == [2, 1, 1]
    assert [*verdicts] == [
        (None, KEPT, 0, False),
        ("x/b", AGAIN, 0, True),
        (None, KEPT, 1, False),
        (None, NEW, 0, False),
    ]


def test_lists_in_any_order_with_names_given_again_are_as_they_are_counted(tmp_path, monkeypatch):
    """Against a dictionary, with pieces so small that each is done in many of them."""
    monkeypatch.setattr(index, "AT_ONCE", 3)
    monkeypatch.setattr(listed, "HELD", 4)
    rng = np.random.default_rng(0)
    for number in range(20):
        names = [f"{each}.jpg" for each in rng.integers(0, 20, rng.integers(1, 40))]
        rows = [f"{each}.jpg" for each in rng.integers(0, 20, rng.integers(0, 40))]
        path, out = tmp_path / "list.csv", tmp_path / f"{number}.csv"
        path.write_text("\n".join(["image_path", *names, ""]))
        done, seen = Counter(rows), Counter()
        expected = [], []
        with ScoreFile(out, FACTS) as file:
            for name in rows:
                file.append(Score(name, 1.0))
        with ScoreFile(out, FACTS) as file:
            found = todo(file, inputs.of([str(path)]).pictures, progress=False)
            for name in names:
                expected[seen[name] >= done[name]].append(Row(name, seen[name]))
                seen[name] += 1
            assert ([row for row, _ in found.kept], [row for row, _ in found.new]) == expected
            assert (len(found.kept), len(found.new), len(found.again)) == (*map(len, expected), 0)
            assert [*found.left] == [*found.new]
            assert file.done == done


@pytest.fixture
def peak(tmp_path, monkeypatch):
    """What going on with a list takes of Python's memory, in bytes. (That of SQLite is bounded by index.CACHE.)"""
    monkeypatch.setattr(index, "AT_ONCE", 200)
    monkeypatch.setattr(listed, "HELD", 0)

    def peak(count):
        path, out = tmp_path / f"{count}.csv", tmp_path / f"{count}-mos.csv"
        names = [f"2015-02-23/b{number:08}_21i6bq_20150223.jpg" for number in range(count)]
        path.write_text("\n".join(["image_path", *names, ""]))
        with ScoreFile(out, FACTS):
            pass
        rows = "".join(f"{name},50.0,ok,64,48,\n" for name in names[::2])
        out.write_text(out.read_text() + rows)
        lines = "".join(f'["{name}", 0, 1, 2, "{"ab" * 16}"]\n' for name in names[::2])
        out.with_name(out.name + ".contents").write_text(lines)
        del names, rows, lines
        tracemalloc.start()
        with ScoreFile(out, FACTS) as file:
            found = todo(file, inputs.of([str(path)]).pictures, progress=False)
            assert len(found.kept) == len(found.new) == sum(1 for _ in found.left) == count // 2
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    return peak


def test_memory_is_flat_in_the_length_of_a_list(peak):
    peak(400)  # what is imported and kept
    assert peak(8000) < peak(800) + 100_000  # 14 bytes a picture would be as much


def test_a_long_list_that_changes_stops_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(listed, "HELD", 1)
    path = tmp_path / "list.csv"
    path.write_text("image_path\na\nb\n")
    pictures = inputs.of([str(path)]).pictures
    assert [item.name for item in pictures] == ["a", "b"]
    assert (pictures[1].name, pictures[-2].name, [item.name for item in pictures[:9]]) == ("b", "a", ["a", "b"])
    path.write_text("image_path\na\nb\nc\n")
    with pytest.raises(RunStopped, match="should stay as it is while its pictures are scored, and has changed"):
        list(pictures)


def test_no_room_for_databases_is_one_sentence():
    def full():
        with index.room_for_rows():
            index.temporary().execute("SELECT * FROM none")

    with pytest.raises(RunStopped, match=r"folder for temporary files .* should have room .* Received: no such table"):
        full()


def test_a_list_of_paths_goes_as_well(tmp_path):
    with ScoreFile(tmp_path / "a.csv", FACTS) as file:
        assert [item.name for _, item in todo(file, [Input("a", Path()), Input("a", Path())]).left] == ["a", "a"]
