import json
import re
import resource
import sys
import time
from math import inf, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mean import MeanPlan
from PIL import Image
from scipy import stats
from scored import write_scores

from koniq.commands import cli
from koniq.commands import compare as commands_compare
from koniq.commands import report as commands_report
from koniq.commands import select as commands_select
from koniq.ground import InputError
from koniq.ground.facts import facts, facts_path
from koniq.pictures import inputs as pictures_inputs
from koniq.pictures.inputs import Input
from koniq.reports import selection
from koniq.scoring import lifelog, score_file, score_tables
from koniq.scoring.resume import todo
from koniq.scoring.score import Score
from koniq.scoring.score_file import ScoreFile
from koniq.scoring.scorer import Scorer

FACTS = {"weights": "abc"}
NAMES = ["a.jpg", "b, c.jpg", "line\nbreak.jpg", "größe.jpg", "e.jpg", "gone.jpg"]
MOS = [50.125, 49.5, 70.25, -3, 10.0625]


def run(module, *arguments):
    cli.run(module.main, module.Settings, list(map(str, arguments)))


def written(path, count=6, columns="all"):
    with ScoreFile(path, FACTS, columns=columns) as file:
        for row, _ in todo(file, [Input(name, Path()) for name in NAMES[:count]]).new:
            name = row.image_path
            known = (
                {"status": "missing", "error": "no, such"} if name == "gone.jpg" else {"mos": MOS[NAMES.index(name)]}
            )
            if columns == "intervals" and "mos" in known:
                known |= {"low": known["mos"] - 20.5, "high": known["mos"] + 20.5}
            file.append(Score(name, **known))
        return file


def by_excel(path, separator=","):
    """Save a CSV as Excel's "CSV UTF-8" does; with semicolons, as in much of Europe, also with decimal commas."""
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    if separator == ";":
        numbers = [name for name in table if name.startswith("MOS")]
        table = table.assign(**{name: table[name].str.replace(".", ",") for name in numbers})
    table.to_csv(path, index=False, sep=separator, encoding="utf-8-sig", lineterminator="\r\n")


