"""Packets of XMP: properties in both forms, and edits that leave everything else byte for byte."""

import codecs
import random
import re

import pytest
from xmp_files import DARKTABLE, ELEMENTS, LIGHTROOM, RDF, WRITTEN, packet

from koniq.xmp import packets
from koniq.xmp.packets import EMPTY, NAMESPACE, RATING, Edit, Name, Packet, XmpError, applied, inverse

SCORE, MODEL = Name(NAMESPACE, "score"), Name(NAMESPACE, "model")
every_program = pytest.mark.parametrize("text", WRITTEN.values(), ids=[*WRITTEN])


def edited(data, **wanted):
    """The packet with a rating, a score, a model."""
    names = {"rating": RATING, "score": SCORE, "model": MODEL}
    found = Packet(data)
    return found.changed(found.edits({names[name]: value for name, value in wanted.items()}))


def values(data, *names):
    return [Packet(data).value(name) for name in names]


@every_program
def test_what_is_changed_is_there_and_the_rest_is_byte_for_byte(text):
    data = text.encode()
    after = edited(data, rating="5", score="61.5", model="a & b <é>")
    assert values(after, RATING, SCORE, MODEL) == ["5", "61.5", "a & b <é>"]
    old = [line for line in data.splitlines() if b":Rating" not in line]
    new = after.splitlines()
    assert [line for line in old if line not in new] == []
    # Without what came in, the text is what it was.
    without = re.sub(rb"\n[ ]*<rdf:Description[^>]*koniq:score[^>]*/>", b"", after)
    assert re.sub(rb'(Rating(=")?>?)\d', rb"\1_", without) == re.sub(rb'(Rating(=")?>?)\d', rb"\1_", data)


@every_program
def test_edits_are_undone_to_the_byte_and_made_again_they_are_none(text):
    data = text.encode()
    found = Packet(data)
    edits = found.edits({RATING: "3", SCORE: "61.5"})
    after = found.changed(edits)
    assert Packet(after).changed(inverse(edits)) == data
    assert Packet(after).edits({RATING: "3", SCORE: "61.5"}) == []
    assert edited(after, score="61.5") == after
    shorter = edited(after, score=None)
    assert values(shorter, SCORE, RATING) == [None, "3"]


def test_a_rating_is_an_attribute_or_an_element_whatever_its_prefix_and_not_a_comment():
    assert values(DARKTABLE.encode(), RATING) == ["1"]
    assert values(ELEMENTS.encode(), RATING) == ["2"]
    assert values(LIGHTROOM.encode(), RATING) == [None]
    assert edited(DARKTABLE.encode(), rating="5") == DARKTABLE.replace('xmp:Rating="1"', 'xmp:Rating="5"').encode()
    assert (
        edited(ELEMENTS.encode(), rating="4")
        == ELEMENTS.replace("<xap:Rating>2</xap:Rating>", "<xap:Rating>4</xap:Rating>").encode()
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<xmp:Rating/>", "<xmp:Rating>4</xmp:Rating>"),
        ("<xmp:Rating />", "<xmp:Rating >4</xmp:Rating>"),
        ("<xmp:Rating></xmp:Rating>", "<xmp:Rating>4</xmp:Rating>"),
        ("<xmp:Rating><![CDATA[2]]></xmp:Rating>", "<xmp:Rating>4</xmp:Rating>"),
        ("<xmp:Rating xml:lang='en' >2<!-- > --></xmp:Rating >", "<xmp:Rating xml:lang='en' >4</xmp:Rating >"),
        (f"<o:Rating xmlns:o='{packets.XMP}'>&#50;</o:Rating>", f"<o:Rating xmlns:o='{packets.XMP}'>4</o:Rating>"),
    ],
)
def test_odd_ways_to_write_an_element(before, after):
    text = f'<r:RDF xmlns:r="{packets.RDF}"><r:Description xmlns:xmp="{packets.XMP}">{{}}</r:Description></r:RDF>'
    assert edited(text.format(before).encode(), rating="4") == text.format(after).encode()


def test_odd_ways_to_write_an_attribute():
    tag = f"<rdf:Description a='>' xmlns:a=\"{packets.XMP}\"\n a:Label='\"/>'\ta:Rating = '&#x33;' />"
    text = f"<rdf:RDF {RDF}>{tag}</rdf:RDF>"
    assert values(text.encode(), RATING, Name(packets.XMP, "Label")) == ["3", '"/>']
    assert edited(text.encode(), rating="4") == text.replace("&#x33;", "4").encode()


