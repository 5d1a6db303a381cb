import statistics
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pandas as pd
import pytest
from browser import shown
from commands import ended
from dated import photograph
from PIL import Image
from scored import write_scores

from koniq.commands import cli, report
from koniq.data.published import KONIQ10K_MOS
from koniq.ground import InputError
from koniq.ground.text import one_line, shortened
from koniq.reports import distribution, lifelog_report, page, times
from koniq.scoring.score_tables import ScoreTable, is_scored
from koniq.scoring.taken import FOLDER_DAY, NAME, NAME_DAY, NAME_UTC, NOTHING, taken

HOSTILE = (
    "<script>document.title='taken'</script>.jpg",
    "<img src=x onerror=alert(1)>.jpg",
    "\"quoted\" 'name' & more.jpg",
    "</bdi></li></ol><h1>gone.jpg",
    "line\nbreak.jpg",
    "{{ 7*7 }}{% raw %}.jpg",
    "$\\frac$_^.jpg",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd.jpg",
    f"{'long' * 37}/{'nam' * 49}.jpg",  # 300 characters
    "\udcff not UTF-8.jpg",
)
FACTS = {
    "model": "tiny <b>",
    "network": "koncept512",
    "input_size": [24, 32],
    "resize": "lanczos",
    "record": {"loss": "plcc"},
}


@pytest.fixture(scope="module")
def lifelog(tmp_path_factory):
    """48 scored pictures over two days, ten of them with hostile names, two gone since; and 230 without a score."""
    folder = tmp_path_factory.mktemp("lifelog")
    rng = np.random.default_rng(1)
    names = [f"2015-02-2{n % 2 + 3}/b{n:08}_21i6bq_2015022{n % 2 + 3}_{n % 5 + 7:02}0647e.jpg" for n in range(38)]
    names += HOSTILE
    scores = np.float32(rng.uniform(-5, 105, len(names)))
    scores[38:] = np.float32([1, 2, 3, 4, 5, 101, 102, 103, 104, 105]) - 200  # hostile names among the worst
    for name in names:
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (60, 90, 3), np.uint8)).save(path)
    for at in (np.argmax(scores), np.argsort(scores)[12]):
        (folder / "pictures" / names[at]).unlink()
    rows = list(zip(names, scores.tolist(), strict=True))
    rows += [(name, "missing", "no such file") for name in ("w" * 290, *(f"gone{n}.jpg" for n in range(219)))]
    rows += [(f"<i>{n}</i>.jpg", "truncated", f"<u>{n * 1000} bytes</u>") for n in range(10)]
    write_scores(folder / "scores.csv", rows, **FACTS, roots=[str(folder / "pictures")])
    return folder / "scores.csv"


@pytest.fixture(scope="module")
def made(lifelog):
    report.main(report.Settings(lifelog))
    return lifelog.with_name("scores_report")


@pytest.fixture(scope="module")
def seen(made):
    return shown(made / page.PAGE)


def scored(lifelog):
    table = pd.read_csv(lifelog, keep_default_na=False)
    return {row.image_path: float(row.MOS) for row in table.itertuples() if row.status == "ok"}


def test_the_page_in_a_browser_says_what_the_csv_says(lifelog, seen):
    mos = scored(lifelog)
    values = list(mos.values())
    opening = f"48 pictures score {statistics.fmean(values):.2f} in the mean, on a scale of 0 to 100, "
    title, first, *rest = filter(None, seen["text"].split("\n"))
    assert title == "Quality of the pictures in scores.csv"
    assert first == opening + "which may not be that of MOS; 230 have no score."
    assert rest[0] == "The best 24"
    assert [heading for heading in seen["headings"] if heading[0] != "H1"] == [
        *(["H2", "The best 24"], ["H2", "The worst 24"], ["H2", "How good they are"], ["H2", "Quality over time"]),
        *(["H2", "Without a score"], ["H2", "What the scores depend on"]),
    ]
    assert "48 of 278 pictures have a score by tiny <b>:" in seen["text"]
    assert (
        f"mean {statistics.fmean(values):.2f}, median {statistics.median(values):.2f}, "
        f"standard deviation {statistics.pstdev(values):.2f}."
    ) in seen["text"].replace("\n", " ")
    for bound, official in ((20, "1.8 %"), (30, "6.0 %"), (40, "13.6 %"), (50, "26.0 %")):
        share = sum(value < bound for value in values) / len(values)
        assert [str(bound), f"{100 * share:.1f} %", official] in seen["rows"]
    assert (
        f"{sum(v < 0 for v in values)} scores lie below 0 and {sum(v > 100 for v in values)} above 100." in seen["text"]
    )
    assert "its scores are not on the MOS scale" in seen["text"]
    assert ["input size", "24 x 32"] in seen["rows"]
    assert not any(head == "roots" for head, *_ in seen["rows"])


