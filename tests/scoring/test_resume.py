"""What a CSV of scores says already: rows tried again, pictures edited since, folders that lie elsewhere now."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from commands import ended
from mean import MeanPlan
from PIL import Image

import lifelog_predict
from koniq.commands import select
from koniq.ground import InputError, RunStopped, exits, facts
from koniq.pictures import contents, inputs
from koniq.scoring import score_file, scorer
from koniq.scoring.score import Score
from koniq.scoring.scorer import Scorer

MEAN = Path(__file__).resolve().parents[1] / "helpers/mean.py"


def picture(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), (grey,) * 3).save(path)


@pytest.fixture
def photos(tmp_path):
    """Pictures of one grey each, whose name is it: 10.png, 20.png, ... 60.png, and broken.jpg."""
    for grey in range(10, 70, 10):
        picture(tmp_path / "photos" / f"{grey}.png", grey)
    (tmp_path / "photos/broken.jpg").write_bytes(b"broken")
    return tmp_path / "photos"


def run(out, *sources, retry=None, images="", overwrite=False):
    """Score, and return how many pictures the network saw."""
    plan = MeanPlan()
    Scorer(plan).write(inputs.of(list(map(str, sources)), images), out, overwrite=overwrite, retry=retry)
    return plan.scored


def mos(out):
    table = score_file.read(out)
    return dict(zip(table.image_path, table.MOS, strict=True))


def listed(folder, *names):
    path = folder / "list.csv"
    path.write_text("\n".join(["image_path", *names, ""]))
    return path


def known(out):
    return [json.loads(line) for line in out.with_name(out.name + ".contents").read_text().splitlines()]


def test_a_missing_picture_that_is_there_now_is_scored_in_its_row_and_nothing_else(photos, tmp_path, capsys):
    out, names = tmp_path / "s.csv", listed(photos, "10.png", "late.png", "broken.jpg", "never.png", "20.png")
    assert run(out, names) == 2
    before = out.read_text().splitlines()
    picture(photos / "late.png", 90)
    assert run(out, names) == 1
    after = out.read_text().splitlines()
    assert [line for line in after if line not in before] == ["late.png,90.0,ok,64,48,"]
    assert [line.split(",")[0] for line in after] == [line.split(",")[0] for line in before]
    printed = capsys.readouterr().out
    assert "1 of them are scored again (1 no longer missing)" in printed
    assert "5 rows (3 ok, 1 unreadable, 1 missing); mean MOS 40.00" in printed
    assert run(out, names) == 0


def test_retry_replaces_rows_without_a_score_all_or_by_status(photos, tmp_path, capsys):
    out, names = tmp_path / "s.csv", listed(photos, "10.png", "gone.png", "broken.jpg", "20.png")
    run(out, names)
    whole = out.read_bytes()
    # Not the content, but what the row says was wrong: as after a fault of the machine.
    out.write_bytes(whole.replace(b"20.png,20.0,ok,64,48,", b"20.png,,unreadable,0,0,Permission denied"))
    assert run(out, names) == 0
    for statuses in (["missing"], ["too_large", "truncated"]):
        assert run(out, names, retry=statuses) == 0
    assert run(out, names, retry=["unreadable"]) == 1
    assert "2 of them are scored again (2 tried again)" in capsys.readouterr().out
    assert out.read_bytes() == whole
    assert run(out, names, retry=()) == 0
    assert "2 of them are scored again (2 tried again)" in capsys.readouterr().out
    assert out.read_bytes() == whole
    with pytest.raises(InputError, match=r"retry should be of missing, unreadable.*Received: 10\.png, ok"):
        run(out, names, retry=["ok", "10.png", "missing"])


def test_retry_on_the_command_line(photos, tmp_path, monkeypatch, capsys):
    for module in (lifelog_predict, scorer):
        monkeypatch.setattr(module, "find_or_default", lambda _: tmp_path / "mean.h5")
    monkeypatch.setattr(scorer, "decide", lambda *_, **__: MeanPlan())

    def call(*arguments):
        code = ended(lifelog_predict, photos, "--out", tmp_path / "s.csv", *arguments)
        assert code == (exits.BAD_INPUT if arguments[-1:] == ("all",) else exits.UNSCORED)
        return capsys.readouterr()

    assert "7 rows" in call().out
    assert "tried again" not in call().out
    assert "(1 tried again)" in call("--retry").out
    assert "(1 tried again)" in call("--retry", "unreadable", "missing").out
    assert "tried again" not in call("--retry", "missing").out
    assert "Received: all" in call("--retry", "all").err


def test_an_edited_picture_is_scored_again_and_one_with_another_time_is_not(photos, tmp_path, capsys):
    out = tmp_path / "s.csv"
    assert run(out, photos) == 6
    before = mos(out)
    picture(photos / "20.png", 120)
    os.utime(photos / "30.png", ns=(1, 1))
    for path in (photos / "40.png", photos / "broken.jpg"):  # a new file with the same bytes
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    assert run(out, photos) == 1
    assert "1 of them are scored again (1 edited since)" in capsys.readouterr().out
    assert mos(out)["20.png"] == 120
    assert {name: value for name, value in mos(out).items() if name != "20.png"} == pytest.approx(
        {name: value for name, value in before.items() if name != "20.png"}, nan_ok=True
    )
    assert list(mos(out)) == list(before)
    picture(photos / "broken.jpg", 77)
    assert run(out, photos) == 1
    assert mos(out)["broken.jpg"] == 77
    picture(photos / "20.png", 20)  # as it was at first
    assert run(out, photos) == 1
    assert mos(out)["20.png"] == 20


def test_a_picture_is_read_once_for_another_time_and_never_for_the_same(photos, tmp_path, monkeypatch):
    out = tmp_path / "s.csv"
    run(out, photos)
    os.utime(photos / "30.png", ns=(1, 1))
    read, at = [], contents.at
    monkeypatch.setattr("koniq.scoring.resume.at", lambda path: read.append(Path(path).name) or at(path))
    run(out, photos)
    run(out, photos)
    assert read == ["30.png"]


def test_a_file_of_before_is_gone_on_with_and_nothing_in_it_is_scored_again(photos, tmp_path):
    out = tmp_path / "s.csv"
    run(out, photos)
    out.with_name("s.csv.contents").unlink()
    picture(photos / "20.png", 120)
    picture(photos / "70.png", 70)
    assert run(out, photos) == 1
    assert mos(out)["20.png"] == 20
    assert [line[0] for line in known(out)] == ["70.png"]


def test_more_or_fewer_lines_than_rows_and_damaged_ones(photos, tmp_path):
    out = tmp_path / "s.csv"
    run(out, photos)
    journal, whole = out.with_name("s.csv.contents"), out.read_bytes()
    lines = journal.read_bytes().splitlines(keepends=True)
    for number, kept in enumerate((lines[:3], [*lines, b'["none.png",0,1,1,"aa"]\n'], [b"x\n", b"[1]\n", *lines])):
        for torn in (b"", b'["10.png",0,5,5'):
            journal.write_bytes(b"".join(kept) + torn)
            picture(photos / "10.png", 100 + number)
            edited = lines[0] in kept
            assert run(out, photos) == edited
            assert mos(out)["10.png"] == (100 + number if edited else 10)
            assert journal.read_bytes().endswith(b"\n")
            picture(photos / "10.png", 10)
            journal.write_bytes(b"".join(lines))
            out.write_bytes(whole)
    out.write_bytes(whole[: whole.index(b"40.png")])  # rows torn off, lines still there
    picture(photos / "40.png", 140)
    assert run(out, photos) == 3
    assert mos(out)["40.png"] == 140
    assert run(out, photos) == 0


def test_a_picture_that_is_not_at_hand_keeps_its_score(photos, tmp_path):
    out, names = tmp_path / "s.csv", listed(tmp_path, "10.png", "20.png")
    run(out, names, images=str(photos))
    before = out.read_bytes()
    (photos / "10.png").unlink()
    os.mkfifo(photos / "10.png")  # nor is a pipe waited for
    (photos / "20.png").unlink()
    assert run(out, names, images=str(photos)) == 0
    assert run(out, names, images=str(photos), retry=()) == 0
    assert out.read_bytes() == before


def test_no_room_for_rows_in_place_of_others_leaves_the_file_as_it_was(photos, tmp_path, monkeypatch):
    out = tmp_path / "s.csv"
    run(out, photos)
    before = out.read_bytes()
    picture(photos / "20.png", 120)

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(score_file, "atomic_path", full)
    with pytest.raises(RunStopped, match=r"No space left on device\. Its 7 rows are whole"):
        run(out, photos)
    assert out.read_bytes() == before
    monkeypatch.undo()
    assert run(out, photos) == 1
    assert out.read_bytes() == before.replace(b"20.png,20.0", b"20.png,120.0")


def test_a_link_to_the_csv_stays_one(photos, tmp_path):
    out, real = tmp_path / "s.csv", tmp_path / "elsewhere/real.csv"
    real.parent.mkdir()
    real.touch(mode=0o640)
    out.symlink_to(real)
    run(out, photos)
    picture(photos / "20.png", 120)
    run(out, photos)
    assert out.is_symlink()
    assert mos(real)["20.png"] == 120
    assert real.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("retry", [pytest.param(True, marks=pytest.mark.long), False])
def test_killed_while_rows_are_replaced_nothing_is_lost(tmp_path, retry):
    """Killed at random moments; in each the file has every row, in order, a score once it is replaced; then it ends."""
    rng = np.random.default_rng(1)
    folder, out = tmp_path / "photos", tmp_path / "s.csv"
    names = [f'{number:03}, "x"\n.png' for number in range(120)]
    for number, name in enumerate(names):
        picture(folder / name, number)
    run(out, folder)
    whole = out.read_bytes()
    if retry:  # as after a drive that went away
        lines = whole.replace(b"\n.png", b"\x00.png").split(b"\n")
        broken = [line.split(b'",')[0] + b'",,unreadable,0,0,gone' if b"ok" in line else line for line in lines[:-1]]
        out.write_bytes(b"\n".join([*broken, b""]).replace(b"\x00", b"\n"))
        out.with_name("s.csv.contents").write_text("")
    else:
        for number, name in enumerate(names):
            picture(folder / name, number + 100)
        whole = b"".join(
            line.replace(b'",%d.0,' % number, b'",%d.0,' % (number + 100))
            for number, line in enumerate([b"", *whole.replace(b"\n.png", b"\x00.png").splitlines(keepends=True)], -2)
        ).replace(b"\x00", b"\n")
    command = [sys.executable, str(MEAN), "--out", str(out), str(folder)] + (["--retry"] if retry else [])
    scored = []
    while len(set(scored)) < 4 and len(scored) < 15:  # a machine full of other work may get nowhere before a kill
        inode = out.stat().st_ino
        with subprocess.Popen(
            command,
            env=os.environ | {"PAUSE": "0.05", "STEP": "0.02"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            while process.poll() is None and out.stat().st_ino == inode:
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.2))
            process.kill()
        table = score_file.read(out)
        assert table.image_path.tolist() == names
        old = table.status.eq("unreadable") if retry else table.MOS.eq(np.arange(120))
        new = table.MOS.eq(np.arange(120) + (0 if retry else 100))
        assert (old | new).all()
        scored.append(int(new.sum()))
    assert scored == sorted(scored)
    assert scored[0] > 0
    assert len(set(scored)) > 3
    subprocess.run(command, check=True, capture_output=True)
    assert out.read_bytes() == whole
    assert run(out, folder) == 0


# Places


def test_a_folder_under_another_mount_point_is_gone_on_with(photos, tmp_path, capsys):
    out = tmp_path / "s.csv"
    run(out, photos)
    before = out.read_bytes()
    elsewhere = tmp_path / "mnt/disk/photos"
    elsewhere.parent.mkdir(parents=True)
    photos.rename(elsewhere)
    picture(elsewhere / "70.png", 70)
    assert run(out, elsewhere) == 1
    assert out.read_bytes() == before + b"70.png,70.0,ok,64,48,\n"
    assert facts.facts(out)["roots"] == [str(elsewhere), str(photos)]
    assert facts.locate("10.png", facts.facts(out)["roots"]) == elsewhere / "10.png"
    copy = shutil.copytree(elsewhere, tmp_path / "copy")  # of today, too: no contents are known, but the old files are
    for path in copy.iterdir():
        os.utime(path, ns=(5, 5))
    out.with_name("s.csv.contents").unlink()
    assert run(out, copy) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"{out}: 8 rows (7 ok, 1 unreadable)")


def test_an_edited_picture_in_a_moved_folder_is_scored_again(photos, tmp_path):
    out = tmp_path / "s.csv"
    run(out, photos)
    moved = photos.rename(tmp_path / "moved")
    picture(moved / "20.png", 120)
    assert run(out, moved) == 1
    assert mos(out)["20.png"] == 120


@pytest.mark.parametrize("remembered", [True, False])
def test_another_collection_is_refused(photos, tmp_path, remembered):
    out = tmp_path / "s.csv"
    run(out, photos)
    if not remembered:
        out.with_name("s.csv.contents").unlink()
    before = {path: path.read_bytes() for path in (out, facts.facts_path(out))}
    for number in range(3):  # a second camera that names its pictures alike
        picture(tmp_path / "camera" / f"{number + 1}0.png", 200 + number)
        picture(tmp_path / "others" / f"IMG_{number}.png", number)
    for folder, why in (
        ("camera", "of the same names in .*camera"),
        ("others", "and none of the pictures in the file lies there"),
    ):
        with pytest.raises(InputError, match=rf"for the pictures that it was begun for, in .*photos\. .*{why}"):
            run(out, tmp_path / folder)
        assert {path: path.read_bytes() for path in before} == before


def test_names_as_seen_from_another_working_directory(photos, tmp_path, monkeypatch, capsys):
    out = tmp_path / "s.csv"
    monkeypatch.chdir(tmp_path)
    assert run(out, "photos/10.png", "photos/20.png") == 2
    before = out.read_bytes()
    monkeypatch.chdir(photos)
    assert run(out, "10.png") == 0
    assert run(out, photos / "20.png", "../photos/10.png") == 0
    assert out.read_bytes() == before
    assert "photos/10.png: 10.00" in capsys.readouterr().out
    assert run(out, photos) == 4  # the rest of the folder; broken.jpg is not seen by the network
    assert list(mos(out)) == ["photos/10.png", "photos/20.png", *(f"{n}.png" for n in range(30, 70, 10)), "broken.jpg"]
    tmp_path.joinpath("moved").mkdir()
    photos.rename(tmp_path / "moved/photos")
    monkeypatch.chdir(tmp_path / "moved")
    assert run(out, "photos/10.png", "photos/20.png") == 0
    roots = facts.facts(out)["roots"]
    assert all(facts.locate(name, roots) for name in ("photos/10.png", "photos/20.png"))


def test_kept_scores_are_printed_of_single_pictures(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(photos)
    out = tmp_path / "s.csv"
    run(out, "10.png", "broken.jpg", "gone.png")
    capsys.readouterr()
    assert run(out, "broken.jpg", "20.png", "10.png", "gone.png") == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"3 of them are in {out} already"
    assert set(printed[1:4]) == {
        "10.png: 10.00",
        "broken.jpg: not a picture in a format of photographs",
        "gone.png: no such file",
    }
    assert "20.png: 20.00" in printed[4:]


def test_a_picture_of_a_scored_folder_given_alone_is_not_scored_again(photos, tmp_path, monkeypatch, capsys):
    out = tmp_path / "s.csv"
    run(out, photos)
    monkeypatch.chdir(tmp_path)
    assert run(out, "photos/30.png") == 0
    assert "30.png: 30.00" in capsys.readouterr().out
    picture(tmp_path / "apart/10.png", 99)
    monkeypatch.chdir(tmp_path / "apart")
    with pytest.raises(InputError, match="Received: others"):
        run(out, "10.png")


def test_what_is_named_twice_keeps_its_two_rows(photos, tmp_path):
    out, names = tmp_path / "s.csv", listed(photos, "10.png", "20.png", "10.png", "gone.png", "gone.png")
    assert run(out, names) == 3
    picture(photos / "10.png", 110)
    picture(photos / "gone.png", 80)
    assert run(out, names) == 4
    assert score_file.read(out).MOS.tolist() == [110, 20, 110, 80, 80]
    assert run(out, names) == 0


def test_a_selection_is_scored_and_read_again_from_where_it_lies(photos, tmp_path, monkeypatch, capsys):
    picture(photos / os.fsdecode(b"caf\xe9.png"), 90)
    out, chosen = tmp_path / "scores/s.csv", tmp_path / "lists/best.csv"
    chosen.parent.mkdir()
    run(out, photos)
    select.main(select.Settings(out, at_least=45, out=chosen))
    monkeypatch.chdir(chosen.parent)
    assert run(tmp_path / "again.csv", "best.csv") == 3
    assert mos(tmp_path / "again.csv") == {"50.png": 50, "60.png": 60, "caf\\xe9.png": 90}
    assert facts.facts(tmp_path / "again.csv")["roots"] == [str(photos)]
    about = facts.facts(chosen)
    assert about == facts.facts(out) | {"selected_from": "s.csv"}
    assert facts.locate("60.png", about["roots"]) == photos / "60.png"
    elsewhere = photos.rename(tmp_path / "moved")
    assert run(tmp_path / "moved.csv", "best.csv", images=str(elsewhere)) == 3
    assert mos(tmp_path / "moved.csv")["60.png"] == 60
    select.main(select.Settings(out, at_least=55, out=chosen))  # over itself
    chosen.with_name("mine.csv.json").write_text('{"mine": 1}')
    with pytest.raises(InputError, match="an earlier selection"):
        select.main(select.Settings(out, at_least=55, out=chosen.with_name("mine.csv")))
    facts.facts_path(out).unlink()  # scores of another program: their folder is what is known
    select.main(select.Settings(out, at_least=55, out=chosen))
    assert facts.facts(chosen)["roots"] == [str(out.parent)]


def test_a_list_without_roots_is_taken_as_before(photos, tmp_path):
    names = listed(photos, "10.png", "gone.png")
    assert run(tmp_path / "s.csv", names) == 1
    facts.facts_path(names).write_text(json.dumps({"roots": [str(tmp_path / "nowhere")]}))  # moved with its pictures
    assert run(tmp_path / "t.csv", names) == 1


# The journal


def test_contents_are_told_apart(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    first = contents.at(path)
    assert (first.size, len(first.digest)) == (3, 32)
    os.utime(path, ns=(1, 1))
    assert contents.at(path).digest == first.digest
    assert not first.looks_like(path.stat())
    path.write_bytes(b"abd")
    assert contents.at(path).digest != first.digest
    assert contents.at(tmp_path) is None
    assert contents.at(tmp_path / "none") is None
    assert contents.at(tmp_path / "nul\0") is None


def test_a_huge_file_is_known_by_size_and_time(tmp_path):
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.truncate(contents.LARGEST + 1)  # takes no room
    assert contents.at(path) == (contents.LARGEST + 1, path.stat().st_mtime_ns, "")


def test_every_name_comes_back_from_the_journal(tmp_path):
    names = ["a", "a", "b,\n\"'.jpg", "größe\r.jpg", "\\xff.jpg", ""]
    with score_file.ScoreFile(tmp_path / "s.csv", {}) as file:
        for number, name in enumerate(names):
            file.append(Score(name, 1, content=contents.Content(number, 2**62, "ab")))
        found = dict(file.journal.lines())
    assert [content.size for content in found.values()] == list(range(6))
    assert list(found)[:3] == [("a", 0), ("a", 1), (names[2], 0)]
