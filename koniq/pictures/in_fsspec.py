"""Stores by fsspec: a file fetched in one request, a folder listed, a file written.

fsspec and what it needs for a store are optional packages. They are imported when an address of a store is met.
"""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from koniq.ground import InputError
from koniq.ground.built import install
from koniq.ground.urls import Known, Remote, protocol, public
from koniq.pictures.store_faults import DEFAULTS, LARGEST, TIMEOUT, Answer, TooMuch, fault, setting

Result = TypeVar("Result")

HTTP = ("http", "https")
S3 = ("s3", "s3a")
GOOGLE = ("gs", "gcs")
CONNECTIONS = 64  # to one store at a time
LONGEST_PAUSE = 8.0  # seconds between two tries
SLOWEST, WHOLE_FILE = 1e5, 3600.0  # bytes a second, and seconds, that a table may take


class Fetched(NamedTuple):
    """A file of a store."""

    data: bytes
    modified: int  # nanoseconds since 1970; 0 if the store does not say


def silence() -> float:
    """Seconds for which one connection may give nothing: so that several tries fit into TIMEOUT."""
    return setting(TIMEOUT) / 4


_systems: dict[tuple, Any] = {}
_opening = threading.Lock()


def system(place: Remote) -> tuple[Any, str]:
    """The file system of fsspec for a place, the same for all threads, and the place's path there.

    Raises InputError if a package is not installed, or nothing opens such an address.
    """
    name = protocol(place.url)
    with _opening:
        kind = _kind(name)
        given = kind._get_kwargs_from_urls(place.url)
        key = (name, os.getpid(), *(setting(which) for which in DEFAULTS), repr(sorted(given.items())))
        if key not in _systems:
            try:
                _systems[key] = kind(**given, **_options(name), skip_instance_cache=True)
            except ImportError as error:
                raise _absent(name, error) from error
            except (ValueError, TypeError) as error:
                raise InputError(f"{place} should be an address of a store. Received: {public(str(error))}") from error
            if name in S3:
                _systems[key].retries = 1  # botocore and `trying` do, and not each for the others
        found = _systems[key]
    path = kind._strip_protocol(place.url)
    return found, path[0] if isinstance(path, list) else path


def _kind(name: str) -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise _absent(name, error) from error
    if name not in {*fsspec.available_protocols(), *fsspec.registry}:
        raise InputError(
            "An address of a store should begin with s3://, gs://, https://, or another protocol that fsspec knows "
            f"({', '.join(sorted(fsspec.available_protocols()))}). Received: {name}://"
        )
    try:
        return fsspec.get_filesystem_class(name)
    except ImportError as error:
        raise _absent(name, error) from error


def _absent(name: str, error: ImportError) -> InputError:
    needs = "gcs" if name in GOOGLE else "stores"
    own = name in (*S3, *HTTP, *GOOGLE) or getattr(error, "name", "") == "fsspec"
    text = install(needs) if own else str(error)  # fsspec says which package a protocol needs
    return InputError(f"{name}:// should be opened by optional packages, which are not installed: {text}")


def _options(name: str) -> dict:
    if name in S3:
        from fsspec.config import conf

        seconds = silence()
        own = conf.get(name, {}).get("config_kwargs", {})
        config = {
            **{"connect_timeout": seconds, "read_timeout": seconds, "max_pool_connections": CONNECTIONS},
            "retries": {"mode": "standard", "total_max_attempts": 2},
        }
        return {"config_kwargs": config | own, "use_listings_cache": False}
    if name in HTTP:
        import aiohttp

        waits = aiohttp.ClientTimeout(total=None, sock_connect=silence(), sock_read=silence())
        return {"client_kwargs": {"timeout": waits, "trust_env": True}}
    return {"use_listings_cache": False}


