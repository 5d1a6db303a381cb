"""One file from one address: gone on with where it broke off, checked against its hash, and only then put in place.

requests does the transfer (redirects, TLS, http_proxy, https_proxy and no_proxy). What it lacks, and pooch too, is to
go on with a broken transfer; the hub's own client does that for the hub alone. Here it is for every host.
"""

import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import requests
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import ProxyError, RequestException, SSLError
from urllib3.exceptions import HTTPError, ProtocolError

from koniq.ground import InputError
from koniq.ground.bars import tqdm
from koniq.ground.files import digest_of
from ku.files import real_path, replace_file

TIMEOUT = (10, 60)  # seconds for a connection, and for the next bytes
BLOCK = 1 << 16  # bytes at a time, the most that a killed process loses
PAUSE = 1.0  # seconds before another attempt, then twice as many
PASSING = (408, 429, 500, 502, 503, 504)  # answers that may be another one in a moment
LONGEST_PAUSE = 30  # seconds
OFFLINE = ("KONIQ_OFFLINE", "HF_HUB_OFFLINE")  # environment variables, either of which is the switch
HTML = (b"<!doctype html", b"<html")


class SourceFailed(RuntimeError):
    """An address did not give the file; the message says what it did instead, and reads after "the address"."""


class _Broken(SourceFailed):
    """The same, but another attempt may succeed."""


def is_offline() -> bool:
    """Whether the environment forbids any use of the network."""
    return any(os.environ.get(name, "").lower() not in ("", "0", "no", "false", "off") for name in OFFLINE)


def fetch(
    url: str,
    target: Path,
    digest: str = "",
    size: int = 0,
    check: Callable[[Path], None] = lambda path: None,
    attempts: int = 5,
) -> None:
    """Put the file at `url` in `target`, whole, or raise SourceFailed and leave `target` as it was.

    digest: "md5:..." or "sha256:..." of the file, where it is known. size: bytes, exact or about, where known; a
    server that sends a tenth more is cut off. check: raises InputError if the content is wrong. attempts: in a row
    that bring nothing new. What has come so far lies beside `target` in `.NAME.part`, from which a later call goes
    on too.
    """
    target = real_path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    most, failures = 0, 0
    while True:
        try:
            resumed = _receive(url, part, digest, size)
            if digest and (found := digest_of(part, digest)) != digest:
                _discard(part)
                if resumed:  # what was there before may have been of another file
                    raise _Broken(f"sent the rest of another file ({found} in place of {digest})")
                raise SourceFailed(f"sent another file ({found} in place of {digest})")
            break
        except _Broken as error:
            have = part.stat().st_size if part.exists() else 0
            failures = 1 if have > most else failures + 1
            most = max(have, most)
            if failures >= attempts:
                if digest and have and digest_of(part, digest) == digest:
                    break  # it is whole, whatever the server said of its length
                raise SourceFailed(f"{error}, {failures} times in a row") from error
            time.sleep(min(PAUSE * 2 ** (failures - 1), LONGEST_PAUSE))
    try:
        check(part)
    except InputError as error:
        _discard(part)
        raise SourceFailed(f"sent something else: {error}") from error
    replace_file(part, target)
    _discard(part)


def _receive(url: str, part: Path, digest: str, size: int) -> bool:
    """Append to `part` what is missing of the file at `url`, or write all of it. Whether anything was there before."""
    note = part.with_suffix(".json")
    before = _read(note) if part.exists() else {}
    start = part.stat().st_size if before else 0
    validator = before.get("validator") if before.get("url") == url else None
    headers = {"Accept-Encoding": "identity"}  # lengths and ranges count the bytes of the file
    if start and (validator or (digest and before.get("digest") == digest)):
        headers["Range"] = f"bytes={start}-"
        if validator:
            headers["If-Range"] = validator
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            total = _length(response, start)
            if response.status_code == 416 and total == start:
                return True  # all of it had come when the last process died
            if response.status_code == 416 or (response.status_code == 206 and not _begins_at(response, start)):
                _discard(part)
                raise _Broken("could not go on from where it broke off")
            if response.status_code not in (200, 206):
                error = _Broken if response.status_code in PASSING else SourceFailed
                raise error(f"answered {response.status_code} {response.reason}".rstrip())
            start = start if response.status_code == 206 else 0
            blocks = response.raw.stream(BLOCK, decode_content=False)
            first = next(blocks, b"")
            if not start and first.lstrip(b"\xef\xbb\xbf \r\n\t")[:14].lower().startswith(HTML):
                raise SourceFailed("sent a web page in place of the file")
            bar = tqdm(
                total=total or size or None, initial=start, unit="B", unit_scale=True, desc=_name(part), disable=None
            )
            with part.open("ab" if start else "wb") as file, bar:
                note.write_text(json.dumps({"url": url, "validator": _validator(response), "digest": digest}))
                for block in itertools.chain([first], blocks):
                    file.write(block)
                    bar.update(len(block))
                    if size and file.tell() > size * 1.1:
                        _discard(part)
                        raise SourceFailed(f"sends more than the {size:,} bytes that the file should have")
            if total and part.stat().st_size < total:
                raise _Broken(f"broke off after {part.stat().st_size:,} of {total:,} bytes")
            return start > 0
    except (RequestException, HTTPError) as error:
        have = part.stat().st_size if part.exists() else 0
        hung_up = error.args and isinstance(error.args[0], ProtocolError)  # reached, and gone before it answered
        if isinstance(error, NoConnection) and not hung_up:
            why = {ProxyError: ", for its proxy failed", SSLError: ", for its certificate is not trusted"}
            raise SourceFailed(f"was not reached{why.get(type(error), '')}") from error
        if isinstance(error, requests.TooManyRedirects | ValueError):  # ValueError: an address that is none
            raise SourceFailed("leads nowhere: too many redirects, or no address at all") from error
        what = (
            "did not answer in time" if isinstance(error, requests.ReadTimeout) else f"broke off after {have:,} bytes"
        )
        raise _Broken(what) from error


def _read(note: Path) -> dict:
    """Where what has come so far is from; nothing if that is not known, as when a process died while it wrote it."""
    try:
        return json.loads(note.read_text())
    except (OSError, ValueError):
        return {}


def _length(response: requests.Response, start: int) -> int:
    """The bytes of the whole file by a server's word, 0 where it says nothing."""
    _, _, total = response.headers.get("Content-Range", "").partition("/")
    if total.isdigit():
        return int(total)
    length = response.headers.get("Content-Length", "")
    return int(length) + (start if response.status_code == 206 else 0) if length.isdigit() else 0


def _begins_at(response: requests.Response, start: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _validator(response: requests.Response) -> str | None:
    """What tells this version of the file from others (RFC 9110, section 13.1.5): a strong ETag, or a date."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified")


def _name(part: Path) -> str:
    return part.name.removeprefix(".").removesuffix(".part")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_suffix(".json").unlink(missing_ok=True)
