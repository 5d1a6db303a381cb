"""What a server takes, and from whom; and each wrong setting of the command, in a sentence."""

import pytest
from commands import ended

from koniq.commands import serve
from koniq.ground import InputError
from koniq.ground.exits import BAD_INPUT
from koniq.serving import Gate, Limits, Refused
from koniq.serving.limits import TOKEN, bound, is_loopback, token_for

GOOD = "sixteen-letters-or-more"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--max-mb", "0"], "max_mb should be positive. Received: max_mb=0.0"),
        (["--max-mb", "nan"], "max_mb should be positive. Received: max_mb=nan"),
        (["--max-pictures", "-1"], "max_pictures should be positive"),
        (["--queue", "0"], "queue should be positive"),
        (["--queue", "4"], "queue should be max_pictures or more"),
        (["--wait-ms", "-1"], "wait_ms should be 0 to 10000"),
        (["--patience", "0"], "patience should be positive"),
        (["--port", "70000"], "port should be 1 to 65535"),
        (["--host", "no.such.host.invalid", "--token", GOOD], "host should be an address of this machine"),
        (["--host", "192.0.2.1", "--token", GOOD], "address of this machine that no other program has"),
        (["--token", "short"], "token should be 16"),
        (["--token", "with spaces in it, many"], "token should be 16"),
        (["--batch-size", "0"], "batch_size should be positive"),
        (["--weights", "nothing_of_that_name"], "nothing_of_that_name"),
    ],
)
def test_a_wrong_setting_is_one_sentence(words, said, capsys):
    assert ended("serve", *words) == BAD_INPUT
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


def test_a_port_in_use_is_one_sentence(capsys):
    with bound("127.0.0.1", 0) as other:
        port = other.getsockname()[1]
        assert ended("serve", "--weights", "koncept_lite", "--port", port) == BAD_INPUT
    assert f"that no other program has. Received: 127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "python_multipart"])
def test_without_its_packages_one_sentence_names_what_to_install(name, monkeypatch, capsys):
    found = serve.find_spec
    monkeypatch.setattr(serve, "find_spec", lambda asked: None if asked == name else found(asked))
    assert ended("serve") == BAD_INPUT
    assert "pip install -r requirements-serve.txt" in capsys.readouterr().err


def test_others_than_this_machine_need_a_token(monkeypatch):
    monkeypatch.delenv(TOKEN, raising=False)
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.5", "photos.example", "")] == [False] * 5
    assert token_for("127.0.0.1") == ("", False)
    tokens = {token_for("0.0.0.0") for _ in range(3)}
    assert len(tokens) == 3
    assert all(made and len(token) >= 32 for token, made in tokens)
    assert token_for("0.0.0.0", GOOD) == (GOOD, False)
    monkeypatch.setenv(TOKEN, f"{GOOD}-of-the-environment")
    assert token_for("127.0.0.1") == (f"{GOOD}-of-the-environment", False)
    assert token_for("127.0.0.1", GOOD) == (GOOD, False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.1:8512", "localhost:80", "[::1]:8512"])
def test_this_machine_asks_by_any_of_its_names(host):
    Gate().check({"host": host})
    Gate().check({"host": host, "origin": f"http://{host}"})


@pytest.mark.parametrize("host", ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "[", "[::2]"])
def test_no_other_name_is_this_machine(host):
    with pytest.raises(Refused) as refused:
        Gate().check({"host": host})
    assert refused.value.status == 403


def test_a_token_is_all_of_it():
    gate = Gate(GOOD)
    gate.check({"authorization": f"Bearer {GOOD}"})
    gate.check({"authorization": f"bearer {GOOD}"})
    for brought in ("", GOOD, f"Basic {GOOD}", f"Bearer {GOOD[:-1]}", f"Bearer {GOOD}x", "Bearer \xff"):
        with pytest.raises(Refused):
            gate.check({"authorization": brought})


def test_a_socket_of_any_family():
    for host in ("127.0.0.1", "::1"):
        try:
            taken = bound(host, 0)
        except InputError:  # a machine without IPv6
            assert host == "::1"
            continue
        with taken, pytest.raises(InputError, match="no other program has"):
            bound(host, taken.getsockname()[1])


def test_limits_are_checked():
    assert Limits().most == 64_000_000
    with pytest.raises(InputError, match="patience should be positive"):
        Limits(patience=float("inf")).check()
