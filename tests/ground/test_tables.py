"""Tables as other programs write them. What Excel writes was read off its files; here the bytes are made by hand."""

import os

import pandas as pd
import pytest
from PIL import Image

from koniq.data import datasets, rated, splits
from koniq.ground import InputError, tables
from koniq.pictures import inputs
from koniq.study import results

PLAIN = 'image_name,MOS,SD\na.png,20.5,1\n"é, b.png",30,2.25\nc.png,40,3\n'


def saved(text, separator=",", encoding="utf-8", ends="\n"):
    """The bytes of a table as another program saves them; between quotation marks, commas stay what they are."""
    if separator != ",":
        text = text.replace('"é, b.png"', "\0").replace(",", separator).replace("\0", '"é, b.png"')
    return text.replace("\n", ends).encode(encoding)


WAYS = {
    "as we write it": saved(PLAIN),
    "CSV UTF-8 of Excel": saved(PLAIN, encoding="utf-8-sig", ends="\r\n"),
    "CSV UTF-8 of Excel in Europe": saved(PLAIN.replace(".5,", ";5;").replace(".25", ";25"), ";", "utf-8-sig", "\r\n")
    .replace(b"20;5", b"20,5")
    .replace(b"2;25", b"2,25"),
    "Unicode text of Excel": saved(PLAIN, "\t", "utf-16", "\r\n"),
    "UTF-16, most significant byte first": b"\xfe\xff" + saved(PLAIN, encoding="utf-16-be"),
    "with a line for Excel": b"sep=;\r\n" + saved(PLAIN, ";", ends="\r\n"),
    "old Macintosh": saved(PLAIN, ends="\r"),
    "blank rows at the end": saved(PLAIN + ",,\n,,\n\n\n"),
    "blank columns at the end": saved(PLAIN.replace("\n", ",,\n")),
    "blanks in the head": saved(PLAIN.replace("image_name,MOS", " image_name , MOS")),
    "no end of the last line": saved(PLAIN)[:-1],
}


@pytest.mark.parametrize("way", WAYS)
def test_a_table_is_read_whoever_saved_it(way, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(WAYS[way])
    found = tables.read_typed(path)
    assert found.to_dict("list") == {
        "image_name": ["a.png", "é, b.png", "c.png"],
        "MOS": [20.5, 30, 40],
        "SD": [1, 2.25, 3],
    }


def test_a_comma_in_a_name_or_a_text_is_no_decimal_comma(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("image_name;MOS;note\n1,5;2,5;1,5\n2,5;3,25;none, or few\n")
    found = tables.read(path)
    assert found.to_numpy().tolist() == [["1,5", "2.5", "1,5"], ["2,5", "3.25", "none, or few"]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "Received: an empty file"),
        (b"\xef\xbb\xbf\r\n\r\n", "Received: an empty file"),
        ("image_name,MOS\na.png,1\né.png,2\n".encode("cp1252"), "bytes that are no UTF-8, the first, 0xe9, in line 3"),
        ("image_name,MOS\na.png,1\n".encode("utf-16-le"), "UTF-16 with a byte order mark.*zero bytes"),
        (b"image_name,MOS\na,b.png,1\n", "3 fields in line 2, below a head of 2"),
        (b'image_name,MOS\n"a.png,1\n', "unexpected end of data"),
        (b"image_name,MOS,MOS\na.png,1,2\n", "several called 'MOS'"),
    ],
)
def test_what_is_no_table_is_said_in_one_sentence(data, message, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"(?s)mine.csv should .*{message}"):
        tables.read(path)


@pytest.mark.parametrize("way", WAYS)
def test_an_own_table_and_its_split_saved_by_another_program(way, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "é, b.png", "c.png"):
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / name)
    (tmp_path / "mine.csv").write_bytes(WAYS[way])
    data = datasets.load(str(tmp_path / "mine.csv"))
    assert sorted(data.ids.MOS) == [20.5, 30, 40]
    split = tmp_path / "mine-split.csv"
    split.write_bytes(split.read_text().replace("\n", "\r\n").encode("utf-8-sig"))
    assert datasets.load(str(tmp_path / "mine.csv")).ids.set.tolist() == data.ids.set.tolist()
    split.write_text(split.read_text("utf-8-sig").replace("20.5", "21.5"))
    with pytest.raises(InputError, match="differs from it in its pictures or their MOS"):
        splits.with_sets(tmp_path / "mine.csv", data.ids.drop(columns="set"))