@pytest.mark.parametrize("columns", ["all", "study", "intervals"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_our_csv_saved_by_excel_is_read_and_gone_on_with(columns, separator, tmp_path):
    written(tmp_path / "whole.csv", columns=columns)
    whole = (tmp_path / "whole.csv").read_bytes()
    part = tmp_path / "part.csv"
    written(part, 4, columns)
    by_excel(part, separator)
    assert score_file.read(part).image_path.tolist() == NAMES[:4]
    assert score_tables.read(part).MOS.tolist() == MOS[:4]
    assert written(part, columns=columns).statuses.total() == len(NAMES)
    assert part.read_bytes() == whole
    again = written(part, columns=columns)
    assert again.done == dict.fromkeys(NAMES, 1)
    assert part.read_bytes() == whole


def test_a_csv_saved_by_excel_is_left_as_it_is_where_it_is_not_gone_on_with(tmp_path):
    path = tmp_path / "a.csv"
    written(path)
    by_excel(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="was begun with weights"):
        ScoreFile(path, {"weights": "other"})
    beside = facts_path(path).read_bytes()
    facts_path(path).unlink()
    with pytest.raises(InputError, match=r"should say what the scores in a.csv depend on"):
        ScoreFile(path, FACTS)
    assert path.read_bytes() == before
    path.write_bytes(before.replace(b"49.5", b"49. Sep"))
    facts_path(path).write_bytes(beside)
    with pytest.raises(InputError, match=r"column MOS .* Received: '49. Sep' in row 2"):
        ScoreFile(path, FACTS)
    with ScoreFile(path, FACTS, overwrite=True) as file:
        assert file.done.total() == 0


def test_the_columns_of_the_study_lose_no_row(tmp_path):
    path = tmp_path / "a.csv"
    written(path, columns="study")
    assert path.read_text("utf-8").splitlines()[0] == "image_path,MOS"
    assert path.read_text("utf-8").endswith("\ngone.jpg,\n")
    assert facts(path)["columns"] == "study"
    table = score_tables.read(path)
    assert table.image_path.tolist() == NAMES
    assert table.status.tolist() == ["ok"] * 5 + ["no_score"]
    np.testing.assert_array_equal(table.MOS, [*MOS, nan])
    assert "6 rows (5 ok, 1 no_score); mean MOS" in written(path, columns="study").summary()
    whole = path.read_bytes()
    for size in range(whole.index(b"\n") + 1, len(whole) + 1):  # torn anywhere: a torn number is no score
        path.write_bytes(whole[:size])
        rows = score_tables.read(path)
        assert rows.MOS.tolist() == MOS[: len(rows)] or len(rows) == 6
        written(path, columns="study")
        assert path.read_bytes() == whole


def test_a_lifelog_is_scored_into_the_columns_of_the_study(tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 6), (10 * number,) * 3).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").touch()
    out = tmp_path / "out.csv"
    for pictures in (["0.png", "broken.png"], ["0.png", "broken.png", "1.png", "2.png"]):  # stopped, and gone on with
        (tmp_path / "list.csv").write_text("\n".join(["image_path", *pictures]))
        Scorer(MeanPlan(), workers=1).write(tmp_path / "list.csv", out, columns="study")
    assert out.read_text() == "image_path,MOS\n0.png,0.0\nbroken.png,\n1.png,10.0\n2.png,20.0\n"


class Fives:
    """Intervals of 5 about scores, infinite from 20 on."""

    def __call__(self, mos):
        return (mos - 5, mos + 5) if mos < 20 else (-inf, inf)

    def __str__(self):
        return "90 % intervals, made on grey, test, 9 pictures (abc)"


def test_a_lifelog_is_scored_with_intervals_and_not_mixed_with_scores_of_another_rule(tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 6), (10 * number,) * 3).save(tmp_path / f"{number}.png")
    (tmp_path / "broken.png").touch()
    out = tmp_path / "out.csv"
    scorer = Scorer(MeanPlan(), intervals=Fives())
    for pictures in (["0.png", "broken.png"], ["0.png", "broken.png", "1.png", "2.png"]):  # stopped, and gone on with
        (tmp_path / "list.csv").write_text("\n".join(["image_path", *pictures]))
        inputs = pictures_inputs.of([str(tmp_path / "list.csv")])
        scorer.write(inputs, out)
    assert out.read_text() == (
        "image_path,MOS,MOS_low,MOS_high,status,width,height,error\n"
        "0.png,0.0,-5.0,5.0,ok,8,6,\nbroken.png,,,,unreadable,0,0,an empty file\n"
        "1.png,10.0,5.0,15.0,ok,8,6,\n2.png,20.0,-inf,inf,ok,8,6,\n"
    )
    table = score_tables.read(out)
    assert table.MOS_low.tolist() == pytest.approx([-5, nan, 5, -inf], nan_ok=True)
    assert table.MOS_high.tolist() == pytest.approx([5, nan, 15, inf], nan_ok=True)
    (tmp_path / "broken.png").write_bytes((tmp_path / "1.png").read_bytes())
    scorer.write(inputs, out, retry=())
    assert score_tables.read(out).MOS_low.tolist() == [-5, 5, 5, -inf]
    with pytest.raises(InputError, match=r'was begun with intervals="90 % intervals, .* Received: intervals=null'):
        lifelog.score(inputs, Scorer(MeanPlan()), out, columns="intervals")
    with pytest.raises(InputError, match=r"intervals should go with columns=all. Received: columns=study"):
        scorer.write(inputs, out, columns="study")


def test_columns_are_part_of_what_a_file_was_begun_with(tmp_path):
    for before, after in (("all", "study"), ("study", "all"), ("all", "intervals"), ("intervals", "all")):
        path = tmp_path / f"{before}.csv"
        written(path, columns=before)
        whole = path.read_bytes()
        for overwrite in (False, True):
            with pytest.raises(InputError, match=r"lifelog_predict\.py wrote, with the columns image_path,MOS"):
                ScoreFile(path, FACTS, overwrite, after)
        assert path.read_bytes() == whole


def test_nobody_elses_file_of_two_columns_is_written_to(tmp_path):
    path = tmp_path / "study.csv"
    for data in (b"image_path,MOS\na.jpg,50\n", b"\xef\xbb\xbfimage_path,MOS\r\na.jpg,50\r\n"):
        path.write_bytes(data)
        facts_path(path).write_text(json.dumps(FACTS))  # as of a file that says where its pictures lie, and no more
        for overwrite in (False, True):
            with pytest.raises(InputError, match=r"[Gg]ive another --out"):
                ScoreFile(path, FACTS, overwrite, "study")
        assert path.read_bytes() == data
    written(tmp_path / "ours.csv", columns="study")
    before = (tmp_path / "ours.csv").read_bytes()
    with pytest.raises(InputError, match="a new file, or an earlier selection"):
        selection.check_out(tmp_path / "ours.csv", path)
    assert (tmp_path / "ours.csv").read_bytes() == before


