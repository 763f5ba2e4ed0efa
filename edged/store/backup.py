"""Backups: a consistent copy of a store in one file, made while the store is in use, and the way back.

A backup is a database like the store, with one more table that says whose it is and when it was made, and holds the key
of its secrets when that was asked for. What comes back from a file is bytes from outside until `restore` has checked it.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import apsw
import msgspec

from edged.errors import InvalidError, NotFoundError, StorageError
from edged.kit.files import PRIVATE_FILE, sync
from edged.model.times import format_time
from edged.store import numbers
from edged.store.faults import why
from edged.store.keyfile import FixedKey, KeyFile, key_path
from edged.store.opaque import readable
from edged.store.replace import discard, finish, new_path, replace
from edged.store.rows import COLUMNS, Row, from_row, place_of, to_row
from edged.store.salvage import UNKNOWN_STARTS, starts
from edged.store.schema import MIGRATIONS, migrate
from edged.store.table import Table
from edged.store.vault import KEY, SealedError, Vault
from edged.wire.sync import BODY, STATUS, Register

BUSY_MS = 5000  # a commit of the daemon holds the file far shorter
PIECE = 1 << 20  # bytes copied at a time
NAME_MAX = 253  # characters of a name, as in replication (sync/session.py)
NUMBER_MAX = 1 << 62  # SQLite's integers end at 2^63
ID_BYTES = 4  # random bytes in the id of a store
BATCH = 256  # registers read and written again at a time: the memory that a restore takes
_ABOUT = "CREATE TABLE backup (node TEXT NOT NULL, made TEXT NOT NULL, key BLOB)"

Random = Callable[[int], bytes]


class Restored(NamedTuple):
    """What a restore put in place. `locked` counts the secrets that do not open: the backup came without their key."""

    node: str
    made: str
    registers: int
    locked: int
    aside: Path | None


def snapshot(path: Path, target: Path, *, node: str, now: float, with_key: bool) -> None:
    """Copy the store at `path`, as it is after its last commit, into the empty private file `target`.

    The store may be in use: its writers do not wait. NotFoundError when there is none, StorageError when it cannot be copied.
    """
    if not path.exists():
        raise NotFoundError(f"{path}: no store is there")
    key = KeyFile(key_path(path), os.urandom).find() if with_key else None
    if with_key and key is None:
        raise NotFoundError(f"{key_path(path)}: no key is there, since no secret ever was: leave out --with-key")
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            connection.set_busy_timeout(BUSY_MS)
            connection.execute("VACUUM INTO ?", (str(target),)).fetchall()
        with closing(apsw.Connection(str(target), flags=apsw.SQLITE_OPEN_READWRITE)) as copy, copy:
            copy.execute(_ABOUT).fetchall()
            copy.execute("INSERT INTO backup VALUES (?, ?, ?)", (node, format_time(now), key)).fetchall()
        sync(target)
    except (apsw.Error, OSError) as error:
        raise StorageError(f"{path} is not copied: {why(error)}") from error


def receive(path: Path, source: BinaryIO) -> None:
    """Copy a backup to where `restore` looks for it. StorageError when the disk does not take it."""
    new = new_path(path)
    try:
        finish(path)
        discard(new)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE), "wb") as file:
            shutil.copyfileobj(source, file, PIECE)
    except OSError as error:
        discard(new)
        raise StorageError(f"{new} is not written: {error.strerror}") from error


def restore(path: Path, random: Random, now: float) -> Restored:
    """Put the backup that `receive` copied into the place of the store `path`, which nobody may have open.

    It is checked whole first: InvalidError, and nothing is changed, when any of it is damaged or it is no backup. The
    store takes a new id when it is opened next, since numbers that were given out after the backup must not be given out
    again: it goes on as one more store of its node, and what its peers have beyond the backup comes back from them.
    """
    new, keys = new_path(path), KeyFile(key_path(path), random)
    try:
        with closing(apsw.Connection(str(new), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            node, made, key = _about(connection)
            registers, locked = _take_over(connection, key, keys, random)
            _name(connection, random, _starts(path))
        sync(new)
    except (apsw.Error, UnicodeDecodeError) as error:
        discard(new)
        raise InvalidError(f"not a backup that can be used: {why(error)}") from error
    except BaseException:
        discard(new)
        raise
    there = path.exists()
    aside = replace(path, "replaced", now)
    return Restored(node, made, registers, locked, aside if there else None)


def _about(connection: apsw.Connection) -> tuple[str, str, bytes | None]:
    """Whose backup it is, when it was made, its key. InvalidError unless it is a whole database with our tables only."""
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    version = connection.pragma("user_version")
    if not isinstance(version, int) or version < 1:
        raise InvalidError("not a backup of a store")
    if version > len(MIGRATIONS):
        raise InvalidError(f"the backup is of a newer edged (schema {version}, {len(MIGRATIONS)} is known here)")
    if _schema(connection) != _expected_schema(version):
        raise InvalidError("not a backup of a store: its tables are others")
    found = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if found != [("ok",)]:
        raise InvalidError(f"the backup is damaged: {found[0][0]}")
    numbers.check(connection)
    rows = connection.execute("SELECT node, made, key FROM backup").fetchall()
    match rows:
        case [(str(node), str(made), bytes() | None as key)] if len(node) <= NAME_MAX and (key is None or len(key) == KEY):
            return node, made, key
    raise InvalidError("the backup does not say whose it is")


def _schema(connection: apsw.Connection) -> set[Any]:
    return set(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema"))


def _expected_schema(version: int) -> set[Any]:
    with closing(apsw.Connection(":memory:")) as memory:
        migrate(memory, version)
        memory.execute(_ABOUT).fetchall()
        return _schema(memory)


def _take_over(connection: apsw.Connection, key: bytes | None, keys: KeyFile, random: Random) -> tuple[int, int]:
    """Make a store of a backup, checking its registers; the counts of registers, and of secrets that do not open."""
    connection.pragma("journal_mode", "delete")  # a file that was in WAL mode would be renamed without its log
    if key is not None and keys.find() is None:
        keys.keep(key)
    theirs = Vault(keys if key is None else FixedKey(key), random)
    ours = Vault(keys, random)
    table, count, locked = Table(connection), 0, 0
    with connection:
        migrate(connection)
        for rowid, row in _all(connection):
            register, rv = _checked(row)
            count += 1
            try:
                value = theirs.open(register.place, register.value)
            except SealedError:
                locked += 1
            else:
                table.cover(register.place, opaque=not readable(msgspec.structs.replace(register, value=value)))
                if value is not register.value and key not in (None, keys.find()):
                    register = msgspec.structs.replace(register, value=ours.seal(register.place, value))
                    _rewrite(connection, rowid, to_row(register, rv))
        connection.execute("DROP TABLE backup").fetchall()
    return count, locked


def _all(connection: apsw.Connection) -> Iterator[tuple[int, Row]]:
    last = -NUMBER_MAX
    while rows := connection.execute(
        f"SELECT rowid, {COLUMNS} FROM registers WHERE rowid > ? ORDER BY rowid LIMIT {BATCH}",  # noqa: S608  constants
        (last,),
    ).fetchall():
        for rowid, *row in rows:
            last = cast("int", rowid)
            yield last, tuple(row)


def _rewrite(connection: apsw.Connection, rowid: int, row: Row) -> None:
    marks = ", ".join("?" * len(row))
    connection.execute(f"REPLACE INTO registers (rowid, {COLUMNS}) VALUES (?, {marks})", (rowid, *row)).fetchall()  # noqa: S608


def _checked(row: Row) -> tuple[Register, int]:
    placed = from_row(row)
    if placed is None:
        raise InvalidError(f"the backup is damaged: {'/'.join(filter(None, place_of(row)))[:NAME_MAX]}")
    try:
        register = msgspec.msgpack.decode(msgspec.msgpack.encode(placed.register), type=Register)
    except msgspec.ValidationError as error:
        raise InvalidError(f"the backup has a register that is none: {error}") from error
    names = (register.resource, register.namespace, register.name, register.uid, register.origin)
    numbers = (register.seq, register.clock, placed.rv)
    good = (
        register.part in (BODY, STATUS)
        and all(len(name) <= NAME_MAX for name in names)
        and all(0 <= number <= NUMBER_MAX for number in numbers)
        and register.place == row[:5]
    )
    if not good:
        raise InvalidError(f"the backup has a register that is none: {register.resource[:NAME_MAX]}")
    return register, placed.rv


def _starts(path: Path) -> int:
    """How often the store that is there was started: its change numbers go up with that, and clients have seen them."""
    if not path.exists():
        return 0
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
            return starts(connection)
    except apsw.CantOpenError:
        return UNKNOWN_STARTS


def _name(connection: apsw.Connection, random: Random, at_least: int) -> None:
    """A new id for the store, of the same node, and a count of starts beyond those of the store that it replaces."""
    rows = connection.execute("SELECT id FROM self").fetchall()
    if rows:
        node = str(rows[0][0]).partition(":")[0][:NAME_MAX]
        Table(connection).name(f"{node}:{random(ID_BYTES).hex()}", max(starts(connection), at_least))
