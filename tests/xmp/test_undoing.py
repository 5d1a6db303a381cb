"""A log undone: all of it, or what nobody changed since."""

import json

import pytest
from xmp_files import DARKTABLE, jpeg, packet

from koniq.ground import InputError
from koniq.xmp import Tagging, tag, undo
from koniq.xmp.tagging import Wish


@pytest.fixture
def log(tmp_path):
    """Of a new sidecar, a.jpg.xmp, and a changed one, b.jpg.xmp."""
    for name in ("a.jpg", "b.jpg"):
        jpeg(tmp_path / name)
    (tmp_path / "b.jpg.xmp").write_text(DARKTABLE, encoding="utf-8")
    assert tagged(tmp_path, 50.0).failed == 0
    return tmp_path / "log.jsonl"


def tagged(folder, score):
    wishes = [(name, Wish(folder / name, score)) for name in ("a.jpg", "b.jpg")]
    return tag(wishes, Tagging("m", (1, 2, 3, 4), over_rated=True), folder / "log.jsonl")


def test_several_runs_are_undone_the_last_first(log):
    tagged(log.parent, 2.5)
    tagged(log.parent, 3.5)
    assert len(log.read_text().splitlines()) == 6
    undone = undo(log)
    assert (undone.counts, undone.problems) == ({"restored": 5, "removed": 1}, [])
    assert not (log.parent / "a.jpg.xmp").exists()
    assert (log.parent / "b.jpg.xmp").read_text(encoding="utf-8") == DARKTABLE
    assert not log.exists()


def test_what_was_changed_since_stays_and_stays_in_the_log(log):
    (log.parent / "a.jpg.xmp").write_bytes(packet('xmp:Rating="5"'))
    lines = log.read_text().splitlines()
    undone = undo(log)
    assert undone.problems == [f"{log.parent / 'a.jpg.xmp'} was changed since, and is left as it is."]
    assert (log.parent / "b.jpg.xmp").read_text(encoding="utf-8") == DARKTABLE
    assert log.read_text().splitlines() == lines[:1]
    (log.parent / "a.jpg.xmp").unlink()
    assert undo(log).counts == {"already": 1}
    assert not log.exists()


def test_one_that_was_removed_since_is_not_made_again(log):
    (log.parent / "b.jpg.xmp").unlink()
    assert undo(log).problems == [f"{log.parent / 'b.jpg.xmp'} was removed since, and is left as it is."]
    assert not (log.parent / "b.jpg.xmp").exists()


def test_a_run_that_was_killed_is_undone(log):
    text = log.read_text()
    last = json.loads(text.splitlines()[-1])
    last["sidecar"], last["before"] = str(log.parent / "c.jpg.xmp"), None  # written down, not done
    log.write_text(text + json.dumps(last) + "\n" + text[:40])  # and a line that is not whole
    undone = undo(log)
    assert (undone.counts, undone.problems) == ({"restored": 1, "removed": 1, "already": 1}, [])


@pytest.mark.parametrize(
    "text",
    ["", "[]\n{}\n", '{"sidecar": "/etc/passwd", "before": null, "after": "x"}\n', "no JSON", '{"sidecar": 1}\n\n'],
)
def test_what_is_no_log_is_refused(tmp_path, text):
    path = tmp_path / "log.jsonl"
    if text:
        path.write_text(text)
    with pytest.raises(InputError, match=r"should be (a log|at)"):
        undo(path)
