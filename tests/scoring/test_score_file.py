import csv
import json
import os
import subprocess
import sys
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from koniq.ground import InputError
from koniq.ground.facts import facts, facts_path, locate
from koniq.pictures.inputs import Input
from koniq.scoring.resume import todo
from koniq.scoring.score import Score
from koniq.scoring.score_file import COLUMNS, ScoreFile, read
from ku.files import shown

NAMES = [
    *(
        "plain.jpg",
        "a,b.jpg",
        'say "x".jpg',
        "line\nbreak.jpg",
        "return\rhere.jpg",
        "both\r\n.jpg",
        " blanks .jpg",
        "NA",
    ),
    *("'=1+1.jpg", "größe.jpg", "日本.jpg", "tab\t.jpg", "#.jpg", "", '"', "\n"),
]
FACTS = {"weights": "abc", "input_size": (24, 32), "model": "tiny"}


def written(path, names=NAMES, **more):
    with ScoreFile(path, {**FACTS, **more}) as file:
        for number, name in enumerate(names):
            failed = number % 3 == 2
            score = Score(name, nan, "missing", error='no, "such"\nfile') if failed else Score(name, number / 3)
            file.append(score)
    return path


def left(file):
    """Those of NAMES that have no row yet."""
    return [name for _, (name, _) in todo(file, [Input(name, Path("/nowhere")) for name in NAMES]).new]


def test_a_file_without_a_row_is_begun_anew_whatever_it_was_begun_with(tmp_path):
    """As a command leaves it whose weights turned out to be none."""
    path = written(tmp_path / "a.csv", ())
    written(path, ("a.jpg",), model="other", weights="def")
    assert facts(path)["weights"] == "def"
    assert read(path).image_path.tolist() == ["a.jpg"]
    with pytest.raises(InputError, match='was begun with weights="def"'):
        written(path, ("b.jpg",))


def test_every_name_comes_back(tmp_path):
    path = written(tmp_path / "a.csv")
    table = read(path)
    assert table.columns.tolist() == list(COLUMNS)
    assert table.image_path.tolist() == NAMES
    expected = [nan if number % 3 == 2 else number / 3 for number in range(len(NAMES))]
    np.testing.assert_allclose(table.MOS, expected, rtol=1e-7)
    assert table.error[2] == 'no, "such"\nfile'
    assert table.status.tolist()[:3] == ["ok", "ok", "missing"]
    with path.open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["image_path", *NAMES]
    pandas = pd.read_csv(path, keep_default_na=False, na_values={"MOS": ""})
    assert pandas.image_path.tolist() == NAMES


def test_a_score_keeps_every_digit_of_a_float32(tmp_path):
    values = np.random.default_rng(0).uniform(-5, 105, 500).astype(np.float32)
    with ScoreFile(tmp_path / "a.csv", FACTS) as file:
        for value in values:
            file.append(Score("x", float(value)))
    np.testing.assert_array_equal(read(tmp_path / "a.csv").MOS.astype(np.float32), values)


def test_torn_at_any_byte_only_the_torn_row_is_lost(tmp_path):
    whole = written(tmp_path / "whole.csv").read_bytes()
    ends = [len(",".join(COLUMNS)) + 1]
    for number in range(1, len(NAMES) + 1):
        ends.append(len(written(tmp_path / f"{number}.csv", NAMES[:number]).read_bytes()))
    torn = tmp_path / "torn.csv"
    for size in range(len(whole) + 1):
        torn.write_bytes(whole[:size])
        facts_path(torn).write_text(facts_path(tmp_path / "whole.csv").read_text())
        rows = sum(end <= size for end in ends[1:])
        if size >= ends[0]:
            assert len(read(torn)) == rows
        with ScoreFile(torn, FACTS) as file:
            assert left(file) == NAMES[rows:], size
        assert torn.read_bytes() == whole[: ends[rows]]


def test_gone_on_with_it_is_the_file_that_was_never_interrupted(tmp_path):
    whole = written(tmp_path / "whole.csv").read_bytes()
    for cut in range(0, len(NAMES) + 1, 5):
        part = written(tmp_path / f"part{cut}.csv", NAMES[:cut])
        with ScoreFile(part, FACTS) as file:
            for name in left(file):
                number = NAMES.index(name)
                failed = number % 3 == 2
                file.append(
                    Score(name, nan, "missing", error='no, "such"\nfile') if failed else Score(name, number / 3),
                )
            summary = file.summary()
        assert part.read_bytes() == whole
        scores = [number / 3 for number in range(len(NAMES)) if number % 3 != 2]
        assert f"16 rows (11 ok, 5 missing); mean MOS {np.mean(scores):.2f}, sd {np.std(scores):.2f}" in summary


def test_an_input_named_twice_has_two_rows(tmp_path):
    with ScoreFile(tmp_path / "a.csv", FACTS) as file:
        file.append(Score("a.jpg", 1))
        inputs = [Input(name, Path()) for name in ("a.jpg", "b.jpg", "a.jpg")]
        assert [item for _, item in todo(file, inputs).new] == inputs[1:]
        file.append(Score("b.jpg", 2))
        file.append(Score("a.jpg", 1))
        assert not todo(file, inputs).new


