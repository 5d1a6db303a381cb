"""Files that appear whole or not at all, whatever links and disks lie between, and locks between processes."""

import errno
import os
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# Of a file system without locks, such as some of NFS, Lustre and FUSE (flock(2), fcntl(2)); ENOSYS is filelock's, too,
# where Python has no fcntl.
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
NO_SYNC = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF}  # of one that knows no fsync
_without_locks: set[int] = set()  # file systems of which this was said


def make_dirs(filename: str | Path) -> None:
    """Create the folder that `filename` lies in; a name that ends in a slash is the folder itself."""
    is_folder = str(filename).endswith(("/", os.sep))
    (Path(filename) if is_folder else Path(filename).parent).mkdir(parents=True, exist_ok=True)


def shown(name: str) -> str:
    """A file name as text, for files in UTF-8: bytes of it that are no UTF-8 stand there as \\xNN."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def real_path(path: str | Path) -> Path:
    """What a link leads to, there or not; any other path as it is. What is renamed onto it should lie beside that."""
    path = Path(path)
    return path.resolve() if path.is_symlink() else path


@contextmanager
def atomic_path(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, of its suffixes; renamed onto it on success, else removed.

    Where `path` is a link, all of this is of what it leads to. durable: see replace_file.
    """
    path = real_path(path)
    make_dirs(path)
    suffixes = "".join(path.suffixes)
    stem = path.name.removesuffix(suffixes)
    temporary = path.with_name(f".{stem}.{os.getpid()}-{threading.get_native_id()}.tmp{suffixes}")
    try:
        yield temporary
        replace_file(temporary, path, durable)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Yield a new folder beside `path`; on success it takes the place of whatever lies there, else it is removed.

    For one process at a time: its name is always the same, so that what a killed process left is cleared away. (See
    `turn`.) Where `path` is a link, all of this is of what it leads to. durable: see replace_file.
    """
    path = real_path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if durable:
            for part in (*temporary.rglob("*"), temporary):
                sync(part)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        if durable:
            sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_file(source: str | Path, target: str | Path, durable: bool = True) -> None:
    """Rename a file onto `target`, or onto what a link there leads to; onto another disk it is copied, then renamed.

    durable: the content is on the disk before the name is, and the name when this returns, so that a power failure
    leaves the old file or the new one, not an empty one (fsync(2)). A few milliseconds; not for files by the thousand.
    """
    source, target = Path(source), real_path(target)
    if durable:
        sync(source)
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with atomic_path(target, durable) as temporary:
            shutil.copyfile(source, temporary)
        source.unlink()
        return
    if durable:
        sync(target.parent)


def sync(path: str | Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk; not where the system cannot tell.

    Raises OSError if the disk did not take them.
    """
    is_folder = Path(path).is_dir()
    if is_folder and os.name == "nt":
        return
    try:
        file = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)  # Windows asks for the right to write
    except PermissionError:
        return
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(file)


class Lock:
    """A lock that is this process's own until `close`, or until the process ends, however it ends. See lock_file."""

    def __init__(self, path: Path, file: IO):
        self.path, self._file = path, file

    def close(self) -> None:
        """Give the lock up, and remove its file."""
        if self._file.closed:
            return
        if os.name == "nt":  # which removes no file that is open
            self._file.close()
        # Elsewhere before it is given up: whoever opened it meanwhile sees that it is gone, and asks again.
        with suppress(OSError):
            self.path.unlink()
        self._file.close()

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *exception) -> None:
        self.close()


def lock_path(path: str | Path) -> Path:
    """Where the lock of a file or folder lies: beside it, or beside what a link leads to.

    It is a file of its own, because Windows keeps others from reading one that is locked, and because a file that is
    replaced takes its lock with it.
    """
    path = real_path(path)
    return path.with_name(f".{path.name}.lock")


def lock_file(path: str | Path) -> Lock:
    """The lock at `path`, a file that has no other purpose and is made for it.

    Raises BlockingIOError if another process has it. Where the file system has no locks, nobody is kept out, which is
    said once.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that Python has no fcntl: said below, by ENOSYS
        from filelock import lock_descriptor  # flock, or LockFileEx on Windows

    path = real_path(path)
    for attempt in range(10):
        file = path.open("ab")
        try:
            if not lock_descriptor(file.fileno(), blocking=False):
                raise BlockingIOError(errno.EAGAIN, "locked by another process", str(path))
            # Some file systems do not know a file again by its number, so not for ever.
            if os.path.samestat(os.fstat(file.fileno()), path.stat()) or attempt == 9:
                break
        except FileNotFoundError:  # removed by the process that had it, after we opened it
            pass
        except OSError as error:
            if error.errno in NO_LOCKS:
                _say_once(path.parent, error)
                break
            file.close()
            raise
        file.close()
    return Lock(path, file)


def _say_once(folder: Path, error: OSError) -> None:
    if (disk := folder.stat().st_dev) not in _without_locks:
        _without_locks.add(disk)
        text = f"Note: the file system of {folder} has no locks ({error.strerror}): see to it that no second process"
        print(text, "writes there.", file=sys.stderr, flush=True)


@contextmanager
def turn(path: str | Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock at `path`, once no other process does. `waiting` is called, once, if there is one to wait for."""
    said = False
    while True:
        try:
            lock = lock_file(path)
            break
        except BlockingIOError:
            if not said:
                waiting()
            said = True
            time.sleep(0.5)
    with lock:
        yield
