"""Published figures are verified on a stand-in: pictures and weights whose figures are known, and one thing wrong."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.data
from commands import ended
from lite import drawn
from PIL import Image, ImageEnhance, ImageFilter
from tiny import TINY

from koniq.commands import verify as command
from koniq.data import datasets
from koniq.data.published import CLAIMS, PUBLISHED, Claim
from koniq.evaluation import causes, verifying
from koniq.fetch.sources import ITEMS
from koniq.ground import InputError
from koniq.measure.metrics import METRICS
from koniq.network import find, sidecar, weights
from koniq.network.finding import ORIGINAL
from koniq.scoring import load

COUNT = 48
NEAR = {"srcc": 0.002, "plcc": 0.002, "mae": 0.05, "rmse": 0.05}


def write_weights(path: Path, seed: int, **record) -> Path:
    state = drawn(seed, TINY)
    state["fc.8.weight"] *= 12  # so that scores spread as MOS do
    weights.write_state(state, path, TINY)
    sidecar.write(path, TINY.record() | record)
    return path


def scored(path: Path, pictures: list[Path], **how) -> np.ndarray:
    scorer = load(path, precision="float32", engine="openvino", dct_scaling=False, calibrate=False, **how)
    return np.array([score.mos for score in scorer.scores(pictures)])


def figures(data: datasets.DataSet, path: Path, **how) -> dict[str, float]:
    """What comes of weights on a data set, by the scorer alone."""
    found = scored(path, data.ids.image_path.tolist(), **how)
    return {name: METRICS[name](data.ids.MOS, found) for name in NEAR}


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    """Photographs of 60x80 made from those of 120x160 by Lanczos, weights of two rows, and MOS near the first's."""
    folder = tmp_path_factory.mktemp("stand")
    rng = np.random.default_rng(7)
    for name in ("large", "pictures"):
        (folder / name).mkdir()
    for number in range(COUNT):
        photo = np.asarray(getattr(skimage.data, ("astronaut", "coffee", "chelsea")[number % 3])())
        top, left = rng.integers(0, photo.shape[0] - 120), rng.integers(0, photo.shape[1] - 160)
        crop = Image.fromarray(photo[top : top + 120, left : left + 160])
        crop = ImageEnhance.Brightness(crop).enhance(rng.uniform(0.4, 1.3))
        crop = crop.filter(ImageFilter.GaussianBlur(rng.uniform(0, 3)))
        crop.save(folder / f"large/{number}.png")
        crop.resize((80, 60), Image.Resampling.LANCZOS).save(folder / f"pictures/{number}.png")
    right = write_weights(folder / "right.safetensors", 1)
    write_weights(folder / "other.safetensors", 2)
    own = scored(right, [folder / f"pictures/{number}.png" for number in range(COUNT)])
    mos = own + rng.normal(0, 6, COUNT)
    table = pd.DataFrame({"image_name": [f"{n}.png" for n in range(COUNT)], "MOS": mos, "set": "test"})
    table.to_csv(folder / "rated.csv", index=False)
    return folder


@pytest.fixture
def folder(stand, tmp_path):
    """A copy, to be broken."""
    return shutil.copytree(stand, tmp_path / "stand")


def data_of(folder: Path, pictures: str = "pictures") -> datasets.DataSet:
    return datasets.load(str(folder / "rated.csv"), images=str(folder / pictures), skip_missing=True)


@pytest.fixture(scope="module")
def claims(stand):
    """What is true of both rows' weights, to three decimals as it would be published."""
    found = []
    for model, file in (("the first row", "right.safetensors"), ("the second row", "other.safetensors")):
        of = {name: round(value, 3) for name, value in figures(data_of(stand), stand / file).items()}
        found.append(Claim(model, file, "stand", COUNT, of, NEAR, "some reason", originals="large"))
    return found


