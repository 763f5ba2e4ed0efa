"""Opens the file of a store; one that is damaged is set aside, loudly, and begun again with what can be read of it.

    store.db         no database, or not whole     ->  store.db.damaged-20261128T140000Z (the last 3 are kept)
    store.db.suspect left when damage was met at run time: the next start looks at every page and index
    store.db.new     the next database, until it is whole

A look at all pages takes 14 ms for 20 MB in the page cache. It is taken when the last end was not a clean one, since a
clean one leaves no log; what rots in a file at rest is found by the checksum of each register when it is read.
"""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw

from edged.errors import EdgedError, StorageError
from edged.kit.files import PRIVATE_FILE, private_dir, sync, write_private
from edged.kit.log import Log
from edged.store import numbers
from edged.store.faults import DAMAGE, why
from edged.store.replace import discard, finish, new_path, replace
from edged.store.schema import migrate, prepare

BUSY_MS = 5000  # another process (a backup) may hold the file this long
LOOK_MAX = 256 << 20  # bytes of a file whose pages are all looked at: more would hold up the start by seconds
SUSPECT = ".suspect"
_READ_ERRORS = {
    apsw.SQLITE_IOERR_READ,
    apsw.SQLITE_IOERR_SHORT_READ,
    apsw.SQLITE_IOERR_CORRUPTFS,
    apsw.SQLITE_IOERR_DATA,
}

Rescue = Callable[[Path, apsw.Connection], object]


class _DamagedError(EdgedError):
    """The file is no database of ours any more."""


def open_connections(path: Path, rescue: Rescue, now: float, log: Log) -> tuple[apsw.Connection, apsw.Connection]:
    """A connection to write and one to read; the file (mode 0600) is made when it is not there.

    `rescue(damaged, fresh)` takes over what it can read of a damaged database into the one that takes its place, and
    returns what it did, in words. StorageError when the disk refuses, or the file is of a newer edged.
    """
    try:
        private_dir(path.parent)
        finish(path)
        writer = _open_or_begin_again(path, rescue, now, log)
        reader = _connect(path)
        reader.pragma("query_only", True)
    except (apsw.Error, OSError) as error:
        raise StorageError(f"{path}: {why(error)}") from error
    return writer, reader


def reopen(path: Path) -> apsw.Connection:
    """Another connection to write: after a refused write the state of the old one is anybody's guess. apsw.Error."""
    connection = _connect(path)
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def suspect(path: Path, reason: str) -> None:
    """Damage was met in the store at `path`: have the next start look at all of it. OSError."""
    write_private(_marker(path), reason.encode())


def _open_or_begin_again(path: Path, rescue: Rescue, now: float, log: Log) -> apsw.Connection:
    try:
        writer = _sound(path, log)
    except _DamagedError as damage:
        log.error(f"{path} is damaged ({damage}): it is set aside, and begun again with what can be read of it")
        aside, done = _begin_again(path, rescue, now)
        log.error(f"the damaged store is kept as {aside}; {done}; what is missing comes from the peers that have it")
        writer = reopen(path)
    _marker(path).unlink(missing_ok=True)
    return writer


def _sound(path: Path, log: Log) -> apsw.Connection:
    """A connection to write; _DamagedError when the file is damaged."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE))
    path.chmod(PRIVATE_FILE)
    thorough, unclean = _marker(path).exists(), _log_size(path) > 0
    try:
        writer = reopen(path)
        try:
            numbers.check(writer)
            if thorough:
                _look(writer, "integrity_check")
                log.warning(f"{path} was suspected to be damaged, and is whole")
            elif unclean and path.stat().st_size <= LOOK_MAX:
                _look(writer, "quick_check")
        except BaseException:
            writer.close()
            raise
    except (*DAMAGE, apsw.SQLError) as error:
        raise _DamagedError(why(error)) from error
    except apsw.IOError as error:
        if getattr(error, "extendedresult", 0) not in _READ_ERRORS:
            raise
        raise _DamagedError(why(error)) from error
    return writer


def _look(connection: apsw.Connection, pragma: str) -> None:
    found = connection.execute(f"PRAGMA {pragma}(1)").fetchall()
    if found != [("ok",)]:
        raise _DamagedError(str(found[0][0]).replace("\n", " "))


def _begin_again(path: Path, rescue: Rescue, now: float) -> tuple[Path, object]:
    new = new_path(path)
    discard(new)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
    with (
        closing(apsw.Connection(str(new), flags=apsw.SQLITE_OPEN_READWRITE)) as fresh,
        fresh,
    ):
        migrate(fresh)
        done = rescue(path, fresh)
    sync(new)
    return replace(path, "damaged", now), done


def _connect(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(BUSY_MS)
    return connection


def _marker(path: Path) -> Path:
    return path.with_name(path.name + SUSPECT)


def _log_size(path: Path) -> int:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0
