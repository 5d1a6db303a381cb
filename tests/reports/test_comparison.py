import numpy as np
import pandas as pd
import pytest
from browser import shown
from commands import ended
from PIL import Image
from scipy import stats
from scored import write_scores

from koniq.commands import cli, compare
from koniq.ground import InputError
from koniq.measure.metrics import agreement
from koniq.reports import comparison, figures, page, pairing
from koniq.scoring.score_tables import ScoreTable

MARKUP = "<script>document.title='taken'</script>$x_1$.jpg"


def scores(rows):
    return pd.DataFrame(
        [(name, mos, "missing" if np.isnan(mos) else "ok") for name, mos in rows],
        columns=["image_path", "MOS", "status"],
    )


def test_agreement_of_a_known_answer():
    first, second = np.array([10.0, 20, 30, 40]), np.array([12.0, 22, 36, 42])
    found = agreement(first, second).set_index("metric")
    assert found.value.mean_difference == 3
    assert found.value.sd_difference == 2
    assert found.loc[["lower_limit", "upper_limit"], "value"].tolist() == pytest.approx([3 - 3.92, 3 + 3.92])
    assert found.value.srcc == found.value.krcc == pytest.approx(1)
    interval = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert found.loc["mean_difference", ["low", "high"]].tolist() == pytest.approx([interval.low, interval.high])
    assert found.high.upper_limit - found.value.upper_limit == pytest.approx(stats.t.ppf(0.975, 3) * np.sqrt(3 / 4) * 2)
    assert found.low[["srcc", "plcc", "krcc", "sd_difference"]].isna().all()
    assert set(found.n) == {4}


def test_limits_hold_95_percent_of_normal_differences():
    rng = np.random.default_rng(0)
    first = rng.uniform(0, 100, 20000)
    difference = rng.normal(2, 5, first.size)
    value = agreement(first, first + difference).set_index("metric").value
    assert np.mean((difference >= value.lower_limit) & (difference <= value.upper_limit)) == pytest.approx(
        0.95, abs=0.005
    )


def test_agreement_needs_two_pairs():
    for first, second in (([1.0], [2.0]), ([1.0, 2], [1.0, 2, 3])):
        with pytest.raises(ValueError, match="as many numbers each, at least 2"):
            agreement(first, second)


def test_pictures_are_paired_by_name_and_counted():
    nan = np.nan
    first = scores([("twice", 1), ("a", 50), ("twice", 3), ("x", nan), ("y", 5), ("only A", 9), ("z", nan)])
    second = scores([("z", nan), ("twice", 11), ("twice", 3), ("twice", 7), ("a", 48), ("x", 6), ("y", nan), ("b", 1)])
    pairs, counts = pairing.join(first, second)
    assert list(pairs.itertuples(index=False, name=None)) == [
        ("twice", 1, 11, 10, 0),
        ("a", 50, 48, -2, 1),
        ("twice", 3, 3, 0, 2),
    ]
    assert counts == {
        "scored by both": 3,
        "in both, scored by A only": 1,
        "in both, scored by B only": 1,
        "in both, scored by neither": 1,
        "in A only": 1,
        "in B only": 2,
    }


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two models' scores of 30 pictures that are there and 3 that are not, made at two sizes."""
    folder = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(2)
    names = [MARKUP, *(f"{n}.png" for n in range(29))]
    for name in names:
        path = folder / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(path, "PNG")
    names += ["gone0.jpg", "gone1.jpg", "gone2.jpg"]
    first = np.float32(rng.uniform(10, 90, len(names)))
    second = np.float32(first + rng.normal(4, 6, len(names)))
    second[0] = 120
    facts = {"resize": "lanczos", "roots": [str(folder / "pictures")]}
    a = write_scores(
        folder / "a.csv", zip(names, first.tolist(), strict=True), model="<b>A</b>", input_size=[384, 512], **facts
    )
    b = write_scores(
        folder / "b.csv",
        zip(names, second.tolist(), strict=True),
        model="$b$",
        input_size=[76, 100],
        record={"calibrated": True},
        **facts,
    )
    return a, b


@pytest.fixture(scope="module")
def made(pair):
    compare.main(compare.Settings(*pair))
    return pair[0].with_name("a_and_b")


