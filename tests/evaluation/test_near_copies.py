import json

import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image

from koniq.commands import group
from koniq.engines import features
from koniq.engines.features import Body
from koniq.evaluation import near_copies
from koniq.evaluation.near_copies import Pairs, grouped, pairs_of
from koniq.network import KONCEPT512, KONCEPT_LITE, write_state
from koniq.network.weights import load_module
from koniq.pictures.decoding import decode


def pairs(*found):
    first, second = np.array(found, int).reshape(-1, 2).T
    return Pairs(first, second, np.ones(len(first), np.float32))


def test_pairs_are_those_of_all_cosines_whatever_the_blocks(monkeypatch):
    rng = np.random.default_rng(2)
    seen = rng.normal(5, [[1], [9]] * 30, (60, 24)).astype(np.float32)
    seen[[7, 40]] = seen[[3, 59]] + rng.normal(0, 0.05, (2, 24))
    standard = (seen - seen.mean(0)) / seen.std(0)
    expected = standard @ standard.T
    length = np.linalg.norm(standard, axis=1)
    expected = np.argwhere(np.triu(expected / np.outer(length, length) > 0.5, 1))
    assert [3, 7] in expected.tolist()
    assert [40, 59] in expected.tolist()
    for block in (1, 7, 59, 60, 1024):
        monkeypatch.setattr(near_copies, "BLOCK", block)
        found = pairs_of(seen, 0.5)
        np.testing.assert_array_equal(
            np.sort(np.column_stack([found.first, found.second]), axis=0), np.sort(expected, 0)
        )
        assert found.cosine.min() > 0.5


def test_what_did_not_open_and_what_is_the_same_everywhere_say_nothing():
    rng = np.random.default_rng(3)
    seen = np.column_stack([rng.normal(size=(40, 16)), np.full(40, 7.0)]).astype(np.float32)
    seen[20] = seen[30]
    alike = pairs_of(seen)
    assert (alike.first.tolist(), alike.second.tolist()) == ([20], [30])
    seen[20] = np.nan
    assert len(pairs_of(seen).first) == 0
    for none in (np.empty((3, 0), np.float32), np.full((3, 4), np.nan, np.float32), np.ones((3, 4), np.float32)):
        assert len(pairs_of(none).first) == 0


def test_a_group_is_what_pairs_lead_through():
    numbers = grouped(7, pairs((1, 4), (4, 6), (2, 3)))
    np.testing.assert_array_equal(numbers, [np.nan, 1, 2, 2, 1, np.nan, 1])
    assert np.isnan(grouped(3, pairs())).all()


def test_groups_that_are_known_already_stay_together():
    before = ["a", None, np.nan, "b", "a", "c"]
    np.testing.assert_array_equal(grouped(6, pairs((1, 3)), before), [1, 2, np.nan, 2, 1, np.nan])
    np.testing.assert_array_equal(grouped(6, pairs((3, 4)), before), [1, np.nan, np.nan, 1, 1, np.nan])


