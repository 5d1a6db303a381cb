"""Parts of the pictures by a hash of their names: each in one, for ever, whatever is added."""

import subprocess
import sys

import pytest

from koniq.ground import InputError
from koniq.pictures import inputs
from koniq.pictures.shards import Shard, number_of


def test_every_picture_is_in_one_shard_and_shards_are_alike_in_size():
    names = [f"2015-02-23/b00000{number:05}e.jpg" for number in range(4000)]
    held = [[name for name in names if Shard(number, 8).holds(name)] for number in range(1, 9)]
    assert sorted(name for part in held for name in part) == names
    assert all(430 < len(each) < 570 for each in held)  # 500 each, to three standard deviations


def test_a_shard_is_the_same_in_every_process_and_version():
    assert [number_of(name, 8) for name in ("a.jpg", "größe/日本.jpg", "")] == [2, 3, 5]
    code = "from koniq.pictures.shards import number_of; print(number_of('a.jpg', 1000))"
    said = {subprocess.check_output([sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}) for seed in "12"}
    assert said == {b"%d\n" % number_of("a.jpg", 1000)}


@pytest.mark.parametrize("text", ["0/8", "9/8", "x", "3", "3/", "/8", "3/8/1", "-1/8", "3/0", "1e1/20", "٣/٨", " "])
def test_what_is_no_shard_is_one_sentence(text):
    with pytest.raises(
        InputError, match=r"shard should be such as 3/8, the third of eight, 1/8 the first\. Received: "
    ):
        inputs.of(["a.jpg"], shard=text)


def test_a_picture_stays_where_it_is_when_others_are_added(tmp_path):
    def shards():
        (tmp_path / "list.csv").write_text("\n".join(["image_path", *names]) + "\n")
        parts = [inputs.of([str(tmp_path / "list.csv")], shard=f"{number}/3") for number in (1, 2, 3)]
        assert [part.summary() for part in parts] == [
            f"{len(part):,} pictures, shard {number}/3 of {len(names)}" for number, part in enumerate(parts, 1)
        ]
        assert {tuple(part.roots) for part in parts if part} == {(str(tmp_path),)}
        assert {len(part.whole) for part in parts} == {len(names)}
        return [[item.name for item in part.pictures] for part in parts]

    names = [f"{number}.jpg" for number in range(20)]
    before = shards()
    names[:0] = ["new.jpg", "another.jpg"]
    assert [[name for name in part if "n" not in name] for part in shards()] == before


def test_a_shard_may_be_empty_and_has_a_file_of_its_own(tmp_path):
    empty = next(part for number in range(1, 9) if not (part := inputs.of(["a.jpg"], shard=f"{number}/8")))
    assert empty.whole.roots == [str(empty.whole.pictures[0].folder.resolve())]
    part = inputs.of(["a.jpg"], shard="3/8")
    assert str(part.out("scores.csv", "scores.csv")) == "scores_3_of_8.csv"
    assert str(part.out("mine.csv", "scores.csv")) == "mine.csv"
    assert str(part.whole.out("scores.csv", "scores.csv")) == "scores.csv"
