"""The tables, and how an older file becomes a newer one. A migration is never edited, only followed by another."""

import apsw

from edged.errors import StorageError

MIGRATIONS = (
    """
    CREATE TABLE registers (
        scope TEXT NOT NULL, resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, part TEXT NOT NULL,
        uid TEXT NOT NULL, origin TEXT NOT NULL, seq INTEGER NOT NULL, clock INTEGER NOT NULL,
        value BLOB, signature BLOB NOT NULL,
        rv INTEGER NOT NULL,
        checksum INTEGER NOT NULL,
        PRIMARY KEY (scope, resource, namespace, name, part)
    );
    -- Not unique: a row whose origin or number was damaged must not be in the way of one that is sound.
    CREATE INDEX registers_by_origin ON registers (origin, seq);
    CREATE INDEX tombstones ON registers (clock) WHERE value IS NULL;
    CREATE TABLE held (origin TEXT PRIMARY KEY, seq INTEGER NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE floors (origin TEXT PRIMARY KEY, seq INTEGER NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE certificates (id BLOB PRIMARY KEY, der BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE copying (scope TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE self (id TEXT NOT NULL, starts INTEGER NOT NULL, checksum INTEGER NOT NULL);
    """,
    """
    CREATE TABLE opaque ( -- places of registers that this version cannot read
        scope TEXT, resource TEXT, namespace TEXT, name TEXT, part TEXT, PRIMARY KEY (scope, resource, namespace, name, part)
    ) WITHOUT ROWID;
    """,
    "DROP TABLE copying;",
)


_FULL = 2  # sqlite.org/pragma.html#pragma_synchronous


def prepare(connection: apsw.Connection) -> None:
    """Make the file durable (WAL, synchronous=FULL, both read back) and bring its tables up to date in one transaction."""
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full")
    taken = (connection.pragma("journal_mode"), connection.pragma("synchronous"))
    if taken[0] not in ("wal", "memory") or taken[1] != _FULL:
        raise StorageError(f"{connection.filename}: journal_mode=wal, synchronous=full were asked for, {taken} were given")
    version = connection.pragma("user_version")
    if not isinstance(version, int) or version > len(MIGRATIONS):
        raise StorageError(f"{connection.filename}: made by a newer edged (schema {version}, {len(MIGRATIONS)} is known here)")
    migrate(connection)


def migrate(connection: apsw.Connection, to: int | None = None) -> None:
    """Bring the tables of a file up to date, or to an older version, in one transaction."""
    version = connection.pragma("user_version")
    to = len(MIGRATIONS) if to is None else to
    if version == to:
        return  # nothing is written: a start that changes nothing wears nothing
    with connection:
        for script in MIGRATIONS[version:to]:
            connection.execute(script).fetchall()
        connection.pragma("user_version", to)