@pytest.fixture
def mine(tmp_path):
    """Forty pictures, of which 1 and 2, and 3 and 21, are alike but for a grey level."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 250, (40, 4, 4, 3))
    pixels[2], pixels[21] = pixels[1] + 1, pixels[3] + 1
    for number, picture in enumerate(pixels):
        Image.fromarray(np.kron(picture, np.ones((8, 8, 1))).astype(np.uint8)).save(tmp_path / f"images/{number}.png")
    sets = ["training"] * 20 + ["test"] * 20
    ids = pd.DataFrame({"image_name": [f"{n}.png" for n in range(40)], "MOS": 1.0, "set": sets, "subset": 1})
    ids.to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


@pytest.fixture
def body(monkeypatch):
    """In place of a network, whose features are 16 pixels of each picture; `seen` counts batches."""
    seen = []
    network = KONCEPT512.at((32, 32))

    def see(pictures):
        seen.append(len(pictures))
        return pictures[:, 4::8, 4::8].reshape(len(pictures), -1).astype(np.float32)

    monkeypatch.setattr(features, "start", lambda path: Body(network, see))
    monkeypatch.setattr(features, "identity", str)
    monkeypatch.setattr(group, "find", lambda name: name)
    return seen


def test_the_command_writes_the_table_with_groups_and_a_sheet_and_says_what_leaks(mine, body, capsys):
    (mine.parent / "images/5.png").write_bytes(b"no picture")
    (mine.parent / "images/6.png").unlink()
    assert ended("group", mine) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("2 pictures do not open, and are in no group: 5.png, 6.png")
    assert said[1:4] == [
        "40 pictures: 2 groups of near copies (cosine above 0.95) with 4 pictures, the largest of 2",
        "1 of the groups are in several sets",
        "1 of the 20 test pictures have a near copy in training or validation; subset 1: 1",
    ]
    table = pd.read_csv(mine.parent / "mine-groups.csv")
    assert table.columns.tolist() == ["image_name", "MOS", "set", "subset", "group"]
    assert table.group.dropna().to_dict() == {1: 1, 2: 1, 3: 2, 21: 2}
    assert Image.open(mine.parent / "mine-groups.png").size[0] == 4 * 248 + 8  # two pairs side by side
    assert sum(body) == 38


def test_kept_features_are_used_again_and_only_for_the_same_pictures(mine, body, capsys):
    kept = mine.parent / "kept.npz"
    assert ended("group", mine, "--keep", kept) == 0
    count = sum(body)
    assert ended("group", mine, "--keep", kept, "--threshold", 0.999999) == 0
    assert sum(body) == count
    assert "0 groups of near copies (cosine above 0.999999)" in capsys.readouterr().out
    pd.read_csv(mine).iloc[1:].to_csv(mine, index=False)
    assert ended("group", mine, "--keep", kept) == 2
    assert "should hold the features of these pictures by these weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", 1], "threshold should be between 0 and 1. Received: threshold=1.0"),
        (["--keep", "kept.csv"], "keep should be an .npz. Received: keep='kept.csv'"),
        (["--images", "nowhere"], "The pictures of mine should lie in nowhere"),
        (["--weights", "nothing-of-that-name"], "nothing-of-that-name"),
    ],
)
def test_wrong_settings_are_one_sentence(mine, capsys, arguments, message):
    assert ended("group", mine, *arguments) == 2
    assert message in capsys.readouterr().err


def test_the_features_of_a_network_are_those_of_its_body(mine, tmp_path):
    torch = pytest.importorskip("torch")
    import tiny

    torch.manual_seed(0)
    module = tiny.TINY.build_torch().eval()
    torch.save(module.state_dict(), tmp_path / "tiny.pth")
    (tmp_path / "tiny.json").write_text(json.dumps(tiny.TINY.record()))
    body = features.start(tmp_path / "tiny.pth")
    paths = [mine.parent / f"images/{number}.png" for number in range(11)]
    paths[4] = mine.parent / "images/none.png"
    seen, rows = features.extract(body, paths)
    assert [row.status for row in rows] == ["ok"] * 4 + ["missing"] + ["ok"] * 6
    assert np.isnan(seen[4]).all()
    pixels = np.stack([decode(path, body.network).pixels for path in (paths[9], paths[10])])
    with torch.inference_mode():
        expected = module.features(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(seen[9:], expected, atol=1e-4)


def test_openvino_sees_what_pytorch_sees(mine, tmp_path):
    pytest.importorskip("openvino")
    torch = pytest.importorskip("torch")
    network = KONCEPT_LITE.at((64, 96))
    torch.manual_seed(0)
    state = {key: array.numpy() for key, array in network.build_torch().state_dict().items()}
    write_state(state, tmp_path / "lite.safetensors", network)
    (tmp_path / "lite.json").write_text(json.dumps(network.record()))
    body = features.start(tmp_path / "lite.safetensors")
    seen, _ = features.extract(body, [mine.parent / f"images/{number}.png" for number in range(9)])
    pixels = np.stack([decode(mine.parent / f"images/{number}.png", body.network).pixels for number in (0, 8)])
    assert seen.shape == (9, 4096)
    module = network.build_torch()
    load_module(module, tmp_path / "lite.safetensors", network)
    with torch.inference_mode():
        expected = module.eval().features(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(seen[[0, 8]], expected, atol=1e-3)