def checked(folder, claims, data=None, weights="right.safetensors", known=None, out="out", **how):
    """The outcomes of claims, on data that is the folder's if none is given; how: of koniq.load."""

    def loaded(path, claim, pictures):
        chosen = {"resize": claim.resize} | how
        return load(path, precision="float32", engine="openvino", dct_scaling=False, calibrate=False, **chosen)

    data = data or {"stand": data_of(folder)}
    claims = claims if isinstance(claims, list) else [claims]
    return verifying.verify([(one, folder / weights) for one in claims], data, loaded, folder / out, known or claims)


def test_what_is_right_comes_out_and_a_rerun_goes_by_the_scores_that_are_there(folder, claims, capsys):
    (outcome,) = checked(folder, claims[:1])
    assert (outcome.came_out, outcome.cause, outcome.verdict) == (True, "", "All figures come out.")
    table = pd.read_csv(folder / "out/verify.csv")
    assert table.metric.tolist() == [*NEAR]
    assert table.comes_out.all()
    np.testing.assert_allclose(table.measured, table.published, atol=5e-4 + 1e-3)
    assert len(pd.read_csv(folder / "out" / table.scores[0])) == COUNT
    text = (folder / "out/verify.md").read_text()
    assert f"the first row on rated, test set, {COUNT} pictures" in text
    assert "The tolerance: some reason." in text
    assert f"{COUNT} of them are in" not in capsys.readouterr().out
    again = checked(folder, claims[:1])
    assert again == [outcome]
    assert f"{COUNT} of them are in" in capsys.readouterr().out
    checked(folder, claims[:1], resize="nearest")  # another way: its scores stand in a file of their own
    assert len([*(folder / "out").glob("right-on-rated-????????.csv")]) == 2


def test_wrong_colour_order_is_named(folder, claims):
    for path in (folder / "pictures").iterdir():
        Image.fromarray(np.asarray(Image.open(path))[..., ::-1]).save(path)
    (outcome,) = checked(folder, claims[:1], known=claims)
    assert outcome.cause == "colour order"
    assert "with red and blue exchanged all figures come out" in outcome.verdict
    predicted = pd.read_csv(*(folder / "out").glob("*-red-and-blue-exchanged.csv")).predicted
    np.testing.assert_allclose(METRICS["mae"](data_of(folder).ids.MOS, predicted), claims[0].figures["mae"], atol=2e-3)
    assert not pd.read_csv(folder / "out/verify.csv").comes_out.all()
    assert "| red and blue exchanged |" in (folder / "out/verify.md").read_text()


def test_a_cause_that_is_not_all_is_named_as_the_nearest(folder, claims):
    shutil.rmtree(folder / "large")
    (folder / "again").mkdir()
    for path in (folder / "pictures").iterdir():  # a PNG's name, and JPEG in it
        exchanged = Image.fromarray(np.asarray(Image.open(path))[..., ::-1])
        exchanged.save(folder / "again" / path.name, "JPEG", quality=60)
    (outcome,) = checked(folder, claims[:1], {"stand": data_of(folder, "again")}, known=claims)
    assert outcome.cause == "weights"
    assert "Much nearer are the figures with red and blue exchanged: it may be this and" in outcome.verdict


@pytest.mark.parametrize("subset", [causes.SUBSET, 24], ids=["all", "a subset"])
@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
def test_a_wrong_resize_is_named_with_the_right_one(folder, claims, monkeypatch, resize, subset):
    monkeypatch.setattr(causes, "SUBSET", subset)
    (outcome,) = checked(folder, claims[:1], known=claims, resize=resize)
    assert outcome.cause == "resize"
    assert f"with lanczos in place of {resize} all figures come out. Give --resize lanczos." in outcome.verdict


def test_a_wrong_resize_of_the_record_is_named_with_the_record(folder, claims):
    write_weights(folder / "right.safetensors", 1, resize="box")
    (outcome,) = checked(folder, claims[:1], known=claims)
    assert outcome.cause == "resize"
    assert f"Give --resize lanczos, or have {folder / 'right.json'} say so." in outcome.verdict


