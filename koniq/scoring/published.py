"""A CSV of scores in a store: worked on in a file of this machine, as stores append nothing, and sent there.

It is sent when a run ends, however it does, and every few minutes before that, with the files beside it. The next run,
here or on another machine, begins with what lies in the store. Of two that write at a time, the last one to send wins.
"""

import hashlib
import json
import shutil
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from koniq.ground import InputError, RunStopped
from koniq.ground.facts import facts_path
from koniq.ground.files import write_json
from koniq.ground.log import LOG
from koniq.ground.paths import user_cache
from koniq.ground.text import slug
from koniq.ground.urls import Remote, protocol
from koniq.pictures import in_fsspec, store_faults
from koniq.pictures.contents import digest_of
from koniq.scoring.journal import contents_path
from ku.files import Lock, atomic_path, lock_file

EVERY = 300.0  # seconds between two sendings


class Published:
    """A file of this machine in place of `out` in a store. A context manager; `path` is what to write to.

    Raises InputError if `out` is none that can be written to, or another process here writes it; RunStopped if the
    store cannot be asked, or if at the end it takes nothing: the file here has everything then, and the next run that
    is given the same `out` sends it.
    """

    def __init__(self, out: Remote):
        if protocol(out.url) in in_fsspec.HTTP or not out.name or "::" in out.url:
            raise InputError(
                "out should be a file, or an address in a store that can be written to, s3://bucket/scores.csv for "
                f"instance. Received: {out}"
            )
        self.out = out
        self.path = _folder(out) / out.name
        self._noted = self.path.parent / "sent.json"
        self._lock: Lock | None = None
        self._sending, self._done, self._warned = threading.Lock(), threading.Event(), False
        self._thread = threading.Thread(target=self._now_and_then, daemon=True)

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = lock_file(self.path.parent / "lock")
        except BlockingIOError as error:
            raise InputError(f"Another process is writing {self.out}; wait for it, or give another --out.") from error
        try:
            self._bring()
        except InputError:
            self._lock.close()
            raise
        except Exception as error:
            self._lock.close()
            raise self._stopped("begun or gone on with", error) from error
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._done.set()
        self._thread.join()
        try:
            if error is None or self._has_rows():
                was_sent = self._send()
                LOG.info(f"{self.out} {'has been written' if was_sent else 'stays'}; its copy here is {self.path}")
        except Exception as failed:
            stopped = self._stopped("written to", failed)
            if error is None:
                raise stopped from failed
            LOG.warning(f"Error: {stopped}")  # beside what ended the run
        finally:
            self._lock.close()

    # What is where. `sent.json`: what the store had when both were the same, and what the file here was then.

    def _bring(self) -> None:
        """Have the file here be what the run goes on with: the store's, unless this one is ahead of it."""
        noted, now = self._read_noted(), in_fsspec.state(self.out)
        if now and now == noted.get("there"):
            return
        with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            rows = Path(folder, "rows")
            if now:
                in_fsspec.get(self.out, rows)
                if self._has_rows() and _begins_with(self.path, rows):  # of a run that ended before it could note that
                    return self._note(now, None)
            lacks = not now or not _begins_with(rows, self.path) if self._has_rows() and (now or noted) else False
            if lacks and self._here() != noted.get("here"):
                aside = _free(self.path.with_name(f"{self.path.stem}-unsent{self.path.suffix}"))
                shutil.copy2(self.path, aside)
                LOG.warning(f"{self.out} was changed by another; rows here that were not sent are kept in {aside}")
            if now or noted:  # noted: it was there, and somebody took it away
                for path in (self.path, *(here for here, _ in self._beside())):
                    path.unlink(missing_ok=True)
            if not now:
                rows.touch()
                in_fsspec.put(rows, self.out)  # as a file is made: what takes nothing is said now, not at the end
                return self._note(in_fsspec.state(self.out), None)
            for here, there in self._beside():  # before the rows, which without them are not gone on with
                if in_fsspec.state(there):
                    with atomic_path(here) as temporary:
                        in_fsspec.get(there, temporary)
            rows.replace(self.path)
        facts = facts_path(self.path)
        self._note(now, self._here(), facts=facts.read_text() if facts.exists() else None)
        LOG.info(f"{self.out} is there, and gone on with")
        return None

    def _beside(self) -> list[tuple[Path, Remote]]:
        paths = (facts_path(self.path), contents_path(self.path))
        return [(path, self.out.parent / path.name) for path in paths]

    def _here(self) -> list | None:
        """By which a file that was written to since is known; not by its time, which every run sets."""
        if not self.path.exists():
            return None
        with self.path.open("rb") as file:
            digest = digest_of(file).hex()
        contents = contents_path(self.path)
        return [digest, contents.stat().st_size if contents.exists() else 0]

    def _read_noted(self) -> dict:
        try:
            return json.loads(self._noted.read_text())
        except (OSError, ValueError):
            return {}

    def _note(self, there: str, here: list | None, **more: object) -> None:
        write_json({"out": str(self.out), "there": there, "here": here, **more}, self._noted)

    def _has_rows(self) -> bool:
        if not self.path.exists():
            return False
        with self.path.open("rb") as file:
            return bool(file.readline() and file.readline())

    # Sending

    def _now_and_then(self) -> None:
        while not self._done.wait(EVERY):
            try:
                if self._has_rows():
                    self._send()
            except Exception as error:  # at the end it is tried again
                LOG.warning(f"{self.out} could not be written to for now: {store_faults.fault(error).reason}")

    def _send(self) -> bool:
        """Bring the store up to date. Returns whether there was anything to send."""
        with self._sending, tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
            noted, here = self._read_noted(), self._here()
            (facts, to_facts), (contents, to_contents) = self._beside()
            if here is None or not facts.exists():
                return False
            said = facts.read_text()
            if here == noted.get("here") and said == noted.get("facts"):
                return False
            # Copied before the rows: of a row that is newer they say nothing.
            copies = [(path, Path(folder, path.name)) for path in (contents, self.path)]
            for path, copy in copies:
                shutil.copyfile(path, copy)
                _end_with_a_line(copy)
            there = in_fsspec.state(self.out)
            if there != noted.get("there") and not self._warned:
                self._warned = True
                LOG.warning(f"{self.out} was changed by another meanwhile; what is written here takes its place")
            if said != noted.get("facts"):
                in_fsspec.remove(to_facts)  # rows that stand beside the facts of others would be taken for theirs
            in_fsspec.put(copies[1][1], self.out)
            if said != noted.get("facts"):
                in_fsspec.put(facts, to_facts)
            in_fsspec.put(copies[0][1], to_contents)
            self._note(in_fsspec.state(self.out), here, facts=said)
            return True

    def _stopped(self, what: str, error: Exception) -> RunStopped:
        kept = f"What was scored is whole, in {self.path}; o" if self._has_rows() else "O"
        return RunStopped(
            f"{self.out} could not be {what}: {store_faults.fault(error).reason}. {kept}nce that is mended, the same "
            "command goes on from there, and sends it."
        )


