"""Whose fault it is that a file of a store was not read: told by what S3, HTTP and file systems of fsspec answer."""

import os
from typing import Literal, NamedTuple

from koniq.ground import InputError
from koniq.ground.urls import public

Whose = Literal["missing", "denied", "picture", "machine"]

TIMEOUT = "KONIQ_STORE_TIMEOUT"  # of the environment: seconds for which a store may give nothing
LARGEST = "KONIQ_STORE_MEGABYTES"  # of a picture in a store, which is held in memory while it is decoded
DEFAULTS = {TIMEOUT: 60.0, LARGEST: 512.0}

# Answers of S3 that say that the credentials, the clock or the bucket are wrong, whatever was asked for.
OF_ACCOUNT = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"),
    *("RequestTimeTooSkewed", "AccountProblem", "NotSignedUp", "InvalidSecurity", "AuthorizationHeaderMalformed"),
    *("NoSuchBucket", "PermanentRedirect", "Redirect", "TemporaryRedirect", "InvalidBucketName"),
}
TRANSIENT = {408, 425, 429, 500, 502, 503, 504}  # answers of HTTP after which the same may be asked again
BUSY = {"SlowDown", "RequestTimeout", "ServiceUnavailable", "InternalError", "Throttling", "RequestLimitExceeded"}


class Answer(Exception):
    """An answer of HTTP that is no file."""

    def __init__(self, status: int, reason: str):
        super().__init__(f"HTTP {status} {reason}".rstrip())
        self.status = status


class TooMuch(Exception):
    """A file is larger than what may be fetched."""


class Fault(NamedTuple):
    """Why a file of a store was not read."""

    whose: Whose
    reason: str
    again: bool = False  # whether it may be there when it is asked for again


def setting(name: str) -> float:
    """A number of the environment. Raises InputError if it is none, or not above 0."""
    text = os.environ.get(name, "")
    try:
        value = float(text or DEFAULTS[name])
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise InputError(f"{name} should be a number above 0. Received: {text!r}")
    return value


def fault(error: BaseException) -> Fault:
    """Whose fault it is that a file of a store was not read, and what to say of it."""
    chain = [error]
    while (cause := chain[-1].__cause__) and cause not in chain:
        chain.append(cause)
    names = {kind.__name__ for one in chain for kind in type(one).__mro__}
    if isinstance(error, TooMuch):
        return Fault("picture", str(error))
    if "ClientPayloadError" in names:  # of aiohttp; its cause has a code that no server gave
        return Fault("machine", "what was sent broke off", again=True)
    for one in chain:
        answer = getattr(one, "response", None)
        if isinstance(answer, dict) and (said := answer.get("Error")):  # of botocore
            status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return _of_answer(str(said.get("Code", "")), status, str(said.get("Message") or one))
        status = getattr(one, "status", getattr(one, "code", None))  # ours and aiohttp's; gcsfs's
        if isinstance(status, int | str) and str(status).isdigit() and int(status) >= 400:
            return _of_answer("", int(status), str(one))
    text = _said(error)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return Fault("missing", "no such file")
    if isinstance(error, IsADirectoryError):
        return Fault("picture", "a folder, not a picture")
    if isinstance(error, PermissionError):
        return Fault("denied", text)
    if names & {"InvalidURL", "TooManyRedirects", "ParamValidationError", "UnicodeError"}:
        return Fault("picture", text)
    if any(name.endswith(("Timeout", "TimeoutError")) for name in names):
        return Fault("machine", f"no answer within {setting(TIMEOUT):g} seconds ({TIMEOUT})", again=True)
    # Of Python, of aiohttp, and of botocore.
    passing = {"ConnectionError", "ClientError", "HTTPClientError", "IncompleteRead", "EndpointConnectionError"}
    return Fault("machine", text, again=bool(names & passing))


def _of_answer(code: str, status: int, text: str) -> Fault:
    said = public(f"HTTP {code} {text}" if code.isdigit() else f"{code}: {text}" if code else text)
    if code in OF_ACCOUNT:
        return Fault("machine", said)
    if code in ("NoSuchKey", "NoSuchVersion") or status in (404, 410):
        return Fault("missing", "no such file")
    if code in ("InvalidObjectState",):  # put away in an archive
        return Fault("picture", said)
    if status in TRANSIENT or status >= 500 or code in BUSY:
        return Fault("machine", said, again=True)
    return Fault("denied" if status in (401, 403, 407, 451) else "picture", said)


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return public(text if isinstance(error, OSError) else f"{type(error).__name__}: {text}")