def test_the_page_in_a_browser_says_what_the_csvs_say(pair, made):
    a, b = (pd.read_csv(path) for path in pair)
    seen = shown(made / page.PAGE)
    difference = b.MOS - a.MOS
    mean, sd = difference.mean(), difference.std()
    assert "33 pictures have a score by both." in seen["text"]
    assert ["SRCC", f"{stats.spearmanr(a.MOS, b.MOS).statistic:.4f}", ""] in seen["rows"]
    assert ["PLCC", f"{stats.pearsonr(a.MOS, b.MOS).statistic:.4f}", ""] in seen["rows"]
    assert [row[1] for row in seen["rows"] if row[0].endswith("limit of agreement")] == [
        *(f"{mean - 1.96 * sd:.2f}", f"{mean + 1.96 * sd:.2f}")
    ]
    assert ["50", f"{100 * (a.MOS < 50).mean():.1f} %", f"{100 * (b.MOS < 50).mean():.1f} %", "26.0 %"] in seen["rows"]
    assert "B: 0 scores lie below 0 and 1 above 100." in seen["text"]
    assert "input size 384 x 512 for A and 76 x 100 for B" in seen["text"]
    assert "the scores of A are calibrated" in seen["text"]
    order = difference.abs().sort_values(ascending=False, kind="stable").index[:24]
    assert [cell.split("\n")[-3 if "not at hand" not in cell else 1] for cell in seen["cells"]] == [
        f"{difference[at]:+.2f}" for at in order
    ]
    assert MARKUP in seen["names"]
    assert "<b>A</b>" in seen["names"]
    assert seen["title"] == "<b>A</b> and $b$ on the same pictures"
    assert seen["scripts"] == 0
    assert seen["fetched"] == []
    assert all(seen["images"])
    assert seen["width"] == 390


def test_the_files_beside_the_page(pair, made):
    assert {path.name for path in made.iterdir()} == {
        *("report.html", "histogram.png", "scatter.png", "bland_altman.png", "most_different.png"),
        *("agreement.csv", "differences.csv", "shares.csv", "histogram.csv"),
    }
    table = pd.read_csv(made / "differences.csv")
    assert table.image_path[0] == MARKUP
    assert table.difference.abs().is_monotonic_decreasing
    assert len(table) == 33
    for path in made.glob("*.png"):
        assert np.ptp(np.asarray(Image.open(path))) == 255


