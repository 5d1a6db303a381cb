"""One person's taste is learnt where there is one, refused where there is none, and scored by as any weights are."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import skimage.data
from commands import ended
from PIL import Image
from xmp_files import DARKTABLE

import koniq
from koniq.engines import features
from koniq.ground import InputError
from koniq.ground.facts import facts
from koniq.network import KONCEPT512, find, network_of, read_state
from koniq.training import taste
from koniq.training.taste import Head
from ku.generic import srocc

SIZE = [96, 128]  # of the network here: 16 times as fast as at its own
COUNT = 120


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    """The released weights, to be scored at a small size."""
    folder = tmp_path_factory.mktemp("lite")
    path = find("koncept_lite")
    record = json.loads(path.with_suffix(".json").read_text()) | {"input_size": SIZE}
    (folder / "lite.safetensors").write_bytes(path.read_bytes())
    (folder / "lite.json").write_text(json.dumps(record))
    return folder / "lite.safetensors"


def photographs(folder, count, seed):
    """Cuttings of photographs, as bright as chance has it. Returns their names, and how dark each is, 0 to 1."""
    rng, rows = np.random.default_rng(seed), []
    photos = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    folder.mkdir()
    for number in range(count):
        photo, dark = photos[number % 4], rng.uniform()
        top, left = (rng.integers(0, side - least) for side, least in zip(photo.shape, SIZE, strict=False))
        pixels = photo[top : top + SIZE[0], left : left + SIZE[1]] * (1 - 0.8 * dark)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        rows.append((f"{number}.png", dark))
    return pd.DataFrame(rows, columns=["image_name", "dark"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with pictures, and ratings of somebody who likes them dark: 1 to 5 stars."""
    folder = tmp_path_factory.mktemp("taste")
    table = photographs(folder / "photos", COUNT, 3)
    stars = (1 + 4 * table.dark + np.random.default_rng(2).normal(0, 0.2, COUNT)).round().clip(1, 5)
    table.assign(stars=stars.astype(int)).drop(columns="dark").to_csv(folder / "dark.csv", index=False)
    by_chance = np.random.default_rng(12).integers(1, 6, COUNT)
    table.assign(rating=by_chance).to_csv(folder / "by_chance.csv", index=False)
    return folder


def learnt(lite, folder, name, out, *more):
    return ended("learn", folder / name, "--images", folder / "photos", "--weights", lite, "--out", out, *more)


@pytest.fixture(scope="module")
def dark(lite, made, tmp_path_factory):
    """What is learnt of the taste for dark pictures."""
    out = tmp_path_factory.mktemp("out") / "my_taste.safetensors"
    assert learnt(lite, made, "dark.csv", out) == 0
    return out


def test_a_taste_is_learnt_and_holds_for_other_pictures(lite, dark, tmp_path):
    record = json.loads(dark.with_suffix(".json").read_text())
    before, after = record["srcc"]["before"], record["srcc"]["after"]
    assert before[0] + 0.4 < after[0]
    assert before[1] < before[0] < before[2]
    others = photographs(tmp_path / "others", 40, 8)
    scores = koniq.load(dark, device="cpu").table(tmp_path / "others")
    assert scores.image_path.tolist() == sorted(others.image_name)
    shade = others.set_index("image_name").dark[scores.image_path]
    assert srocc(shade.to_numpy(), scores.MOS.to_numpy()) > 0.6
    usual = koniq.load(lite, device="cpu").table(tmp_path / "others")
    assert srocc(shade.to_numpy(), usual.MOS.to_numpy()) < 0.2
    assert scores.MOS.between(0, 6).all()  # on the scale of the stars
    assert abs((scores.MOS - (1 + 4 * shade.to_numpy())).mean()) < 0.5


def test_the_record_says_whose_scores_they_are(lite, dark):
    record = json.loads(dark.with_suffix(".json").read_text())
    assert network_of(dark) == network_of(lite)
    assert (record["label"], record["trained_on"], record["scale"]) == ("my ratings", "dark.csv", [1, 5])
    assert (record["begun_from"], record["ratings"]) == ("lite", COUNT)
    assert not {"intervals", "calibrated"} & {*record}  # those of the weights that it began from are not its own


