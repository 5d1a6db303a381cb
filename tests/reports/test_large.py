"""Reports, comparisons and selections from Parquet are those from the CSV of the same scores."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from commands import ended
from scored import write_scores

from koniq.ground.facts import facts
from koniq.reports import comparison, page, pairing
from koniq.scoring import exporting, score_tables
from koniq.scoring.score_tables import ScoreTable
from koniq.scoring.taken import taken

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
in_pyarrow = pytest.importorskip("koniq.scoring.in_pyarrow")
in_duckdb = pytest.importorskip("koniq.scoring.in_duckdb")

NAMES = [
    *("2015-02-23/b00000000_21i6bq_20150223_070647e.jpg", "201901/01/20190101_103717_000.jpg", "201901/01/rr.jpg"),
    *("2015-02-24/20150223_235959.jpg", "/all/2015-02-23/201901/02/x/rr.jpg", "2015-02-23/20191345_103717_000.jpg"),
    *("20190101_246060.jpg", "20190229_101010.jpg", "120190101_101010.jpg", "20190101_1010101.jpg", "rr.jpg"),
    *("20190101_101010/rr.jpg", "2015-13-01/rr.jpg", "", "20190101_101010", "line\n20190102_101010\nbreak.jpg"),
    *(
        "a/PXL_20230102_030405678.jpg",
        "IMG_20230102_030405.jpg",
        "IMG_20230102_030405678.jpg",
        "IMG-20230102-WA0001.jpg",
    ),
    *("Screenshot_2023-01-02-03-04-05-678_a.png", "signal-2023-01-02-030405_002.jpg", "2011-07-19 11.36.39.jpg"),
    *("WhatsApp Image 2023-01-02 at 3.04.05 PM.jpeg", "Screenshot 2023-01-02 at 12.04.05\u202fAM.png"),
    *("2023-01-02 03.04.05 PMs walk.jpg", "2019-01-01 at 13.04.05 PM.jpg", "20190101_10101.jpg", "2016/08/15mm/x.jpg"),
    *("2016-08-15/IMG-20231302-WA0001.jpg", "2016/08/15/x.jpg", "2016/2016-08-15 A walk/x.jpg", "2016/13/15/x.jpg"),
    *("größe/20200229_000000.jpg", "x20190101_101010_20190102_111111.jpg", "2016-02-29/\n/x.jpg"),
]


def made(folder, name, count=700, seed=0, intervals=False, **facts):
    """A CSV of scores, many of them equal, with odd names and rows without a score; and its Parquet in small groups."""
    rng = np.random.default_rng(seed)
    names = NAMES + [
        f"2015-0{n % 7 + 1}-{n % 28 + 1:02}/b{n:08}_21i6bq_20150{n % 7 + 1}{n % 28 + 1:02}_{n % 24:02}0647e.jpg"
        for n in range(count)
    ]
    rows = [(path, float(np.round(rng.uniform(-5, 105), 1))) for path in names]
    rows = [(*row, 3.25) for row in rows] if intervals else rows
    for n in range(count // 20):
        rows.insert(20 * n, (f"gone{n}.jpg", ("missing", "truncated")[n % 2], f'why {n % 3}, or "not"'))
    csv = write_scores(folder / f"{name}.csv", rows, **facts)
    exporting.export(csv, csv.with_suffix(".parquet"))
    return csv


@pytest.fixture(scope="module", autouse=True)
def small_pieces():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_pyarrow, "GROUP", 64)
        yield


def same(first, second):
    """Whether two reports have the same files, but for what they are called in the page."""
    assert {path.name for path in first.iterdir()} == {path.name for path in second.iterdir()}
    for path in first.iterdir():
        one, other = path.read_bytes(), (second / path.name).read_bytes()
        if path.name == page.PAGE:
            one, other = (re.sub(rb"(scores|first|second)\.(csv|parquet)", b"", text) for text in (one, other))
        assert one == other, path.name


@pytest.mark.parametrize("intervals", [False, True])
def test_the_report_of_parquet_is_that_of_the_csv(tmp_path, intervals, capsys):
    csv = made(tmp_path, "scores", intervals=intervals, model="m", roots=[str(tmp_path)], record={"loss": "plcc"})
    said = []
    for source in (csv, csv.with_suffix(".parquet")):
        assert ended("report", source, "--out", tmp_path / source.suffix[1:]) == 0
        said.append(capsys.readouterr().out.splitlines()[:-1])
    assert said[0] == said[1]
    same(tmp_path / "csv", tmp_path / "parquet")
    assert not [*tmp_path.glob(".koniq*")]


def test_when_pictures_were_taken_is_read_alike(tmp_path):
    csv = write_scores(tmp_path / "s.csv", [(name, 1.0) for name in NAMES])
    exporting.export(csv, tmp_path / "s.parquet")
    table = score_tables.opened(tmp_path / "s.parquet")
    for how in ("auto", "names", "folders"):
        expected = taken(pd.Series(NAMES), how).astype({"time": "datetime64[s]", "day": "datetime64[s]"})
        pd.testing.assert_frame_equal(table.timed(how)[["time", "day", "clock"]], expected)
    table.close()


def test_no_picture_of_parquet_is_opened_for_its_time(tmp_path, capsys):
    csv = write_scores(tmp_path / "s.csv", [("a.jpg", 1.0)])
    exporting.export(csv, tmp_path / "s.parquet")
    assert ended("report", tmp_path / "s.parquet", "--times", "exif") == 2
    assert "times should be auto, names or folders of Parquet" in capsys.readouterr().err


@pytest.mark.parametrize("how", [("--percentile", 70), ("--at-least", 50.1), ("--at-least", 30, "--order", "score")])
def test_a_selection_of_parquet_is_that_of_the_csv(tmp_path, how, capsys):
    csv = made(tmp_path, "scores", intervals=True, model="m", roots=[str(tmp_path)])
    parquet, said = csv.with_suffix(".parquet"), []
    for source, out in ((csv, "a.csv"), (parquet, "b.csv"), (parquet, "c.parquet"), (csv, "d.parquet")):
        for _ in range(2):  # an earlier selection is replaced
            assert ended("select", source, *how, "--out", tmp_path / out) == 0
        said.append(capsys.readouterr().out.replace(out, ""))
    assert said == said[:1] * 4
    assert (tmp_path / "b.csv").read_bytes() == (tmp_path / "a.csv").read_bytes()
    about = facts(tmp_path / "a.csv")
    assert about == {"selected_from": "scores.csv", "roots": [str(tmp_path)], "model": "m"}
    for out in ("c", "d"):
        found = score_tables.facts(tmp_path / f"{out}.parquet")
        assert found == {**about, "selected_from": {"c": "scores.parquet", "d": "scores.csv"}[out]}
        exporting.export(tmp_path / f"{out}.parquet", tmp_path / "back.csv", overwrite=True)
        selected = pd.read_csv(tmp_path / "a.csv")
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "back.csv"), selected)


def test_a_selection_overwrites_nothing_else(tmp_path, capsys):
    csv = made(tmp_path, "scores", 3)
    parquet = csv.with_suffix(".parquet")
    other = tmp_path / "other.parquet"
    exporting.export(csv, other)
    for source, out, message in (
        (csv, other, "out should be a new file, or an earlier selection"),
        (parquet, parquet, "out should be another file than the scores"),
        (csv, tmp_path / "a.txt", "out should end in .csv or .parquet"),
    ):
        before = other.read_bytes()
        assert ended("select", source, "--at-least", 5, "--out", out) == 2
        assert message in capsys.readouterr().err
        assert other.read_bytes() == before


def parts(csv, folder):
    """The rows of a CSV as several machines would leave them: out of order, some of them twice, with their numbers."""
    folder.mkdir()
    frame = score_tables.read(csv)
    table = in_pyarrow.of_frame(frame).append_column("number", pa.array(range(len(frame)), pa.int64()))
    order = np.random.default_rng(1).permutation(len(frame))
    about = facts(csv)
    for number, rows in enumerate(np.array_split(order, 5)):
        rows = np.append(rows, order[:30] if number == 4 else [])
        metadata = {in_pyarrow.KEY: json.dumps({**about, "device": str(number)}).encode()}
        pq.write_table(table.take(rows.astype(int)).replace_schema_metadata(metadata), folder / f"{number:05}.parquet")
    return folder


def test_parts_in_a_folder_are_the_table_that_they_are_of(tmp_path, capsys):
    csv = made(tmp_path, "scores", 300, model="m", roots=[str(tmp_path)])
    folder = parts(csv, tmp_path / "scores.parts")
    for name, source in (("folder", folder), ("glob", folder / "*.parquet")):
        assert ended("export", source, tmp_path / f"{name}.csv") == 0
        assert (tmp_path / f"{name}.csv").read_bytes() == csv.read_bytes()
        assert ended("report", source) == 0
        assert ended("select", source, "--at-least", 50) == 0
    assert ended("select", csv, "--at-least", 50, "--out", tmp_path / "own.csv") == 0
    assert (tmp_path / "own.csv").read_bytes() == (tmp_path / "scores_selected.csv").read_bytes()
    assert ended("report", csv, "--out", tmp_path / "own") == 0
    for name in ("shares.csv", "by_day.csv", "histogram.csv", "best.png", "worst.png"):
        assert (tmp_path / "own" / name).read_bytes() == (tmp_path / "scores_report" / name).read_bytes()
    other = pq.read_table(folder / "00000.parquet")
    other = other.replace_schema_metadata({in_pyarrow.KEY: b'{"model": "n", "x": 1}'})
    pq.write_table(other, folder / "other.parquet")
    assert ended("report", folder) == 2
    assert (
        "should be of one run. Received: 00000.parquet and other.parquet, which differ in x" in capsys.readouterr().err
    )


def test_another_programs_parquet_is_read_by_its_columns(tmp_path, capsys):
    path = tmp_path / "other.parquet"
    table = {"image_name": ["2016\\a.jpg", "b.jpg", "c.jpg"], "score": [50.5, None, np.inf], "note": ["x", "", ""]}
    pq.write_table(pa.table(table), path)
    assert ended("select", path, "--column", "score", "--at-least", 0) == 0
    assert (tmp_path / "other_selected.csv").read_text() == "image_path,MOS\n2016/a.jpg,50.5\n"
    assert ended("report", path, "--column", "score") == 0
    assert "1 of 3 pictures have a score" in capsys.readouterr().out
    for more, message in (
        ([], "the scores in a column MOS; --column names another. Received: image_name, score, note"),
        (["--column", "note"], "The column note of"),
    ):
        assert ended("report", path, *more) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert ended("report", tmp_path / "empty") == 2
    assert "a file or a folder of such files, should be at" in capsys.readouterr().err
    shutil.copy(path, tmp_path / "empty/a.parquet")
    pq.write_table(pa.table({"image_name": ["a"], "points": [1.0]}), tmp_path / "empty/b.parquet")
    assert ended("report", tmp_path / "empty", "--column", "score") == 2
    assert "should be scores as Parquet, whole files of the same columns. Received: " in capsys.readouterr().err
    assert not [*tmp_path.rglob(".koniq*")]
    path.write_bytes(path.read_bytes()[:-50])
    assert ended("report", path, "--column", "score") == 2
    assert "should be a whole Parquet file" in capsys.readouterr().err


def test_the_comparison_of_parquet_is_that_of_the_csvs(tmp_path, capsys):
    first = made(tmp_path, "first", 2500, 1, model="a", roots=[str(tmp_path)], record={"calibrated": True})
    second = made(tmp_path, "second", 2400, 2, model="b", roots=[str(tmp_path)], record={"scale": [1, 5]})
    said = []
    for number, kinds in enumerate([("csv", "csv"), ("parquet", "parquet"), ("csv", "parquet"), ("parquet", "csv")]):
        sources = [path.with_suffix(f".{kind}") for path, kind in zip((first, second), kinds, strict=True)]
        assert ended("compare", *sources, "--out", tmp_path / str(number)) == 0
        said.append(capsys.readouterr().out.splitlines()[:-1])
        assert said[number] == said[0]
        same(tmp_path / "0", tmp_path / str(number))


def keyed(folder, name, rows, roots=None):
    about = {} if roots is None else {"roots": roots}
    csv = write_scores(folder / f"{name}.csv", [(row, float(n)) for n, row in enumerate(rows)], **about)
    exporting.export(csv, csv.with_suffix(".parquet"), overwrite=True)
    return csv, about


TREE = ("1/a.jpg", "2/a.jpg", "1/am/b.jpg")


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((["a.jpg", "am/b.jpg"], ["1"]), (["a.jpg", "am/b.jpg"], ["2"])),
        ((["a.jpg", "am/b.jpg"], ["1"]), (["1/am/b.jpg", "2/a.jpg", "1/a.jpg"], [""])),
        ((["{}/2/a.jpg", "{}/1//a.jpg"], [""]), (["1/am/b.jpg", "2/a.jpg", "1/./a.jpg"], [""])),
        ((["1/a.jpg", "a.jpg"], ["1", ""]), (["1/am/b.jpg", "2/a.jpg", "1/a.jpg"], [""])),
        ((["am/a.jpg", "b.jpg"], [""]), (["am/a.jpg", "b.jpg"], ["/mnt/nowhere"])),
        ((["am/a.jpg", "b.jpg"], ["", "/mnt/nowhere"]), (["am/a.jpg", "b.jpg"], ["/mnt/nowhere"])),
        ((["am/a.jpg", "b.jpg"], [""]), (["am/a.jpg", "b.jpg"], None)),
        ((["x/a.jpg", "x/b.jpg", "y/b.jpg", "c.jpg"], None), (["a.jpg", "b.jpg", "z/c.jpg"], None)),
        ((["t", "a", "t", "x", "t"], None), (["z", "t", "t", "a", "u"], None)),
    ],
)
def test_pictures_of_parquet_are_paired_as_those_of_csvs(tmp_path, first, second, by_name):
    for path in TREE:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    sides = []
    for name, (rows, roots) in zip(("first", "second"), (first, second), strict=True):
        roots = roots and [root if root.startswith("/") else str(tmp_path / root) for root in roots]
        sides.append(keyed(tmp_path, name, [row.format(tmp_path) for row in rows], roots))
    abouts = [about for _, about in sides]
    expected = pairing.Pairs([ScoreTable(score_tables.read(csv)) for csv, _ in sides], abouts, by_name=by_name)
    tables = [score_tables.opened(csv.with_suffix(".parquet")) for csv, _ in sides]
    found = comparison.paired(tables, abouts, by_name=by_name)
    assert found.counts == expected.counts
    pd.testing.assert_frame_equal(
        pd.concat([found.most_different(0), *found.pieces()]).reset_index(drop=True),
        pd.concat([*expected.pieces()]),
        check_dtype=False,
    )
    assert sorted(zip(found.first, found.second, strict=True)) == sorted(
        zip(expected.first, expected.second, strict=True)
    )
    for table in tables:
        table.close()
