"""The best of each day, burst or group: which are one, which is kept, what is said of it, and nothing touched."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from browser import shown
from commands import ended
from dated import photograph
from PIL import Image
from scored import write_scores

from koniq.ground import InputError
from koniq.ground.facts import facts
from koniq.reports import culling, found_groups, gathering, moments
from koniq.scoring import exporting

DAY = "IMG_20230102_"


def pixels(seed, size=(96, 128)):
    """A smooth picture, unlike that of another seed."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC))


def kept(out):
    return pd.read_csv(out).image_path.tolist()


def test_the_best_of_each_group_and_what_intervals_say():
    rows = pd.DataFrame({"image_path": list("abcdefg"), "MOS": [5.0, 7, 7, 1, 9, 3, 4]})
    rows = rows.assign(MOS_low=rows.MOS - 1, MOS_high=rows.MOS + 1)
    group = np.array([4, 4, 4, 2, 2, 7, -1])
    found = culling.culled(rows, group)
    assert found.image_path.tolist() == list("abcdef")
    assert found.group.tolist() == [1, 1, 1, 2, 2, 3]
    assert culling.culled(rows, np.array([5, 0, 3, 0, 3, 4, 0])).group.tolist() == [3, 1, 2, 1, 2, 4, 1]
    assert found.image_path[found.kept].tolist() == ["b", "e", "f"]  # of equal scores the first
    assert found.meeting.tolist() == [2, 2, 2, 0, 0, 0]
    by = dict([*found.groupby("group")])
    assert culling.why(by[1], 1) == (
        "The one kept has the highest score, 0.0 above the next, but is not told apart from 2 of the 2 others: "
        "their intervals meet its own."
    )
    assert culling.why(by[2], 1) == (
        "The one kept has the highest score, 8.0 above the next, and is told apart from the rest: no interval meets "
        "its own."
    )
    assert culling.why(by[3], 1) == "All are kept."
    assert culling.summary(found, 1) == (
        "6 pictures: 2 groups of 2 or more, with 5 of them; 3 are kept. In 1 of 2 groups the intervals do not tell "
        "them apart"
    )
    two = culling.culled(rows, group, 2)
    assert two.image_path[two.kept].tolist() == ["b", "c", "d", "e", "f"]
    assert two.meeting.tolist() == [1, 1, 1, 0, 0, 0]
    bare = culling.culled(rows[["image_path", "MOS"]], group)
    assert "Without intervals nothing says" in culling.why(bare[bare.group == 1], 1)
    none = culling.culled(rows, np.full(7, -1))
    assert len(none) == 0
    assert culling.summary(none, 1).startswith("0 pictures: 0 groups")


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_neighbours_in_time_are_a_chain(count):
    rng = np.random.default_rng(count)
    order = rng.permutation(count)
    seconds = pd.Series(np.cumsum(np.where(np.arange(count) % 5, 2.999, 3.001))[order], dtype=float)
    time = pd.to_datetime(seconds, unit="s").astype("datetime64[ms]")
    found = moments.bursts(pd.Series([""] * count, dtype=str), time, [], 3.0, -1)
    assert all((found[a] == found[b]) == (order[a] // 5 == order[b] // 5) for a in range(count) for b in range(count))


def test_pictures_without_a_time_are_by_themselves():
    time = pd.Series(pd.to_datetime(["2023-01-01 00:00:00", None, "2023-01-01 00:00:02", None]))
    assert len({*moments.bursts(pd.Series(list("abcd")), time, [], 3, -1)}) == 3


def test_pairs_of_hashes_are_those_of_all_pairs(monkeypatch):
    monkeypatch.setattr(moments, "AT_ONCE", 64)
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**63, 40).astype(np.uint64)
    bits[20:] = bits[:20] ^ np.uint64(0b111)
    mask = np.arange(40) % 7 == 0
    first, second = moments.alike(np.ma.array(bits, mask=mask), 3)
    assert {*zip(first, second, strict=True)} == {(n, n + 20) for n in range(20) if n % 7 and (n + 20) % 7}
    assert [len(column) for column in moments.alike(np.ma.array([], np.uint64, mask=[]), 3)] == [0, 0]


@pytest.fixture
def album(tmp_path):
    """A burst of three; a picture, a small copy of it a year later, and one without a file; and one without a score."""
    names = [f"{DAY}03040{n}.jpg" for n in (5, 6, 8)]
    for seed, name in enumerate([*names, f"{DAY}120000.jpg"]):
        photograph(tmp_path / name, pixels=pixels(seed))
    photograph(tmp_path / "old/small.jpg", pixels=pixels(3, (60, 80)))
    rows = [(name, 40.0 + 5 * (n == 1), 2.0) for n, name in enumerate(names)]
    rows += [(f"{DAY}120000.jpg", 50.0, 2.0), ("old/small.jpg", 51.0, 2.0), ("gone.jpg", 5.0, 2.0)]
    rows.append(("bad.jpg", "unreadable", "no picture"))
    return write_scores(tmp_path / "s.csv", rows, roots=[str(tmp_path)], intervals="90 % intervals, made on <b>")


def test_bursts_by_time_and_by_looks(album, capsys):
    pytest.importorskip("imagehash")
    assert ended("select", album, "--best-of", "bursts") == 0
    folder, out = album.with_name("s_groups"), album.with_name("s_selected.csv")
    assert kept(out) == [f"{DAY}030406.jpg", "old/small.jpg", "gone.jpg"]
    said = capsys.readouterr().out
    assert "6 pictures: 2 groups of 2 or more, with 5 of them; 3 are kept" in said
    assert "In 1 of 2 groups the intervals do not tell them apart" in said
    assert "1 pictures have no score and are not selected" in said
    groups = pd.read_csv(folder / "groups.csv")
    assert groups.group.tolist() == [1, 1, 1, 2, 2, 3]
    assert groups.kept.tolist() == [False, True, False, False, True, True]
    html = (folder / "report.html").read_text()
    assert html.index("Group 1: 3 pictures") < html.index("Group 2: 2 pictures")
    assert "Group 3" not in html  # by itself
    assert "45.00, kept" in html
    assert "2023-01-02 03:04:05 to 03:04:08" in html
    assert "made on &lt;b&gt;" in html
    assert "by names, the clock of what wrote them: 4; of nothing: 2." in html
    assert html.count("data:image/jpeg") == 5
    assert facts(out)["selected_from"] == "s.csv"
    assert ended("select", album, "--best-of", "bursts", "--near", -1, "--gap", 1, "--order", "score") == 0
    assert kept(out) == ["old/small.jpg", f"{DAY}120000.jpg", f"{DAY}030406.jpg", f"{DAY}030408.jpg", "gone.jpg"]


def test_the_page_in_a_browser(tmp_path):
    names = ["<script>document.title='taken'</script>.jpg", "line\nbreak.jpg", f"{'long' * 60}.jpg", "{{ 7*7 }}.jpg"]
    photograph(tmp_path / names[3])
    csv = write_scores(tmp_path / "s.csv", [(name, 50.0 + n, 1.0) for n, name in enumerate(names)], record={})
    (tmp_path / "<b>.csv").write_text("image_path,group\n" + "".join(f'"{name}",1\n' for name in names))
    assert ended("select", csv, "--groups", tmp_path / "<b>.csv") == 0
    for width in (390, 1280):
        seen = shown(tmp_path / "s_groups/report.html", width)
        assert (seen["width"], seen["broken"], seen["scripts"], seen["fetched"]) == (width, [], 0, [])
    assert {*names[:2], names[3]} <= {*seen["names"]}
    assert seen["title"] == "The best of s.csv"
    assert "A group is what <b>.csv says." in seen["text"]
    assert [cell for cell in seen["cells"] if "53.00, kept" in cell] == seen["cells"][:1]
    assert len(seen["images"]) == 1
    assert all(seen["images"])


def test_a_hash_is_of_the_picture_as_it_is_seen(tmp_path):
    hash_of = pytest.importorskip("koniq.pictures.in_imagehash").hash_of
    picture, exif = Image.fromarray(pixels(5)), Image.Exif()
    picture.save(tmp_path / "a.png")
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    picture.resize((300, 220)).save(tmp_path / "large.jpg", quality=60)
    whole = hash_of(tmp_path / "a.png")
    assert whole.dtype == np.uint64
    assert hash_of(tmp_path / "turned.png") == whole
    assert np.bitwise_count(hash_of(tmp_path / "large.jpg") ^ whole) <= 4
    photograph(tmp_path / "other.jpg", pixels=pixels(6))
    assert np.bitwise_count(hash_of(tmp_path / "other.jpg") ^ whole) > 16
    (tmp_path / "bad.jpg").write_text("no picture")
    assert hash_of(tmp_path / "bad.jpg") is None
    assert hash_of(None) is None


def test_the_best_of_all_and_of_each_day(tmp_path, capsys):
    names = [f"2016-08-{15 + n % 2}/{n}.jpg" for n in range(8)] + ["none.jpg"]
    csv = write_scores(tmp_path / "s.csv", [(name, float(n)) for n, name in enumerate(names)])
    out = tmp_path / "s_selected.csv"
    assert ended("select", csv, "--best", 3) == 0
    assert kept(out) == [names[6], names[7], names[8]]
    assert not (tmp_path / "s_groups").exists()
    assert ended("select", csv, "--best", 3, "--best-per", "day", "--no-thumbnails") == 0
    assert kept(out) == names[2:8]
    said = capsys.readouterr().out
    assert "6 of 9 scored pictures, the best of each group" in said
    assert "1 pictures have no day and are not selected" in said
    html = (tmp_path / "s_groups/report.html").read_text()
    assert "The 3 kept have the highest scores, 2.000 above the next. Without intervals nothing says" in html
    assert "the day alone by folders: 8; of nothing: 1." in html
    assert "not at hand" not in html


GROUPS = [["a.jpg", "sub/b.jpg"], ["c.jpg", "d.jpg", "e.jpg"]]
CZKAWKA = """Results of searching ["/photos"]
2 images which have similar friends

Found 2 images which have similar friends
{0} - 4000x3000 - 3.2 MiB - Original
{1} - 400x300 - 32.0 KiB - Very High

Found 3 images which have similar friends

{2} - 4000x3000 - 3.2 MiB - Original
{3} - 4000x3000 - 3.2 MiB - High
{4} - 4000x3000 - 3.2 MiB - High
"""


def saved(kind, folder):
    """The groups as another program saves them; whole: by whole paths."""
    names = [name for group in GROUPS for name in group]
    whole = [str(folder / name) for name in names]
    entries = [{"path": path, "size": 1, "width": 2} for path in whole]
    short = [name.rsplit("/", 1)[-1] for name in names]
    return {
        "own.csv": "image_path,group\n" + "".join(f"{n},{1 + (at > 1)}\n" for at, n in enumerate(names)) + "z.jpg,\n",
        "other.csv": "cluster;path;size\n" + "".join(f"{at > 1};{path};1\n" for at, path in enumerate(whole)),
        "czkawka.txt": CZKAWKA.format(*(f'"{path}"' for path in whole)),
        "older.txt": CZKAWKA.format(*whole),
        "czkawka.json": json.dumps([entries[:2], entries[2:]]),
        "reference.json": json.dumps([[entries[0], entries[1:2]], [entries[2], entries[3:]]]),
        "imagededup.json": json.dumps(
            {short[0]: [short[1]], short[1]: [short[0]], short[2]: [short[3]], short[3]: [short[4]], "x.jpg": []}
        ),
        "scores.json": json.dumps({short[0]: [[short[1], 0.9]], short[2]: [[short[3], 1], [short[4], 2]]}),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        *("own.csv", "other.csv", "czkawka.txt", "older.txt"),
        *("czkawka.json", "reference.json", "imagededup.json", "scores.json"),
    ],
)
def test_groups_of_other_programs(tmp_path, kind, capsys):
    names = [name for group in GROUPS for name in group]
    csv = write_scores(tmp_path / "s.csv", [(name, float(n)) for n, name in enumerate([*names, "single.jpg"])])
    (tmp_path / kind).write_text(saved(kind, tmp_path))
    assert ended("select", csv, "--groups", tmp_path / kind) == 0
    assert kept(tmp_path / "s_selected.csv") == ["sub/b.jpg", "e.jpg", "single.jpg"]
    assert "of the names" not in capsys.readouterr().out
    assert f"A group is what {kind} says." in (tmp_path / "s_groups/report.html").read_text()


