"""Files that only their owner reads, replaced whole or not at all; and a directory that only one process works in."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edged.errors import StorageError

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700
LOCK = "lock"


def private_dir(path: Path) -> Path:
    """Make `path` and its parents when missing; `path` itself is for its owner only. Returns `path`."""
    path.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
    return path


@contextmanager
def alone(directory: Path) -> Iterator[None]:
    """Hold `directory` for this process, however it ends. StorageError when another process has it."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageError(f"{directory}: another process works in it") from error
        yield
    finally:
        os.close(descriptor)


def write_private(path: Path, data: bytes, *, mode: int = PRIVATE_FILE) -> None:
    """Write `data` to a new file beside `path` and rename it over `path`: a reader or a power cut sees the old or the new.

    The bytes and the name are on disk when this returns.
    """
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    new.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have a file's bytes, or the names in a directory, on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size_of(directory: Path) -> int:
    """Bytes of the file system that a directory is on. OSError."""
    found = os.statvfs(directory)
    return found.f_frsize * found.f_blocks