def test_scores_and_their_page_are_of_one_persons_ratings(dark, made, tmp_path, capsys):
    out = tmp_path / "scores.csv"
    assert ended("score", made / "photos", "--weights", dark, "--out", out) == 0
    assert facts(out)["record"]["label"] == "my ratings"
    assert ended("report", out) == 0
    page = (tmp_path / "scores_report/report.html").read_text()
    assert "on the scale of the ratings of one person, 1 to 5, which the model learnt" in page
    assert "no person gave" not in page


def test_the_head_says_in_every_engine_what_was_fitted(lite, dark, made):
    """The two units that were given away are those that say least, and all else is as it was, but for a factor."""
    paths = sorted((made / "photos").glob("?.png"))
    seen, _ = features.extract(features.start(lite), paths)
    was, now = (read_state(path, network_of(lite)) for path in (lite, dark))
    changed = [key for key in was if not np.array_equal(was[key], now[key])]
    assert {*changed} == {"fc.2.weight", "fc.2.bias", "fc.5.weight", "fc.5.bias"}
    assert (was["fc.2.weight"] != now["fc.2.weight"]).any(1).sum() == 2
    ours = Head(now).parts(Head(now).normalised(seen)).sum(1) + now["fc.5.bias"]
    scored = koniq.load(dark, precision="float32", device="cpu").table([*map(str, paths)])
    np.testing.assert_allclose(scored.MOS, ours, atol=1e-3)


def test_what_the_network_gives_without_a_taste_is_its_own_score(lite, made):
    paths = sorted((made / "photos").glob("?.png"))
    seen, _ = features.extract(features.start(lite), paths)
    head = Head(read_state(lite, network_of(lite)))
    ours = head.parts(head.normalised(seen)).sum(1) + head.state["fc.5.bias"]
    np.testing.assert_allclose(
        koniq.load(lite, precision="float32", device="cpu").table([*map(str, paths)]).MOS, ours, atol=1e-2
    )


def test_ratings_by_chance_are_refused_unless_one_insists(lite, made, tmp_path, capsys):
    out = tmp_path / "none.safetensors"
    assert learnt(lite, made, "by_chance.csv", out) == 1
    said = capsys.readouterr()
    assert "The gain in SRCC should be above 0 by its 95 % interval. Received:" in said.err
    assert "Nothing is written" in said.err
    assert [*tmp_path.iterdir()] == []
    assert "| gain |" in said.out
    assert learnt(lite, made, "by_chance.csv", out, "--anyway") == 0
    assert "should be above 0" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"none.safetensors", "none.json"}


