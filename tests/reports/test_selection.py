import numpy as np
import pandas as pd
import pytest
from scored import write_scores

from koniq.commands import cli, select
from koniq.ground import InputError
from koniq.pictures import inputs
from koniq.reports import selection

NAMES = ["c,d.jpg", 'say "x".jpg', "line\nbreak.jpg", "e.jpg", "f.jpg", "gone.jpg"]
MOS = np.float32([50.1, 49.9, 70.3, 50.1, -3, np.nan]).tolist()


@pytest.fixture
def csv(tmp_path):
    rows = [*zip(NAMES, MOS[:5], strict=False), ("gone.jpg", "missing", "no such file")]
    return write_scores(tmp_path / "scores.csv", rows)


def run(*arguments):
    cli.run(select.main, select.Settings, list(map(str, arguments)))


def test_a_threshold_keeps_ties_and_the_order_of_the_input(csv, capsys):
    before = csv.read_bytes()
    run(csv, "--at-least", 50.1)
    out = csv.with_name("scores_selected.csv")
    assert out.read_text() == 'image_path,MOS\n"c,d.jpg",50.1\n"line\nbreak.jpg",70.3\ne.jpg,50.1\n'
    assert csv.read_bytes() == before
    printed = capsys.readouterr().out
    assert "3 of 5 scored pictures, with a score of 50.1 or more" in printed
    assert "1 pictures have no score and are not selected" in printed


def test_the_best_first(csv):
    run(csv, "--percentile", 0, "--order", "score", "--out", csv.with_name("all.csv"))
    found = pd.read_csv(csv.with_name("all.csv"))
    assert found.image_path.tolist() == [NAMES[2], NAMES[0], NAMES[3], NAMES[1], NAMES[4]]


def test_a_selection_is_a_list_to_score(csv, monkeypatch):
    run(csv, "--at-least", -10)
    found = inputs.of([str(csv.with_name("scores_selected.csv"))])
    assert [name for name, _ in found.pictures] == NAMES[:5]


@pytest.mark.parametrize("count", [1, 2, 10, 11, 100, 101])
def test_a_percentile_keeps_what_whole_numbers_say(count):
    rank = np.random.default_rng(count).permutation(count)
    mos = rank + 0.3
    for percentile in range(101):
        kept = np.sum(mos >= selection.threshold(mos, percentile))
        assert kept == np.sum(100 * rank >= percentile * (count - 1)), percentile
        assert 0 <= round(selection.threshold(mos, percentile) - np.percentile(mos, percentile), 9) < 1
    assert selection.threshold(mos, 0) == mos.min()
    assert selection.threshold(mos, 100) == mos.max()


def test_a_threshold_that_was_printed_selects_the_same(csv, capsys):
    run(csv, "--percentile", 60)
    first = csv.with_name("scores_selected.csv").read_bytes()
    least = capsys.readouterr().out.split("with a score of ")[1].split()[0]
    run(csv, "--at-least", least)
    assert csv.with_name("scores_selected.csv").read_bytes() == first


def test_nothing_above_is_an_empty_list(csv, capsys):
    run(csv, "--at-least", 100)
    assert csv.with_name("scores_selected.csv").read_text() == "image_path,MOS\n"
    assert "0 of 5 scored pictures" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "should be given, or one of at_least and percentile, as a number. Received: neither"),
        (["--at-least", 50, "--percentile", 80], "Received: at_least=50.0, percentile=80.0"),
        (["--at-least", "nan"], "as a number. Received: at_least=nan"),
        (["--percentile", "inf"], "as a number. Received: percentile=inf"),
        (["--percentile", 100.5], "percentile should be 0 to 100. Received: percentile=100.5"),
        (["--percentile", -1], "percentile should be 0 to 100. Received: percentile=-1.0"),
        (["--at-least", 50, "--out", "scores.csv"], "out should be another file than the scores. Received: scores.csv"),
        (["--at-least", 50, "--out", "mine.csv"], "an earlier selection (image_path,MOS), so that nothing else"),
        (["--at-least", 50, "--out", "picture.jpg"], "out should end in .csv or .parquet. Received: picture.jpg"),
        (["--at-least", 50, "--out", "folder.csv"], "nothing else is overwritten. Received: folder.csv"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(csv, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(csv.parent)
    csv.with_name("mine.csv").write_text("image_path,MOS,status\n")
    csv.with_name("folder.csv").mkdir()
    before = {path: path.read_bytes() for path in csv.parent.iterdir() if path.is_file()}
    with pytest.raises(SystemExit) as ended:
        run("scores.csv", *arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in csv.parent.iterdir() if path.is_file()} == before


def test_a_file_without_scores(tmp_path):
    none = write_scores(tmp_path / "none.csv", [("a.jpg", "missing", "no such file")])
    with pytest.raises(InputError, match=r"should have a score\. Received: 1 rows without one"):
        select.main(select.Settings(none, at_least=5))


def test_of_scores_with_intervals_it_is_said_how_many_lie_there_wholly(tmp_path, capsys):
    rows = [(f"{n}.jpg", 10.0 * n, 15.0) for n in range(10)] + [("gone.jpg", "missing", "no such file")]
    run(write_scores(tmp_path / "s.csv", rows), "--at-least", 50)
    printed = capsys.readouterr().out
    assert "5 of 10 scored pictures, with a score of 50.0 or more" in printed
    assert "Of 3 of them the whole interval lies there" in printed
    assert (tmp_path / "s_selected.csv").read_text().startswith("image_path,MOS\n5.jpg,50.0\n")