def test_pictures_that_were_made_by_another_filter_are_told_by_their_originals(folder, claims):
    claim = claims[0]._replace(figures=figures(data_of(folder, "large"), folder / "right.safetensors"))
    (folder / "small").mkdir()
    for path in (folder / "large").iterdir():
        Image.open(path).resize((32, 24), Image.Resampling.NEAREST).save(folder / "small" / path.name)
    small = {"stand": data_of(folder, "small")}
    (outcome,) = checked(folder, claim, small, known=claims)
    assert outcome.cause == "resize"
    assert "with lanczos from large all figures come out" in outcome.verdict
    assert f"--images {folder / 'large'}" in outcome.verdict
    assert [one.way for one in outcome.tried][-1] == "lanczos from large"
    assert len(outcome.tried) == 2  # no filter can matter where all pictures have the network's size
    shutil.rmtree(folder / "large")
    (outcome,) = checked(folder, claim, small, known=claims)
    assert outcome.cause == "weights"
    assert f"that is tried where the originals lie in {folder / 'large'}" in outcome.verdict


def test_another_fit_and_another_size_are_named(folder, claims):
    for path in (folder / "pictures").iterdir():  # of other proportions than the network's
        Image.open(path).crop((0, 0, 60, 60)).save(path)
    claim = claims[0]._replace(figures=figures(data_of(folder), folder / "right.safetensors"))
    (outcome,) = checked(folder, claim, known=claims, fit="crop")
    assert outcome.cause == "fit"
    assert outcome.verdict == "Wrong fit: with squash in place of crop all figures come out. Give --fit squash."
    (outcome,) = checked(folder, claim, known=claims, input_size=(36, 48))
    assert outcome.cause == "input size"
    assert "Give --input-size 24 32" in outcome.verdict


def test_weights_of_another_row_are_named_as_that_rows(folder, claims):
    (outcome,) = checked(folder, claims[:1], weights="other.safetensors", known=claims)
    assert outcome.cause == "weights"
    said = ", ".join(f"{name.upper()} {value:.3f}" for name, value in claims[1].figures.items())
    assert f"Wrong weights: these figures are of the second row, {said}." in outcome.verdict
    assert "other.safetensors should be the weights of the first row." in outcome.verdict


def test_weights_of_no_row_are_other_weights(folder, claims):
    write_weights(folder / "right.safetensors", 3)
    (outcome,) = checked(folder, claims[:1], known=claims)
    assert outcome.cause == "weights"
    assert "no published row has these" in outcome.verdict
    assert "Or the pictures are not those of 32x24 that were released" in outcome.verdict
    assert len(outcome.tried) == 1 + 4 + 1  # colours, the other filters, the originals
    of_original = claims[0]._replace(weights=ORIGINAL)
    (outcome,) = checked(folder, of_original, known=claims[1:])
    assert "fetch koncept512/original gets them" in outcome.verdict


def test_where_the_order_is_right_and_the_errors_are_not_the_table_may_be_another(folder, claims):
    table = pd.read_csv(folder / "rated.csv")
    table.assign(MOS=table.MOS + 3).to_csv(folder / "rated.csv", index=False)
    (outcome,) = checked(folder, claims[:1], known=claims)
    assert outcome.cause == "weights"
    assert "or MOS of another table: SRCC and PLCC come out, and the errors do not" in outcome.verdict


def test_weights_that_were_right_elsewhere_are_not_blamed(folder, claims):
    mixed = data_of(folder)
    mixed = replace(mixed, name="mixed", ids=mixed.ids.assign(MOS=mixed.ids.MOS[::-1].to_numpy()))
    both = [claims[0], claims[0]._replace(dataset="mixed")]
    outcomes = checked(folder, both, {"stand": data_of(folder), "mixed": mixed}, known=claims)
    assert [outcome.cause for outcome in outcomes] == ["", "pictures"]
    assert "these weights are right on rated" in outcomes[1].verdict
    assert pd.read_csv(folder / "out/verify.csv").dataset.tolist() == ["rated"] * 4 + ["mixed"] * 4


def test_a_claims_own_resize_is_the_way_that_its_figures_are_of(folder, claims):
    claim = claims[0]._replace(
        resize="bilinear", figures=figures(data_of(folder), folder / "right.safetensors", resize="bilinear")
    )
    assert checked(folder, claim)[0].came_out
    assert checked(folder, claim._replace(resize=None))[0].cause == "resize"