def test_names_of_no_picture_are_counted(tmp_path, capsys):
    csv = write_scores(tmp_path / "s.csv", [("a/x.jpg", 1.0), ("b/x.jpg", 2.0), ("c.jpg", 3.0)])
    (tmp_path / "g.csv").write_text("image_path,group\nx.jpg,1\nc.jpg,1\ngone.jpg,1\n")  # which x.jpg?
    assert ended("select", csv, "--groups", tmp_path / "g.csv") == 0
    assert "2 of the names in g.csv are of no picture with a score" in capsys.readouterr().out
    assert len(kept(tmp_path / "s_selected.csv")) == 3
    for name, content, message in (
        ("g.csv", "image_path,group\nx.jpg,1\n", "groups should name pictures that have a score. Received: 'x.jpg'"),
        ("g.csv", "image_path,team\nx.jpg,1\n", "Received: {}, with the columns image_path, team"),
        ("g.txt", "Not found any similar images.", "Received: {}, with no group"),
        ("g.json", "[", "Received: {}, which is no JSON"),
        ("g.json", '"x"', "Received: {}, another JSON"),
    ):
        (tmp_path / name).write_text(content)
        assert ended("select", csv, "--groups", tmp_path / name) == 2
        assert message.format(tmp_path / name) in capsys.readouterr().err
    with pytest.raises(InputError, match="which is not there"):
        found_groups.read(tmp_path / "absent.csv")