def _folder(out: Remote) -> Path:
    """Where the files of an address lie on this machine: the same for every run."""
    key = hashlib.sha256(str(out).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    try:
        cache = user_cache()
    except RuntimeError:  # a user without a home
        cache = Path(tempfile.gettempdir(), "koncept512")
    return cache / "scores" / f"{slug(Path(out.name).stem)[:40]}-{key}"


def _free(path: Path) -> Path:
    """The path, or one like it that nothing is at."""
    number, found = 2, path
    while found.exists():
        found, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return found


def _begins_with(path: Path, beginning: Path) -> bool:
    """Whether what is in a file begins with what is in another, which is not empty."""
    size = beginning.stat().st_size
    if not 0 < size <= path.stat().st_size:
        return False
    with path.open("rb") as file, beginning.open("rb") as other:
        return all(part == file.read(len(part)) for part in iter(lambda: other.read(1 << 20), b""))


def _end_with_a_line(path: Path) -> None:
    """Cut off what is no whole line at the end of a copy that was made while lines were written."""
    with path.open("r+b") as file:
        size = end = file.seek(0, 2)
        while end:
            start = max(0, end - (1 << 16))
            file.seek(start)
            cut = file.read(end - start).rfind(b"\n")
            if cut >= 0:
                end = start + cut + 1
                break
            end = start
        if end != size:
            file.truncate(end)
