"""A server in this process, and who asks it: `with answering(scorer) as client: client.score({"a.jpg": data})`."""

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import NamedTuple

from koniq.serving import Batches, Gate, Limits, Running, Server, Table, application
from koniq.serving.limits import bound


class Answered(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """Who asks a server at a port of this machine."""

    def __init__(self, port: int, token: str = ""):
        self.port, self.token = port, token
        self.batches = self.application = None  # of a server in this process

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answered:
        """headers: with _ for -."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token and "Authorization" not in said:
            said["Authorization"] = f"Bearer {self.token}"
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, said)
            answer = connection.getresponse()
            return Answered(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answered:
        return self.ask("GET", path, **headers)

    def score(self, files: Mapping[str, bytes], **headers: str) -> Answered:
        body, kind = form(files)
        return self.ask("POST", "/v1/score", body, **{"Content_Type": kind, **headers})

    def raw(self, data: bytes, kind: str = "image/jpeg", **headers: str) -> Answered:
        return self.ask("POST", "/v1/score", data, Content_Type=kind, **headers)


def form(files: Mapping[str, bytes], charset: str = "") -> tuple[bytes, str]:
    """Files as a form, and its Content-Type."""
    boundary = secrets.token_hex(16)
    parts = []
    for name, data in files.items():
        quoted = name.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="{quoted}"\r\n\r\n'
        parts += [head.encode("utf-8", "surrogateescape"), data, b"\r\n"]
    said = f"; charset={charset}" if charset else ""
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}{said}"


@contextmanager
def answering(scorer, token: str = "", table: Table | None = None, opened=None, **limits: float) -> Iterator[Client]:
    """A server of a scorer, on a free port, in a thread."""
    taken, given, started = bound("127.0.0.1", 0), Limits(**limits), threading.Event()
    client = Client(taken.getsockname()[1], token)
    with Batches(scorer, given.queue, given.wait_ms / 1000, opened) as batches:
        client.batches = batches
        client.application = application(Server(batches, given, Gate(token), table or Table(reason="none is known")))
        server = Running(client.application, taken, started.set)
        thread = threading.Thread(target=server.serve_there)
        thread.start()
        try:
            assert started.wait(30)
            yield client
        finally:
            server.end()
            thread.join(30)
