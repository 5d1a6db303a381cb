"""A packet of XMP as the bytes that it is: simple properties are found and changed where they stand.

Whatever else is in a packet stays byte for byte, because nothing is written anew: an XML parser says where things are,
and edits are made of the text there. Both ways in which RDF writes a property are understood, as an attribute and as an
element. (XMP Specification Part 1, ISO 16684-1, section 7.)
"""

import codecs
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from xml.parsers import expat

NAMESPACE = "urn:koniq:xmp:1.0#"  # of our own properties: score, low, high, model
XMP = "http://ns.adobe.com/xap/1.0/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
NOTE = "http://ns.adobe.com/xmp/note/"
PREFIXES = {NAMESPACE: "koniq", XMP: "xmp"}  # of what is added
LONGEST = 64 << 20  # bytes of a packet that is read
EMPTY = f"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="koniq">
 <rdf:RDF xmlns:rdf="{RDF}">
 </rdf:RDF>
</x:xmpmeta>
""".encode()

MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
BEGINNINGS = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}  # of what has no mark
DECLARED = re.compile(rb"""\A<\?xml[^>]*?\sencoding\s*=\s*["']([\w.:-]+)["']""")
# Of text that expat found well-formed. A tag ends at the first > outside of quotation marks.
TAG = re.compile(rb"""<[^>"']*(?:"[^"]*"[^>"']*|'[^']*'[^>"']*)*>""")
TAG_NAME = re.compile(rb"""<([^\s/>]+)""")
ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
PLAIN = {"http://www.w3.org/XML/1998/namespace lang", f"{RDF} datatype"}  # which leave the value of a property simple
PADDING = re.compile(rb"""\s{2,}(?=<\?xpacket\s+end=)""")


class XmpError(ValueError):
    """XMP that cannot be read, or not be changed without touching more; the message says why, after a name."""


class EmptyError(XmpError):
    """XML that could be XMP, and says nothing: it has no rdf:RDF."""


class Name(NamedTuple):
    """What a property is called, whatever its prefix in a packet."""

    uri: str
    local: str

    def __str__(self) -> str:
        return f"{PREFIXES.get(self.uri, self.uri)}:{self.local}"


RATING = Name(XMP, "Rating")
EXTENDED = Name(NOTE, "HasExtendedXMP")


class Edit(NamedTuple):
    """In a text, at byte `start` of what was there before, `old` becomes `new`."""

    start: int
    old: bytes
    new: bytes


@dataclass(frozen=True)
class Property:
    """A property of a packet, and the bytes at which it stands.

    value: its text, that of rdf:value if it has qualifiers, or None. simple: there is nothing in it but this. inner:
    the bytes of the value as it is written; of an empty element's tag, its end, "/>". whole: with the white space
    before it.
    """

    value: str | None
    simple: bool
    inner: slice
    whole: slice
    closes: bytes = b""  # of an element that is one tag: the tag that would close it


class Packet:
    """XMP, read: `data` as it is in a file. Raises XmpError if it is no XMP, or has a DTD."""

    def __init__(self, data: bytes):
        if len(data) > LONGEST:
            raise XmpError(f"should have at most {LONGEST:,} bytes. Received: {len(data):,}")
        self._mark, self._encoding = _encoding(data)
        self.text = _as_utf8(data, self._mark, self._encoding)  # in UTF-8, without a mark: what edits are of
        found = _Reader(self.text)
        self.properties: dict[Name, list[Property]] = found.properties
        self._nodes, self._rdf, self._about, self._binds_rdf = found.nodes, found.rdf, found.about, found.binds_rdf

    def value(self, name: Name) -> str | None:
        """The text of a property, without white space around it; None without one, or if it has structure."""
        found = self.properties.get(name)
        return found[0].value.strip() if found and found[0].value is not None else None

    def edits(self, wanted: Mapping[Name, str | None]) -> list[Edit]:
        """By what its text comes to have `wanted`, in order; None: a property that should not be there.

        Raises XmpError if one of them has structure, or is there more than once.
        """
        edits, new = [], {}
        for name, value in wanted.items():
            there = self.properties.get(name, [])
            if len(there) > 1 or any(not one.simple for one in there):
                raise XmpError(f"has {name} {'more than once' if len(there) > 1 else 'with a structure'}")
            if not there:
                new |= {name: value} if value is not None else {}
            elif value is None:
                edits.append(self._edit(there[0].whole, b""))
            elif there[0].value != value:
                edits.append(self._edit(there[0].inner, _with_end(_escaped(value), there[0])))
        if new:
            edits.append(self._block(new))
        return sorted(edits)

    def changed(self, edits: Iterable[Edit]) -> bytes:
        """The packet after edits, in its own encoding. Raises XmpError if they are of another text."""
        return self._encoded(applied(self.text, edits))

    def _encoded(self, text: bytes) -> bytes:
        return self._mark + (text if self._encoding == "utf-8" else text.decode("utf-8").encode(self._encoding))

    def _edit(self, at: slice, new: bytes) -> Edit:
        return Edit(at.start, self.text[at], new)

    def _block(self, new: Mapping[Name, str]) -> Edit:
        """An rdf:Description of its own for what is not there yet, after the last one, about the same."""
        line = b"\r\n" if b"\r\n" in self.text else b"\n"
        at = self._nodes[-1].stop if self._nodes else self._rdf.stop
        indent = self._indent(self._nodes[0].start) if self._nodes else b"  "
        inner = line + indent + b" "
        uris = dict.fromkeys(name.uri for name in new)
        parts = [b'xmlns:rdf="%s"' % RDF.encode()] if not self._binds_rdf else []
        parts += [f'xmlns:{PREFIXES[uri]}="{uri}"'.encode() for uri in uris]
        parts += [f'{name}="'.encode() + _escaped(value) + b'"' for name, value in new.items()]
        block = b'<rdf:Description rdf:about="' + self._about + b'"' + inner + inner.join(parts) + b"/>"
        text = line + indent + block
        if self.text[at - 2 : at] == b"/>" and not self._nodes:  # <rdf:RDF/>
            tag = self.text[self._rdf]
            return Edit(at - 2, b"/>", b">" + text + line + b"</" + TAG_NAME.match(tag)[1] + b">")
        return Edit(at, b"", text)

    def _indent(self, at: int) -> bytes:
        """The blanks that begin the line of a place, if there is nothing else before it."""
        before = self.text[self.text.rfind(b"\n", 0, at) + 1 : at]
        return b"" if before.strip(b" \t") else before


def applied(text: bytes, edits: Iterable[Edit]) -> bytes:
    """The text after edits, which are in order and apart. Raises XmpError if what they change is not there."""
    parts, at = [], 0
    for start, old, new in edits:
        if start < at or text[start : start + len(old)] != old:
            raise XmpError("is another text than the one that was read")
        parts += [text[at:start], new]
        at = start + len(old)
    return b"".join([*parts, text[at:]])


def inverse(edits: Iterable[Edit]) -> list[Edit]:
    """The edits that undo these, of the text that these made."""
    back, shift = [], 0
    for start, old, new in edits:
        back.append(Edit(start + shift, new, old))
        shift += len(new) - len(old)
    return back


def without_padding(data: bytes) -> bytes:
    """A packet as it stands in a picture without the room that it has there to grow; one in UTF-16 as it is."""
    if data[:2] in {*BEGINNINGS, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
        return data
    return PADDING.sub(b"\n", data.strip(b"\0 \t\r\n"))


class _Reader:
    """Where the properties of a packet stand, by one pass of expat."""

    def __init__(self, text: bytes):
        self.text = text
        self.properties: dict[Name, list[Property]] = {}
        self.nodes: list[slice] = []  # rdf:Description and its like
        self.rdf: slice | None = None  # the tag that begins rdf:RDF
        self.about, self.binds_rdf = b"", False  # whether rdf: is bound at rdf:RDF
        self._depth, self._rdf_depth, self._tag, self._node = 0, None, None, None
        self._prefixes: dict[str, list[str]] = {}
        self._open: dict | None = None  # the property that is being read
        parser = self._parser = expat.ParserCreate("utf-8", " ")
        parser.StartElementHandler, parser.EndElementHandler = self._begin, self._end
        parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = self._said, self._refuse
        parser.StartNamespaceDeclHandler, parser.EndNamespaceDeclHandler = self._bind, self._unbind
        try:
            parser.Parse(text, True)
        except expat.ExpatError as error:
            raise XmpError(f"is no XML: {error}") from error
        if self.rdf is None:
            raise EmptyError("has no rdf:RDF")

    def _refuse(self, *_: object) -> None:
        raise XmpError("has a DTD, which XMP does not have")

    def _bind(self, prefix: str | None, uri: str | None) -> None:
        self._prefixes.setdefault(prefix or "", []).append(uri or "")

    def _unbind(self, prefix: str | None) -> None:
        self._prefixes[prefix or ""].pop()

    def _begin(self, name: str, attributes: Mapping[str, str]) -> None:
        self._depth += 1
        below = self._depth - (self._rdf_depth or self._depth)  # 1: a node, 2: a property, more: its structure
        if name == f"{RDF} RDF" and self._rdf_depth is None:
            if self.rdf is not None:
                raise XmpError("has rdf:RDF more than once")
            self._rdf_depth, self.rdf = self._depth, self._tag_here()
            self.binds_rdf = self._prefixes.get("rdf", [])[-1:] == [RDF]
        elif below == 1:
            self._node = self._tag_here()
            self._read_attributes(attributes)
        elif below == 2:
            plain = not {*attributes} - PLAIN
            value = attributes.get(f"{RDF} value")
            self._open = {"name": name, "tag": self._tag_here(), "plain": plain, "value": value, "text": [], "in": 2}
        elif below > 2:
            self._open["plain"] = False
            if name == f"{RDF} value" and below == 3:
                self._open |= {"in": 3, "text": []}

    def _said(self, text: str) -> None:
        if self._open and self._depth - self._rdf_depth == self._open["in"]:
            self._open["text"].append(text)

    def _end(self, name: str) -> None:
        at, below = self._parser.CurrentByteIndex, self._depth - (self._rdf_depth or self._depth)
        if below == 3 and name == f"{RDF} value":
            self._open |= {"value": "".join(self._open["text"]), "in": 0}
        elif below == 2:
            self._close_property(at)
        elif below == 1:
            self.nodes.append(slice(self._node.start, self._end_of(self._node, at)))
        elif self._depth == self._rdf_depth:
            self._rdf_depth = None
        self._depth -= 1

    def _close_property(self, at: int) -> None:
        one, self._open = self._open, None
        tag, closes = one["tag"], b""
        if self._is_whole(tag):
            inner, closes = slice(tag.stop - 2, tag.stop), b"</" + TAG_NAME.match(self.text[tag])[1] + b">"
        else:
            inner = slice(tag.stop, at)
        whole = slice(self._before(tag.start), self._end_of(tag, at))
        value = "".join(one["text"]) if one["plain"] else one["value"]
        self._add(one["name"], Property(value, one["plain"], inner, whole, closes))

    def _read_attributes(self, attributes: Mapping[str, str]) -> None:
        tag = self._node
        at = tag.start + len(TAG_NAME.match(self.text[tag])[0])
        while found := ATTRIBUTE.match(self.text, at, tag.stop):
            prefix, _, local = found[1].decode("utf-8").rpartition(":")
            uri = self._prefixes.get(prefix, [""])[-1] if prefix else ""
            inner = slice(*found.span(2 if found[2] is not None else 3))
            if (local == "about" and uri in ("", RDF)) and not self.nodes:
                self.about = self.text[inner].replace(b'"', b"&quot;")
            elif uri and uri != RDF and prefix not in ("xmlns", "xml"):
                name = f"{uri} {local}"
                self._add(name, Property(attributes[name], True, inner, slice(*found.span())))
            at = found.end()

    def _add(self, name: str, found: Property) -> None:
        uri, _, local = name.rpartition(" ")
        self.properties.setdefault(Name(uri, local), []).append(found)

    def _tag_here(self) -> slice:
        return slice(*TAG.match(self.text, self._parser.CurrentByteIndex).span())

    def _is_whole(self, tag: slice) -> bool:
        return self.text[tag.stop - 2 : tag.stop] == b"/>"

    def _end_of(self, tag: slice, at: int) -> int:
        """Where an element ends that begins with `tag` and of which expat tells the end at `at`."""
        return tag.stop if self._is_whole(tag) else TAG.match(self.text, at).end()

    def _before(self, at: int) -> int:
        """Where the white space before a place begins."""
        while self.text[at - 1 : at].isspace():
            at -= 1
        return at


def _escaped(value: str) -> bytes:
    """A value as it may stand in an attribute or an element, in ASCII, so that it is right in every encoding."""
    for sign, stands in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        value = value.replace(sign, stands)
    return value.encode("ascii", "xmlcharrefreplace")


def _with_end(value: bytes, there: Property) -> bytes:
    return b">" + value + there.closes if there.closes else value


def _encoding(data: bytes) -> tuple[bytes, str]:
    """The byte order mark of a packet, which may be empty, and its encoding."""
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            return mark, encoding
    if encoding := BEGINNINGS.get(data[:2]):
        return b"", encoding
    declared = DECLARED.match(data)
    name = declared[1].decode() if declared else "utf-8"
    try:
        return b"", codecs.lookup(name).name
    except LookupError as error:
        raise XmpError(f"should be in UTF-8 or UTF-16. Received: {name}") from error


def _as_utf8(data: bytes, mark: bytes, encoding: str) -> bytes:
    rest = data[len(mark) :]
    try:
        text = rest.decode(encoding)
        if encoding != "utf-8" and text.encode(encoding) != rest:
            raise XmpError(f"should be {encoding.upper()} that can be written again as it is")
    except (UnicodeError, LookupError) as error:  # a LookupError is of an encoding that is none of text
        raise XmpError(f"should be {encoding.upper()} throughout. Received: {error}") from error
    return rest if encoding == "utf-8" else text.encode("utf-8")
