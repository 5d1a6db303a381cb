"""What a server takes, and from whom: how much of it, at which address, with which token. It knows no framework."""

import hmac
import ipaddress
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from urllib.parse import urlsplit

from koniq.ground import InputError

TOKEN = "KONIQ_TOKEN"  # of the environment: a token that no list of processes shows
SHORTEST = 16  # characters of a token
MEGABYTE = 1_000_000
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Refused(Exception):
    """A request that is answered with `status`, of HTTP, and a sentence that says why.

    after: seconds after which it may be tried again, if that helps.
    """

    def __init__(self, status: int, reason: str, after: int | None = None):
        super().__init__(reason)
        self.status, self.reason, self.after = status, reason, after


@dataclass(frozen=True)
class Limits:
    """What a request may bring, and how many may wait."""

    max_mb: float = 64  # megabytes of a request
    max_pictures: int = 16  # of a request
    queue: int = 128  # pictures that wait or are scored, of all requests; what comes beyond it is told to come later
    wait_ms: float = 5  # milliseconds for which a batch that is not full waits for more pictures
    patience: float = 60  # seconds within which a request has to have come

    def check(self) -> None:
        """Raise InputError if one of them is none."""
        for name in ("max_mb", "max_pictures", "queue", "patience"):
            if not (isfinite(value := getattr(self, name)) and value > 0):
                raise InputError(f"{name} should be positive. Received: {name}={value}")
        if not 0 <= self.wait_ms <= 10_000:
            raise InputError(f"wait_ms should be 0 to 10000. Received: wait_ms={self.wait_ms}")
        if self.max_pictures > self.queue:
            raise InputError(
                "queue should be max_pictures or more, or a whole request would never find room. "
                f"Received: queue={self.queue}, max_pictures={self.max_pictures}"
            )

    @property
    def most(self) -> int:
        """Bytes of a request."""
        return int(self.max_mb * MEGABYTE)


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def token_for(host: str, token: str = "") -> tuple[str, bool]:
    """The token that clients have to bring to `host`, "" for none, and whether it was made here.

    It is `token`, or the environment's, or, where others than this machine may ask, one by chance. Raises InputError
    if it is one that is easily guessed, or that no header can have.
    """
    given = token or os.environ.get(TOKEN, "")
    if given:
        if len(given) < SHORTEST or not all("!" <= letter <= "~" for letter in given):
            raise InputError(
                f"token should be {SHORTEST} letters, digits or signs at least, without spaces. "
                f"Received: {len(given)} characters"
            )
        return given, False
    return ("", False) if is_loopback(host) else (secrets.token_urlsafe(24), True)


def bound(host: str, port: int) -> socket.socket:
    """A socket at an address, on which nobody listens yet; port 0 is any free one.

    Raises InputError if it is another program's, or none of this machine's.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"port should be 1 to 65535, or 0 for any. Received: port={port}")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise InputError(f"host should be an address of this machine. Received: {host} ({error})") from error
    found = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # elsewhere it would take an address that is in use
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(0)  # Linux tells of another listener only here; nobody is answered before the server runs
    except OSError as error:
        found.close()
        raise InputError(
            "host and port should be an address of this machine that no other program has. "
            f"Received: {host}:{port} ({error.strerror})"
        ) from error
    return found


def address_of(taken: socket.socket) -> str:
    """What is typed into a browser to get to a socket."""
    host, port = taken.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class Gate:
    """Who may ask: whoever brings the token; without one, this machine, and no page of anybody else in its browser.

    token: "" for none.
    """

    def __init__(self, token: str = ""):
        self.token = token

    def check(self, headers: Mapping[str, str]) -> None:
        """Raise Refused unless a request with these headers, by names in lower case, may be answered."""
        if self.token:
            kind, _, brought = headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(brought.strip().encode("utf-8", "replace"), self.token.encode())
            if kind.lower() != "bearer" or not same:
                raise Refused(401, "A request should bring the token: the header Authorization: Bearer TOKEN")
            return
        host = headers.get("host", "")
        # A page of somebody else's whose name was made to lead here, and a page that sends here from where it is.
        if _name(host) not in LOCAL and not is_loopback(_name(host)):
            raise Refused(403, "A request should be to localhost, or the server have a token. Received: another Host")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Refused(403, "A request should come from the server's own page. Received: another Origin")


def _name(host: str) -> str:
    """The name in a header Host, without the port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
