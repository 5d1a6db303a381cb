"""Parts of the pictures, scored apart and merged: the file of a single machine, or one sentence on what is amiss."""

import json

import numpy as np
import pytest
from commands import ended
from mean import MeanPlan
from PIL import Image
from scored import write_scores

from koniq.ground import InputError, exits
from koniq.ground.facts import facts, facts_path
from koniq.pictures import inputs
from koniq.pictures.shards import number_of
from koniq.scoring import score_file
from koniq.scoring.journal import contents_path
from koniq.scoring.merging import merge
from koniq.scoring.scorer import Scorer
from ku.files import lock_file, lock_path

NAMES = [f"{number}.png" for number in range(12)] + ['odd, "name"\n.png', "größe.png"]


def picture(path, grey):
    Image.new("RGB", (20, 10), (grey,) * 3).save(path)


@pytest.fixture
def photos(tmp_path):
    """Pictures of one grey each, and one that is none."""
    (tmp_path / "photos").mkdir()
    for grey, name in enumerate(NAMES):
        picture(tmp_path / "photos" / name, 10 + grey)
    (tmp_path / "photos/broken.jpg").write_bytes(b"broken")
    return tmp_path / "photos"


def run(out, *sources, shard="", **how):
    """Score, and return how many pictures the network saw."""
    plan = MeanPlan()
    Scorer(plan).write(inputs.of(list(map(str, sources)), shard=shard), out, **how)
    return plan.scored


def shards(folder, *sources, of=3, **how):
    """The CSVs of all shards."""
    parts = [folder / f"part_{number}.csv" for number in range(1, of + 1)]
    for number, part in enumerate(parts, 1):
        run(part, *sources, shard=f"{number}/{of}", **how)
    return parts


def listed(path, names):
    path.write_text("\n".join(["image_path", *('"{}"'.format(name.replace('"', '""')) for name in names), ""]))
    return path


@pytest.mark.parametrize("columns", ["all", "study"])
def test_shards_of_a_folder_are_the_file_of_one_machine(photos, tmp_path, columns):
    run(tmp_path / "whole.csv", photos, columns=columns)
    parts, out = shards(tmp_path, photos, columns=columns), tmp_path / "merged/all.csv"
    merged = merge(parts[::-1], out)  # whatever the order of the parts
    assert (merged.rows, merged.said) == (15, [])
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert facts_path(out).read_bytes() == facts_path(tmp_path / "whole.csv").read_bytes()
    lines = [sorted(contents_path(path).read_text().splitlines()) for path in (out, tmp_path / "whole.csv")]
    assert lines[0] == lines[1]
    assert {path.name for path in out.parent.iterdir()} == {"all.csv", "all.csv.json", "all.csv.contents"}


def test_merged_it_is_gone_on_with_and_edited_pictures_are_known(photos, tmp_path):
    out = tmp_path / "all.csv"
    merge(shards(tmp_path, photos), out)
    before = out.read_bytes()
    assert run(out, photos) == 0
    assert out.read_bytes() == before
    picture(photos / "3.png", 200)
    picture(photos / "new.png", 201)
    assert run(out, photos) == 2
    table = score_file.read(out)
    assert table.MOS[table.image_path == "3.png"].tolist() == [200]


def test_the_order_of_a_list_is_restored_and_what_is_named_twice_has_two_rows(photos, tmp_path):
    names = [*NAMES, "gone.png", *NAMES[:3], "gone.png", "broken.jpg"]
    np.random.default_rng(0).shuffle(names)
    chosen = listed(photos / "list.csv", names)
    run(tmp_path / "whole.csv", chosen)
    parts, out = shards(tmp_path, chosen), tmp_path / "all.csv"
    with pytest.raises(InputError, match=r"in the order of their names.* Give the pictures that were scored, --pict"):
        merge(parts, out)
    assert not out.exists()
    assert merge(parts, out, inputs.of([str(chosen)])).rows == len(names)
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert run(out, chosen) == 0