def test_any_table_with_a_name_and_a_score(tmp_path, capsys):
    path = tmp_path / "other.csv"
    path.write_bytes(b"image_name;score;note\r\n2016\\a.jpg;50,5;x\r\nb.jpg;;\r\nc.jpg;inf;\r\nd.jpg;NaN;\r\n")
    table = score_tables.read(path, "score")
    assert table.image_path.tolist() == ["2016/a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    assert table.status.tolist() == ["ok"] + ["no_score"] * 3
    np.testing.assert_array_equal(table.MOS, [50.5, nan, nan, nan])
    assert table.error.tolist() == ["", *(f"the score is {what}" for what in ("nothing", "inf", "NaN"))]
    run(commands_select, path, "--column", "score", "--at-least", 0)
    assert path.with_name("other_selected.csv").read_text() == "image_path,MOS\n2016/a.jpg,50.5\n"
    run(commands_report, path, "--column", "score")
    assert "1 of 4 pictures have a score" in capsys.readouterr().out
    for column, message in (
        ("", r"the scores in a column MOS; --column names another. Received: image_name, score, note"),
        ("note", r"column note of .* Received: 'x' in row 1"),
    ):
        with pytest.raises(InputError, match=message):
            score_tables.read(path, column)
    path.write_text("name,MOS\na,1\n")
    with pytest.raises(InputError, match="a column image_path or image_name"):
        score_tables.read(path)


def test_what_a_test_predicted_is_asked_for_by_name(tmp_path):
    path = tmp_path / "predictions.csv"
    path.write_text("image_name,MOS,predicted,status,error\na.jpg,50,40,ok,\nb.jpg,60,,truncated,cut off\n")
    with pytest.raises(InputError, match="Give --column MOS or --column predicted"):
        score_tables.read(path)
    table = score_tables.read(path, "predicted")
    assert table.MOS.tolist()[0] == 40
    assert table.status.tolist() == ["ok", "truncated"]
    assert table.error.tolist() == ["", "cut off"]
    compared = ["--column", "MOS", "predicted", "--out", tmp_path / "out"]
    path.write_text("image_name,MOS,predicted\na.jpg,50,40\nb.jpg,60,55\n")
    run(commands_compare, path, path, *compared)
    assert pd.read_csv(tmp_path / "out/differences.csv").difference.tolist() == [-10, -5]


def test_a_windows_path_is_told_from_a_byte(tmp_path):
    path = tmp_path / "a.csv"
    for given, expected in (
        (["2016\\a.jpg", "b.jpg"], ["2016/a.jpg", "b.jpg"]),
        (["2016/a\\b.jpg", "c\\d.jpg"], ["2016/a\\b.jpg", "c\\d.jpg"]),
        (["caf\\xe9.jpg", "b.jpg"], ["caf\\xe9.jpg", "b.jpg"]),
    ):
        path.write_text("image_path,MOS\n" + "".join(f"{name},1\n" for name in given))
        assert score_tables.read(path).image_path.tolist() == expected


def test_infinity_in_our_own_csv_is_no_score(tmp_path):
    path = write_scores(tmp_path / "a.csv", [("a.jpg", 10.0), ("b.jpg", 20.0)], **FACTS)
    path.write_text(path.read_text().replace("20.0", "inf"))
    assert score_file.read(path).MOS.isna().tolist() == [False, True]
    with ScoreFile(path, FACTS) as file:
        assert "2 rows (1 ok, 1 not_finite); mean MOS 10.00, sd 0.00" in file.summary()


def study_pair(folder, count):
    rng = np.random.default_rng(0)
    days = rng.integers(0, 100, count)
    names = [f"2016-{1 + day // 28:02}-{1 + day % 28:02}/B{n:08}_21I6X0.JPG" for n, day in enumerate(days)]
    first = rng.normal(45, 15, count).astype(np.float32)
    second = (0.7 * first + rng.normal(12, 8, count)).astype(np.float32)
    paths = folder / "original.csv", folder / "own.csv"
    for path, mos, order in zip(paths, (first, second), (np.arange(count), rng.permutation(count)), strict=True):
        pd.DataFrame({"image_path": names, "MOS": mos}).iloc[order].to_csv(path, index=False)
    return paths, first.astype(float), second.astype(float)


@pytest.mark.parametrize("count", [1000, pytest.param(183_227, marks=pytest.mark.long)])
def test_the_studys_two_models_are_compared_by_one_command(count, tmp_path, capsys):
    paths, first, second = study_pair(tmp_path, count)
    began = time.monotonic()
    run(commands_compare, *paths)
    seconds = time.monotonic() - began
    printed = capsys.readouterr().out
    assert f"{count:,} pictures have a score by both" in printed
    values = dict(re.findall(r"^(SRCC|PLCC|mean difference): (-?[\d.]+)", printed, re.MULTILINE))
    assert float(values["SRCC"]) == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-4)
    assert float(values["PLCC"]) == pytest.approx(stats.pearsonr(first, second).statistic, abs=1e-4)
    assert float(values["mean difference"]) == pytest.approx(np.mean(second - first), abs=0.01)
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    with capsys.disabled():
        print(f"\n{count:,} pictures twice: {seconds:.1f} s, at most {mebibytes:.0f} MiB ", end="")
