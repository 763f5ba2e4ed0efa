"""The file of the history: blocks of reports, oldest out first, and how far each way out has come. A shell.

    readings.db                  blocks, ways, the next id
    readings.db.damaged-2026...  what was there before it was found to be damaged; the last 3 are kept

There is no index but the order of ids: it would cost a page of flash for each commit, and a look through all of it is
seldom asked for. All methods block: they run on an executor, those of `Reader` on another than those of `Ring`.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import apsw

from edged.device.history.reports import Report, blocks, pack, unpack
from edged.device.readings import Reading
from edged.errors import ProtocolError, StorageError
from edged.kit.files import PRIVATE_FILE, sync
from edged.kit.log import Log
from edged.kit.sqlite import transaction
from edged.store.faults import is_damage, why
from edged.store.replace import discard, finish, new_path, replace

VERSION = 1  # of the tables
BUSY_MS = 2000  # somebody may look into the file with another program
HEAD_BYTES = 64  # what SQLite and the columns take beside a block
S_MS = 1000

_TABLES = """
CREATE TABLE blocks (
    last INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL,
    at INTEGER NOT NULL, -- when it was written, in seconds since 1970
    since INTEGER NOT NULL, until INTEGER NOT NULL, -- of its readings, in milliseconds since 1970
    size INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE TABLE ways (way TEXT PRIMARY KEY, cursor INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE self (reserved INTEGER NOT NULL);
INSERT INTO self VALUES (0);
"""


class Limits(NamedTuple):
    """How much is kept. Age and count are for what every way has; what waits to be sent is bounded by the bytes alone.

    Whole blocks go: of the count (0: any), those without which there are still so many `reports`.
    """

    bytes: int
    age_s: float
    reports: int = 0


class Stand(NamedTuple):
    """What the file holds: its last report's id, an id that no report has reached, and each way's cursor.

    `waiting` are the reports beyond each cursor: those that a way has not had.
    """

    last: int = 0
    reserved: int = 0
    cursors: Mapping[str, int] = {}
    waiting: Mapping[str, int] = {}


class Batch(NamedTuple):
    """What is to be committed: the reports, the cursors of all ways that there are, and the ids reserved."""

    reports: Sequence[Report]
    cursors: Mapping[str, int]
    reserved: int
    wall: float


class Ring:
    """Writes the file at `path`. What a refused write left in a connection is anybody's guess: the next has a new one."""

    def __init__(self, path: Path, limits: Limits, log: Log) -> None:
        self.path, self._limits, self._log = path, limits, log
        self._connection: apsw.Connection | None = None
        self._size = self._count = 0  # bytes and reports that are there
        self.damaged = 0  # how often the file was begun again: readers open it anew

    def open(self, wall: float) -> Stand:
        """Open the file, making it (mode 0600) when it is not there, or is damaged. StorageError."""
        try:
            finish(self.path)
            try:
                return _stand(self._open())
            except apsw.Error as error:
                if not (is_damage(error) or isinstance(error, apsw.SQLError)):
                    raise
                self._begin_again(error, wall)
                return _stand(self._open())
        except (apsw.Error, OSError) as error:
            self.close()
            raise StorageError(f"{self.path}: {why(error)}") from error

    def _open(self) -> apsw.Connection:
        self.close()
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE))
        self.path.chmod(PRIVATE_FILE)
        connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(BUSY_MS)
            _prepare(connection)
            self._size = _number(connection, "SELECT coalesce(sum(size), 0) FROM blocks")
            self._count = _number(connection, "SELECT coalesce(sum(count), 0) FROM blocks")
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def write(self, batch: Batch) -> int:
        """Commit, and let go of what is beyond the limits: how many reports of that some way had not had.

        StorageError: nothing of the batch is in the file.
        """
        try:
            return self._write(batch)
        except apsw.Error as error:
            self.close()
            if not is_damage(error):
                raise StorageError(why(error)) from error
            damage = error
        try:
            self._begin_again(damage, batch.wall)
            return self._write(batch)
        except (apsw.Error, OSError) as error:
            self.close()
            raise StorageError(why(error)) from error

    def _write(self, batch: Batch) -> int:
        connection, before = self._connection or self._open(), (self._size, self._count)
        try:
            with transaction(connection):
                for reports in blocks(batch.reports):
                    self._insert(connection, reports, int(batch.wall))
                _keep_ways(connection, batch.cursors)
                connection.execute("UPDATE self SET reserved = ?1 WHERE reserved < ?1", (batch.reserved,)).fetchall()
                dropped = self._trim(connection, batch)
        except BaseException:
            self._size, self._count = before
            raise
        return dropped

    def _insert(self, connection: apsw.Connection, reports: Sequence[Report], at: int) -> None:
        data = pack(reports)
        times = [reading.time for report in reports for reading in report.readings]
        row = (reports[-1].id, reports[0].id, len(reports), at, min(times), max(times), len(data) + HEAD_BYTES, data)
        connection.execute("INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row).fetchall()
        self._size += len(data) + HEAD_BYTES
        self._count += len(reports)

    def _trim(self, connection: apsw.Connection, batch: Batch) -> int:
        """Remove the oldest blocks: those that all ways have had when old or many, any when there are too many bytes."""
        old, had, dropped = batch.wall - self._limits.age_s, min(batch.cursors.values(), default=None), 0
        while True:
            row = connection.execute("SELECT last, count, at, size FROM blocks ORDER BY last LIMIT 1").fetchone()
            if row is None:
                return dropped
            last, count, at, size = row
            unsent = had is not None and had < last
            many = 0 < self._limits.reports <= self._count - count
            if self._size <= self._limits.bytes and (unsent or not (many or at < old)):
                return dropped
            connection.execute("DELETE FROM blocks WHERE last = ?", (last,)).fetchall()
            self._size -= size
            self._count -= count
            dropped += count if unsent else 0

    def _begin_again(self, error: apsw.Error, wall: float) -> None:
        self.close()
        new = new_path(self.path)
        discard(new)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
        with closing(apsw.Connection(str(new), flags=apsw.SQLITE_OPEN_READWRITE)) as fresh, fresh:
            _make(fresh)
        sync(new)
        aside = replace(self.path, "damaged", wall)
        self.damaged += 1
        self._log.error(f"{self.path} is damaged ({why(error)}): it is kept as {aside}, and begun again; its readings are lost")

    def close(self) -> None:
        """Close the file; the next write opens it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(apsw.Error):  # of a disk that failed: that is known already
                connection.close()


class Reader:
    """Reads the file that a Ring writes, as it was committed last."""

    def __init__(self, ring: Ring, log: Log) -> None:
        self._ring, self._log = ring, log
        self._connection: apsw.Connection | None = None
        self._opened = 0  # `ring.damaged` when it was
        self._held: tuple[int, list[Report]] = (0, [])  # the block read last: a way takes it in several pieces
        self.rotten = 0  # blocks that did not match their checksum

    def after(self, cursor: int) -> list[Report]:
        """The reports of the first block that has any beyond `cursor`, those only; none: there is no such block. StorageError.

        A block that is damaged counts as one without reports: those beyond it follow.
        """
        while True:
            if self._held[1] and self._held[1][0].id <= cursor < self._held[0]:
                return [report for report in self._held[1] if report.id > cursor]
            row = self._row("SELECT last, data FROM blocks WHERE last > ? ORDER BY last LIMIT 1", (cursor,))
            if row is None:
                return []
            last, reports = row[0], self._unpack(row[1])
            self._held = (last, reports)
            if found := [report for report in reports if report.id > cursor]:
                return found
            cursor = last

    def before(self, last: int, since: int, until: int, wanted: tuple[str, str, str]) -> tuple[int, list[Reading]] | None:
        """The latest block before the one of an id with readings of that time, in milliseconds; None when there is none.

        Its id, and its readings of a namespace, device and property ("" is all properties), oldest first. StorageError.
        """
        row = self._row(
            "SELECT last, data FROM blocks WHERE last < ? AND until >= ? AND since <= ? ORDER BY last DESC LIMIT 1",
            (last, since, until),
        )
        return None if row is None else (row[0], chosen(self._unpack(row[1]), since, until, wanted))

    def _row(self, query: str, arguments: tuple[int, ...]) -> tuple[int, bytes] | None:
        try:
            if self._connection is None or self._opened != self._ring.damaged:
                self.close()
                self._opened = self._ring.damaged
                self._connection = apsw.Connection(str(self._ring.path), flags=apsw.SQLITE_OPEN_READWRITE)
                self._connection.set_busy_timeout(BUSY_MS)
                self._connection.pragma("query_only", True)
            row: tuple[int, bytes] | None = self._connection.execute(query, arguments).fetchone()
        except apsw.Error as error:
            self.close()
            raise StorageError(f"the history cannot be read: {why(error)}") from error
        return row

    def _unpack(self, data: bytes) -> list[Report]:
        try:
            return unpack(data)
        except ProtocolError as error:
            self.rotten += 1
            self._log.error(f"{self._ring.path}: {error}; what it held is lost")
            return []

    def close(self) -> None:
        """Close the file; the next read opens it."""
        connection, self._connection = self._connection, None
        self._held = (0, [])
        if connection is not None:
            connection.close()


def chosen(reports: Sequence[Report], since: int, until: int, wanted: tuple[str, str, str]) -> list[Reading]:
    """The readings of (namespace, device, property) in a time, in milliseconds; "" is all properties."""
    namespace, device, name = wanted
    return [
        reading
        for report in reports
        if (report.namespace, report.device) == (namespace, device)
        for reading in report.readings
        if since <= reading.time <= until and name in ("", reading.property)
    ]


def _prepare(connection: apsw.Connection) -> None:
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    taken = (connection.pragma("journal_mode"), connection.pragma("synchronous"))
    if taken != ("wal", 2):
        raise apsw.IOError(f"journal_mode=wal, synchronous=full were asked for, {taken} were given")
    version = connection.pragma("user_version")
    if version == VERSION:
        return
    if version:
        raise apsw.CantOpenError(f"made by another version of edged (tables {version}, {VERSION} is known here)")
    with connection:
        _make(connection)


def _make(connection: apsw.Connection) -> None:
    connection.execute(_TABLES).fetchall()
    connection.pragma("user_version", VERSION)


def _stand(connection: apsw.Connection) -> Stand:
    cursors = _ways(connection)
    beyond = "SELECT coalesce(sum(min(count, last - ?1)), 0) FROM blocks WHERE last > ?1"
    return Stand(
        _number(connection, "SELECT coalesce(max(last), 0) FROM blocks"),
        _number(connection, "SELECT max(reserved) FROM self"),
        cursors,
        {way: _number(connection, beyond, cursor) for way, cursor in cursors.items()},
    )


def _ways(connection: apsw.Connection) -> dict[str, int]:
    return {str(way): cursor for way, cursor in connection.execute("SELECT way, cursor FROM ways") if isinstance(cursor, int)}


def _keep_ways(connection: apsw.Connection, cursors: Mapping[str, int]) -> None:
    there = _ways(connection)
    for way in there.keys() - cursors.keys():
        connection.execute("DELETE FROM ways WHERE way = ?", (way,)).fetchall()
    for way, cursor in cursors.items():
        if there.get(way) != cursor:
            connection.execute("INSERT OR REPLACE INTO ways VALUES (?, ?)", (way, cursor)).fetchall()


def _number(connection: apsw.Connection, query: str, *arguments: int) -> int:
    (number,) = connection.execute(query, arguments).fetchone() or (None,)
    if not isinstance(number, int):
        raise apsw.CorruptError(f"{query}: {number!r}")
    return number
