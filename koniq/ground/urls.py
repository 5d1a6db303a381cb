"""Addresses of pictures and scores in a store, s3://bucket/folder for instance: words alone, nothing is opened.

What opens a store may stand in an address (a password, a signature). It is kept with it, and shown nowhere.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # of two letters or more: C: is a drive
_USER = re.compile(r"(://)[^/\s@'\"]*@")
# Parameters of signed addresses, by S3, Google, Azure and CloudFront, and what others call theirs.
_SECRET = re.compile(
    r"(x-amz-|x-goog-)[\w-]+|sig|signature|awsaccesskeyid|googleaccessid|key-pair-id|policy|expires"
    r"|s[eprstv]|srt|spr|sk(oid|tid|[tesv])|(\w*[_-])?(token|key|secret|password|pwd|auth|credential)",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r"[?&]([\w.~-]+)=[^&\s'\"#]*")


def is_url(text: object) -> bool:
    """Whether a text is an address in a store, not a path on this machine."""
    return isinstance(text, str) and bool(_SCHEME.match(text))


def protocol(url: str) -> str:
    """What an address begins with, in lower case: "s3", "https", ..."""
    return _SCHEME.match(url)[1].lower()


def public(text: str) -> str:
    """A text without what opens a store: user and password before a host, and parameters of a signature."""
    if "://" not in text:
        return text

    def kept(found: re.Match) -> str:
        return "" if _SECRET.fullmatch(found[1]) else found[0]

    text = _USER.sub(r"\1", text)
    if "?" not in text:
        return text
    return re.sub(r"(://[^\s?&]*)&", r"\1?", _PARAMETER.sub(kept, text))


class Known(NamedTuple):
    """What the list of a store says of a file in it."""

    size: int  # bytes
    modified: int  # nanoseconds since 1970; 0 if it does not say


@dataclass(frozen=True, slots=True)
class Remote(os.PathLike):
    """A folder or a file in a store, as far as paths are asked here: `folder / name`, `name`, `suffix`.

    It is printed as it may be seen; `os.fspath` gives the address as it is opened.
    """

    url: str
    listed: Mapping[str, Known] | None = field(default=None, compare=False, repr=False)  # of a folder, by name
    known: Known | None = field(default=None, compare=False, repr=False)  # of a file, if its folder was listed

    def __truediv__(self, name: str) -> "Remote":
        known = (self.listed or {}).get(name)
        if is_url(name):
            return Remote(name, known=known)
        base, mark, query = self._parts()
        while name.startswith("../"):
            base, name = base.rstrip("/").rpartition("/")[0], name[3:]
        if protocol(self.url) in ("http", "https"):  # where they would begin something else
            name = name.replace("?", "%3F").replace("#", "%23")
        return Remote(f"{base.removesuffix('/')}/{name}{mark}{query}", known=known)

    def _parts(self) -> tuple[str, str, str]:
        if protocol(self.url) in ("http", "https"):
            return self.url.partition("?")
        return self.url, "", ""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._parts()[0].rstrip("/").rpartition("/")[2]

    @property
    def suffix(self) -> str:
        """The ending of the name, with its dot."""
        return os.path.splitext(self.name)[1]  # noqa: PTH122

    @property
    def parent(self) -> "Remote":
        """The folder that it lies in."""
        base, mark, query = self._parts()
        above = base.rstrip("/").rpartition("/")[0]
        return Remote(f"{above}{mark}{query}") if not above.endswith(":/") else self

    def resolve(self) -> "Remote":
        """Itself: it is the same from everywhere."""
        return self

    def __fspath__(self) -> str:
        return self.url

    def __str__(self) -> str:
        return public(self.url)

    def __repr__(self) -> str:
        return f"Remote({str(self)!r})"


def place_of(text: str) -> Path | Remote:
    """The folder or file that a text names, here or in a store."""
    return Remote(text.rstrip("/") if not text.endswith("://") else text) if is_url(text) else Path(text)
