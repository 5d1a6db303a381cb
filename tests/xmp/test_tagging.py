"""Scores written beside pictures, as programs that read them find them: ExifTool is the judge."""

import json
import os
import shutil
import subprocess

import exiftool
import pytest
from commands import ended
from scored import write_scores
from xmp_files import DARKTABLE, DIGIKAM, LIGHTROOM, WRITTEN, jpeg, packet, png

from koniq import xmp
from koniq.ground.exits import BAD_INPUT, INTERRUPTED, UNSCORED
from koniq.xmp import tagging

ROWS = [("a.jpg", 20.0), ("b.jpg", 40.5), ("sub/c.jpg", 80.25), ("broken.jpg", "unreadable", "it is cut off")]

CONFIG = """
%Image::ExifTool::UserDefined::koniq = (
    GROUPS => { 0 => 'XMP', 1 => 'XMP-koniq', 2 => 'Image' },
    NAMESPACE => { 'koniq' => 'NAMESPACE_URI' },
    WRITABLE => 'string',
    score => { Name => 'KoniqScore', Writable => 'real' },
);
%Image::ExifTool::UserDefined = (
    'Image::ExifTool::XMP::Main' => {
        koniq => { SubDirectory => { TagTable => 'Image::ExifTool::UserDefined::koniq' } },
    },
);
1;
"""


