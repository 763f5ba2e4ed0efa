"""The tables, and how an older file becomes a newer one. A migration is never edited, only followed by another."""

import apsw

from edged.errors import StorageError

MIGRATIONS = (
    """
    CREATE TABLE registers (
        resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, part TEXT NOT NULL,
        uid TEXT NOT NULL, origin TEXT NOT NULL, seq INTEGER NOT NULL, clock INTEGER NOT NULL,
        value BLOB, signature BLOB NOT NULL,
        rv INTEGER NOT NULL,
        PRIMARY KEY (resource, namespace, name, part)
    );
    CREATE UNIQUE INDEX registers_by_origin ON registers (origin, seq);
    CREATE TABLE held (origin TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE self (origin TEXT NOT NULL);
    """,
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
    with connection:
        for script in MIGRATIONS[version:]:
            connection.execute(script).fetchall()
        connection.pragma("user_version", len(MIGRATIONS))
