import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from lite import drawn
from PIL import Image

from koniq.ground import InputError
from koniq.network import KONCEPT_LITE, sidecar, weights
from koniq.pictures import inputs

ROOT = Path(__file__).resolve().parents[2]
SLOW = {"tensorflow", "keras", "torch", "scipy.stats", "scipy.optimize", "matplotlib", "skimage", "jinja2", "requests"}


def names(found):
    return [name for name, _ in found.pictures]


@pytest.fixture
def folder(tmp_path):
    for name in ("2015-02-23/a.jpg", "2015-02-23/b.JPG", "c.png"):
        path = tmp_path / "lsc21-image" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(path)
    (tmp_path / "lsc21-image/notes.txt").touch()
    pd.DataFrame({"image_path": ["c.png", "gone.jpg", "2015-02-23/a.jpg"]}).to_csv(tmp_path / "list.csv", index=False)
    return tmp_path


def test_a_list_is_relative_to_the_images_beside_it(folder):
    found = inputs.of([str(folder / "list.csv")])
    assert names(found) == ["c.png", "gone.jpg", "2015-02-23/a.jpg"]
    assert list(found) == [folder / "lsc21-image" / name for name in names(found)]
    assert found.roots == [str(folder / "lsc21-image")]
    elsewhere = inputs.of([str(folder / "list.csv")], images="/pictures")
    assert elsewhere[1] == Path("/pictures/gone.jpg")


def test_a_folder_a_glob_and_a_file(folder, monkeypatch):
    images = folder / "lsc21-image"
    every = ["2015-02-23/a.jpg", "2015-02-23/b.JPG", "c.png"]
    assert names(inputs.of([str(images)])) == every
    assert list(inputs.of([f"{images}/**/*.jpg"])) == [images / "2015-02-23/a.jpg"]
    assert names(inputs.of([str(images / "c.png"), "absent.jpg"])) == [str(images / "c.png"), "absent.jpg"]
    monkeypatch.chdir(folder)
    several = inputs.of(["lsc21-image/", "lsc21-image"])  # named with their folder, so that no two are one
    assert names(several) == [f"lsc21-image/{name}" for name in every] * 2
    assert [path.resolve() for path in several] == [images / name for name in every] * 2
    assert several.roots == [str(folder)]


def test_in_a_folder_everything_that_may_be_a_picture_counts(folder, capsys):
    images = folder / "lsc21-image"
    Image.new("RGB", (4, 3)).save(images / "no ending", "PNG")
    Image.new("RGB", (4, 3)).save(images / "wrong.txt", "JPEG")
    (images / "IMG_1.HEIC").write_bytes(b"ftypheic")
    (images / "zero.jpg").touch()
    (images / "folder.jpg").mkdir()
    (images / "folder.jpg/within.png").touch()
    (images / "circle.jpg").symlink_to("circle.jpg")
    (images / "up").symlink_to("..")  # a circle of folders: entered once
    (images / "up.jpg").symlink_to("..")
    (images / "dangling.jpg").symlink_to("nowhere")
    os.mkfifo(images / "pipe.jpg")
    os.mkfifo(images / "pipe")
    (images / os.fsdecode(b"caf\xe9.jpg")).touch()
    found = names(inputs.of([str(images)]))
    assert len(found) == len(set(found))
    direct = {name for name in found if not name.startswith("up")}
    assert direct == {
        *("2015-02-23/a.jpg", "2015-02-23/b.JPG", "c.png", "no ending", "wrong.txt", "IMG_1.HEIC", "zero.jpg"),
        *("folder.jpg", "folder.jpg/within.png", "circle.jpg", "dangling.jpg", "pipe.jpg", os.fsdecode(b"caf\xe9.jpg")),
    }
    assert {name for name in found if name.startswith("up")} == {"up.jpg"}
    printed = capsys.readouterr().out
    assert f"other files in {images} are no pictures" in printed
    assert "notes.txt" in printed


def test_nothing_to_score_is_an_error(folder):
    (folder / "empty").mkdir()
    (folder / "wrong.csv").write_text("name\na.jpg\n")
    (folder / "void.csv").touch()
    for sources, message in (
        ([], "Received: nothing"),
        ([str(folder / "empty")], "should hold pictures"),
        ([str(folder / "*.gif")], "which matches nothing"),
        ([str(folder / "none.csv")], "signed agreement"),
        ([str(folder / "wrong.csv")], "column image_path and rows. Received: name; 1 rows"),
        ([str(folder / "void.csv")], "names of its columns. Received: an empty file"),
    ):
        with pytest.raises(InputError, match=message):
            inputs.of(sources)


