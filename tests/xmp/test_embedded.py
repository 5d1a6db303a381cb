"""XMP within pictures of each format, and where it is not whole."""

import struct
import sys

import pytest
from PIL import Image
from xmp_files import jpeg, packet, png

from koniq.xmp.embedded import BOX, embedded, whole
from koniq.xmp.packets import RATING, Packet, XmpError

XMP = packet('xmp:Rating="3" dc:format="image/x"', padding=2000)


def cr3(path, xmp, kind=b"ftypcrx "):
    boxes = [kind + bytes(8), b"moov" + bytes(40), b"uuid" + bytes(16), b"uuid" + BOX + xmp, b"mdat" + bytes(9)]
    path.write_bytes(b"".join(struct.pack(">I", len(box) + 4) + box for box in boxes))
    return path


def tiff(path, xmp, order="<"):
    """What TIFF, DNG, NEF, CR2 and ARW begin with."""
    entries = [(256, 4, 1, 40), (700, 1, len(xmp), 100), (769, 4, 1, 0)]
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    data = head + b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries) + bytes(4)
    path.write_bytes(data.ljust(100, b"\0") + xmp + bytes(20))
    return path


def saved(path, **how):
    Image.new("RGB", (40, 30)).save(path, **how)
    return path


def with_extended(path):
    """As Adobe's programs and the cameras of telephones write it, where the XMP is longer than a segment."""
    jpeg(path, packet(f'xmp:Rating="3" xmpNote:HasExtendedXMP="{"A" * 32}"'))
    data = path.read_bytes()
    more = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", 10, 0) + b"<x></x>123"
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(more) + 2) + more + data[2:])
    return path


def gif(path, xmp):
    data = saved(path).read_bytes()
    magic = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    path.write_bytes(data[:-1] + b"!\xff\x0bXMP DataXMP" + xmp + magic + data[-1:])
    return path


def lost(path, xmp):
    """A JPEG with a segment that is longer than it says, before its XMP."""
    data = jpeg(path, xmp).read_bytes()
    path.write_bytes(data[:2] + b"\xff\xed\0\x06abcdefgh" + data[2:])
    return path


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("a.jpg", jpeg),
        ("lost.jpg", lost),
        ("a.gif", gif),
        ("a.png", png),
        ("late.png", lambda path, xmp: png(path, xmp, late=True)),
        ("compressed.png", lambda path, xmp: png(path, xmp, compressed=True)),
        ("a.webp", lambda path, xmp: saved(path, xmp=xmp)),
        ("a.avif", lambda path, xmp: saved(path, xmp=xmp)),
        ("a.tif", lambda path, xmp: saved(path, tiffinfo={700: xmp})),
        ("a.nef", tiff),
        ("a.dng", lambda path, xmp: tiff(path, xmp, ">")),
        ("a.cr3", cr3),
        ("a.jp2", lambda path, xmp: cr3(path, xmp, b"jP  \r\n\x87\n")),
    ],
)
def test_it_is_found_and_its_padding_is_not(tmp_path, name, made):
    path = made(tmp_path / name, XMP)
    before = path.read_bytes()
    found = whole(path)
    assert Packet(found).value(RATING) == "3"
    assert found == XMP.replace(b" " * 2000, b"\n")
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif", "a.gif", "a.bmp"])
def test_a_picture_without_has_none(tmp_path, name):
    Image.new("RGB", (40, 30)).save(tmp_path / name)
    assert embedded(tmp_path / name) is None


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\0", b"text", bytes(40), b"RIFF\0\0\0\0WEBPXMP "])
def test_what_is_no_picture_has_none_or_is_refused(tmp_path, data):
    (tmp_path / "a.jpg").write_bytes(data)
    try:
        found = embedded(tmp_path / "a.jpg")
    except XmpError:
        found = None
    assert found is None


@pytest.mark.parametrize(("name", "made"), [("a.jpg", jpeg), ("a.png", png), ("a.dng", tiff), ("a.cr3", cr3)])
def test_a_file_that_is_cut_off_is_no_failure_of_the_program(tmp_path, name, made):
    path = made(tmp_path / name, packet('xmp:Rating="3"'))
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        try:
            found = embedded(path)
        except XmpError:
            continue
        assert found is None or b"xap/1.0" in found


def test_xmp_that_goes_on_elsewhere_is_no_beginning_of_a_sidecar(tmp_path):
    path = with_extended(tmp_path / "a.jpg")
    assert Packet(embedded(path)).value(RATING) == "3"
    with pytest.raises(XmpError, match="Extended XMP"):
        whole(path)


def test_xmp_that_is_none_is_no_beginning_of_a_sidecar(tmp_path):
    with pytest.raises(XmpError, match="has XMP within that is no XML"):
        whole(jpeg(tmp_path / "a.jpg", b"<x:xmpmeta"))


def test_xmp_that_says_nothing_is_none(tmp_path):
    assert whole(jpeg(tmp_path / "a.jpg", b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')) is None


def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(struct.pack(">I", 24) + b"ftypheic" + bytes(40))
    for name in ("pillow_heif", "pillow_heif.as_plugin"):  # which another test may have imported
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(XmpError, match="by pillow_heif, which is not installed"):
        embedded(tmp_path / "a.heic")