@pytest.mark.parametrize(("key", "value"), [("weights", "abd"), ("resize", "nearest"), ("calibrated_on", "x")])
def test_scores_of_two_kinds_are_not_mixed(tmp_path, key, value):
    path = written(tmp_path / "a.csv")
    before = path.read_bytes()
    with pytest.raises(InputError, match=rf'was begun with {key}=.*Received: {key}="{value}"\. Give another --out'):
        ScoreFile(path, FACTS | {key: value})
    assert path.read_bytes() == before
    with ScoreFile(path, FACTS | {"model": "another name"}) as file:  # says nothing of the scores
        assert file.done.total() == len(NAMES)
    with ScoreFile(path, FACTS | {key: value}, overwrite=True) as file:
        assert file.done.total() == 0
    assert facts(path)[key] == value


def test_a_file_of_another_kind_is_left_alone_even_to_overwrite(tmp_path):
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(b"\xff\xd8\xff")
    table = tmp_path / "table.csv"
    table.write_text("image_name,MOS,set\n")
    for path in (picture, table):
        before = path.read_bytes()
        for overwrite in (False, True):
            with pytest.raises(InputError, match=r"should be a new file, or one that lifelog_predict\.py wrote"):
                ScoreFile(path, FACTS, overwrite)
        assert path.read_bytes() == before
    with pytest.raises(InputError, match="which is a folder"):
        ScoreFile(tmp_path, FACTS)
    facts_path(written(tmp_path / "a.csv")).unlink()
    with pytest.raises(InputError, match=r"a.csv.json should say what the scores in a.csv depend on, and is not there"):
        ScoreFile(tmp_path / "a.csv", FACTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image_path,MOS,status,width,height,error\na.jpg,1,ok\n", "a row of 3 fields"),
        ("image_path,MOS,status,width,height,error\na.jpg,good,ok,1,1,\n", "could not convert string to float: 'good'"),
        ('image_path,MOS,status,width,height,error\n"a"b,1,ok,1,1,\nc,1,ok,1,1,\n', "',' expected after '\"'"),
        ("image_path,MOS\n", "the columns image_path,MOS"),
        (b"image_path,MOS,status,width,height,error\n\xff,1,ok,1,1,\n", "can't decode byte 0xff"),
    ],
)
def test_a_damaged_file_is_named_and_not_shortened(tmp_path, content, message):
    path = written(tmp_path / "a.csv", ["a"])
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = path.read_bytes()
    with pytest.raises(InputError, match="should be a CSV in UTF-8 with the columns") as raised:
        read(path)
    assert message in str(raised.value)
    with pytest.raises(InputError):
        ScoreFile(path, FACTS)
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="and is not there"):
        read(tmp_path / "none.csv")


def test_the_second_process_is_told(tmp_path):
    with ScoreFile(tmp_path / "a.csv", FACTS):
        code = f"from koniq.scoring.score_file import *; ScoreFile(Path({str(tmp_path / 'a.csv')!r}), {FACTS})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "Another process is writing" in done.stderr
    with ScoreFile(tmp_path / "a.csv", FACTS):
        pass


def full(path, limit=0):
    """Write rows until there is no room, in a process of its own; what it says then. limit: bytes of a file at most."""
    code = f"""
from koniq.ground import RunStopped
from koniq.scoring.score import Score
from koniq.scoring.score_file import *
import resource
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
with ScoreFile(Path({str(path)!r}), {FACTS}) as file:
    try:
        for number in range(100_000):
            file.append(Score(f"a picture of some length, number {{number}}.jpg", number))
    except RunStopped as error:
        print(error)
"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def check_full(path, said):
    assert "could not be written to" in said
    assert "rows are whole; make room, and give the same command again" in said
    table = read(path)
    assert len(table) > 100
    assert path.read_bytes().endswith(b"\n")
    assert table.MOS.tolist() == list(range(len(table)))
    assert f"Its {len(table):,} rows" in said


def test_a_file_that_may_grow_no_further_stays_whole(tmp_path):
    check_full(tmp_path / "a.csv", full(tmp_path / "a.csv", limit=20_001))


def test_a_full_disk_leaves_the_file_whole(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system of 64 KiB can be mounted by root only")
    try:
        said = full(disk / "a.csv")
        assert "No space left on device" in said
        check_full(disk / "a.csv", said)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_picture_is_found_again_by_its_name(tmp_path):
    raw = os.fsdecode(b"caf\xe9.jpg")
    for name in (raw, "plain.jpg", r"back\xslash.jpg"):
        (tmp_path / name).touch()
        assert locate(shown(name), ["/nowhere", str(tmp_path)]) == tmp_path / name
    assert shown(raw) == r"caf\xe9.jpg"
    assert locate("none.jpg", [str(tmp_path)]) is None
    assert locate("nul\0.jpg", [str(tmp_path)]) is None
    assert locate("x" * 300, [str(tmp_path)]) is None


def test_facts_are_json(tmp_path):
    path = written(tmp_path / "a.csv")
    assert facts(path) == json.loads(json.dumps(FACTS))
    assert facts(tmp_path / "none.csv") == {}
    facts_path(path).write_text("{")
    with pytest.raises(InputError, match="should be JSON"):
        facts(path)