def test_the_first_score_waits_for_no_framework(folder):
    """By koncept_lite; what takes longest to import is not imported at all."""
    path = folder / "lite.safetensors"
    weights.write_state(drawn(), path, KONCEPT_LITE)
    sidecar.write_record(path, KONCEPT_LITE)
    code = (
        "import sys, lifelog_predict; from koniq.commands import cli\n"
        "cli.run(lifelog_predict.main, lifelog_predict.Settings)\n"
        f"print('imported:', *{SLOW} & sys.modules.keys())"
    ).replace(str(SLOW), str({*SLOW}))
    command = [sys.executable, "-c", code, folder / "lsc21-image/c.png", "--weights", path, "--out", folder / "a.csv"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported:"
    assert pd.read_csv(folder / "a.csv").MOS.between(0, 100).all()


@pytest.fixture
def untidy(folder):
    """A folder as cameras, drives and other programs leave it."""
    images = folder / "lsc21-image"
    for name in (
        *("._c.png", ".hidden.jpg", "@eaDir/c.png/SYNOPHOTO_THUMB_M.jpg", ".thumbnails/c.png", "#recycle/old.jpg"),
        *("lost+found/x.jpg", "__MACOSX/y.jpg", ".@__thumb/z.jpg", "$RECYCLE.BIN/w.jpg", "drafts/v.jpg", "c_small.png"),
    ):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3)).save(images / name)
    return images


KEPT = ["2015-02-23/a.jpg", "2015-02-23/b.JPG", "c.png"]


def test_what_is_hidden_or_a_systems_is_left_out_of_folders_and_counted(untidy):
    found = inputs.of([str(untidy)])
    assert names(found) == sorted([*KEPT, "drafts/v.jpg", "c_small.png"])
    left_out = {Path(name).relative_to(untidy).as_posix() for name in found.excluded}
    assert left_out == {  # a folder stands for all that is in it
        *("._c.png", ".hidden.jpg", "@eaDir", ".thumbnails", "#recycle", "lost+found", "__MACOSX", ".@__thumb"),
        "$RECYCLE.BIN",
    }
    assert found.summary() == "5 pictures; 9 left out: hidden, a system's, or excluded (--list-excluded names them)"
    listed = found.summary(named=True).splitlines()
    assert listed[0] == "5 pictures; 9 left out: hidden, a system's, or excluded"
    assert f"  {untidy}/._c.png" in listed


@pytest.mark.parametrize(
    ("exclude", "gone"),
    [
        (["*_small.*"], ["c_small.png"]),
        (["drafts"], ["drafts"]),
        (["drafts/*"], ["drafts/v.jpg"]),
        (["2015*/b.*", "drafts"], ["2015-02-23/b.JPG", "drafts"]),
        (["*.jpg"], ["2015-02-23/a.jpg", "drafts/v.jpg"]),
        (["nothing"], []),
    ],
)
def test_globs_leave_out_more(untidy, exclude, gone):
    usual = inputs.of([str(untidy)])
    found = inputs.of([str(untidy)], exclude=exclude)
    assert sorted({*found.excluded} - {*usual.excluded}) == [f"{untidy}/{name}" for name in gone]
    assert {*names(usual)} - {*names(found)} == {
        name for name in names(usual) for out in gone if name == out or name.startswith(f"{out}/")
    }


def test_globs_leave_out_of_globs_too(untidy):
    found = names(inputs.of([f"{untidy}/**/*.jpg"], exclude=["b.*", "drafts"]))
    assert found == [f"{untidy}/2015-02-23/a.jpg"]
    assert f"{untidy}/lost+found/x.jpg" in inputs.of([f"{untidy}/**/*.jpg"]).excluded
    assert names(inputs.of([f"{untidy}/lost+found/*.jpg"])) == [f"{untidy}/lost+found/x.jpg"]


def test_a_file_that_is_named_itself_is_always_scored(untidy):
    for name in ("._c.png", ".hidden.jpg", "@eaDir/c.png/SYNOPHOTO_THUMB_M.jpg"):
        assert names(inputs.of([str(untidy / name)], exclude=["*"])) == [str(untidy / name)]
    pd.DataFrame({"image_path": [".hidden.jpg"]}).to_csv(untidy / "list.csv", index=False)
    assert names(inputs.of([str(untidy / "list.csv")])) == [".hidden.jpg"]
    assert names(inputs.of([str(untidy / "@eaDir")])) == ["c.png", "c.png/SYNOPHOTO_THUMB_M.jpg"]


def test_a_folder_of_which_all_is_left_out_says_so(untidy):
    with pytest.raises(InputError, match="none a picture, and 14 left out"):
        inputs.of([str(untidy)], exclude=["*.*", "*-*"])
    with pytest.raises(InputError, match="all of them left out"):
        inputs.of([f"{untidy}/*.png"], exclude=["*"])


def test_other_formats_are_no_pictures(untidy, capsys):
    for name in ("a.eps", "b.h5", "c.mpg", "d.fits", "e.icns", "f.pdf"):
        (untidy / name).write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    found = names(inputs.of([str(untidy)]))
    assert not {"a.eps", "b.h5", "c.mpg", "d.fits", "e.icns", "f.pdf"} & {*found}
    assert "are no pictures" in capsys.readouterr().out
