"""Diagnosis: every way of scoring changes one thing, and the page says what the tables say."""

import numpy as np
import pandas as pd
import pytest
from browser import shown
from commands import ended
from PIL import Image, ImageOps
from scipy import stats
from tiny import TINY

from koniq import engines
from koniq.commands import cli, diagnose
from koniq.evaluation import diagnosis
from koniq.ground import InputError
from koniq.measure.metrics import difference
from koniq.network import TOLERANCE, sidecar
from koniq.reports import page
from koniq.scoring.loop import predict

AT_SIZE = 6  # of the pictures below have the network's size


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Weights of the small network whose scores differ by some MOS; trained with the PLCC loss, says their record."""
    import keras

    keras.utils.set_random_seed(1)
    model = TINY.build(output_bias=50)
    model.layers[-1].kernel.assign(30 * model.layers[-1].kernel)
    path = tmp_path_factory.mktemp("weights") / "tiny.weights.h5"
    model.save_weights(path)
    sidecar.write_record(path, TINY, loss="plcc")
    return path


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """A table of 42 pictures of growing brightness; the last but one does not open, the last is not there."""
    folder = tmp_path_factory.mktemp("rated")
    (folder / "images").mkdir()
    rng = np.random.default_rng(2)
    names = [*(f"{n:02}.png" for n in range(39)), "<b>39</b>.png", "broken.png", "absent.png"]
    for number, name in enumerate(names[:40]):
        size = (24, 32) if number < AT_SIZE else (50, 70)
        pixels = rng.normal(6 * number + 10, 40, (*size, 3)).clip(0, 255).astype(np.uint8)
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (folder / "images" / "broken.png").write_text("not a picture")
    mos = np.linspace(10, 90, 42) + rng.normal(0, 8, 42)
    table = pd.DataFrame({"image_name": names, "MOS": mos, "SD": rng.uniform(5, 20, 42), "set": "test"})
    table.to_csv(folder / "rated.csv", index=False)
    return folder / "rated.csv"


@pytest.fixture(scope="module")
def made(rated, trained, tmp_path_factory):
    """The diagnosis of the small network on those pictures."""
    out = tmp_path_factory.mktemp("out") / "diagnosis"
    words = "--weights", trained, "--dataset", rated, "--batch-size", 4, "--sheet", 5, "--out", out
    assert ended("diagnose", *words) == 0
    return out


@pytest.fixture(scope="module")
def pictures(made):
    return pd.read_csv(made / "pictures.csv")


def test_every_picture_has_a_row_and_every_way_a_column(pictures):
    assert list(pictures.image_name) == [*(f"{n:02}.png" for n in range(39)), "<b>39</b>.png", "broken.png"]
    ways = {"predicted", "mirrored", *(f"resize_{name}" for name in ("nearest", "bilinear", "bicubic", "box"))}
    ways |= {f"batch_{size}" for size in (1, 2, 8, 16)}
    assert ways < set(pictures)
    assert "resize_lanczos" not in pictures
    broken = pictures.iloc[-1]
    assert broken.status == "unreadable"
    assert broken[[*ways, "fitted", "fitted_error"]].isna().all()
    assert pictures[list(ways)].iloc[:-1].notna().all(axis=None)


@pytest.mark.parametrize("resize", ["lanczos", "nearest", "bilinear"])
@pytest.mark.numerical
def test_a_resize_is_scored_as_if_it_were_the_only_one(pictures, rated, trained, resize):
    paths = [rated.parent / "images" / name for name in pictures.image_name[:-1]]
    expected = [score.mos for score in predict(engines.decide(trained, "keras", resize=resize).start(), paths)]
    column = "predicted" if resize == "lanczos" else f"resize_{resize}"
    assert pictures[column][:-1].tolist() == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.numerical
def test_only_what_should_change_changes(pictures):
    for name in ("nearest", "bilinear", "bicubic", "box"):
        moved = (pictures[f"resize_{name}"] - pictures.predicted)[:-1]
        assert (moved[:AT_SIZE] == 0).all()
        assert (moved[AT_SIZE:] != 0).all()
    for size in (1, 2, 8, 16):
        assert pictures[f"batch_{size}"].tolist() == pytest.approx(
            pictures.predicted.tolist(), abs=TOLERANCE, nan_ok=True
        )


@pytest.mark.numerical
def test_mirrored_is_the_score_of_the_mirrored_picture(pictures, rated, trained, tmp_path):
    paths = []
    for name in pictures.image_name[:AT_SIZE]:
        paths.append(tmp_path / name)
        ImageOps.mirror(Image.open(rated.parent / "images" / name)).save(paths[-1])
    expected = [score.mos for score in predict(engines.decide(trained, "keras").start(), paths)]
    assert pictures.mirrored[:AT_SIZE].tolist() == pytest.approx(expected, abs=TOLERANCE)
    assert (abs(pictures.mirrored - pictures.predicted)[:-1] > TOLERANCE).all()


def scores(n=200, **columns):
    rng = np.random.default_rng(3)
    mos = rng.normal(60, 15, n)
    predicted = 0.2 * mos - 7 + rng.normal(0, 3, n)
    ways = {"predicted": predicted, "mirrored": predicted + rng.normal(0, 1, n), "resize_box": predicted + 1.0}
    return pd.DataFrame({"MOS": mos, "error": "", **ways, **columns})


def test_the_map_takes_scale_and_offset_and_leaves_what_scatter_gives():
    table, slope, intercept = diagnosis.fit(scores())
    assert table.fitted.tolist() == pytest.approx((slope * table.predicted + intercept).tolist())
    assert table.fitted_error.mean() == pytest.approx(0, abs=1e-9)
    assert stats.linregress(table.MOS, table.fitted_error).slope == pytest.approx(diagnosis.scatter_slope(table))
    residual = stats.linregress(table.MOS, table.predicted)
    expected = slope * abs(table.predicted - residual.slope * table.MOS - residual.intercept)
    assert table.off_line.tolist() == pytest.approx(expected.tolist(), abs=1e-9)
    moved, _, _ = diagnosis.fit(scores().assign(predicted=lambda table: 5 * table.predicted + 40))
    assert moved.fitted.tolist() == pytest.approx(table.fitted.tolist())
    perfect, slope, intercept = diagnosis.fit(scores().assign(predicted=lambda table: (table.MOS - 3) / 2))
    assert (slope, intercept) == pytest.approx((2, 3))
    assert perfect.absolute_error.max() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("n", "expected"), [(20, 10), (19, 9), (200, 10)])
def test_bins_share_the_pictures_and_their_intervals_are_students(n, expected):
    table, _, _ = diagnosis.fit(scores(n))
    found = diagnosis.bins(table, "fitted_error", "MOS")
    assert len(found) == expected
    assert found.pictures.sum() == n
    assert np.ptp(found.pictures) <= 1
    assert (found["from"][1:].to_numpy() > found.to[:-1].to_numpy()).all()
    part = table.fitted_error[table.MOS.between(found["from"][0], found.to[0])]
    interval = stats.ttest_1samp(part, 0).confidence_interval(0.95)
    assert found[["mean", "low", "high", "median"]].iloc[0].tolist() == pytest.approx(
        [part.mean(), interval.low, interval.high, part.median()]
    )


def test_equal_values_share_a_bin():
    table, _, _ = diagnosis.fit(scores(SD=np.repeat([5.0, 9.0], (150, 50))))
    assert diagnosis.bins(table, "absolute_error", "SD").pictures.tolist() == [150, 50]


def test_changes_of_a_known_answer():
    table = scores()
    found = diagnosis.changes(table).set_index("way")
    assert list(found.index) == ["predicted", "mirrored", "both", "resize_box"]
    box, both = found.loc["resize_box"], found.loc["both"]
    assert box[["srcc_change", "low", "high", "p", "agreement"]].tolist() == pytest.approx([0, 0, 0, 1, 1])
    assert box[["mean_change", "mean_low", "mean_high", "mean_absolute", "largest"]].tolist() == pytest.approx([1] * 5)
    mean = (table.predicted + table.mirrored) / 2
    assert tuple(both[["srcc_change", "low", "high", "p"]]) == difference(table.MOS, mean, table.predicted)
    interval = stats.ttest_rel(table.mirrored, table.predicted).confidence_interval(0.95)
    assert found.loc["mirrored", ["mean_low", "mean_high"]].tolist() == pytest.approx([interval.low, interval.high])


def test_disagreement_is_the_rank_correlation_with_sd_of_those_that_have_one():
    table, slope, intercept = diagnosis.fit(scores(60))
    sd = (table.absolute_error + np.random.default_rng(0).normal(0, 5, 60)).where(table.index > 20)
    found = diagnosis.metrics(table.assign(SD=sd), slope, intercept)
    assert [row.what for row in found.itertuples() if row.against == "SD"] == ["absolute_error", "off_line"]
    for row in found[found.against == "SD"].itertuples():
        assert (row.metric, row.n) == ("srcc", 39)
        assert row.value == pytest.approx(stats.spearmanr(sd[21:], table[row.what][21:]).statistic)
        assert row.low < row.value < row.high
    assert "SD" not in set(diagnosis.metrics(table, slope, intercept).against)


def test_an_sd_that_says_nothing_is_left_out():
    few = pd.Series([7.0] * 10 + [8.0] * 9 + [None] * 181)
    assert "SD" in diagnosis.scored(scores(SD=few.fillna({19: 9.0})), "x")
    for sd in (few, 5.0, "unknown"):
        assert "SD" not in diagnosis.scored(scores(SD=sd), "x")


def test_what_cannot_be_diagnosed_is_named():
    assert len(diagnosis.scored(scores(20), "x")) == 20
    broken = scores(20).assign(error=["no such file"] + [""] * 19)
    broken.loc[0, "resize_box"] = np.nan
    with pytest.raises(InputError, match=r"At least 20 pictures of x should .* Received: 19 of 20 \(no such file\)"):
        diagnosis.scored(broken, "x")
    with pytest.raises(InputError, match=r"MOS should differ between the pictures of x\. Received: 5.0 for all 200"):
        diagnosis.scored(scores().assign(MOS=5.0), "x")
    with pytest.raises(InputError, match=r"predicted should differ .* give other weights"):
        diagnosis.scored(scores().assign(predicted=5.0), "x")


def test_the_page_in_a_browser_says_what_the_tables_say(made, pictures):
    seen = shown(made / page.PAGE)
    found = pd.read_csv(made / "metrics.csv").set_index(["what", "metric"])
    ways = pd.read_csv(made / "changes.csv").set_index("way")
    ok = pictures[pictures.status == "ok"]
    assert "40 of 41 pictures have a score in every way" in seen["text"]
    assert "1 pictures of the table were not there" in seen["text"]
    assert "trained with the PLCC loss: its scores are not on the MOS scale" in seen["text"]
    srcc = found.loc["predicted", "srcc"]
    assert srcc.value == pytest.approx(stats.spearmanr(ok.MOS, ok.predicted).statistic)
    assert f"SRCC {srcc.value:.3f} [{srcc.low:.3f}, {srcc.high:.3f}]" in seen["text"]
    sd = found.loc["absolute_error", "srcc"]
    assert f"with SD: {sd.value:.3f} [{sd.low:.3f}, {sd.high:.3f}], on 40 pictures" in seen["text"]
    nearest = ways.loc["resize_nearest"]
    assert (
        f"nearest in place of lanczos: SRCC {nearest.srcc_change:+.3f} [{nearest.low:+.3f}, {nearest.high:+.3f}], "
        f"p = {nearest.p:.3f}, mean score {nearest.mean_change:+.2f}"
    ) in seen["text"]
    assert f"No resize changes a picture that is 24 x 32 already: {AT_SIZE} of 40 here." in seen["text"]
    assert "Batches of 1, 2, 4, 8, 16 pictures, keras in float32" in seen["text"]
    assert "Changes are from batches of 4." in seen["text"]
    for way, head in (("mirrored", "mirrored"), ("both", "mean of both"), ("resize_box", "box")):
        row = ways.loc[way]
        assert [head, f"{row.srcc:.3f}", f"{row.plcc:.3f}", f"{row['mean']:.2f}"] in [r[:4] for r in seen["rows"]]
    order = ok.sort_values("fitted_error")
    expected = [*order.fitted_error.iloc[::-1][:5], *order.fitted_error[:5]]
    assert [cell.split("\n")[0] for cell in seen["cells"]] == [f"{error:+.1f}" for error in expected]
    assert seen["body_children"].count("B") == 0
    assert (seen["scripts"], seen["fetched"], seen["width"]) == (0, [], 390)
    assert all(seen["images"])


def test_the_files_beside_the_page(made):
    assert {path.name for path in made.iterdir()} == {
        *("report.html", "findings.md", "metrics.csv", "changes.csv", "pictures.csv", "error_by_bin.csv"),
        *("predicted_error_by_mos.png", "fitted_error_by_mos.png", "absolute_error_by_sd.png", "mirrored.png"),
        *("resized_srcc.png", "resized_scores.png", "over_rated.png", "under_rated.png"),
    }
    for path in made.glob("*.png"):
        assert np.ptp(np.asarray(Image.open(path))) == 255


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        cli.run(diagnose.main, diagnose.Settings, list(map(str, arguments)))
    assert end.value.code == 2
    return capsys.readouterr().err


def test_some_pictures_without_sd_at_another_resize(rated, trained, tmp_path, capsys):
    table = pd.read_csv(rated).drop(columns="SD")
    table.to_csv(tmp_path / "plain.csv", index=False)
    arguments = ["--weights", trained, "--dataset", tmp_path / "plain.csv", "--images", rated.parent / "images"]
    arguments += ["--seed", 4, "--pictures", 25, "--resize", "nearest", "--out", tmp_path / "out"]
    cli.run(diagnose.main, diagnose.Settings, list(map(str, arguments)))
    printed = capsys.readouterr().out
    assert "25 of them, drawn with seed 4" in printed
    assert "The table has no column SD" in printed
    assert "lanczos in place of nearest: SRCC" in printed
    assert "The study has three resizers" not in printed
    drawn = table[:41].sample(25, random_state=4).sort_index()
    assert pd.read_csv(tmp_path / "out" / "pictures.csv").image_name.tolist() == drawn.image_name.tolist()
    assert not (tmp_path / "out" / "absolute_error_by_sd.png").exists()


def test_bad_input_is_one_sentence(rated, trained, tmp_path, capsys):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("")
    pd.read_csv(rated).drop(columns="MOS").to_csv(tmp_path / "unrated.csv", index=False)
    pd.read_csv(rated).iloc[25:].to_csv(tmp_path / "few.csv", index=False)
    images = ("--images", rated.parent / "images", "--out", tmp_path / "out")
    for arguments, message in (
        (["absent", "--dataset", rated], "Received: weights='absent'"),
        ([rated, "--dataset", rated], "should be a weights file of Keras"),
        ([trained, "--dataset", rated, "--pictures", 19], "pictures should be 20 at least. Received: pictures=19"),
        ([trained, "--dataset", rated, "--sheet", 0], "sheet should be 1 to 100"),
        ([trained, "--dataset", rated, "--out", tmp_path / "taken"], "out should be a new or empty folder"),
        ([trained, "--dataset", tmp_path / "unrated.csv"], "should have the columns image_name, MOS"),
        ([trained, "--dataset", tmp_path / "few.csv", *images], "At least 20 pictures of few should have a score"),
    ):
        assert message in call(capsys, "--weights", *arguments)
    assert not (tmp_path / "out").exists()