def test_the_contact_sheets_in_a_browser_are_in_order(lifelog, seen):
    order = sorted(scored(lifelog).items(), key=lambda item: item[1])
    best, worst = seen["cells"][:24], seen["cells"][24:]
    assert len(worst) == 24
    for cells, expected in ((best, order[::-1][:24]), (worst, order[:24])):
        for cell, (name, mos) in zip(cells, expected, strict=True):
            assert f"{mos:.2f}" in cell.split("\n")
            assert shortened(name) in cell
    assert ["not at hand" in cell for cell in best] == [True] + [False] * 23
    assert ["not at hand" in cell for cell in worst] == [number == 12 for number in range(24)]
    assert "2015-02-23 07:06" in seen["text"]


def test_times_in_a_browser(lifelog, seen):
    mos = scored(lifelog)
    day = [value for name, value in mos.items() if name.startswith("2015-02-23/")]
    hour = [value for name, value in mos.items() if "_100647e" in name]
    for head, values in (("2015-02-23", day), ("10:00", hour)):
        q25, median, q75 = np.quantile(values, (0.25, 0.5, 0.75))
        assert [head, str(len(values)), f"{q25:.1f}", f"{median:.1f}", f"{q75:.1f}"] in seen["rows"]
    medians = [statistics.median(v for name, v in mos.items() if name.startswith(f"2015-02-2{n}/")) for n in (3, 4)]
    assert (
        f"Median by day, 2015-02-23: {medians[0]:.1f} (19 pictures); 2015-02-24: {medians[1]:.1f} (19 pictures)."
    ) in seen["text"]
    assert "Median by hour" not in seen["text"]  # of five hours there is a chart
    whose = "When they were taken, of 48 pictures: by names, the clock of what wrote them: 38; of nothing: 10."
    assert whose in seen["text"]


def test_what_has_no_score_is_counted_and_listed_in_part(seen):
    assert ["missing", "no such file", "220"] in seen["rows"]
    assert ["truncated", "<u>9000 bytes</u>", "1"] in seen["rows"]
    assert "gone198.jpg missing" in seen["text"]
    assert "gone199.jpg" not in seen["text"]
    assert "and 30 more, in the CSV" in seen["text"]


def test_hostile_names_are_text_and_nothing_else(seen):
    for name in HOSTILE[:-1]:
        assert name in seen["names"]
    assert "\\xff not UTF-8.jpg" in seen["names"]
    assert seen["scripts"] == 0
    assert seen["title"] == "Quality of the pictures in scores.csv"
    assert "49" not in next(name for name in seen["names"] if "7*7" in name)
    assert seen["body_children"].count("H1") == 1


def test_the_page_needs_no_network_and_fits_a_telephone(made, seen):
    assert seen["fetched"] == []
    assert len(seen["images"]) == 46
    assert all(seen["images"])
    assert seen["width"] == 390
    html = (made / page.PAGE).read_text()
    assert "http" not in html.replace("http-equiv", "")
    assert shown(made / page.PAGE, 1200)["width"] == 1200


def test_the_tables_beside_the_page_are_exact(lifelog, made):
    values = np.array(list(scored(lifelog).values()))
    histogram = pd.read_csv(made / "histogram.csv")
    assert histogram[["share", "koniq10k"]].sum().tolist() == pytest.approx([1, 1])
    assert histogram.share[0] == np.mean(values < 0)
    assert histogram.share.iloc[-1] == np.mean(values > 100)
    assert pd.read_csv(made / "shares.csv").share.tolist() == [np.mean(values < bound) for bound in (20, 30, 40, 50)]
    assert pd.read_csv(made / "by_hour.csv").pictures.sum() == 38
    assert pd.read_csv(made / "by_day.csv")[["first", "pictures"]].to_numpy().tolist() == [
        ["2015-02-23", 19],
        ["2015-02-24", 19],
    ]