def trying(work: Callable[[], Result]) -> Result:
    """What `work` gives, tried again after pauses that grow, while the fault may pass and TIMEOUT has not."""
    started, tries = time.monotonic(), 0
    while True:
        try:
            return work()
        except Exception as error:
            tries += 1
            pause = min(LONGEST_PAUSE, 0.25 * 2**tries) * random.uniform(0.5, 1)
            if not fault(error).again or time.monotonic() + pause > started + setting(TIMEOUT):
                raise
        time.sleep(pause)


def fetch(place: Remote) -> Fetched:
    """A file of a store, in memory. Raises TooMuch if it is larger than LARGEST, and whatever the store's library does.

    S3 and HTTP are asked once for a file; others also for its size, if no list has said it.
    """
    files, path = system(place)
    most = int(setting(LARGEST) * 1e6)
    if place.known:
        _check(place.known.size, most)
    name = protocol(place.url)
    if name in S3:
        return trying(lambda: _waited(files, _of_s3, files, path, most))
    if name in HTTP:
        return trying(lambda: _waited(files, _of_http, files, path, most))

    def get() -> Fetched:
        known = place.known or known_of(_called(files, files.info, path))
        _check(known.size, most)
        return Fetched(_called(files, files.cat_file, path), known.modified)

    return trying(get)


def _check(size: int, most: int) -> None:
    if size > most:
        raise TooMuch(f"{size / 1e6:,.0f} MB, above the {most / 1e6:,.0f} MB that {LARGEST} allows")


async def _of_s3(files: Any, path: str, most: int) -> Fetched:
    bucket, key, version = files.split_path(path)
    more = {"VersionId": version} if version else {}
    answer = await files._call_s3("get_object", files.req_kw, Bucket=bucket, Key=key, **more)
    body = answer["Body"]
    try:
        _check(answer["ContentLength"], most)
        data = await body.read()
    finally:
        body.close()
    return Fetched(data, _nanoseconds(answer.get("LastModified")))


async def _of_http(files: Any, url: str, most: int) -> Fetched:
    session = await files.set_session()
    parts: list[bytes] = []
    async with session.get(files.encode_url(url), **files.kwargs) as answer:
        if answer.status >= 400:
            raise Answer(answer.status, answer.reason or "")
        _check(answer.content_length or 0, most)
        size = 0
        async for part in answer.content.iter_any():
            size += len(part)
            _check(size, most)  # of what was longer than it said, or said nothing
            parts.append(part)
        return Fetched(b"".join(parts), _nanoseconds(answer.headers.get("Last-Modified")))


def _waited(files: Any, work: Callable[..., Any], *given: object, **more: object) -> Any:
    """What a coroutine gives that runs in the thread of a file system. Its connections have their own patience."""
    from fsspec.asyn import sync

    return sync(files.loop, work, *given, **more)


def _called(files: Any, work: Callable[..., Result], *given: object, extra: float = 0.0, **more: object) -> Result:
    """What a file system gives. Raises TimeoutError if one without timeouts of its own does not within TIMEOUT.

    extra: seconds that it may take besides.
    """
    names = (files.protocol,) if isinstance(files.protocol, str) else files.protocol
    if {*names} & {*S3, *HTTP}:
        return work(*given, **more)
    found: list[Any] = []

    def run() -> None:
        try:
            found.append((work(*given, **more), None))
        except BaseException as error:  # raised below, in the thread that waits
            found.append((None, error))

    thread = threading.Thread(target=run, daemon=True)  # which an answer that never comes does not keep
    thread.start()
    thread.join(setting(TIMEOUT) + extra)
    if not found:
        raise TimeoutError
    result, error = found[0]
    if error:
        raise error
    return result


def listed(place: Remote) -> Iterator[tuple[str, Known]]:
    """The files below a folder of a store, each by its path from there; "" is the place itself, if it is a file."""
    files, path = system(place)
    path = path.rstrip("/")
    if protocol(place.url) in S3:
        yield from _listed_by_s3(files, path, place)
        return
    found = trying(lambda: _called(files, files.find, path, detail=True))
    for full, info in found.items():
        if info.get("type") != "directory" and not full.endswith("/"):
            yield full.removeprefix(path).removeprefix("/"), known_of(info)