def test_a_picture_named_twice_stands_twice_in_the_order_of_names_too(photos, tmp_path):
    chosen = listed(photos / "list.csv", sorted([*NAMES, *NAMES[3:6]]))
    run(tmp_path / "whole.csv", chosen)
    merge(shards(tmp_path, chosen), tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_an_absent_shard_is_named_and_nothing_is_written(photos, tmp_path, capsys):
    parts, out = shards(tmp_path, photos), tmp_path / "all.csv"
    for pictures in ((), ("--pictures", photos)):
        assert ended("merge", parts[0], parts[2], "--out", out, *pictures) == exits.BAD_INPUT
        said = capsys.readouterr().err
        assert "give the same command with --shard 2/3" in said
        assert "--shard 1/3" not in said
        assert not out.exists()
    assert f"{len(score_file.read(parts[1]))} of 15 pictures have none: " in said
    assert ended("merge", parts[0], parts[2], "--out", out, "--partial") == exits.UNSCORED
    assert "2/3" in capsys.readouterr().out
    assert run(out, photos) > 0  # gone on with, it is whole
    assert ended("merge", *parts, "--out", out) == exits.BAD_INPUT  # there already
    assert ended("merge", *parts, "--out", out, "--overwrite") == 0


def test_a_killed_shard_is_named_and_goes_on_with_the_same_command(photos, tmp_path):
    parts, out = shards(tmp_path, photos), tmp_path / "all.csv"
    whole = parts[1].read_bytes()
    parts[1].write_bytes(whole[:-4])
    for pictures in (None, inputs.of([str(photos)])):
        with pytest.raises(InputError, match="the same command with --shard 2/3"):
            merge(parts, out, pictures)
    run(parts[1], photos, shard="2/3")
    assert parts[1].read_bytes() == whole
    assert merge(parts, out).absent == 0


def test_another_shard_is_not_written_into_the_file_of_one(photos, tmp_path):
    run(tmp_path / "a.csv", photos, shard="1/3")
    for shard in ("2/3", "1/4", ""):
        with pytest.raises(InputError, match='was begun with shard="1/3"'):
            run(tmp_path / "a.csv", photos, shard=shard)


def test_how_many_pictures_a_shard_has_is_noted_anew(photos, tmp_path):
    name = next(name for name in map("new{}.png".format, range(99)) if number_of(name, 3) == 2)
    parts = shards(tmp_path, photos)
    before = facts(parts[1])["shard_pictures"]
    picture(photos / name, 99)
    run(parts[1], photos, shard="2/3")
    assert facts(parts[1])["shard_pictures"] == before + 1 == len(score_file.read(parts[1]))


def test_an_empty_shard_is_done_and_merged(tmp_path):
    (tmp_path / "photos").mkdir()
    picture(tmp_path / "photos/a.png", 50)
    parts = shards(tmp_path, tmp_path / "photos", of=4)
    assert sorted(len(score_file.read(part)) for part in parts) == [0, 0, 0, 1]
    assert merge(parts, tmp_path / "all.csv").rows == 1
    run(tmp_path / "whole.csv", tmp_path / "photos")
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


FACTS = {"weights": "abc", "precision": "float32", "device": "A"}


def test_parts_that_are_no_shards(tmp_path):
    """As of folders, or of what was scored on two machines; rows in both collapse, where they say the same."""
    one = write_scores(tmp_path / "1.csv", [("b", 2.0), ("d", 4.0), ("e", "missing", "no")], **FACTS, roots=["/x"])
    two = write_scores(
        tmp_path / "2.csv", [("a", 1.0), ("b", 2.0005), ("e", "missing", "gone")], **FACTS | {"device": "B"}
    )
    merged = merge([one, two], tmp_path / "all.csv")
    assert (merged.rows, merged.twice) == (4, 2)
    table = score_file.read(tmp_path / "all.csv")
    assert table.image_path.tolist() == ["a", "b", "d", "e"]
    assert table.MOS[1] == 2
    assert table.error[3] == "no"
    assert facts(tmp_path / "all.csv") == FACTS | {"device": "A; B", "roots": ["/x"]}
    pictures = inputs.of(["d", "a", "b"])
    merged = merge([one, two], tmp_path / "ordered.csv", pictures)
    assert (merged.rows, merged.twice, merged.others) == (4, 2, 1)
    assert score_file.read(tmp_path / "ordered.csv").image_path.tolist() == ["d", "a", "b", "e"]


def test_rows_of_signed_addresses_are_found_by_what_the_csv_calls_them(tmp_path):
    part = write_scores(tmp_path / "1.csv", [("https://host/b.jpg", 2.0), ("https://host/a.jpg", 1.0)], **FACTS)
    signed = listed(tmp_path / "list.csv", [f"https://host/{name}.jpg?X-Amz-Signature=secret" for name in "ab"])
    merged = merge([part], tmp_path / "all.csv", inputs.of([str(signed)]))
    assert (merged.rows, merged.absent, merged.others) == (2, 0, 0)
    assert score_file.read(tmp_path / "all.csv").MOS.tolist() == [1, 2]


@pytest.mark.parametrize("row", [("b", 2.1), ("b", "missing", "no")])
def test_two_scores_of_a_picture_are_refused_and_the_picture_named(tmp_path, row):
    one = write_scores(tmp_path / "1.csv", [("b", 2.0)], **FACTS)
    two = write_scores(tmp_path / "2.csv", [row], **FACTS)
    for pictures in (None, inputs.of(["b"])):
        with pytest.raises(InputError, match=r"should have one score\. Received: b with ok 2\.0 in .*1\.csv, and with"):
            merge([one, two], tmp_path / "all.csv", pictures)
    assert not (tmp_path / "all.csv").exists()


def test_what_cannot_be_merged_is_one_sentence(tmp_path, capsys):
    one = write_scores(tmp_path / "1.csv", [("a", 1.0)], **FACTS)
    two = write_scores(tmp_path / "2.csv", [("b", 1.0)], **FACTS | {"precision": "int8"})
    alone = write_scores(tmp_path / "3.csv", [("b", 1.0)], **FACTS)
    facts_path(alone).unlink()

    def said(*arguments):
        assert ended("merge", *arguments) == exits.BAD_INPUT
        return capsys.readouterr().err

    out = ("--out", tmp_path / "all.csv")
    assert '1.csv with precision="float32", and ' in said(one, two, *out)
    assert '2.csv with precision="int8"' in said(one, two, *out)
    assert "none.csv, not there" in said(one, tmp_path / "none.csv", *out)
    assert "3.csv.json should say" in said(one, alone, *out)
    assert "none of the parts" in said(one, "--out", one)
    with lock_file(lock_path(one)):
        assert "Another process is writing" in said(one, *out)
    one.write_text("image_path,MOS,status,width,height,error\na,b,c\n")
    assert "a row of 3 fields" in said(one, *out)
    assert not {path.name for path in tmp_path.iterdir()} & {"all.csv", "all.csv.json", "all.csv.contents"}


def test_contents_of_a_row_in_two_parts_are_those_of_the_first(tmp_path):
    parts = [write_scores(tmp_path / f"{number}.csv", [("a", 1.0)], **FACTS) for number in (1, 2)]
    for number, part in enumerate(parts):
        contents_path(part).write_text(json.dumps(["a", 0, number, 5, "aa"]) + "\n" + '["torn')
    merge(parts, tmp_path / "all.csv")
    lines = contents_path(tmp_path / "all.csv").read_text().splitlines()
    assert [json.loads(line)[2] for line in lines] == [1, 0]