def test_where_two_explanations_hold_both_are_said(folder, claims):
    wide = {"srcc": 0.2, "plcc": 0.2}
    of = {name: claims[0].figures[name] for name in wide}
    near = figures(data_of(folder), folder / "right.safetensors", resize="nearest")
    exact = claims[0]._replace(figures=of, tolerance={"srcc": 0.002, "plcc": 0.002})
    known = [claims[1]._replace(figures={name: near[name] for name in wide}, tolerance=wide)]
    (outcome,) = checked(folder, exact, known=known, resize="nearest")
    assert outcome.cause == "resize"
    assert "(As the pictures are, the figures are near those of the second row, too.)" in outcome.verdict


def test_a_part_that_is_not_whole_is_refused_before_anything_is_computed(folder, claims):
    (folder / "pictures/5.png").unlink()
    with pytest.raises(InputError, match=r"all of its 48 pictures.* Received: 47, 1 too few; not there: 5.png"):
        checked(folder, claims[:1])
    assert not (folder / "out").exists()
    with pytest.raises(InputError, match="Received: 47, 1 too many"):
        checked(folder, claims[0]._replace(pictures=46))


def test_what_goes_wrong_with_one_leaves_the_others_checked(folder, claims):
    (folder / "torn.safetensors").write_bytes((folder / "right.safetensors").read_bytes()[:500])
    shutil.copy(folder / "right.json", folder / "torn.json")
    shutil.copytree(folder / "pictures", folder / "broken")
    (folder / "broken/7.png").write_bytes(b"no picture")
    data = {"stand": data_of(folder), "broken": data_of(folder, "broken")}
    pairs = [
        (claims[0], folder / "torn.safetensors"),
        (claims[0]._replace(dataset="broken"), folder / "right.safetensors"),
        (claims[0], folder / "right.safetensors"),
    ]

    def loaded(path, claim, pictures):
        return load(path, precision="float32", engine="openvino", dct_scaling=False, calibrate=False)

    outcomes = verifying.verify(pairs, data, loaded, folder / "out", claims)
    assert [outcome.cause for outcome in outcomes] == [verifying.NOT_CHECKED, "pictures", ""]
    assert "torn.safetensors" in outcomes[0].verdict
    assert "Received: 1 of 48 pictures have no score (7.png:" in outcomes[1].verdict
    assert pd.read_csv(folder / "out/verify.csv").comes_out.tolist() == [False] * 8 + [True] * 4


def test_the_edge_of_a_tolerance_is_within():
    claim = Claim("", "", "", 2, {"srcc": 0.919, "mae": 9.132}, {"srcc": 0.002, "mae": 0.1}, "")
    assert causes.distance({"srcc": 0.921, "mae": 9.032}, claim) == 1
    assert causes.distance({"srcc": 0.9211, "mae": 9.132}, claim) == pytest.approx(1.05)
    assert causes.distance({"srcc": 0.919, "mae": 9.332}, claim) == pytest.approx(2)
    assert causes.distance({"srcc": float("nan"), "mae": 9.132}, claim) == float("inf")


# The published ones


def test_the_claims_are_what_was_published():
    first = CLAIMS[0]
    assert (first.weights, first.dataset, first.pictures) == (ORIGINAL, "koniq10k", 2015)
    assert first.figures == {"srcc": 0.919, "plcc": 0.932, "mae": 9.132, "rmse": 10.233}
    assert CLAIMS[1].figures == {"srcc": 0.825, "plcc": 0.848}
    assert [(claim.dataset, claim.pictures) for claim in CLAIMS] == [("koniq10k", 2015), ("live_itw", 1162)] * 8
    targets = {Path(part.target).name for part in ITEMS["koncept512"].parts}
    assert {claim.weights for claim in CLAIMS} == targets
    for row, koniq10k, live in zip(PUBLISHED[1:], CLAIMS[2::2], CLAIMS[3::2], strict=True):
        assert koniq10k.model == live.model == row.model
        assert koniq10k.weights == live.weights
        assert ((*koniq10k.figures.values(),), (*live.figures.values(),)) == (row.koniq10k, row.live_itw)
        name = Path(koniq10k.weights).stem.removeprefix("study-")  # such as mse-b8
        assert row.framework == (name[:-3] if row.framework != "tensorflow" else "tensorflow")
        assert name.endswith(f"b{row.batch_size}")
        assert row.framework != "tensorflow" or name.startswith(row.loss)
    for claim in CLAIMS:
        assert claim.figures.keys() == claim.tolerance.keys()
        assert claim.reason
        assert claim.dataset in datasets.READERS


