"""How scores follow distortions is measured by engines that are known to follow one, or to go against it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from commands import ended
from mean import MeanPlan
from PIL import Image

from koniq.commands import choices
from koniq.commands import sense as commands_sense
from koniq.evaluation import sense
from koniq.fetch import photographs
from koniq.fetch.photographs import PHOTOGRAPHS, Photograph
from koniq.ground import InputError
from koniq.pictures.distortions import STEPS
from koniq.study import results


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(sense, "LONGEST", 128)


@pytest.fixture
def folder(tmp_path):
    """Two pictures of waves and grain, one of them larger than what is distorted, and one that does not open."""
    rng = np.random.default_rng(0)
    for name, (height, width) in {"small": (60, 80), "large": (140, 280)}.items():
        y, x = np.mgrid[:height, :width]
        waves = 120 + 60 * np.sin(x / 5) * np.cos(y / 4)
        pixels = np.clip(waves[..., None] + rng.normal(0, 9, (height, width, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    (tmp_path / "broken.jpg").write_text("not a picture")
    return tmp_path


def test_scores_that_follow_a_distortion_and_that_go_against_it(folder, capsys):
    table = sense.scored(sense._own(str(folder)), MeanPlan().start())
    assert "1 pictures that do not open are left out: broken.jpg" in capsys.readouterr().out
    assert len(table) == 2 * len(STEPS) * 5
    assert table.photograph.unique().tolist() == ["large.png", "small.png"]
    found = sense.correlations(table)
    assert found.darken.tolist() == [1, 1]  # a score that is the mean of the pixels
    assert found.brighten.tolist() == [-1, -1]
    kinds = sense.by_kind(found).set_index("kind")
    assert kinds.loc["darken", ["value", "low", "high", "n", "lowest"]].tolist() == [1, 1, 1, 2, 1]
    assert "| darkened | 1.000 | [1.000, 1.000] | 2 | 1.00 (large.png) |" in sense.markdown(kinds.reset_index())


def test_the_same_seed_gives_the_same_scores_and_another_picture_none_of_them_others(folder):
    both = sense.scored(sense._own(str(folder)), MeanPlan().start())
    pd.testing.assert_frame_equal(both, sense.scored(sense._own(str(folder)), MeanPlan().start()))
    alone = sense.scored({"small.png": folder / "small.png"}, MeanPlan().start())
    pd.testing.assert_frame_equal(alone, both[both.photograph == "small.png"].reset_index(drop=True))
    noisy = sense.scored({"small.png": folder / "small.png"}, MeanPlan().start(), seed=1)
    assert (noisy.MOS != alone.MOS).equals((noisy.kind == "noise") & (noisy.step > 0))


def test_rank_correlations_are_of_known_orders():
    orders = {"falls": [5, 4, 3, 2, 1], "one swapped": [5, 4, 2, 3, 1], "rises": [1, 2, 3, 4, 5], "stays": [2] * 5}
    table = pd.concat(pd.DataFrame({"photograph": name, "kind": "blur", "step": range(5), "MOS": mos})
                      for name, mos in orders.items())  # fmt: skip
    found = sense.correlations(table).blur
    np.testing.assert_allclose(found[list(orders)], [1, 0.9, -1, 0])
    (row,) = sense.by_kind(found.to_frame()).itertuples()
    assert (row.value, row.lowest, row.of, row.n) == (pytest.approx(0.225), -1, "rises", 4)
    assert row.low < row.value < row.high


def test_the_command_writes_scores_a_figure_and_rows_of_the_metrics(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(commands_sense, "find", lambda name: tmp_path / name)
    monkeypatch.setattr(
        choices, "load", lambda *_, **__: SimpleNamespace(plan=_Plan(), engine=_Plan().start(), workers=2)
    )
    monkeypatch.setattr(commands_sense, "RESULTS", tmp_path)
    monkeypatch.setattr(photographs, "FETCHED", tmp_path / "none")
    monkeypatch.setenv("KONIQ_OFFLINE", "1")
    some = {name: PHOTOGRAPHS[name] for name in ("coffee", "hopper", "dune")}
    monkeypatch.setattr(photographs, "PHOTOGRAPHS", some)
    assert ended("sense", "--weights", "a", "--out", tmp_path / "out", "--record", "mean-1") == 0
    said = capsys.readouterr().out
    assert "2 of 3 photographs are at hand: 1 of scikit-image, 1 of Matplotlib" in said
    assert "Not fetched: dune: the network is not to be used" in said
    assert pd.read_csv(tmp_path / "out/sense.csv").columns.tolist() == ["photograph", "kind", "step", "strength", "MOS"]
    assert Image.open(tmp_path / "out/sense.png").size[0] > 1000
    recorded = results.read(tmp_path / "metrics.csv")
    assert recorded.set.tolist() == sorted(STEPS)
    assert set(recorded.metric) == {"sense"}
    assert set(recorded.n) == {2}
    assert ended("sense", "--images", folder, "--record", "mean-1") == 2
    assert "of the photographs that everybody has" in capsys.readouterr().err


class _Plan(MeanPlan):
    engine = "openvino"

    def facts(self):
        return super().facts() | {"device": "some"}


def test_packages_bring_photographs_that_are_in_colour_and_large():
    for name, path in photographs.at_hand().items():
        one = PHOTOGRAPHS[name]
        if one.package:
            pixels = np.asarray(photographs.opened(path)).astype(int)
            assert min(pixels.shape[:2]) >= 400, name
            assert np.abs(pixels[..., 0] - pixels[..., 2]).mean() > 5, name
    there = {name for name in photographs.at_hand() if PHOTOGRAPHS[name].collection == "scikit-image"}
    assert there >= {"astronaut", "coffee", "hubble", "immunohistochemistry", "motorcycle", "retina", "rocket"}


def test_nothing_else_of_scikit_image_is_a_large_photograph_in_colour():
    folder = photographs.PHOTOGRAPHS["coffee"].path("coffee").parent
    listed = {one.path(name).name for name, one in PHOTOGRAPHS.items()}
    large = set()
    for path in [*folder.glob("*.png"), *folder.glob("*.jpg")]:
        with Image.open(path) as picture:
            if picture.mode == "RGB" and min(picture.size) >= 400 and np.ptp(np.asarray(picture), axis=2).any():
                large.add(path.name)
    assert large - listed == {"motorcycle_right.png"}  # the other view of one scene


def test_another_file_than_that_of_the_hash_is_no_photograph(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(b"1")
    right = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    for digest, names in {f"sha256:{right}": ["a"], "sha256:0": []}.items():
        one = {"a": Photograph("some", url="https://example.org/A.JPG", digest=digest)}
        monkeypatch.setattr(photographs, "PHOTOGRAPHS", one)
        assert list(photographs.at_hand(tmp_path)) == names


def test_a_host_that_does_not_answer_is_asked_once(tmp_path, monkeypatch):
    asked = []

    def failing(url, *_, **__):
        asked.append(url)
        raise photographs.transfer.SourceFailed("did not answer")

    monkeypatch.setattr(photographs.transfer, "fetch", failing)
    failed = photographs.fetch(tmp_path)
    assert len(failed) == sum(bool(one.url) for one in PHOTOGRAPHS.values())
    assert len(asked) == len({one.url.split("/")[2] for one in PHOTOGRAPHS.values() if one.url})
    assert failed["dune"] == "raw.githubusercontent.com did not answer"


def test_a_folder_in_which_nothing_opens_is_said(tmp_path):
    (tmp_path / "broken.jpg").write_text("not a picture")
    with pytest.raises(InputError, match="1 pictures, none of which does"):
        sense.scored(sense._own(str(tmp_path)), MeanPlan().start())
