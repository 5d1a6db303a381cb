import io
import stat
import tarfile
import zipfile

import pytest

from koniq.fetch import archives
from koniq.fetch.archives import Limits, unpack
from koniq.ground import InputError

FILES = {"a.txt": b"a", "within/b.txt": b"b" * 3000}


def zipped(path, files, **facts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for fact, value in facts.items():
                setattr(info, fact, value)
            file.writestr(info, content)
    return path


def tarred(path, files, mode="w:gz", **facts):
    with tarfile.open(path, mode) as file:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            for fact, value in facts.items():
                setattr(info, fact, value)
            file.addfile(info, io.BytesIO(content))
    return path


def written(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_round_trip_whatever_the_name_says(tmp_path, kind):
    path = tmp_path / "archive.dat"
    zipped(path, FILES) if kind == "zip" else tarred(path, FILES, kind)
    paths = unpack(path, tmp_path / "out")
    assert written(tmp_path / "out") == FILES
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == list(FILES)


@pytest.mark.parametrize("make", [zipped, tarred])
def test_only_what_is_wanted_is_written(tmp_path, make):
    unpack(make(tmp_path / "archive", FILES), tmp_path / "out", lambda path: path.name == "b.txt")
    assert written(tmp_path / "out") == {"within/b.txt": FILES["within/b.txt"]}


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize(
    "name", ["../out.txt", "within/../../out.txt", "/tmp/out.txt", "..\\out.txt", "C:/out.txt", "a\nb"]
)
def test_names_that_lead_out_are_refused_even_unwanted_ones_and_nothing_is_written_outside(tmp_path, make, name):
    folder = tmp_path / "deep" / "out"
    path = make(tmp_path / "archive", {name: b"evil"})
    with pytest.raises(InputError, match=r"should keep to the folder it is unpacked in. Received: a file named"):
        unpack(path, folder, lambda path: False)
    with pytest.raises(InputError):
        unpack(path, folder)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["archive"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    path = tarred(tmp_path / "archive", {"link": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(InputError, match=r"should hold files and folders only. Received: link, a link or a device"):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_and_encrypted_files_in_a_zip_are_refused(tmp_path):
    path = zipped(tmp_path / "archive", {"link": b"/etc"}, external_attr=(stat.S_IFLNK | 0o777) << 16)
    with pytest.raises(InputError, match="Received: link, a link or a device"):
        unpack(path, tmp_path / "out")
    content = bytearray(zipped(tmp_path / "archive", {"a": b"a"}).read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(InputError, match="should not be encrypted"):
        unpack(tmp_path / "archive", tmp_path / "out")


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_bombs_are_refused_by_what_comes_out_of_them(tmp_path, monkeypatch, make, wanted):
    monkeypatch.setattr(archives, "SLACK", 1 << 16)
    path = make(tmp_path / "bomb", {"zeros": bytes(4 << 20)})
    assert path.stat().st_size < 10_000
    if make is zipped and not wanted:
        assert unpack(path, tmp_path / "out", lambda path: wanted) == []  # a zip's unwanted files are never unpacked
        return
    with pytest.raises(InputError, match=r"unpacks to over [\d,]+ bytes, 100 times its size: it is refused"):
        unpack(path, tmp_path / "out", lambda path: wanted)
    assert sum(len(content) for content in written(tmp_path / "out").values()) < 2 << 20


def test_a_zip_that_lies_about_its_size_is_bounded_or_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SLACK", 1 << 16)
    content = bytearray(zipped(tmp_path / "bomb", {"zeros": bytes(4 << 20)}).read_bytes())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(mark) + offset
        content[place : place + 4] = (10).to_bytes(4, "little")
    (tmp_path / "bomb").write_bytes(content)
    with pytest.raises(InputError):
        unpack(tmp_path / "bomb", tmp_path / "out")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_bounds_on_bytes_and_on_the_number_of_files(tmp_path, make):
    path = make(tmp_path / "archive", {f"{n}": b"12345678" for n in range(10)})
    if make is zipped:  # a tar has headers, which count as well
        assert len(unpack(path, tmp_path / "a", limits=Limits(bytes=80, files=10))) == 10
        with pytest.raises(InputError, match="unpacks to over 79 bytes"):
            unpack(path, tmp_path / "b", limits=Limits(bytes=79))
    with pytest.raises(InputError, match=r"should hold at most 9 files. Received: more"):
        unpack(path, tmp_path / "c", limits=Limits(files=9))


def test_a_tar_header_that_claims_gigabytes_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SLACK", 1 << 16)
    path = tarred(tmp_path / "archive", {"long": bytes(4 << 20)}, type=tarfile.XHDTYPE)
    with pytest.raises(InputError):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_name_that_stands_twice_is_refused(tmp_path, make):
    path = make(tmp_path / "archive", {"a/b": b"1", "a//b": b"2"})
    with pytest.raises(InputError, match="should hold every file once"):
        unpack(path, tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
@pytest.mark.parametrize("make", [zipped, tarred])
def test_broken_archives_are_named(tmp_path, make, keep):
    whole = make(tmp_path / "whole", {"a.txt": bytes(range(256)) * 20}).read_bytes()
    (tmp_path / "broken").write_bytes(whole[:keep])
    with pytest.raises(InputError, match=r"broken should be a (whole )?zip or tar archive"):
        unpack(tmp_path / "broken", tmp_path / "out")


@pytest.mark.parametrize("make", [zipped, tarred])
def test_a_flipped_byte_is_found_by_the_checksum(tmp_path, make):
    content = bytearray(make(tmp_path / "archive", {"a.txt": bytes(range(256)) * 20}).read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(InputError):
        unpack(tmp_path / "archive", tmp_path / "out")


def test_a_web_page_is_recognised(tmp_path):
    (tmp_path / "page.zip").write_text("<!DOCTYPE html>\n<html>\n<body>blob</body></html>")
    with pytest.raises(InputError, match=r"should be a zip or tar archive. Received: a web page$"):
        unpack(tmp_path / "page.zip", tmp_path / "out")