def test_no_other_weights_are_within_the_tolerances_of_a_claim_on_koniq10k():
    ours = [claim for claim in CLAIMS if claim.dataset == "koniq10k"]
    for claim in ours:
        for other in ours:
            if other is not claim:
                of_other = {"mae": 9.132, "rmse": 10.233} | dict(other.figures)
                assert causes.distance(of_other, claim) > 1, (claim.model, other.model)


# The command


@pytest.fixture
def door(folder, claims, monkeypatch):
    """The command, of claims on the stand-in as KonIQ-10k; a function of what is typed after it."""
    monkeypatch.setattr(command, "CLAIMS", [claims[0]._replace(weights=ORIGINAL, dataset="koniq10k")])
    monkeypatch.setattr(command, "TRAINED_MODELS", folder / "none")
    monkeypatch.setattr(command, "HOME", folder / "none")

    def run(*words, pictures="pictures", weights="right.safetensors"):
        of = ["--table", folder / "rated.csv", "--images", folder / pictures, "--engine", "openvino"]
        of += ["--weights", folder / weights] if weights else []
        return ended("verify", *of, "--out", folder / "verified", *words)

    return run


def test_the_command_ends_with_0_where_all_comes_out_and_with_1_and_the_cause_where_it_does_not(door, folder, capsys):
    assert door() == 0
    said = capsys.readouterr().out
    assert "Left out: live_itw" in said
    assert "1 of 1 came out" in said
    assert "| SRCC | " in said
    assert door("--resize", "bilinear") == 1
    said = capsys.readouterr().err
    assert "Error: Published figures of 1 of 1 do not come out. the first row on KonIQ-10k: Wrong resize: with" in said
    assert door("--quiet") == 0


def test_the_command_refuses_what_it_cannot_verify(door, folder, capsys):
    for words, how, message in (
        ((), {"weights": ""}, "fetch koniq10k live_itw koncept512/original gets both"),
        ((), {"weights": "none.h5"}, "weights should be a file"),
        ((), {"pictures": "none"}, "which is not there"),
        (("--live-images", folder / "pictures"), {}, "The tables of LIVE In the Wild should lie in"),
    ):
        assert door(*words, **how) == 2
        assert message in capsys.readouterr().err
    assert door("--live-images", folder / "pictures", "--no-live") == 0
    (folder / "pictures/3.png").unlink()
    assert door() == 2
    assert "Received: 47, 1 too few; not there: 3.png" in capsys.readouterr().err
    (folder / "text.h5").write_text("no weights")
    (folder / "text.json").write_text(json.dumps(TINY.record()))
    shutil.copy(folder / "pictures/4.png", folder / "pictures/3.png")
    assert door(weights="text.h5") == 2
    assert "text.h5" in capsys.readouterr().err


def test_rows_are_verified_where_their_weights_are_there(door, folder, claims, monkeypatch, capsys):
    monkeypatch.setattr(command, "TRAINED_MODELS", folder)
    of_row = claims[1]._replace(dataset="koniq10k")
    monkeypatch.setattr(command, "CLAIMS", [*command.CLAIMS, of_row, of_row._replace(weights="absent.h5", model="a")])
    assert door() == 0
    said = capsys.readouterr().out
    assert "Left out, as not in" in said
    assert "a (absent.h5)" in said
    assert "2 of 2 came out" in said
    assert door("--no-rows") == 0
    assert "1 of 1 came out" in capsys.readouterr().out
    assert find(str(folder / "right.safetensors")).is_file()
