import subprocess
import sys
import zipfile
from math import inf
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest
from commands import ended
from scored import write_scores

from koniq.ground.facts import facts, facts_path
from koniq.scoring import exporting, score_tables

pq = pytest.importorskip("pyarrow.parquet")
in_pyarrow = pytest.importorskip("koniq.scoring.in_pyarrow")
in_xlsxwriter = pytest.importorskip("koniq.scoring.in_xlsxwriter")

FORMULAS = ["=1+1.jpg", "+1.jpg", "-1.jpg", "@SUM(A1).jpg", "\ttab.jpg", '=HYPERLINK("http://a.b").jpg']
NAMES = [*FORMULAS, "c,d.jpg", 'say "x".jpg', "line\nbreak\r.jpg", "größe.jpg", "\udcff.jpg", "http://a.b/c.jpg", "7"]
WITHOUT = [("gone.jpg", "missing", 'no, "such" file'), ("half.jpg", "truncated", "19 bytes\nare missing")]
FACTS = {"model": "<b>", "input_size": [24, 32], "roots": ["/my/größe"]}


@pytest.fixture(params=["all", "intervals"])
def scores(tmp_path, request):
    rows = [(name, 100 / (number + 1)) for number, name in enumerate(NAMES)]
    if request.param == "intervals":
        rows = [(*row, 2.5) for row in rows] + [("all.jpg", 5.0, inf)]
    return write_scores(tmp_path / "scores.csv", rows + WITHOUT, **FACTS)


def cells(path):
    """The sheets of a workbook, a list of rows each; a cell is its kind and its text."""
    with zipfile.ZipFile(path) as file:
        assert not [name for name in file.namelist() if name.endswith(".rels") and b"hyperlink" in file.read(name)]
        assert "xl/sharedStrings.xml" not in file.namelist()
        sheets = [ElementTree.fromstring(file.read(f"xl/worksheets/sheet{number}.xml")) for number in (1, 2)]
    rows = [[row for row in sheet.iter() if row.tag.endswith("}row")] for sheet in sheets]
    texts = [[[(cell.get("t"), "".join(cell.itertext())) for cell in row] for row in sheet] for sheet in rows]
    return [[[cell for cell in row if cell[1]] for row in sheet] for sheet in texts], sheets


def test_parquet_and_back_is_the_same_csv_byte_for_byte(scores, capsys):
    parquet, back = scores.with_name("scores.parquet"), scores.with_name("back.csv")
    assert ended("export", scores, parquet) == 0
    assert ended("export", parquet, back) == 0
    assert back.read_bytes() == scores.read_bytes()
    assert facts_path(back).read_bytes() == facts_path(scores).read_bytes()
    assert f"{back}: {len(pd.read_csv(scores))} rows of {parquet}\n" in capsys.readouterr().out
    assert score_tables.facts(parquet) == facts(scores)
    file = pq.ParquetFile(parquet)
    types = {field.name: str(field.type) for field in file.schema_arrow}
    assert [*types] == scores.open().readline().strip().split(",")
    assert types["MOS"] == "double"
    assert types["width"] == types["height"] == "int32"
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert file.read().column("MOS").null_count == len(WITHOUT)


def test_a_csv_is_read_in_pieces_of_whole_rows(scores, monkeypatch):
    whole = pd.concat([piece.to_pandas() for piece in in_pyarrow.of_csv(scores, exporting._written(scores))])
    for size in (1, 7, 40, 200):
        monkeypatch.setattr(in_pyarrow, "PIECE", size)
        pieces = [piece.to_pandas() for piece in in_pyarrow.of_csv(scores, exporting._written(scores))]
        assert len(pieces) > 1
        pd.testing.assert_frame_equal(pd.concat(pieces, ignore_index=True), whole.reset_index(drop=True))
    data = scores.read_bytes()
    for end in range(data.index(b"half.jpg") + 1, len(data)):  # torn anywhere in the last row, quotes and all
        scores.write_bytes(data[:end])
        assert sum(piece.num_rows for piece in in_pyarrow.of_csv(scores, exporting._written(scores))) == len(whole) - 1