def test_copies_do_not_teach_each_other(lite, tmp_path, capsys):
    """Of four near copies three would give away the rating of the fourth, which chance alone gave."""
    table = photographs(tmp_path / "photos", 24, 5)
    rng, rows = np.random.default_rng(4), []
    for name in table.image_name:
        pixels, stars = np.asarray(Image.open(tmp_path / "photos" / name)), rng.uniform(1, 5)
        for number in range(4):
            shaken = (pixels + rng.normal(0, 1, pixels.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(shaken).save(tmp_path / "photos" / f"{number}-{name}")
            rows.append((f"{number}-{name}", stars))
    pd.DataFrame(rows, columns=["image_name", "stars"]).to_csv(tmp_path / "stars.csv", index=False)
    assert learnt(lite, tmp_path, "stars.csv", tmp_path / "none.safetensors") == 1
    assert "96 rated pictures of 24 groups" in capsys.readouterr().out


def test_what_the_table_has_together_stays_together(lite, made, tmp_path, capsys):
    table = pd.read_csv(made / "dark.csv")
    table.assign(day=np.arange(COUNT) // 30, image_path=table.image_name).to_csv(tmp_path / "days.csv", index=False)
    arguments = (tmp_path / "days.csv", "--images", made / "photos", "--weights", lite, "--group-column", "day")
    assert ended("learn", *arguments, "--out", tmp_path / "none.safetensors") == 2
    assert "should be of 10 groups at least" in capsys.readouterr().err


def test_what_does_not_open_is_left_out_and_named(lite, made, tmp_path, capsys):
    table = pd.read_csv(made / "dark.csv")
    table = pd.concat([table, pd.DataFrame([("gone.png", 5)], columns=table.columns)])
    table.to_csv(tmp_path / "more.csv", index=False)
    arguments = (tmp_path / "more.csv", "--images", made / "photos", "--weights", lite)
    assert ended("learn", *arguments, "--out", tmp_path / "more.safetensors") == 0
    said = capsys.readouterr().out
    assert "1 pictures do not open, and are left out: gone.png" in said
    assert f"{COUNT} rated pictures" in said


def test_stars_are_read_from_xmp(lite, made, tmp_path, capsys):
    table = pd.read_csv(made / "dark.csv")
    shutil.copytree(made / "photos", tmp_path / "photos")
    for name, stars in zip(table.image_name, table.stars, strict=True):
        (tmp_path / f"photos/{name}.xmp").write_text(DARKTABLE.replace('xmp:Rating="1"', f'xmp:Rating="{stars}"'))
    out = tmp_path / "my_taste.safetensors"
    assert ended("learn", tmp_path / "photos", "--xmp", "--weights", lite, "--out", out) == 0
    assert f"{COUNT} rated pictures of" in capsys.readouterr().out
    record = json.loads(out.with_suffix(".json").read_text())
    assert (record["trained_on"], record["scale"]) == ("photos", [1, 5])


def rated(stars):
    return pd.DataFrame({"name": "a.jpg", "image_path": None, "rating": np.asarray(stars, float)})


def test_too_few_or_equal_ratings_are_refused_before_a_picture_is_opened(lite):
    with pytest.raises(InputError, match=r"30 rated pictures at least; with --anyway 10 will do\. Received: 29"):
        taste.learn(lite, rated(np.arange(29)))
    with pytest.raises(InputError, match=r"There should be 10 rated pictures at least\. Received: 9"):
        taste.learn(lite, rated(np.arange(9)), anyway=True)
    with pytest.raises(InputError, match=r"Ratings should differ\. Received: 4 for all 40 pictures"):
        taste.learn(lite, rated([4] * 40))


def test_a_scale_holds_all_ratings():
    assert taste.scale_of(np.array([1.0, 5])) == (1, 5)
    assert taste.scale_of(np.array([0.0, 5])) == (0, 5)
    assert taste.scale_of(np.array([-10.0, 250])) == (-10, 250)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "mine.h5"], "out should end in .safetensors. Received: mine.h5"),
        (["--out", "nowhere/mine.safetensors"], "out should lie in a folder that is there"),
        (["--out", "there.safetensors"], "there.json is there already. Give --overwrite"),
        (["--weights", "other.h5"], "weights should be those of koncept_lite. Received: other.h5, of koncept512"),
        (["--weights", "none-such"], "none-such"),
        (["--xmp"], "images should go with a table of ratings. Received: images with xmp"),
    ],
)
def test_wrong_settings_are_one_sentence(made, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("{}")
    (tmp_path / "other.h5").write_bytes(b"")
    assert network_of(tmp_path / "other.h5") == KONCEPT512
    assert ended("learn", made / "dark.csv", "--images", made / "photos", *arguments) == 2
    assert said in capsys.readouterr().err


def test_photographs_that_people_rated_and_a_taste_for_colours(test_data, lite, tmp_path):
    """BIQ2021's own pictures: 150 of its test part, rated by how colourful they are."""
    folder = test_data / "biq2021"
    table = pd.read_csv(folder / "biq2021_sample.csv").query("set == 'test'")[:150]
    colours = []
    for name in table.image_name:
        with Image.open(folder / "images" / name) as picture:
            small = np.asarray(picture.convert("RGB").resize((64, 64)), float)
        colours.append((small.max(2) - small.min(2)).mean())
    stars = pd.qcut(colours, 5, labels=False) + 1
    table.assign(stars=stars).drop(columns="MOS").to_csv(tmp_path / "mine.csv", index=False)
    out = tmp_path / "mine.safetensors"
    assert ended("learn", tmp_path / "mine.csv", "--images", folder / "images", "--weights", lite, "--out", out) == 0
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["srcc"]["after"][0] > record["srcc"]["before"][0] + 0.2
