from math import nan
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from koniq import lifelog
from koniq.errors import InputError
from koniq.prediction import Score


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
    found = lifelog.inputs([str(folder / "list.csv")])
    assert found.image_path.tolist() == ["c.png", "gone.jpg", "2015-02-23/a.jpg"]
    assert found.path.tolist() == [folder / "lsc21-image" / name for name in found.image_path]
    elsewhere = lifelog.inputs([str(folder / "list.csv")], images="/pictures")
    assert elsewhere.path[1] == Path("/pictures/gone.jpg")


def test_a_folder_a_glob_and_a_file(folder):
    images = folder / "lsc21-image"
    assert lifelog.inputs([str(images)]).image_path.tolist() == ["2015-02-23/a.jpg", "2015-02-23/b.JPG", "c.png"]
    assert lifelog.inputs([f"{images}/**/*.jpg"]).path.tolist() == [images / "2015-02-23/a.jpg"]
    assert lifelog.inputs([str(images / "c.png"), "absent.jpg"]).image_path.tolist() == [
        str(images / "c.png"),
        "absent.jpg",
    ]


def test_nothing_to_score_is_an_error(folder):
    (folder / "empty").mkdir()
    (folder / "wrong.csv").write_text("name\na.jpg\n")
    for sources, message in (
        ([], "Received: nothing"),
        ([str(folder / "empty")], "should hold pictures"),
        ([str(folder / "*.gif")], "which matches nothing"),
        ([str(folder / "none.csv")], "signed agreement"),
        ([str(folder / "wrong.csv")], "column image_path and rows. Received: name; 1 rows"),
    ):
        with pytest.raises(InputError, match=message):
            lifelog.inputs(sources)


def test_every_input_has_a_row_whatever_its_name(tmp_path, capsys):
    names = ["a,b.jpg", 'say "x".jpg', "line\nbreak.jpg", "ok.jpg"]
    pictures = pd.DataFrame({"image_path": names, "path": [Path(name) for name in names]})
    scores = [Score(Path(name), nan, "missing", error="no such file") for name in names[:3]]
    scores.append(Score(Path("ok.jpg"), 51.25, width=4, height=3))
    lifelog.write(pictures, scores, tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table.image_path.tolist() == names
    assert table.MOS.isna().tolist() == [True, True, True, False]
    assert table.status.tolist() == ["missing"] * 3 + ["ok"]
    printed = capsys.readouterr().out
    assert "ok.jpg: 51.25" in printed
    assert "4 rows (3 missing, 1 ok); mean MOS 51.25" in printed
