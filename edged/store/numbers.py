"""What a store is and what it holds, in the small tables of its file.

A wrong number here is worse than a lost one: numbers would be used twice, and what was never had be taken for held. So
each row has a checksum, and one row that is not what was written makes the whole file damaged (apsw.CorruptError, as of
SQLite itself): it is set aside, and a store begun under another name.
"""

from collections.abc import Iterator
from typing import Any, cast

import apsw

from edged.store.rows import checksum

HELD, FLOORS, SELF = "held", "floors", "self"

_ALL = {
    HELD: "SELECT CAST(origin AS BLOB), seq, checksum FROM held",
    FLOORS: "SELECT CAST(origin AS BLOB), seq, checksum FROM floors",
    SELF: "SELECT CAST(id AS BLOB), starts, checksum FROM self",
}
_PUT = {
    HELD: "INSERT OR REPLACE INTO held VALUES (?, ?, ?)",
    FLOORS: "INSERT OR REPLACE INTO floors VALUES (?, ?, ?)",
    SELF: "INSERT INTO self VALUES (?, ?, ?)",
}


def every(connection: apsw.Connection, table: str) -> dict[str, int]:
    """{origin: number} of HELD or FLOORS, {id: number of starts} of SELF."""
    return dict(_checked(connection, table, _ALL[table]))


def one(connection: apsw.Connection, table: str, origin: str) -> int:
    """The number of an origin in HELD or FLOORS, 0 when there is none."""
    return dict(_checked(connection, table, _ALL[table] + " WHERE origin = ?", origin)).get(origin, 0)


def put(connection: apsw.Connection, table: str, name: str, number: int) -> None:
    """Write a row, over the one of the same origin."""
    connection.execute(_PUT[table], (name, number, checksum((table, name.encode(), number)))).fetchall()


def check(connection: apsw.Connection) -> None:
    """CorruptError unless all rows are what was written."""
    for table in _ALL:
        every(connection, table)


def _checked(connection: apsw.Connection, table: str, query: str, *bindings: Any) -> Iterator[tuple[str, int]]:
    for name, number, written in connection.execute(query, bindings).fetchall():
        if not isinstance(name, bytes) or checksum((table, name, number)) != written:
            raise apsw.CorruptError(f"a row of {table} is not what was written")
        yield name.decode(), cast("int", number)
