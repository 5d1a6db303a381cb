import hashlib
import socket

import pytest
from served import served

from koniq.fetch import transfer
from koniq.fetch.transfer import SourceFailed
from koniq.ground import InputError

BODY = bytes(range(256)) * 40
MD5 = f"md5:{hashlib.md5(BODY).hexdigest()}"


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    with served({"file.bin": BODY, "whole.bin": BODY, "empty.bin": b""}) as server:
        yield server


def fetch(url, target, **arguments):
    transfer.fetch(url, target, **{"attempts": 3, **arguments})


def left_over(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("digest", ["", MD5])
@pytest.mark.parametrize("manner", ["well", "cut", "redirect", "busy", "hangup", "changing", "untagged"])
def test_ends_well_however_the_way_there(server, tmp_path, manner, digest):
    fetch(server.url("file.bin", manner), tmp_path / "file.bin", digest=digest, attempts=5)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert left_over(tmp_path) == ["file.bin"]


def test_a_broken_transfer_goes_on_where_it_broke_off(server, tmp_path):
    fetch(server.url("file.bin", "cut"), tmp_path / "file.bin")
    assert [wanted for _, wanted in server.requests] == [None, "bytes=5120-", "bytes=7680-", "bytes=8960-"]


def test_another_call_goes_on_with_what_an_earlier_one_left(server, tmp_path):
    with pytest.raises(SourceFailed, match=r"broke off after 5,120 bytes, 1 times in a row"):
        fetch(server.url("file.bin", "cut"), tmp_path / "file.bin", attempts=1)
    assert left_over(tmp_path) == [".file.bin.json", ".file.bin.part"]
    fetch(server.url("file.bin", "cut"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert server.requests[1][1] == "bytes=5120-"


def test_another_source_of_the_same_hash_goes_on_too_and_one_without_starts_anew(server, tmp_path):
    for digest, wanted in ((MD5, "bytes=5120-"), ("", None)):
        with pytest.raises(SourceFailed):
            fetch(server.url("file.bin", "cut"), tmp_path / "file.bin", attempts=1, digest=digest)
        fetch(server.url("file.bin"), tmp_path / "file.bin", digest=digest)
        assert server.requests[-1][1] == wanted
        assert (tmp_path / "file.bin").read_bytes() == BODY
        server.requests.clear()


@pytest.mark.parametrize("manner", ["404", "503", "page", "loop"])
def test_a_source_that_gives_nothing_leaves_what_came_from_another(server, tmp_path, manner):
    with pytest.raises(SourceFailed):
        fetch(server.url("file.bin", "cut"), tmp_path / "file.bin", attempts=1, digest=MD5)
    with pytest.raises(SourceFailed):
        fetch(server.url("file.bin", manner), tmp_path / "file.bin", digest=MD5)
    fetch(server.url("file.bin"), tmp_path / "file.bin", digest=MD5)
    assert server.requests[-1] == ("/well/file.bin", "bytes=5120-")


@pytest.mark.parametrize("note", ["", '{"url": "htt', None])
def test_what_came_from_nobody_knows_where_is_not_used(server, tmp_path, note):
    (tmp_path / ".file.bin.part").write_bytes(b"something else")
    if note is not None:
        (tmp_path / ".file.bin.json").write_text(note)
    fetch(server.url("file.bin"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_wrong_beginning_from_one_source_does_not_spoil_another(server, tmp_path):
    (tmp_path / ".file.bin.part").write_bytes(b"something else")
    (tmp_path / ".file.bin.json").write_text(f'{{"url": "elsewhere", "validator": null, "digest": "{MD5}"}}')
    fetch(server.url("file.bin"), tmp_path / "file.bin", digest=MD5)
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_killed_between_the_last_byte_and_the_rename(server, tmp_path):
    (tmp_path / ".file.bin.part").write_bytes(BODY)
    (tmp_path / ".file.bin.json").write_text(f'{{"url": "{server.url("file.bin")}", "validator": "\\"v1\\""}}')
    fetch(server.url("file.bin"), tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert server.requests == [("/well/file.bin", f"bytes={len(BODY)}-")]


@pytest.mark.parametrize(
    ("manner", "message"),
    [
        ("404", "answered 404 Not Found"),
        ("503", "answered 503 Service Unavailable, 3 times in a row"),
        ("page", "sent a web page in place of the file"),
        ("other", r"sent another file \(md5:.* in place of md5:.*\)"),
        ("short", r"sent another file \(md5:"),
        ("endless", r"sends more than the 10,240 bytes that the file should have"),
        ("loop", "leads nowhere"),
        ("norange", r"broke off after 5,120 bytes, 3 times in a row"),
    ],
)
def test_what_it_did_instead_is_said_and_nothing_is_put_in_place(server, tmp_path, manner, message):
    with pytest.raises(SourceFailed, match=message):
        fetch(server.url("file.bin", manner), tmp_path / "file.bin", digest=MD5, size=len(BODY))
    assert not (tmp_path / "file.bin").exists()


def test_a_length_that_is_too_long_does_not_matter_where_the_hash_is_right(server, tmp_path):
    fetch(server.url("file.bin", "long"), tmp_path / "file.bin", digest=MD5)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    with pytest.raises(SourceFailed, match="broke off after 10,240 bytes"):
        fetch(server.url("file.bin", "long"), tmp_path / "other.bin")


def test_content_is_checked_before_it_is_put_in_place(server, tmp_path):
    def check(path):
        raise InputError(f"it should be a poem. Received: {path.stat().st_size} bytes")

    with pytest.raises(SourceFailed, match=r"sent something else: it should be a poem. Received: 10240 bytes"):
        fetch(server.url("file.bin"), tmp_path / "file.bin", check=check)
    assert left_over(tmp_path) == []


def test_a_host_that_is_not_there_is_left_at_once(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(SourceFailed, match=r"^was not reached$"):
            fetch(f"http://127.0.0.1:{closed.getsockname()[1]}/x", tmp_path / "x")
    with pytest.raises(SourceFailed, match="no address at all"):
        fetch("nonsense", tmp_path / "x")


def test_proxies_are_honoured(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "")
    fetch(server.url("file.bin"), tmp_path / "file.bin", digest=MD5)
    assert server.requests == [(server.url("file.bin"), "by proxy"), ("/well/file.bin", None)]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(SourceFailed, match="its proxy failed"):
        fetch(server.url("file.bin"), tmp_path / "other.bin")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    fetch(server.url("file.bin"), tmp_path / "other.bin")


def test_an_empty_file_is_a_file(server, tmp_path):
    fetch(server.url("empty.bin"), tmp_path / "empty.bin")
    assert (tmp_path / "empty.bin").read_bytes() == b""


def test_the_offline_switch(monkeypatch):
    for name in transfer.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    assert not transfer.is_offline()
    for name in transfer.OFFLINE:
        monkeypatch.setenv(name, "1")
        assert transfer.is_offline()
        monkeypatch.setenv(name, "0")
        assert not transfer.is_offline()
