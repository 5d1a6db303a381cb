"""What a request brings: its pictures, taken from a form or from a body, within limits."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, NamedTuple

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive

from koniq.ground.text import shortened
from koniq.serving.limits import Limits, Refused

RAW = ("", "application/octet-stream")  # what the body of one picture may call itself, or image/...
IN_MEMORY = 1 << 20  # bytes of a picture; what is larger lies on the disk until it is decoded
FIELDS = 16  # of a form, beside its pictures; nothing is made of them
NAME = 255  # characters of a name that is given back


class Sent(NamedTuple):
    """A picture as it came."""

    name: str
    file: BinaryIO

    def read(self) -> bytes:
        self.file.seek(0)
        return self.file.read()


class Body:
    """The body of a request, of which no more than `most` bytes are taken."""

    def __init__(self, receive: Receive, most: int):
        self.receive, self.most = receive, most
        self.size, self.ended = 0, False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Its bytes as they come. Raises Refused if they are too many, ClientDisconnect if the client goes."""
        async for chunk in self._rest():
            if self.size > self.most:
                raise Refused(413, f"A request should have {self.most:,} bytes at most. Received: more")
            yield chunk

    async def drain(self) -> None:
        """Take what is still to come, as much again at most: who sends does not read the answer before the end."""
        most = self.size + self.most
        async for _ in self._rest():
            if self.size > most:
                return

    async def _rest(self) -> AsyncIterator[bytes]:
        while not self.ended:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            self.size += len(chunk := message.get("body", b""))
            self.ended = not message.get("more_body", False)
            yield chunk


class _Form(MultiPartParser):
    """As Starlette's, and it knows whether the form came to its end."""

    ended = False

    def on_end(self) -> None:
        self.ended = True


async def pictures(request: Request, body: Body, limits: Limits, files: list[BinaryIO]) -> list[Sent]:
    """The pictures of a request, in files that are put into `files`, to be closed by whoever asks.

    Raises Refused; ClientDisconnect if the client goes.
    """
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limits.most:
        raise Refused(413, f"A request should have {limits.most:,} bytes at most. Received: {int(said):,}")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "A body should be sent as it is, without a Content-Encoding. Received: one that has one")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        sent = await _of_form(request, body, limits.max_pictures, files)
    elif kind in RAW or kind.startswith("image/"):
        sent = [await _of_body(body, files)]
    else:
        raise Refused(
            415,
            "A request should be multipart/form-data with pictures in it, or one picture as image/... or "
            f"application/octet-stream. Received: {shortened(kind, 80)}",
        )
    if not sent:
        raise Refused(422, "A request should have pictures in it, as files of a form. Received: none")
    return sent


async def _of_body(body: Body, files: list[BinaryIO]) -> Sent:
    file = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  closed with the request
    files.append(file)
    into = UploadFile(file, size=0)  # which writes to the disk in a thread
    async for chunk in body.chunks():
        await into.write(chunk)
    return Sent("", file)


async def _of_form(request: Request, body: Body, most: int, files: list[BinaryIO]) -> list[Sent]:
    parser = _Form(request.headers, body.chunks(), max_files=most, max_fields=FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if "Too many files" in error.message:
            raise Refused(413, f"A request should have {most} pictures at most. Received: more") from error
        raise Refused(400, f"A form should be one by RFC 7578. Received: {error.message}") from error
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:  # of what is no form
        raise Refused(400, "A form should be one by RFC 7578. Received: one that cannot be read") from error
    if not parser.ended:
        await form.close()
        raise Refused(400, "A form should end with its boundary. Received: one that is cut off")
    found = [value for _, value in form.multi_items() if not isinstance(value, str)]
    files.extend(one.file for one in found)
    return [Sent(_clean(one.filename or ""), one.file) for one in found]


@contextmanager
def closed() -> Iterator[list[BinaryIO]]:
    """Files that are closed at the end, and with that gone."""
    files: list[BinaryIO] = []
    try:
        yield files
    finally:
        for file in files:
            file.close()


def _clean(name: str) -> str:
    """A name as text that every JSON can hold."""
    return shortened(name.encode("utf-8", "backslashreplace").decode(), NAME)