@pytest.mark.parametrize("mos", ["inf", "-inf", "1e999", "nan", "", "good"])
def test_no_number_and_no_end_is_no_mos(mos, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(f"image_name,MOS\na.png,1\nb.png,{mos}\n")
    with pytest.raises(InputError, match=r"column MOS .* should hold numbers. Received: .* in row 2"):
        rated.read_table(path, "mine", needs_set=False)


def test_names_without_their_endings_find_the_one_picture_that_fits(tmp_path):
    folder = tmp_path / "images"
    (folder / "within").mkdir(parents=True)
    for name in ("img_001.jpg", "IMG_002.JPG", "v1.2.png", "within/img_003.png", "007.png"):
        Image.new("RGB", (8, 6)).save(folder / name)
    (folder / "img_001.txt").touch()
    names = ["img_001", "img_002", "v1.2", "within/img_003", "within\\img_003.png", "007", "img_001.png", "img_009"]
    found = [path and path.relative_to(folder).as_posix() for path in datasets.found(names, folder)]
    assert found == [
        *("img_001.jpg", "IMG_002.JPG", "v1.2.png", "within/img_003.png", "within/img_003.png", "007.png"),
        *(None, None),
    ]
    (tmp_path / "mine.csv").write_text("image_name,MOS,set\n007,1,test\nimg_001,2,test\n")
    data = datasets.load(str(tmp_path / "mine.csv"))
    assert data.ids.image_name.tolist() == ["007", "img_001"]
    Image.new("RGB", (8, 6)).save(folder / "img_001.png")
    with pytest.raises(InputError, match=r"fit one picture .* img_001, which fits img_001.jpg, img_001.png; give"):
        datasets.load(str(tmp_path / "mine.csv"))


def listed(path):
    found = inputs.of([str(path)])
    return [found.pictures[at][0] for at in range(len(found))], list(found)


@pytest.mark.parametrize(
    "data",
    [
        "image_path,id\n2016\\a.jpg,1\né.jpg,2\nc.jpg,3\n".encode("utf-16"),
        "image_path\tid\r\n2016\\a.jpg\t1\r\né.jpg\t2\r\nc.jpg\t3\r\n".encode("utf-16"),
        "image_path;id\r\n2016\\a.jpg;1\r\né.jpg;2\r\nc.jpg;3\r\n\r\n".encode("utf-8-sig"),
        "image_path,id\r\n2016\\a.jpg,1\r\né.jpg,2\r\nc.jpg,3\r\n".encode("cp1252"),
    ],
)
def test_a_list_that_another_program_saved(data, tmp_path):
    (tmp_path / "2016").mkdir()
    for name in ("2016/a.jpg", "é.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_bytes(data)
    names, paths = listed(tmp_path / "list.csv")
    assert names[0] == "2016\\a.jpg"  # as the list says it, so that rows can be matched
    assert paths == [tmp_path / name for name in ("2016/a.jpg", "é.jpg", "c.jpg")]


@pytest.mark.parametrize(
    "data",
    [
        "image_path,id\n2016\\a.jpg,1\né.jpg,2\n".encode("utf-16"),
        "sep=;\r\nimage_path ;id\r\n\r\na;1\r\n;\r\né\r\nb;2;;\r\n".encode("utf-8-sig"),
        b"\n\n id\timage_path\n1\ta,\n",
        b'image_path,id\n"a\r\nb, ""c""\n",1\n\xe9.jpg,2\n\n',
        b"image_path\n\na\n",
        *(
            b"",
            b"\n\n",
            b"image_path,id\na,1,2\n",
            b'image_path\n"a\n',
            b"image_path,image_path\na,b\n",
            b"image_path\na\0b\n",
        ),
        "image_path\na\n".encode("utf-16")[:-1],
    ],
)
def test_a_table_read_a_row_at_a_time_is_the_same(data, tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(data)

    def said(work):
        try:
            return work()
        except InputError as error:
            return str(error)

    whole = said(lambda: tables.read(path, any_bytes=True))
    rows = said(lambda: list(tables.streamed(path, any_bytes=True)))
    assert rows == (whole if isinstance(whole, str) else [[*whole], *whole.to_numpy().tolist()])


def test_a_backslash_and_a_byte_in_a_name_stay_what_they_are_where_there_is_such_a_file(tmp_path):
    (tmp_path / "2016").mkdir()
    names = ["2016\\a.jpg", "2016/a.jpg", os.fsdecode(b"\xe9.jpg"), "é.jpg"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_bytes(b"image_path\n2016\\a.jpg\n\xe9.jpg\n")
    assert listed(tmp_path / "list.csv")[1] == [tmp_path / names[0], tmp_path / names[2]]


def test_measurements_saved_by_another_program_are_gone_on_with(tmp_path):
    path = tmp_path / "metrics.csv"
    rows = "dataset,set,model,metric,value,weights,seed\nmine,test,old,srcc,0.5,none,1\n"
    path.write_bytes(rows.replace("\n", "\r\n").encode("utf-8-sig"))
    new = pd.DataFrame([("mine", "test", "new", "srcc", 0.75)], columns=["dataset", "set", "model", "metric", "value"])
    found = results.record(new, path)
    assert found.value.tolist() == [0.75, 0.5]
    assert found.seed[1] == "1"
    assert path.read_bytes().startswith(b"dataset,set")