def test_every_figure_is_a_picture(made):
    assert {path.name for path in made.glob("*.png")} == {
        *("histogram.png", "by_day.png", "by_hour.png", "best.png", "worst.png")
    }
    for path in made.glob("*.png"):
        assert np.ptp(np.asarray(Image.open(path))) == 255
    assert Image.open(made / "best.png").size == (6 * 248 + 8, 4 * (248 + 3 * 18) + 8)


def test_a_report_is_written_again_over_a_report_and_over_nothing_else(lifelog, made, tmp_path, capsys):
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    report.main(report.Settings(lifelog))
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before
    assert "48 of 278 pictures have a score" in capsys.readouterr().out
    (tmp_path / "best.png").write_text("mine")
    with pytest.raises(InputError, match="out should be a new or empty folder, or that of an earlier report"):
        report.main(report.Settings(lifelog, out=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["best.png"]
    with pytest.raises(InputError, match="out should be a new or empty folder"):
        report.main(report.Settings(lifelog, out=tmp_path / "best.png"))


def test_what_intervals_do_not_tell_apart_is_said(tmp_path, capsys):
    rows = [(f"{n}.jpg", float(n), 4.5 if n < 30 else 0.25) for n in range(40)] + [("gone.jpg", "missing", "none")]
    out = write_scores(tmp_path / "s.csv", rows, intervals="90 % intervals, made on <b>, test, 116 pictures (1f)")
    report.main(report.Settings(out, sheet=12))
    html = (tmp_path / "s_report/report.html").read_text()
    said = capsys.readouterr().out
    for text in (
        "The best is told apart from all others: no interval meets its own.",
        "10 of these 12 are not told apart from the worst: their intervals meet its own, as do those of 10 of all 40.",
    ):
        assert text in html
        assert text in said
    assert "made on &lt;b&gt;, test, 116 pictures" in html
    assert "<div>-4.50 to 4.50</div>" in html
    table = ScoreTable(
        pd.DataFrame({"MOS": [1.0, 2, 3], "MOS_low": [0.0, 1, 2], "MOS_high": [2.0, 3, 4], "status": "ok"})
    )
    assert lifelog_report.told_apart(table, 2, "best").startswith("These 2 are not told apart from the best: their")
    assert lifelog_report.told_apart(table, 1, "worst").startswith("It is not told apart from 2 others")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_pictures_without_times_or_files(tmp_path, count):
    out = write_scores(tmp_path / "s.csv", [(f"{n}.jpg", 50.0 + n) for n in range(count)])
    report.main(report.Settings(out))
    names = {path.name for path in (tmp_path / "s_report").iterdir()}
    assert not {"by_day.png", "by_hour.png"} & names
    assert len(pd.read_csv(tmp_path / "s_report/by_day.csv")) == 0
    html = (tmp_path / "s_report/report.html").read_text()
    assert html.count("not at hand") == 2 * max(1, count // 2)
    assert "Nothing beside the CSV says" in html
    assert "Nothing says that the scores are calibrated" in html


def test_a_page_is_under_3_megabytes_whatever_the_pictures(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (240, 240, 3), np.uint8)).save(tmp_path / "noise.png")
    rows = [("noise.png", float(n)) for n in range(60)]
    rows += [(f"{'&' * 200}{n}.jpg", "unreadable", f"{n} {'&<' * 500}") for n in range(300)]
    out = write_scores(tmp_path / "s.csv", rows, roots=[str(tmp_path)])
    report.main(report.Settings(out))
    assert (tmp_path / "s_report/report.html").stat().st_size < 3_000_000


def test_thumbnails_lead_to_the_pictures_where_they_lie(lifelog, made, seen, tmp_path):
    pictures = lifelog.with_name("pictures")
    there = [picture for picture in pictures.rglob("*") if picture.is_file()]
    links = [link for link in seen["links"] if not link.startswith("#")]
    assert len(links) == len({*links}) == 46
    assert all(link.startswith("../pictures/") for link in links)
    assert {made / unquote_to_bytes(link).decode("utf-8", "surrogateescape") for link in links} == {
        made / "../pictures" / picture.relative_to(pictures) for picture in there
    }
    report.main(report.Settings(lifelog, out=tmp_path / "elsewhere/r"))
    html = (tmp_path / "elsewhere/r/report.html").read_text()
    assert html.count(f'<a href="{pictures.as_uri()}/') == 46


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("/a/p.jpg", "/a/report", "../p.jpg"),
        ("/a/report/in/p.jpg", "/a/report", "in/p.jpg"),
        ("/a/pictures/x/../p 1#?.jpg", "/a/report", "../pictures/p%201%23%3F.jpg"),
        ("/b/p%.jpg", "/a/report", "file:///b/p%25.jpg"),
        ("/a/reports/p.jpg", "/a/report/deep", "file:///a/reports/p.jpg"),
    ],
)
def test_addresses_are_relative_below_and_beside_the_page(path, folder, expected):
    assert page.address(Path(path), Path(folder)) == expected