@pytest.mark.parametrize(
    "text",
    [
        f"<rdf:RDF {RDF}/>",
        f"<rdf:RDF {RDF}></rdf:RDF>",
        f"<rdf:RDF {RDF}>\r\n</rdf:RDF>\r\n",
        f'<RDF xmlns="{packets.RDF}"/>',
        f'<RDF xmlns="{packets.RDF}"><Description/></RDF>',
        f'<r:RDF xmlns:r="{packets.RDF}" xmlns:rdf="urn:other"><r:Description r:about=\'a"b\'/></r:RDF>',
        EMPTY.decode(),
    ],
)
def test_what_is_added_stands_where_nothing_stood(text):
    after = edited(text.encode(), rating="4", score="61.5")
    assert values(after, RATING, SCORE) == ["4", "61.5"]
    assert b"\r" not in after.replace(b"\r\n", b"")
    assert b"\r\n" not in text.encode() or b"\n" not in after.replace(b"\r\n", b"")
    assert after.count(b"a&quot;b") == text.count('a"b')  # about the same thing


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
        (b"", "iso-8859-1"),
    ],
)
def test_encodings_stay(mark, encoding):
    text = LIGHTROOM.replace("Adobe Color", "Adobe Color ü")
    if not mark:
        text = f'<?xml version="1.0" encoding="{encoding[:6] if "16" in encoding else encoding}"?>\n{text}'
    data = mark + text.encode(encoding)
    after = edited(data, rating="4", model="夏")
    assert after.startswith(mark)
    assert values(after, RATING, MODEL) == ["4", "夏"]
    assert "Adobe Color ü" in after[len(mark) :].decode(encoding)
    found = Packet(data)
    edits = found.edits({RATING: "4"})
    assert Packet(found.changed(edits)).changed(inverse(edits)) == data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is no XML: no element found"),
        (b"<a>", "is no XML"),
        (b"<a/>", "has no rdf:RDF"),
        (DARKTABLE.encode()[:-40], "is no XML"),
        (DARKTABLE.encode() + b"x", "is no XML"),
        (b"\xff" + DARKTABLE.encode(), "should be UTF-8 throughout"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "Received: klingon"),
        (b'<?xml version="1.0" encoding="hex"?><a/>', "should be HEX throughout"),
        (b'<?xml version="1.0" encoding="utf-16"?><a/>', "UTF-16"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "has a DTD"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "has a DTD"),
        (f"<a><rdf:RDF {RDF}/><rdf:RDF {RDF}/></a>".encode(), "rdf:RDF more than once"),
        (b"\0" * 100, "is no XML"),
    ],
)
def test_what_is_no_xmp_is_refused(data, why):
    with pytest.raises(XmpError, match=why):
        Packet(data)


def test_what_is_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(packets, "LONGEST", 100)
    with pytest.raises(XmpError, match="at most 100 bytes"):
        Packet(DARKTABLE.encode())


@pytest.mark.parametrize(
    "text",
    [
        '<xmp:Rating rdf:parseType="Resource"><rdf:value>3</rdf:value></xmp:Rating>',
        '<xmp:Rating rdf:value="3" xmp:Label="a"/>',
        "<xmp:Rating><rdf:Description><rdf:value>3</rdf:value></rdf:Description></xmp:Rating>",
        "<xmp:Rating>3</xmp:Rating><xmp:Rating>4</xmp:Rating>",
        "<xmp:Rating><rdf:Alt><rdf:li>3</rdf:li></rdf:Alt></xmp:Rating>",
    ],
)
def test_a_rating_with_a_structure_is_not_changed(text):
    data = f'<rdf:RDF {RDF}><rdf:Description xmlns:xmp="{packets.XMP}">{text}</rdf:Description></rdf:RDF>'.encode()
    with pytest.raises(XmpError, match=r"has xmp:Rating (more than once|with a structure)"):
        edited(data, rating="4")
    assert values(edited(data, score="1.0"), SCORE) == ["1.0"]


def test_a_value_within_qualifiers_is_read():
    text = '<xmp:Rating rdf:parseType="Resource"><rdf:value>3</rdf:value><xmp:x>9</xmp:x></xmp:Rating>'
    data = f'<rdf:RDF {RDF}><rdf:Description xmlns:xmp="{packets.XMP}">{text}</rdf:Description></rdf:RDF>'.encode()
    assert values(data, RATING) == ["3"]


def test_whatever_is_in_a_file_it_is_refused_or_changed_and_changed_back():
    chance, changed = random.Random(1), 0
    for _ in range(2000):
        data = bytearray(chance.choice([*WRITTEN.values()]).encode())
        at, some = chance.randrange(len(data)), chance.randrange(len(data))
        if chance.random() < 0.5:
            data[at:at] = chance.choice(
                [data[some : some + 40], b"<!-- -->", b" ", b"</", b'"', b"<xmp:Rating>2</xmp:Rating>"]
            )
        else:
            del data[at : at + chance.randrange(30)]
        wanted = {RATING: "5", SCORE: "61.5"}
        try:
            before = Packet(bytes(data))
            edits = before.edits(wanted)
        except XmpError:
            continue
        after = Packet(before.changed(edits))
        assert {name: after.value(name) for name in wanted} == wanted
        assert after.properties.keys() - wanted == before.properties.keys() - wanted
        assert after.changed(inverse(edits)) == data
        changed += 1
    assert changed > 100


def test_edits_of_another_text_are_refused():
    assert applied(b"abcdef", [Edit(1, b"b", b"XY"), Edit(4, b"e", b"")]) == b"aXYcdf"
    with pytest.raises(XmpError, match="another text"):
        applied(b"abcdef", [Edit(1, b"c", b"X")])
    with pytest.raises(XmpError, match="another text"):
        applied(b"abcdef", [Edit(1, b"bc", b"X"), Edit(2, b"c", b"")])


def test_padding_is_left_in_the_picture():
    assert len(packets.without_padding(packet('xmp:Rating="3"', 2000) + b"\0")) < len(packet("")) + 30
    wide = packet('xmp:Rating="3"').decode().encode("utf-16-le")
    assert packets.without_padding(wide) == wide