@pytest.mark.parametrize("how", ["--links", "--copies"])
def test_pictures_are_gathered_and_nothing_is_touched(tmp_path, how, capsys):
    names = ["a/x.jpg", "b/X.jpg", "b/x_2.jpg", "low.jpg"]
    for seed, name in enumerate(names):
        photograph(tmp_path / name, pixels=pixels(seed))
    os.utime(tmp_path / "a/x.jpg", (1e9, 1e9))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.rglob("*.jpg")}
    rows = [(name, 50.0 - 40 * (name == "low.jpg")) for name in names]
    csv = write_scores(tmp_path / "s.csv", [*rows, ("gone.jpg", 60.0)], roots=[str(tmp_path)])
    assert ended("select", csv, "--at-least", 50, how, tmp_path / "out") == 0
    assert "3 pictures; 1 are not where the table says" in capsys.readouterr().out
    for name, own in zip(names, ("x.jpg", "X_2.jpg", "x_2_2.jpg"), strict=False):
        assert (tmp_path / "out" / own).is_symlink() == (how == "--links")
        assert (tmp_path / "out" / own).read_bytes() == before[tmp_path / name][0]
    assert (tmp_path / "out/x.jpg").stat().st_mtime == 1e9
    assert len([*(tmp_path / "out").iterdir()]) == 3
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before
    assert ended("select", csv, "--at-least", 50, how, tmp_path / "out") == 2
    assert "A folder to gather pictures in should be new or empty" in capsys.readouterr().err
    nowhere = write_scores(tmp_path / "n.csv", [("gone.jpg", 60.0)])
    assert ended("select", nowhere, "--best", 1, how, tmp_path / "new") == 2
    assert "should be where the table says, or in --images. Received: gone.jpg" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_names_are_made_distinct():
    assert gathering.distinct(["a.jpg", "a_2.jpg", "A.jpg", "a", "a", ".x", ".x", "b.tar.gz", "b.tar.gz"]) == [
        *("a.jpg", "a_2.jpg", "A_3.jpg", "a", "a_2", ".x", ".x_2", "b.tar.gz", "b.tar_2.gz")
    ]