def test_what_is_printed_and_bad_input(pair, made, tmp_path, capsys):
    compare.main(compare.Settings(*pair))
    printed = capsys.readouterr().out
    assert "33 pictures have a score by both\nSRCC: 0." in printed
    assert "Note: The scores were not made alike" in printed
    assert printed.endswith(f"\nTo open: {made / 'report.html'}   (its figures and tables lie beside it)\n")
    other = write_scores(tmp_path / "other.csv", [("else.png", 1.0), ("0.png", 2.0)])
    for arguments, message in (
        ([pair[0], pair[0]], "Two CSVs should be compared"),
        ([pair[0], tmp_path / "absent.csv"], "should be at"),
        ([pair[0], other], "At least 2 pictures should have a score in both CSVs. Received: 1 scored by both"),
        ([*pair, "--sheet", 0], "sheet should be 1 to 100"),
        ([*pair, "--out", tmp_path], "out should be a new or empty folder"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.run(compare.main, compare.Settings, list(map(str, arguments)))
        assert ended.value.code == 2
        assert message in capsys.readouterr().err


def test_many_pictures_and_perfect_agreement(tmp_path):
    table = ScoreTable(scores([(f"{n}.jpg", n / 30) for n in range(comparison.MANY + 1)]))
    files = comparison.compare([table, table], [{}, {}], ["a", "b"], [])
    assert 'mean difference</td><td class="number">0.00' in files[page.PAGE]
    constant = ScoreTable(scores([("a", 5.0), ("b", 5.0)]))
    files = comparison.compare([constant, constant], [{}, {}], ["a", "b"], [])
    assert 'SRCC</td><td class="number">none' in files[page.PAGE]


def test_very_many_points_are_counted_in_squares_first(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(50, 10, (2, 5000))
    extent = (x.min(), x.max(), y.min(), y.max())
    monkeypatch.setattr(comparison, "VERY_MANY", 900)  # in pieces
    middle, height, counts = comparison._counted(x, y, extent)
    assert counts.sum() == 5000
    assert len(counts) < 5000
    assert np.average(middle, weights=counts) == pytest.approx(x.mean(), abs=0.01)
    assert np.average(height, weights=counts) == pytest.approx(y.mean(), abs=0.01)
    drawn = []
    for many in (900, 10**6):
        monkeypatch.setattr(comparison, "VERY_MANY", many)
        _, axes = figures.new_figure(5, 4)
        comparison._draw_points(axes, x, y)
        drawn.append(axes.collections[0].get_array().sum())
    assert drawn[0] == drawn[1] == 5000


def test_warnings_only_where_there_is_something_to_warn_of():
    good = {"input_size": [384, 512], "resize": "lanczos", "record": {"calibrated": True}}
    assert comparison.warnings([good, good]) == []
    assert len(comparison.warnings([good, {**good, "resize": "nearest"}])) == 1
    assert "scores of A and B are calibrated" in comparison.warnings([{}, {}])[0]


def test_models_are_named_so_that_they_differ(tmp_path):
    a, b = tmp_path / "x/a.csv", tmp_path / "y/a.csv"
    assert comparison._names([a, b], [{"model": "one"}, {"model": "two"}]) == ["one", "two"]
    assert comparison._names([a, b], [{"model": "one"}, {"model": "one"}]) == [str(a), str(b)]
    assert comparison._names([a, tmp_path / "b.csv"], [{}, {}]) == ["a", "b"]


def test_nothing_in_common_is_an_error():
    with pytest.raises(InputError, match="Received: 0 scored by both"):
        comparison.compare([ScoreTable(scores([(name, 1.0)])) for name in "ab"], [{}, {}], ["a", "b"], [])


def keyed(rows, roots=None):
    return scores([(name, float(number)) for number, name in enumerate(rows)]), {} if roots is None else {
        "roots": roots
    }


def paired(first, second, by_name=False):
    (a, about_a), (b, about_b) = first, second
    pairs, _ = pairing.join(a, b, pairing.keys([a, b], [about_a, about_b], by_name))
    return sorted(zip(pairs.image_path, pairs["first"], pairs["second"], strict=True))


def test_pictures_are_paired_by_their_paths(tmp_path):
    """Not by names that two folders share, whose pictures have nothing to do with each other."""
    for day in ("1", "2"):
        (tmp_path / day / "am").mkdir(parents=True)
        (tmp_path / day / "a.jpg").touch()
    first, second = (keyed(["a.jpg", "am/b.jpg"], [str(tmp_path / day)]) for day in "12")
    assert paired(first, second) == []
    assert len(paired(first, first)) == 2
    above = keyed(["1/am/b.jpg", "2/a.jpg", "1/a.jpg"], [str(tmp_path)])
    assert paired(first, above) == [("a.jpg", 0, 2), ("am/b.jpg", 1, 0)]
    absolute = keyed([str(tmp_path / "2/a.jpg"), str(tmp_path / "1/a.jpg")], [str(tmp_path)])
    assert paired(absolute, above) == [(str(tmp_path / "1/a.jpg"), 1, 2), (str(tmp_path / "2/a.jpg"), 0, 1)]
    several = keyed(["1/a.jpg", "a.jpg"], [str(tmp_path / "1"), str(tmp_path)])
    assert ("1/a.jpg", 0, 2) in paired(several, above)


def test_a_folder_that_moved_or_is_on_another_machine_is_paired(tmp_path):
    here, there = (keyed(["am/a.jpg", "b.jpg"], [root]) for root in (str(tmp_path), "/mnt/nowhere"))
    assert paired(here, there) == [("am/a.jpg", 0, 0)]  # b.jpg may be any
    assert paired(here, there, by_name=True) == [("am/a.jpg", 0, 0), ("b.jpg", 1, 1)]
    both = keyed(["am/a.jpg", "b.jpg"], [str(tmp_path), "/mnt/nowhere"])  # gone on with after it had moved
    assert len(paired(both, there)) == 2
    assert len(paired(here, keyed(["am/a.jpg", "b.jpg"]))) == 2  # nothing says that it is another folder


def test_names_alone_pair_where_asked_and_where_they_stand_for_one_picture():
    first, second = keyed(["x/a.jpg", "x/b.jpg", "y/b.jpg", "c.jpg"]), keyed(["a.jpg", "b.jpg", "z/c.jpg"])
    assert paired(first, second) == []
    assert paired(first, second, by_name=True) == [("c.jpg", 3, 2), ("x/a.jpg", 0, 0)]


def test_pictures_of_one_name_in_two_folders_are_named_not_paired(tmp_path, capsys):
    csvs = []
    for day in "ab":
        (tmp_path / day).mkdir()
        rows = [("1.jpg", 10.0), ("2.jpg", 20.0), ("3.jpg", 25.0)]
        csvs.append(write_scores(tmp_path / f"{day}.csv", rows, roots=[str(tmp_path / day)]))
    assert ended("compare", *csvs) == 2
    assert "not the same pictures, but 3 have the same name: --by-name pairs these" in capsys.readouterr().err
    assert ended("compare", *csvs, "--by-name") == 0
    assert "3 pictures have a score by both" in capsys.readouterr().out