def _listed_by_s3(files: Any, path: str, place: Remote) -> Iterator[tuple[str, Known]]:
    """As `listed`, page by page: each is asked for again by itself, and no more is kept of it than is given."""
    bucket, key, _ = files.split_path(path)
    prefix, more, found = f"{key}/" if key else "", {}, False
    while True:
        asked = {"Bucket": bucket, "Prefix": prefix, **more}
        page = trying(lambda asked=asked: _waited(files, files._call_s3, "list_objects_v2", files.req_kw, **asked))
        for info in page.get("Contents", ()):
            if not info["Key"].endswith("/"):  # by which consoles mark an empty folder
                found = True
                yield info["Key"].removeprefix(prefix), Known(info["Size"], _nanoseconds(info.get("LastModified")))
        if not page.get("IsTruncated"):
            break
        more = {"ContinuationToken": page["NextContinuationToken"]}
    if key and not found and is_there(place):
        yield "", Known(0, 0)


def matching(place: Remote) -> list[tuple[Remote, Known]]:
    """The files of a store that a glob matches, sorted."""
    files, path = system(place)
    found = trying(lambda: _called(files, files.glob, path, detail=True))
    return [
        (Remote(files.unstrip_protocol(full)), known_of(info))
        for full, info in sorted(found.items())
        if info.get("type") != "directory"
    ]


def is_there(place: Remote) -> bool:
    """Whether there is a file at an address. Raises whatever the store's library does if it does not say."""
    files, path = system(place)
    if protocol(place.url) in HTTP:

        async def asked() -> bool:
            session = await files.set_session()
            async with session.get(files.encode_url(path), **files.kwargs) as answer:  # not all servers know HEAD
                if answer.status >= 400:
                    raise Answer(answer.status, answer.reason or "")
                return True

        work = lambda: _waited(files, asked)  # noqa: E731
    else:
        work = lambda: bool(_called(files, files.info, path))  # noqa: E731
    try:
        return trying(work)
    except Exception as error:
        if fault(error).whose == "missing":
            return False
        raise


def state(place: Remote) -> str:
    """What tells what a file of a store holds from what it held before; "" if there is none."""
    files, path = system(place)
    try:
        info = trying(lambda: _called(files, files.info, path))
    except Exception as error:
        if fault(error).whose == "missing":
            return ""
        raise
    keys = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated", "created")
    return " ".join(str(info[key]) for key in ("size", *keys) if info.get(key) is not None)


def get(place: Remote, path: Path) -> None:
    """Copy a file of a store to this machine."""
    files, name = system(place)
    trying(lambda: _called(files, files.get_file, name, str(path), extra=WHOLE_FILE))


def put(path: Path, place: Remote) -> None:
    """Copy a file of this machine to a store, where it is seen whole or not at all, if the store puts it so."""
    files, name = system(place)
    trying(lambda: _called(files, files.put_file, str(path), name, extra=path.stat().st_size / SLOWEST))


def remove(place: Remote) -> None:
    """Take a file out of a store, if it is there."""
    files, name = system(place)
    try:
        trying(lambda: _called(files, files.rm_file, name))
    except Exception as error:
        if fault(error).whose != "missing":
            raise


def known_of(info: dict) -> Known:
    """What a store says of a file, by the keys that file systems use."""
    keys = ("LastModified", "last_modified", "mtime", "updated", "created")
    when = next((info[key] for key in keys if info.get(key)), None)
    return Known(int(info.get("size") or 0), _nanoseconds(when))


def _nanoseconds(when: object) -> int:
    if isinstance(when, str):
        try:
            when = parsedate_to_datetime(when) if "," in when else datetime.fromisoformat(when)
        except ValueError:
            return 0
    if isinstance(when, datetime):
        when = when.timestamp()
    return int(when * 1e9) if isinstance(when, int | float) else 0