def test_the_pictures_may_lie_elsewhere(tmp_path):
    photograph(tmp_path / "moved/a.jpg", "2016:08:15 13:13:15")
    csv = write_scores(tmp_path / "s.csv", [("a.jpg", 1.0)], roots=["/mnt/nowhere"])
    more = ("--images", tmp_path / "moved", "--copies", tmp_path / "out")
    assert ended("select", csv, "--best-per", "day", *more) == 0
    assert (tmp_path / "out/a.jpg").is_file()
    assert facts(tmp_path / "s_selected.csv")["roots"] == [str(tmp_path / "moved")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--best", 0], "best should be 1 or more. Received: best=0"),
        (["--best", 3, "--at-least", 50], "best should be given without at_least. Received: best=3"),
        (["--best-per", "day", "--best-of", "bursts"], "Received: best_per=day, best_of=bursts"),
        (["--best-of", "bursts", "--gap", -1], "gap should be 0 seconds or more. Received: gap=-1.0"),
        (["--best-of", "bursts", "--near", 17], "near should be 0 to 16 bits, or -1 for no hashes. Received: near=17"),
        (["--best", 1, "--links", "x", "--copies", "x"], "links and copies should be two folders. Received: x"),
        (["--best-per", "day"], "Pictures should say their day, by names, EXIF or folders. Received: 1 that say none"),
        (["--best-per", "day", "--page", "full"], "out should be a new or empty folder, or that of an earlier report"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    write_scores(tmp_path / "s.csv", [("a.jpg", 1.0)])
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").touch()
    assert ended("select", "s.csv", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not [*tmp_path.glob("*selected*")]


def test_without_imagehash_one_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    csv = write_scores(tmp_path / "s.csv", [("a.jpg", 1.0)])
    monkeypatch.setattr(moments, "find_spec", lambda name: None)
    assert ended("select", csv, "--best-of", "bursts") == 2
    said = capsys.readouterr().err
    assert "ImageHash should be installed to find pictures that look alike: pip install -r requirements-cul" in said
    assert ended("select", csv, "--best-of", "bursts", "--near", -1) == 0


def test_parquet_is_answered_by_a_sentence(tmp_path, capsys):
    pytest.importorskip("duckdb")
    csv = write_scores(tmp_path / "s.csv", [("a.jpg", 1.0)])
    exporting.export(csv, tmp_path / "s.parquet")
    assert ended("select", tmp_path / "s.parquet", "--best", 1) == 2
    assert "should be asked of scores as CSV, which koniq export writes" in capsys.readouterr().err