def test_without_thumbnails_no_picture_is_within_or_beside_the_page(lifelog, tmp_path):
    out = tmp_path / "r"
    report.main(report.Settings(lifelog, out=out))
    assert (out / "best.png").exists()
    report.main(report.Settings(lifelog, out=out, thumbnails=False))  # those of the earlier report go
    html = (out / "report.html").read_text()
    assert "data:image/jpeg" not in html
    assert "file:" not in html
    assert "not at hand" not in html
    assert {path.name for path in out.glob("*.png")} == {"histogram.png", "by_day.png", "by_hour.png"}
    assert html.count("<li>") == 48 + 200  # cells, and what has no score


def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    unscored = write_scores(tmp_path / "none.csv", [("a.jpg", "missing", "no such file")])
    empty = write_scores(tmp_path / "empty.csv", [])
    for arguments, message in (
        ([tmp_path / "absent.csv"], "should be at"),
        ([unscored], "should have a score. Received: 1 rows without one (missing, no such file)"),
        ([empty], "should have a score. Received: 0 rows without one (no rows)"),
        ([unscored, "--sheet", 0], "sheet should be 1 to 100 pictures. Received: sheet=0"),
        ([unscored, "--sheet", 101], "sheet should be 1 to 100 pictures. Received: sheet=101"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.run(report.main, report.Settings, list(map(str, arguments)))
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def test_a_picture_stands_upright_in_a_sheet(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (600, 300)).save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "b.jpg").write_text("no picture any more")
    assert page.cell("a.jpg", ("1",), [str(tmp_path)]).picture.size == (120, 240)
    assert page.cell("b.jpg", ("1",), [str(tmp_path)]).picture is None
    assert page.cell("c" * 5000, ("1",), [str(tmp_path)]).picture is None


def test_times_as_names_say_them():
    expected = {
        "2015-02-23/b00000000_21i6bq_20150223_070647e.jpg": ("2015-02-23 07:06:47", "2015-02-23", NAME),
        "2016-08-11/20160811_131315_000.jpg": ("2016-08-11 13:13:15", "2016-08-11", NAME),
        "2018-05-04/B00003452_21I6X0_20180504_072707E.JPG": ("2018-05-04 07:27:07", "2018-05-04", NAME),
        "201901/01/20190101_103717_000.jpg": ("2019-01-01 10:37:17", "2019-01-01", NAME),
        "2015-02-24/20150223_235959.jpg": ("2015-02-23 23:59:59", "2015-02-23", NAME),  # says more than the folder
        "a/PXL_20230102_030405678.jpg": ("2023-01-02 03:04:05", "2023-01-02", NAME_UTC),
        "PXL_20230102_030405678.MP.jpg": ("2023-01-02 03:04:05", "2023-01-02", NAME_UTC),
        "IMG_20230102_030405.jpg": ("2023-01-02 03:04:05", "2023-01-02", NAME),
        "IMG_20230102_030405678.jpg": ("2023-01-02 03:04:05", "2023-01-02", NAME),
        "Screenshot_20230102-030405.png": ("2023-01-02 03:04:05", "2023-01-02", NAME),
        "Screenshot_2023-01-02-03-04-05-678_com.app.png": ("2023-01-02 03:04:05", "2023-01-02", NAME),
        "signal-2023-01-02-030405.jpg": ("2023-01-02 03:04:05", "2023-01-02", NAME),
        "signal-2023-01-02-030405_002.jpg": ("2023-01-02 03:04:05", "2023-01-02", NAME),
        "photo_2023-01-02_03-04-05 (2).jpg": ("2023-01-02 03:04:05", "2023-01-02", NAME),
        "2011-07-19 11.36.39.jpg": ("2011-07-19 11:36:39", "2011-07-19", NAME),
        "2011-07-19 11.36.39-1.jpg": ("2011-07-19 11:36:39", "2011-07-19", NAME),
        "WhatsApp Image 2023-01-02 at 15.04.05.jpeg": ("2023-01-02 15:04:05", "2023-01-02", NAME),
        "WhatsApp Image 2023-01-02 at 3.04.05 PM.jpeg": ("2023-01-02 15:04:05", "2023-01-02", NAME),
        "Screenshot 2023-01-02 at 12.04.05\u202fAM.png": ("2023-01-02 00:04:05", "2023-01-02", NAME),
        "2023-01-02 03.04.05 PMs walk.jpg": ("2023-01-02 03:04:05", "2023-01-02", NAME),
        "IMG-20230102-WA0001.jpg": (None, "2023-01-02", NAME_DAY),
        "2016-08-15/IMG-20230102-WA0001.jpg": (None, "2023-01-02", NAME_DAY),
        "2016-08-15/IMG-20231302-WA0001.jpg": (None, "2016-08-15", FOLDER_DAY),
        "201901/01/rr.jpg": (None, "2019-01-01", FOLDER_DAY),
        "2016/08/15/rr.jpg": (None, "2016-08-15", FOLDER_DAY),
        "2016/2016-08-15 A walk/rr.jpg": (None, "2016-08-15", FOLDER_DAY),
        "/all/2015-02-23/201901/02/x/rr.jpg": (None, "2019-01-02", FOLDER_DAY),
        "2015-02-23/20191345_103717_000.jpg": (None, "2015-02-23", FOLDER_DAY),
        "2016/08/15mm/rr.jpg": (None, None, NOTHING),
        "2016/13/15/rr.jpg": (None, None, NOTHING),
        "20190101_246060.jpg": (None, None, NOTHING),
        "20190229_101010.jpg": (None, None, NOTHING),
        "120190101_101010.jpg": (None, None, NOTHING),
        "20190101_1010101.jpg": (None, None, NOTHING),
        "20190101_10101.jpg": (None, None, NOTHING),
        "20190101_101010/rr.jpg": (None, None, NOTHING),
        "2019-01-01 at 13.04.05 PM.jpg": (None, None, NOTHING),
        "2015-13-01/rr.jpg": (None, None, NOTHING),
        "rr.jpg": (None, None, NOTHING),
        "": (None, None, NOTHING),
    }
    found = taken(pd.Series(list(expected)))
    for column, values in zip(("time", "day"), zip(*expected.values(), strict=True), strict=False):
        assert found[column].tolist() == [pd.Timestamp(value) if value else pd.NaT for value in values], column
    assert dict(zip(expected, found.clock, strict=True)) == {name: clock for name, (*_, clock) in expected.items()}
    folders = taken(pd.Series(list(expected)), "folders")
    assert folders.time.isna().all()
    assert dict(zip(expected, folders.day, strict=True))["2015-02-24/20150223_235959.jpg"] == pd.Timestamp("2015-02-24")
    assert {*folders.clock} == {NOTHING, FOLDER_DAY}


def test_whose_clock_is_said(tmp_path, capsys):
    names = ("DSC_1.jpg", "DSC_2.jpg", "PXL_20230102_030405678.jpg", "IMG_20230102_030405.jpg")
    tags = ({}, {"time": "2016:08:15 13:13:15"}, {"time": "2023:01:02 04:04:05", "offset": "+01:00"}, {})
    for name, tag in zip(names, tags, strict=True):
        photograph(tmp_path / name, **tag)
    rows = [(name, 50.0 + n) for n, name in enumerate((*names, "2016/08/15/gone.jpg", "IMG-20230102-WA0001.jpg"))]
    csv = write_scores(tmp_path / "s.csv", rows, roots=[str(tmp_path)])
    exif, camera = "by EXIF with its offset from UTC, the clock of the place: ", "by EXIF without an offset, the camera"
    for more, said in (
        ([], (exif + "1", camera, "by names, the clock of what wrote them: 1", "by folders: 1", "of nothing: 1")),
        (["--times", "names"], ("by names, the clock of what wrote them: 1", "by names in UTC", "of nothing: 2")),
        (["--times", "folders"], ("the day alone by folders: 1; of nothing: 5.",)),
    ):
        assert ended("report", csv, *more) == 0
        html = (tmp_path / "s_report/report.html").read_text()
        assert all(text in html.replace("&#39;", "'") for text in said), more
    hours = pd.read_csv(tmp_path / "s_report/by_hour.csv").pictures
    assert not hours.any()
    assert ended("report", csv, "--times", "exif") == 0
    hours = pd.read_csv(tmp_path / "s_report/by_hour.csv").set_index("hour").pictures
    assert hours[hours > 0].to_dict() == {3: 1, 4: 1, 13: 1}


def test_days_are_grouped_until_they_can_be_told_apart():
    def grouped(count):
        day = pd.Series(pd.date_range("2015-01-01", periods=count))
        table, unit = times.readable(pd.Series(np.arange(float(count))), day)
        assert table.pictures.sum() == count
        return len(table), unit

    assert grouped(times.BARS) == (120, "D")
    assert grouped(times.BARS + 1) == (18, "W")
    assert grouped(7 * 130) == (30, "M")
    assert grouped(366 * 20) == (21, "Y")


def test_gaps_stay_gaps(monkeypatch):
    drawn = {}
    monkeypatch.setattr(times.figures, "png", lambda figure: drawn.update(figure=figure) or b"")
    day = pd.Series(pd.to_datetime(["2015-02-23", "2015-02-24", "2015-02-27", "2019-01-01"]))
    times.draw_periods(times.by_period(pd.Series([1.0, 2, 3, 4]), day), "D")
    top, bottom = drawn["figure"].axes
    assert [bar.get_x() + bar.get_width() / 2 for bar in bottom.patches] == pytest.approx([0, 1, 4, 8])
    assert [label.get_text() for label in bottom.get_xticklabels()] == list(day.dt.strftime("%Y-%m-%d"))
    assert [line.get_xdata()[0] for line in top.lines if line.get_linestyle() == ":"] == [6]


def test_koniq10k_distribution_is_that_of_its_official_table(test_data):
    mos = pd.read_csv(test_data / "koniq10k/koniq10k_distributions_sets.csv").MOS
    assert np.histogram(mos, bins=50, range=(0, 100))[0].tolist() == list(KONIQ10K_MOS)
    official = distribution.shares({"table": mos})
    assert official.table.tolist() == official.koniq10k.tolist()


def test_scores_at_the_edges_are_counted_once():
    table = distribution.histogram({"a": np.array([-0.1, 0, 1.9, 2, 98, 100, 100.1, 100.2])})
    assert (8 * table.a)[[0, 1, 2, 50, 51]].tolist() == [1, 2, 1, 2, 2]
    assert table.a.sum() == 1
    assert distribution.outside(np.array([0.0, 100])) == ""
    assert distribution.shares({"a": np.array([20, 19.99, 50, 30])}).a.tolist() == [0.25, 0.5, 0.75, 0.75]


def test_what_is_no_number_is_no_score():
    table = pd.DataFrame({"status": ["ok", "ok", "ok", "missing"], "MOS": [1.0, np.nan, np.inf, 5.0]})
    assert is_scored(table).tolist() == [True, False, False, False]


def test_texts_are_shortened_in_the_middle():
    assert [shortened("x" * n, 7) for n in (6, 7, 8)] == ["xxxxxx", "xxxxxxx", "xxx…xxx"]
    assert shortened("abcdefgh", 3) == "a…h"
    assert one_line("a\nb\tc\u202ed") == "a b c d"


def test_facts_as_text():
    assert page.provenance(
        {"input_size": [384, 512], "versions": {"keras": "3"}, "calibrated_on": None, "roots": ["/home/me"]}
    ) == [
        ("input size", "384 x 512"),
        ("versions", "keras 3"),
    ]
