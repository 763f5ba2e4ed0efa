"""Registers in the SQLite file: reading them as objects and deltas, replacing them. No decisions: `apply.py` has those."""

from collections.abc import Iterator
from typing import Any, cast

import apsw

from edged.model.objects import Key, Object
from edged.wire.sync import MAX_DELTA, MAX_DELTA_BYTES, Delta, Register

_VISIBLE = """
    SELECT b.resource, b.namespace, b.name, b.rv, b.uid, b.value, s.rv, s.value FROM registers b
    LEFT JOIN registers s ON s.resource = b.resource AND s.namespace = b.namespace AND s.name = b.name
        AND s.part = 'status' AND s.uid = b.uid AND s.value IS NOT NULL
    WHERE b.part = 'body' AND b.value IS NOT NULL AND b.resource = ?
"""
_GET = _VISIBLE + " AND b.namespace = ? AND b.name = ?"
_LIST = _VISIBLE + " ORDER BY b.namespace, b.name"
_LIST_NAMESPACE = _VISIBLE + " AND b.namespace = ? ORDER BY b.name"
_REGISTER = """
    SELECT resource, namespace, name, part, uid, origin, seq, clock, value, signature FROM registers
    WHERE resource = ? AND namespace = ? AND name = ? AND part = ?
"""
_AFTER = """
    SELECT resource, namespace, name, part, uid, origin, seq, clock, value, signature FROM registers
    WHERE origin = ? AND seq > ? ORDER BY seq LIMIT ?
"""
_REPLACE = """
    INSERT INTO registers (resource, namespace, name, part, uid, origin, seq, clock, value, signature, rv)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (resource, namespace, name, part) DO UPDATE SET uid = excluded.uid, origin = excluded.origin,
        seq = excluded.seq, clock = excluded.clock, value = excluded.value, signature = excluded.signature, rv = excluded.rv
"""


Objects = list[Object]
Registers = list[Register]


class Table:
    """The registers behind one connection, which only one thread uses at a time."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def get(self, key: Key) -> Object | None:
        """The object of a key, or None when there is none or it was deleted."""
        rows = self._connection.execute(_GET, key).fetchall()
        return _object(rows[0]) if rows else None

    def list(self, resource: str, namespace: str | None) -> Objects:
        """The objects of a resource by (namespace, name); of one namespace when it is given."""
        if namespace is None:
            rows = self._connection.execute(_LIST, (resource,))
        else:
            rows = self._connection.execute(_LIST_NAMESPACE, (resource, namespace))
        return [_object(row) for row in rows]

    def register(self, key: Key, part: str) -> Register | None:
        """The register of a key and part, tombstones too."""
        rows = self._connection.execute(_REGISTER, (*key, part)).fetchall()
        return _register(rows[0]) if rows else None

    def replace(self, register: Register, rv: int) -> None:
        """Put a register in its place as change `rv`."""
        values = (
            register.resource,
            register.namespace,
            register.name,
            register.part,
            register.uid,
            register.origin,
            register.seq,
            register.clock,
            register.value,
            register.signature,
            rv,
        )
        self._connection.execute(_REPLACE, values).fetchall()

    def held(self) -> dict[str, int]:
        """The version vector: for each origin, the number up to which this store has everything."""
        return {str(origin): cast("int", seq) for origin, seq in self._connection.execute("SELECT origin, seq FROM held")}

    def hold(self, origin: str, seq: int) -> None:
        """This store has everything of `origin` up to `seq`."""
        self._connection.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (origin, seq)).fetchall()

    def delta(self, origin: str, since: int) -> Delta:
        """The registers of `origin` after `since`, as many as one delta takes, and the number up to which they reach."""
        with self._connection:  # held and registers of one moment
            upto = self.held().get(origin, 0)
            registers: Registers = []
            size = 0
            for register in self._after(origin, since):
                size += len(register.value or b"")
                if registers and (len(registers) == MAX_DELTA or size > MAX_DELTA_BYTES):
                    upto = registers[-1].seq
                    break
                registers.append(register)
        return Delta(origin, since, max(since, upto), registers)

    def _after(self, origin: str, since: int) -> Iterator[Register]:
        for row in self._connection.execute(_AFTER, (origin, since, MAX_DELTA + 1)):
            yield _register(row)

    def highest(self) -> tuple[int, int]:
        """The greatest change number and the greatest clock in the store."""
        rv, clock = self._connection.execute("SELECT ifnull(max(rv), 0), ifnull(max(clock), 0) FROM registers").fetchall()[0]
        return cast("int", rv), cast("int", clock)

    def origin(self, new: str) -> str:
        """This store's origin; `new` becomes it when the file has none yet."""
        rows = self._connection.execute("SELECT origin FROM self").fetchall()
        if not rows:
            self._connection.execute("INSERT INTO self VALUES (?)", (new,)).fetchall()
            return new
        return str(rows[0][0])


def _object(row: tuple[Any, ...]) -> Object:
    resource, namespace, name, rv, uid, body, status_rv, status = row
    return Object(Key(resource, namespace, name), max(rv, status_rv or 0), uid, body, status)


def _register(row: tuple[Any, ...]) -> Register:
    return Register(*row)
