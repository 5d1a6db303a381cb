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