def test_row_groups_are_of_one_size(tmp_path, monkeypatch):
    monkeypatch.setattr(in_pyarrow, "GROUP", 10)
    monkeypatch.setattr(in_pyarrow, "PIECE", 100)
    scores = write_scores(tmp_path / "s.csv", [(f"{number}.jpg", float(number)) for number in range(33)])
    assert exporting.export(scores, tmp_path / "s.parquet") == 33
    file = pq.ParquetFile(tmp_path / "s.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [10, 10, 10, 3]
    assert file.read().column("MOS").to_pylist() == [*map(float, range(33))]


def test_names_that_begin_like_a_formula_are_text_in_a_workbook(scores):
    for source in (scores, scores.with_name("scores.parquet")):
        target = scores.with_name(f"from_{source.suffix[1:]}.xlsx")
        if source != scores:
            assert ended("export", scores, source) == 0
        assert ended("export", source, target) == 0
        (rows, said), sheets = cells(target)
        assert [row[0] for row in rows[1 : len(FORMULAS) + 1]] == [("inlineStr", name) for name in FORMULAS]
        assert ("inlineStr", "http://a.b/c.jpg") in [row[0] for row in rows]
        assert ("inlineStr", "7") in [row[0] for row in rows]
        assert not [tag for sheet in sheets for tag in sheet.iter() if tag.tag.endswith(("}f", "}hyperlink"))]
        assert rows[1][1] == (None, "100")
        assert [text for _, text in rows[-2]][:2] == ["gone.jpg", "missing"]
        assert ("inlineStr", "[24, 32]") in said[1]


def test_a_sheet_has_room_for_so_many_rows(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(in_xlsxwriter, "MOST", 3)
    for count, code in ((3, 0), (4, 2)):
        scores = write_scores(tmp_path / f"{count}.csv", [(f"{number}.jpg", 1.0) for number in range(count)])
        assert ended("export", scores, tmp_path / f"{count}.xlsx") == code
        assert (tmp_path / f"{count}.xlsx").exists() == (code == 0)
    assert "should have 3 rows of scores at most. Received: 4 or more. Export to .parquet" in capsys.readouterr().err
    assert not [*tmp_path.glob(".*tmp*")]


def test_a_table_of_another_program_is_exported_as_it_is_read(tmp_path):
    table = tmp_path / "other.csv"
    table.write_bytes(b"image_name;score\r\n2016\\a.jpg;50,5\r\nb.jpg;\r\n")
    assert ended("export", table, tmp_path / "o.parquet", "--column", "score") == 0
    assert ended("export", tmp_path / "o.parquet", tmp_path / "o.csv") == 0
    assert (tmp_path / "o.csv").read_text() == (
        "image_path,MOS,status,width,height,error\n2016/a.jpg,50.5,ok,0,0,\nb.jpg,,no_score,0,0,the score is nothing\n"
    )
    assert not facts_path(tmp_path / "o.csv").exists()


def test_bad_input_is_one_sentence_and_exit_code_2(scores, tmp_path, monkeypatch, capsys):
    parquet = tmp_path / "there.parquet"
    parquet.write_text("no Parquet")
    torn = write_scores(tmp_path / "torn.csv", [("a.jpg", 1.0), ("b.jpg", 2.0)])
    torn.write_text(torn.read_text().replace("2.0", "two"))
    csv = tmp_path / "beside.csv"
    facts_path(csv).write_text("{}")
    for arguments, message in (
        ([scores, parquet], "is there already. Give --overwrite"),
        ([scores, csv], f"{facts_path(csv)} is there already"),
        ([scores, scores, "--overwrite"], "target should be another file than the scores"),
        (
            [scores, tmp_path / "a.txt"],
            "target should end in .onnx, .tflite, or for scores in .parquet, .xlsx, .csv",
        ),
        ([scores, tmp_path / "a.onnx"], "source should be a network"),
        ([tmp_path / "absent.csv", tmp_path / "a.parquet"], "should be at"),
        ([tmp_path / "absent.parquet", tmp_path / "a.csv"], "should be at"),
        ([parquet, tmp_path / "a.csv"], "should be a whole Parquet file. Received"),
        ([torn, tmp_path / "a.parquet"], f"{torn} should be a CSV in UTF-8 with the columns"),
    ):
        assert ended("export", *arguments) == 2
        assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.glob("a.*")} == set()
    monkeypatch.setattr(score_tables, "find_spec", lambda name: None)
    assert ended("export", scores, tmp_path / "a.parquet") == 2
    assert "should be installed for this: pip install -r requirements-tables.txt" in capsys.readouterr().err


def test_nothing_of_tables_is_imported_for_a_csv(scores):
    """Who does not have the packages, or does not need them, does not notice."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('pyarrow', 'duckdb', 'xlsxwriter')));"
        "from koniq.commands import cli, report, select, export;"
        "cli.run(select.main, select.Settings, [sys.argv[1], '--at-least', '5'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(scores)], cwd=Path(__file__).parents[2], check=True)
    assert done.returncode == 0
    assert scores.with_name("scores_selected.csv").exists()
