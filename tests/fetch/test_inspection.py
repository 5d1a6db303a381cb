import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image

from koniq.data.releases import RATER_TRAINING, RELEASES, Release
from koniq.fetch import inspection
from koniq.pictures import decoding, room

ROOT = Path(__file__).resolve().parents[2]
SMALL = Release(sizes=((6, 8),), odd={"odd.png": (8, 6)}, same=(frozenset({"a.png", "b.png"}),))


def picture(path, seed, size=(6, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), seed, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Four pictures that are as they should be, two of which are known to be one."""
    for name, seed in (("a.png", 1), ("b.png", 1), ("c.PNG", 3)):
        picture(tmp_path / name, seed)
    picture(tmp_path / "odd.png", 4, (8, 6))
    return tmp_path


NAMES = ["a.png", "b.png", "c.png", "odd.png"]


def kinds(report):
    return {(finding.kind, str(finding)) for finding in report.findings}


def test_pictures_take_no_more_memory_together_than_there_is_room_for(folder, monkeypatch):
    least = 8 * 6 * 8  # bytes of the smallest: two at a time are too many
    small, most = room.Room(least), []

    def decoded(picture, rules):
        most.append(small._taken)
        return real(picture, rules)

    real = decoding.decoding.decoded
    monkeypatch.setattr(decoding, "ROOM", small)
    monkeypatch.setattr(decoding.decoding, "decoded", decoded)
    assert inspection.inspect("small", NAMES, folder, SMALL, workers=4).faults == []
    assert most == [least] * 4


def test_a_whole_copy_of_a_release_is_right_with_its_known_oddities(folder):
    report = inspection.inspect("small", NAMES, folder, SMALL)
    assert kinds(report) == {("odd size", "odd.png (6x8)"), ("known duplicate", "a.png = b.png")}
    assert report.faults == []
    assert report.verdict().startswith("small is RIGHT")


def test_every_fault_is_found_and_named(folder):
    picture(folder / "twin.png", 3)
    picture(folder / "large.png", 5, (12, 16))
    picture(folder / "extra.png", 6)
    (folder / "note.txt").write_text("no picture, and none of anybody's business")
    (folder / "text.png").write_text("no picture")
    Image.effect_noise((80, 60), 50).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:2000])
    (folder / "odd.png").unlink()
    picture(folder / "odd.png", 4)  # of the usual size, but the release has it otherwise
    report = inspection.inspect(
        "small", [*NAMES, "twin.png", "large.png", "text.png", "cut.png", "gone.png"], folder, SMALL
    )
    found = {(kind, text.partition(" (")[0]) for kind, text in kinds(report)}
    assert found == {
        ("known duplicate", "a.png = b.png"),
        ("absent", "gone.png"),
        ("unreadable", "text.png"),
        ("unreadable", "cut.png"),
        ("wrong size", "large.png"),
        ("wrong size", "odd.png"),
        ("duplicate", "c.png = twin.png"),
        ("extra", "extra.png"),
    }
    assert "truncated" in next(str(finding) for finding in report.findings if finding.image_name == "cut.png")
    assert report.verdict() == (
        "small is NOT right: 1 of 9 absent; 2 unreadable; 2 of a wrong size; 1 identical pictures; 1 not in the table. "
        "No other fault."
    )


def test_the_size_of_a_folder_is_one_of_the_releases(tmp_path):
    for name, seed in (("1.png", 1), ("2.png", 2)):
        picture(tmp_path / name, seed, (768, 1024))
    release = RELEASES["koniq10k"]
    assert inspection.inspect("koniq10k", ["1.png", "2.png"], tmp_path, release).faults == []
    picture(tmp_path / "3.png", 3, (384, 512))
    report = inspection.inspect("koniq10k", ["1.png", "2.png", "3.png"], tmp_path, release)
    assert kinds(report) == {("wrong size", "3.png (512x384, not 1024x768)")}


def test_the_raters_training_pictures_do_not_count_wherever_they_lie(tmp_path):
    picture(tmp_path / "1.bmp", 1, (500, 500))
    report = inspection.inspect("live_itw", ["1.bmp"], tmp_path, RELEASES["live_itw"])
    assert (report.expected, len(report.of("unrated")), report.faults) == (8, 7, [])
    for seed, name in enumerate(RATER_TRAINING):
        picture(tmp_path / "trainingImages" / name, 10 + seed, (400, 400))
    report = inspection.inspect("live_itw", ["1.bmp"], tmp_path, RELEASES["live_itw"])
    assert report.findings == ()


def test_in_an_own_table_identical_pictures_are_a_fault_only_across_sets(tmp_path):
    for name in ("1.png", "2.png", "3.png"):
        picture(tmp_path / "images" / name, 1)
    picture(tmp_path / "images" / "unrated.png", 9)
    table = pd.DataFrame({"image_name": ["1.png", "2.png", "3.png"], "MOS": 1, "set": "test"})
    table.to_csv(tmp_path / "mine.csv", index=False)
    report = inspection.check(str(tmp_path / "mine.csv"))
    assert [finding.kind for finding in report.findings] == ["duplicate", "extra"]
    assert report.faults == []
    table.assign(set=["training", "test", "test"]).to_csv(tmp_path / "mine.csv", index=False)
    report = inspection.check(str(tmp_path / "mine.csv"))
    assert [str(finding) for finding in report.faults] == ["1.png = 2.png = 3.png (in test and training)"]


def test_groups_of_near_copies_in_several_sets_are_faults_and_those_within_one_are_none(tmp_path, capsys):
    names = [f"{seed}.png" for seed in range(6)]
    for seed, name in enumerate(names):
        picture(tmp_path / "images" / name, seed)
    ids = pd.DataFrame({"image_name": names, "MOS": 1, "set": ["training", "test", "validation"] * 2})
    ids.assign(group=["a", "a", "b", "", "", "b"]).to_csv(tmp_path / "mine.csv", index=False)
    assert ended("check", tmp_path / "mine.csv") == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  1 groups of near copies in several sets: 0.png ~ 1.png (in training and test)",
        "mine is NOT right: 1 groups of near copies in several sets. No other fault.",
    ]
    ids.assign(group=["a", "b", "c"] * 2).to_csv(tmp_path / "mine.csv", index=False)
    assert inspection.check(str(tmp_path / "mine.csv")).findings == ()


def run(*arguments):
    command = [sys.executable, "-m", "koniq", "check", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ)


def test_the_real_part_of_live_in_the_wild(test_data, tmp_path):
    folder = test_data / "live_itw"
    arguments = ["live_itw", "--images", folder / "Images", "--table", folder / "Data"]
    done = run(*arguments, "--out", tmp_path / "found.json")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [
        f"live_itw: 378 of the 1,169 pictures of the table are in {folder / 'Images'}; 791 are absent.",
        "  784 absent: 100.bmp, 101.bmp, 102.bmp, 103.bmp, 104.bmp, ...",
        "  7 absent, and in no reported number, for they trained the raters: "
        "t1.bmp, t2.bmp, t3.bmp, t4.bmp, t5.bmp, t6.bmp, t7.bmp",
        "  2 of an odd size, as in the release: 1024.JPG (640x960), 1113.JPG (608x608)",
        "live_itw is NOT right: 791 of 1,169 absent, 7 of which are in no reported number. No other fault.",
    ]
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["right"], found["expected"], len(found["findings"])) == (False, 1169, 793)


def test_the_official_table_of_koniq_is_told_from_a_changed_one(test_data, tmp_path):
    folder = test_data / "koniq10k"
    table = folder / "koniq10k_distributions_sets.csv"
    report = inspection.check("koniq10k", str(table), str(folder / "512x384"))
    assert len(report.of("absent")) == len(report.faults) == 10_070
    (tmp_path / "changed.csv").write_bytes(table.read_bytes().replace(b",training", b",test", 1))
    report = inspection.check("koniq10k", str(tmp_path / "changed.csv"), str(folder / "1024x768"))
    assert [str(finding) for finding in report.of("table")] == [
        "changed.csv (not the official one, md5:df512f2766d03e26ccb4cef9f1806a96)"
    ]


def test_the_command_its_exit_codes_and_what_it_writes(tmp_path, capsys):
    for seed in range(3):
        picture(tmp_path / "images" / f"{seed}.png", seed)
    mine = tmp_path / "mine.csv"
    pd.DataFrame({"image_name": ["0.png", "1.png", "2.png"], "MOS": 1, "set": "test"}).to_csv(mine, index=False)
    assert ended("check", mine, "--out", tmp_path / "found.csv") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("mine is RIGHT")
    assert pd.read_csv(tmp_path / "found.csv").columns.tolist() == ["kind", "image_name", "detail", "fault"]
    (tmp_path / "images/1.png").unlink()
    assert ended("check", mine) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "mine is NOT right: 1 of 3 absent. No other fault."
    for arguments, message in (
        (["--images", tmp_path / "nowhere"], "The pictures of mine should lie in"),
        (["--out", "found.txt"], "out should be a .csv or a .json. Received: out='found.txt'"),
    ):
        assert ended("check", mine, *arguments) == 2
        assert message in capsys.readouterr().err