@pytest.fixture
def photos(tmp_path):
    """Three scored pictures, of which b has XMP within, and their CSV."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name, colour in (("a.jpg", "red"), ("sub/c.jpg", "blue")):
        jpeg(folder / name, colour=colour)
    jpeg(folder / "b.jpg", packet('xmp:Rating="2" dc:format="image/jpeg"', padding=2000))
    write_scores(tmp_path / "scores.csv", ROWS, model="koncept_lite", roots=[str(folder)])
    return folder


def scores(photos, rows, **facts):
    """Another CSV in place of the one that there is."""
    out = photos.parent / "scores.csv"
    out.unlink()
    write_scores(out, rows, **{"roots": [str(photos)]} | facts)


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def run(photos, *arguments):
    return ended("tag", photos.parent / "scores.csv", *arguments)


def test_a_dry_run_tells_what_is_written_and_writes_nothing(photos, capsys):
    before = contents(photos.parent)
    assert run(photos) == 0
    said = capsys.readouterr().out
    assert f"{photos}/a.jpg.xmp: new; koniq:score 20.0\n" in said
    assert f"{photos}/b.jpg.xmp: new, from the XMP within the picture; koniq:score 40.5\n" in said
    assert "Sidecars would be written: 3 new (1 of them from XMP that was there), 0 changed; 0 are so already" in said
    assert said.endswith("Nothing was written: --write does it\n")
    assert contents(photos.parent) == before


def test_sidecars_are_written_a_picture_is_never_touched_and_undo_leaves_no_trace(photos, capsys):
    before = contents(photos.parent)
    assert run(photos, "--write") == 0
    said = capsys.readouterr().out
    log = photos.parent / "scores_tags.jsonl"
    assert "Sidecars written: 3 new" in said
    assert f"{log} tells each change" in said
    made = {path: data for path, data in contents(photos.parent).items() if path not in before}
    assert sorted(path.name for path in made) == ["a.jpg.xmp", "b.jpg.xmp", "c.jpg.xmp", "scores_tags.jsonl"]
    assert {path: data for path, data in contents(photos.parent).items() if path in before} == before
    assert len(log.read_text().splitlines()) == 3
    assert run(photos, "--write") == 0
    assert "0 new (0 of them from XMP that was there), 0 changed; 3 are so already" in capsys.readouterr().out
    assert ended("tag", "--undo", log) == 0
    assert contents(photos.parent) == before


def test_exiftool_reads_score_interval_model_and_rating(photos):
    scores(photos, [("a.jpg", 20.0, 8.0), ("b.jpg", 40.5, 8.25)], model="m", roots=[])
    assert run(photos, "--images", photos, "--cuts", 10, 30, 50, 70, "--write") == 0
    a, b = exiftool.tags(photos / "a.jpg.xmp", photos / "b.jpg.xmp")
    ours = {"XMP-koniq:Score": 20, "XMP-koniq:Low": 12, "XMP-koniq:High": 28, "XMP-koniq:Model": "m"}
    assert a == {"XMP-x:XMPToolkit": "koniq", **ours, "XMP-xmp:Rating": 2}
    ours = {"XMP-koniq:Score": 40.5, "XMP-koniq:Low": 32.25, "XMP-koniq:High": 48.75, "XMP-koniq:Model": "m"}
    assert b == {"XMP-xmp:Rating": 2, "XMP-dc:Format": "image/jpeg", **ours}


def test_exiftool_reads_them_by_a_table_of_ours_and_writes_what_we_read_again(photos, tmp_path):
    (tmp_path / "config").write_text(CONFIG.replace("NAMESPACE_URI", xmp.NAMESPACE))
    assert run(photos, "--rating", "percentile", "--write") == 0
    sidecar = photos / "a.jpg.xmp"
    assert exiftool.run("-config", tmp_path / "config", "-s3", "-KoniqScore", sidecar).strip() == "20.0"
    exiftool.run("-config", tmp_path / "config", "-KoniqScore=21", "-Rating=5", "-overwrite_original", sidecar)
    assert xmp.rating(photos / "a.jpg") == 5
    assert run(photos, "--write") == 0  # into what ExifTool wrote, elements all of it
    assert exiftool.tags(sidecar)[0]["XMP-koniq:Score"] == 20
    assert sidecar.read_bytes().count(b":score") == 2  # a tag and its end


@pytest.mark.parametrize("program", WRITTEN)
def test_of_a_sidecar_of_another_program_everything_else_stays(photos, program):
    sidecar, copy = photos / "a.jpg.xmp", photos / "copy.xmp"
    sidecar.write_text(WRITTEN[program], encoding="utf-8")
    shutil.copy(sidecar, copy)
    before = contents(photos)
    assert run(photos, "--cuts", 10, 30, 50, 70, "--overwrite-ratings", "--write") == 0
    old, new = exiftool.tags(copy, sidecar)
    assert new.pop("XMP-xmp:Rating") == 2
    old.pop("XMP-xmp:Rating", None)
    assert {key: new.pop(key) for key in [*new] if key.startswith("XMP-koniq:")} == {
        "XMP-koniq:Score": 20,
        "XMP-koniq:Model": "koncept_lite",
    }
    assert new == old
    assert len(old) > 3
    assert ended("tag", "--undo", photos.parent / "scores_tags.jsonl") == 0
    assert contents(photos) == before


def test_what_was_within_a_picture_is_in_its_new_sidecar(photos):
    within = packet('xmp:Rating="2" xmp:Label="Red" dc:format="image/png"')
    png(photos / "a.png", within, late=True)
    scores(photos, [("a.png", 50.0)])
    assert run(photos, "--write") == 0
    of_picture, of_sidecar = exiftool.tags(photos / "a.png", photos / "a.png.xmp", own=False)
    found = {key: value for key, value in of_picture.items() if key.startswith("XMP")}
    assert of_sidecar == found
    assert len(found) == 3


def test_stars_are_given_only_where_there_are_none(photos, capsys):
    (photos / "a.jpg.xmp").write_text(DIGIKAM, encoding="utf-8")
    rated = photos / "sub/c.jpg.xmp"
    rated.write_bytes(packet('xmp:Rating="0"'))
    assert run(photos, "--rating", "percentile", "--write") == 0
    said = capsys.readouterr().out
    assert "Ratings written: 0; 3 pictures have one, which stays" in said
    assert "1 of these are 0, which is XMP's unrated: --rate-unrated gives them stars" in said
    assert [xmp.rating(photos / name) for name in ("a.jpg", "b.jpg", "sub/c.jpg")] == [4, 2, 0]
    assert run(photos, "--rating", "percentile", "--rate-unrated", "--write") == 0
    assert [xmp.rating(photos / name) for name in ("a.jpg", "b.jpg", "sub/c.jpg")] == [4, 2, 5]
    assert run(photos, "--rating", "percentile", "--overwrite-ratings", "--write") == 0
    assert [xmp.rating(photos / name) for name in ("a.jpg", "b.jpg", "sub/c.jpg")] == [1, 3, 5]
    assert ended("tag", "--undo", photos.parent / "scores_tags.jsonl") == 0
    assert (photos / "a.jpg.xmp").read_text(encoding="utf-8") == DIGIKAM


def test_no_stars_unless_asked_for(photos):
    assert run(photos, "--write") == 0
    assert xmp.rating(photos / "a.jpg") is None


def test_stars_are_one_to_five():
    assert [tagging.stars(score, (30, 45, 60, 75)) for score in (-9, 29.9, 30, 59, 60, 74, 75, 200)] == [
        *(1, 1, 2, 3, 4, 4, 5, 5)
    ]
    assert tagging.cuts_at([0, 50, 100], (10, 30, 70, 90)) == pytest.approx([10, 30, 70, 90])


def test_raw_pictures_share_no_sidecar(photos, capsys):
    for name in ("IMG.CR3", "IMG.NEF"):
        (photos / name).write_bytes(b"no picture at all, and never opened for its pixels")
    jpeg(photos / "IMG.jpg")
    (photos / "IMG.xmp").write_text(LIGHTROOM, encoding="utf-8")
    rows = [("IMG.CR3", 10.0), ("IMG.NEF", 20.0), ("IMG.jpg", 30.0), ("./IMG.jpg", 40.0)]
    scores(photos, rows)
    assert run(photos, "--write") == UNSCORED
    said = capsys.readouterr().err
    assert "IMG.NEF would share the sidecar of IMG.CR3" in said
    assert "IMG.jpg comes twice" in said
    assert "2 pictures are left out" in said
    raw, picture = exiftool.tags(photos / "IMG.xmp", photos / "IMG.jpg.xmp")
    assert (raw["XMP-koniq:Score"], picture["XMP-koniq:Score"]) == (10, 30)
    assert "XMP-crs:Version" in raw
    assert "XMP-crs:Version" not in picture


def test_a_sidecar_of_the_shorter_name_that_may_be_the_jpegs_is_what_its_new_one_starts_from(photos):
    (photos / "a.xmp").write_text(DIGIKAM, encoding="utf-8")
    assert run(photos, "--write") == 0
    assert xmp.rating(photos / "a.jpg") == 4
    old, new = exiftool.tags(photos / "a.xmp", photos / "a.jpg.xmp", own=False)
    assert old == new
    assert (photos / "a.xmp").read_text(encoding="utf-8") == DIGIKAM


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no XML", "a.jpg.xmp is no XML: syntax error"),
        ("", "a.jpg.xmp is no XML: no element found"),
        (DARKTABLE[:-30], "a.jpg.xmp is no XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a/>', "a.jpg.xmp has a DTD"),
    ],
)
def test_a_sidecar_that_is_none_is_told_and_never_replaced(photos, text, why, capsys):
    (photos / "a.jpg.xmp").write_text(text, encoding="utf-8")
    for write in ((), ("--write",)):
        assert run(photos, *write) == UNSCORED
        assert why in capsys.readouterr().err
    assert (photos / "a.jpg.xmp").read_text(encoding="utf-8") == text
    assert (photos / "b.jpg.xmp").is_file()  # the rest goes on


def test_pictures_that_are_not_there_are_told(photos, capsys):
    rows = [(f"{number}.jpg", 5.0) for number in range(9)]
    scores(photos, [*ROWS, *rows])
    assert run(photos, "--write") == UNSCORED
    said = capsys.readouterr().err
    assert "0.jpg is not there." in said
    assert "4 more pictures are not there." in said
    assert said.endswith("9 pictures are left out, for the reasons above\n")


def test_a_folder_that_is_read_only_is_told_once_and_the_rest_goes_on(photos, monkeypatch, capsys):
    for number in range(3):
        jpeg(photos / f"{number}.jpg")
    scores(photos, [*((f"{n}.jpg", 5.0) for n in range(3)), ("sub/c.jpg", 5.0)])
    real = tagging.atomic_path

    def closed(path, **how):
        if path.parent == photos:
            raise OSError(30, "Read-only file system", str(path))
        return real(path, **how)

    monkeypatch.setattr(tagging, "atomic_path", closed)
    assert run(photos, "--write") == UNSCORED
    said = capsys.readouterr().err
    assert said == (
        f"Sidecars in {photos} cannot be written: Read-only file system.\n"
        "3 pictures are left out, for the reasons above\n"
    )
    assert (photos / "sub/c.jpg.xmp").is_file()
    monkeypatch.setattr(tagging.os, "access", lambda path, mode: path != photos / "sub")
    (photos / "sub/c.jpg.xmp").unlink()
    assert run(photos) == UNSCORED
    assert f"Sidecars in {photos / 'sub'} cannot be written: Permission denied." in capsys.readouterr().err


def test_a_sidecar_that_is_read_only_stays(photos, monkeypatch, capsys):
    path = photos / "a.jpg.xmp"
    path.write_text(DARKTABLE, encoding="utf-8")
    monkeypatch.setattr(tagging.os, "access", lambda asked, mode: asked != path)  # root may write whatever it is
    assert run(photos, "--write") == UNSCORED
    assert "a.jpg.xmp is read-only, and is left as it is." in capsys.readouterr().err


def test_a_sidecar_that_another_program_changes_meanwhile_is_read_again_or_left(photos, monkeypatch, capsys):
    path, times = photos / "a.jpg.xmp", []
    path.write_text(DARKTABLE, encoding="utf-8")
    real = tagging.planned

    def meanwhile(wish, at, how):
        change = real(wish, at, how)
        if at == path and len(times) < limit:
            times.append(0)
            path.write_text(DIGIKAM + "\n" * len(times), encoding="utf-8")
        return change

    monkeypatch.setattr(tagging, "planned", meanwhile)
    limit = 1
    assert run(photos, "--write") == 0
    assert b"digiKam:TagsList" in path.read_bytes()
    assert b"koniq:score" in path.read_bytes()
    limit = 9
    path.write_text(DARKTABLE, encoding="utf-8")
    assert run(photos, "--write") == UNSCORED
    assert "a.jpg.xmp is being written by another program, and is left as it is." in capsys.readouterr().err
    assert b"koniq" not in path.read_bytes()


def test_modes_and_links_stay(photos):
    kept = photos.parent / "kept.xmp"
    kept.write_text(DARKTABLE, encoding="utf-8")
    kept.chmod(0o640)
    (photos / "a.jpg.xmp").symlink_to(kept)
    assert run(photos, "--write") == 0
    assert (photos / "a.jpg.xmp").is_symlink()
    assert b"koniq:score" in kept.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_is_mounted_read_only(photos, capsys):
    (photos / "sub/c.jpg.xmp").write_text(DARKTABLE, encoding="utf-8")
    mount = ["mount", "--bind", "-o", "ro", photos / "sub", photos / "sub"]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", photos / "sub"], check=True)
        for write in ((), ("--write",)):
            assert run(photos, *write) == UNSCORED
            assert f"Sidecars in {photos / 'sub'} cannot be written: " in capsys.readouterr().err
        assert run(photos, "--write", "--log", photos / "sub/log.jsonl") == BAD_INPUT
        assert "--log names another. Received: " in capsys.readouterr().err
    finally:
        subprocess.run(["umount", photos / "sub"], check=False)
    assert xmp.sidecar(photos / "a.jpg").is_file()


def test_a_run_that_is_killed_in_between_is_undone(photos, monkeypatch):
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        (photos / f"{name}.xmp").write_text(DARKTABLE, encoding="utf-8")
    before = contents(photos)
    left = iter((None,))

    def killed(_):
        if next(left, 0) == 0:
            raise KeyboardInterrupt  # behind the second line of the log, before its change

    monkeypatch.setattr(tagging.os, "fsync", killed)
    monkeypatch.setattr("ku.files.sync", lambda path: None)
    assert run(photos, "--write") == INTERRUPTED
    log = photos.parent / "scores_tags.jsonl"
    assert len(log.read_text().splitlines()) == 2
    monkeypatch.undo()
    assert contents(photos) != before
    assert ended("tag", "--undo", log) == 0
    assert contents(photos) == before


def test_the_log_says_what_was_done(photos):
    (photos / "a.jpg.xmp").write_text(DARKTABLE, encoding="utf-8")
    log = photos.parent / "changes/log.jsonl"
    assert run(photos, "--cuts", 10, 30, 50, 70, "--overwrite-ratings", "--write", "--log", log) == 0
    a, b, _ = map(json.loads, log.read_text().splitlines())
    assert (a["sidecar"], a["rating"], a["had_rating"]) == (str(photos / "a.jpg.xmp"), 2, 1)
    assert (b["sidecar"], b["rating"], b["before"]) == (str(photos / "b.jpg.xmp"), 3, None)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "should be given, or --undo LOG"),
        (("scores.csv", "--undo", "log"), "not both"),
        (("scores.csv", "--cuts", 1, 2, 4, 3), "ascending. Received: cuts=(1.0, 2.0, 4.0, 3.0)"),
        (("scores.csv", "--cuts", 1, 2, 3, "nan"), "should be four numbers"),
        (("scores.csv", "--rating", "percentile", "--cuts", 1, 2, 3, 4), "Received: both"),
        (("scores.csv", "--rating", "percentile", "--percentiles", 1, 2, 3, 101), "0 to 100"),
        (("scores.csv", "--overwrite-ratings"), "Ratings should be asked for"),
        (("scores.parquet",), "should be a CSV"),
        (("other.csv",), "is not there"),
        (("none.csv",), "should have scores"),
        (("--undo", "other.jsonl"), "should be at other.jsonl"),
        (("--undo", "scores.csv"), "should be a log of koniq tag"),
    ],
)
def test_what_is_given_wrong_is_a_sentence(photos, arguments, why, monkeypatch, capsys):
    monkeypatch.chdir(photos.parent)
    write_scores(photos.parent / "none.csv", [("a.jpg", "unreadable", "why")])
    before = contents(photos.parent)
    assert ended("tag", *arguments) == BAD_INPUT
    assert why in capsys.readouterr().err
    assert contents(photos.parent) == before
