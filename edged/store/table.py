"""Registers in the SQLite file: reading them whole or in pairs, replacing them. No decisions: `apply.py` has those."""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, cast

import apsw
import msgspec

from edged.store import digest, numbers
from edged.store.damage import Damage
from edged.store.numbers import FLOORS, HELD, SELF
from edged.store.opaque import readable
from edged.store.origins import scope_in
from edged.store.quota import NOTHING, OVERHEAD, Used, Writer, writer_of
from edged.store.rows import COLUMNS, RAW_COLUMNS, Placed, Row, clock_of, from_raw, from_row, place_of, to_row
from edged.store.vault import SealedError, Vault
from edged.store.view import At, Pair
from edged.wire.sync import BODY, MAX_DELTA, MAX_DELTA_BYTES, STATUS, Delta, Place, Register

_AT_PLACE = "WHERE scope = ? AND resource = ? AND namespace = ? AND name = ? AND part = ?"
_PAIR = " FROM registers WHERE scope = ? AND resource = ? AND namespace = ? AND name = ?"
_PLACE = _PAIR + " AND part = ?"
_LIST = " FROM registers WHERE scope = ? AND resource = ? ORDER BY namespace, name, part"
_LIST_NAMESPACE = " FROM registers WHERE scope = ? AND resource = ? AND namespace = ? ORDER BY name, part"
_AFTER = " FROM registers WHERE origin = ? AND seq > ? ORDER BY seq LIMIT ?"
_BEYOND = " FROM registers WHERE origin = ? AND clock > ? LIMIT ?"
_TOMBSTONES = " FROM registers WHERE value IS NULL AND clock < ? LIMIT ?"
_INDEXED = """
    SELECT EXISTS (SELECT 1 FROM registers INDEXED BY sqlite_autoindex_registers_1
        WHERE scope = ? AND resource = ? AND namespace = ? AND name = ? AND part = ?)
    AND EXISTS (SELECT 1 FROM registers INDEXED BY registers_by_origin WHERE origin = ? AND seq = ?)
"""
_SPAN = " FROM registers WHERE rowid BETWEEN ? AND ?"
_OUTLINES = f"SELECT rowid, {digest.COLUMNS} FROM registers WHERE rowid > ? ORDER BY rowid LIMIT ?"  # noqa: S608  constants
_REPLACE = """
    INSERT INTO registers (
        scope, resource, namespace, name, part, uid, origin, seq, clock, value, signature, rv, checksum
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (scope, resource, namespace, name, part) DO UPDATE SET uid = excluded.uid, origin = excluded.origin,
        seq = excluded.seq, clock = excluded.clock, value = excluded.value, signature = excluded.signature, rv = excluded.rv,
        checksum = excluded.checksum
"""
_REMOVE = f"DELETE FROM registers {_AT_PLACE}"  # noqa: S608  constants
_UNCOVER = f"DELETE FROM opaque {_AT_PLACE}"  # noqa: S608  constants
# Of the rows with the greatest numbers those that are sound: a damaged number must not carry the node away.
_USAGE = "SELECT CAST(origin AS BLOB), count(*), sum(ifnull(length(value), 0)) FROM registers GROUP BY origin"
_TOP_RV = " FROM registers WHERE rowid IN (SELECT rowid FROM registers ORDER BY rv DESC LIMIT 64)"
_TOP_CLOCK = " FROM registers WHERE rowid IN (SELECT rowid FROM registers ORDER BY clock DESC LIMIT 64)"


class Table:
    """The registers behind one connection, which only one thread uses at a time.

    `group` is whose objects are in view, beside those of the fleet. A row that is not what was written is noted in
    `damage`, and treated as if it were not there.
    """

    def __init__(
        self, connection: apsw.Connection, group: str = "", damage: Damage | None = None, vault: Vault | None = None
    ) -> None:
        self._connection = connection
        self._group = group
        self.damage = Damage() if damage is None else damage
        self._vault = vault

    # Rows

    def _rows(self, which: str, bindings: Iterable[Any]) -> Iterator[Row]:
        bindings, count = tuple(bindings), 0
        try:
            for row in self._connection.execute("SELECT " + COLUMNS + which, bindings):
                count += 1
                yield row
        except UnicodeDecodeError:  # a damaged text, which would hide all rows after it
            rows = self._connection.execute("SELECT " + RAW_COLUMNS + which, bindings)
            yield from (from_raw(row) for row in islice(rows, count, None))

    def _placed(self, row: Row) -> Placed | None:
        placed = from_row(row)
        if placed is not None and self._vault is not None:
            placed = _opened(placed, self._vault)
        if placed is None:
            self.damage.note(place_of(row), clock_of(row))
        return placed

    def _sound(self, which: str, *bindings: Any) -> Iterator[Placed]:
        return (placed for row in self._rows(which, bindings) if (placed := self._placed(row)) is not None)

    def _do(self, statement: str, *bindings: Any) -> None:
        self._connection.execute(statement, bindings).fetchall()

    # Registers

    def scope(self, resource: str, group: str | None = None) -> str:
        """The scope in which this node sees and writes a resource, or in which a node of `group` does."""
        return scope_in(self._group if group is None else group, resource)

    def pair(self, at: At) -> Pair:
        """The body and the status of a key in a scope, tombstones too."""
        return _pair(self._sound(_PAIR, *at))

    def pairs(self, resource: str, namespace: str | None, group: str | None = None) -> Iterator[tuple[At, Pair]]:
        """The registers of a resource in view by (namespace, name); of one namespace, or in `group`'s view, when given."""
        scope = self.scope(resource, group)
        if namespace is None:
            rows = self._rows(_LIST, (scope, resource))
        else:
            rows = self._rows(_LIST_NAMESPACE, (scope, resource, namespace))
        for at, of_key in groupby(rows, _at):
            yield at, _pair(placed for row in of_key if (placed := self._placed(row)) is not None)

    def register(self, place: Place) -> Placed | None:
        """What stands in a place, a tombstone too."""
        return next(iter([*self._sound(_PLACE, *place)]), None)

    def replace(self, register: Register, rv: int) -> None:
        """Put a register in its place as change `rv`."""
        if self._vault is not None:
            register = _sealed(register, self._vault)
        self._do(_REPLACE, *to_row(register, rv))

    def remove(self, place: Place) -> None:
        """Nothing stands in a place any more."""
        self._do(_REMOVE, *place)

    def tombstones(self, before_clock: int, count: int) -> list[Register]:
        """At most `count` tombstones that are older than a clock."""
        return [placed.register for placed in self._sound(_TOMBSTONES, before_clock, count)]

    def beyond(self, origin: str, clock: int, count: int) -> list[Register]:
        """At most `count` registers of an origin that are later than a clock; fewer when they are large."""
        found: list[Register] = []
        size = 0
        for placed in self._sound(_BEYOND, origin, clock, count):
            found.append(placed.register)
            size += len(placed.register.value or b"")
            if size > MAX_DELTA_BYTES:
                break
        return found

    def after(self, origin: str, since: int, count: int) -> list[tuple[int, Place]]:
        """The numbers and places of the next `count` registers of an origin."""
        return [(placed.register.seq, placed.register.place) for placed in self._sound(_AFTER, origin, since, count)]

    def scrub(self, after: int, count: int) -> tuple[int | None, bool]:
        """Look at `count` rows after row `after`, so that damage is noticed: the last one, None at the end.

        And whether the indexes find each of them: where one does not, a list or a delta misses a row that is sound.
        """
        rows = self._connection.execute("SELECT rowid FROM registers WHERE rowid > ? ORDER BY rowid LIMIT ?", (after, count))
        numbers = [cast("int", number) for (number,) in rows]
        if not numbers:
            return None, True
        indexed = [self._indexed(placed.register) for placed in self._sound(_SPAN, numbers[0], numbers[-1])]
        return numbers[-1], all(indexed)

    def outlines(self, after: int, count: int) -> list[tuple[Any, ...]]:
        """Of `count` rows after row `after`: the row's number, and what a digest is of."""
        try:
            return self._connection.execute(_OUTLINES, (after, count)).fetchall()
        except UnicodeDecodeError:  # a damaged text: it is noted by looking at it
            self.scrub(after, count)
            return []

    def _indexed(self, register: Register) -> bool:
        bindings = (*register.place, register.origin, register.seq)
        return bool(self._connection.execute(_INDEXED, bindings).fetchall()[0][0])

    def reindex(self) -> None:
        """Make the indexes anew from the rows."""
        self._do("REINDEX registers")

    def usage(self) -> dict[Writer, Used]:
        """What each node has written of what stands."""
        found: dict[Writer, Used] = {}
        rows: list[tuple[Any, ...]] = self._connection.execute(_USAGE).fetchall()
        for origin, count, size in rows:
            writer = writer_of(origin.decode(errors="replace"))
            before = found.get(writer, NOTHING)
            found[writer] = Used(before.registers + count, before.bytes + size + OVERHEAD * count)
        return found

    # Registers that cannot be read

    def opaque(self) -> set[Place]:
        """Where registers stand that this version cannot read."""
        rows = self._connection.execute("SELECT * FROM opaque").fetchall()
        return {cast("Place", row) for row in rows}

    def cover(self, place: Place, *, opaque: bool) -> None:
        """The register in a place cannot be read, or can."""
        if opaque:
            self._do("INSERT OR IGNORE INTO opaque VALUES (?, ?, ?, ?, ?)", *place)
        else:
            self._do(_UNCOVER, *place)

    def look_again(self) -> None:
        """A newer version may read what an older one could not."""
        with self._connection:
            for place in self.opaque():
                there = self.register(place)
                if there is None or readable(there.register):
                    self.cover(place, opaque=False)

    # Numbers

    def held(self) -> dict[str, int]:
        """The version vector: for each origin, the number up to which this store has everything."""
        return numbers.every(self._connection, HELD)

    def number(self, origin: str) -> int:
        """The number up to which this store has everything of an origin."""
        return numbers.one(self._connection, HELD, origin)

    def hold(self, origin: str, seq: int) -> None:
        """This store has everything of `origin` up to `seq`."""
        numbers.put(self._connection, HELD, origin, seq)

    def floors(self) -> dict[str, int]:
        """For each origin, the number of its latest tombstone that was removed for its age."""
        return numbers.every(self._connection, FLOORS)

    def raise_floor(self, origin: str, seq: int) -> None:
        """A tombstone of `origin` with this number was removed, here or where a fresh copy came from."""
        if seq > numbers.one(self._connection, FLOORS, origin):
            numbers.put(self._connection, FLOORS, origin, seq)

    def delta(self, origin: str, since: int, limit: int | None = None) -> Delta:
        """The registers of `origin` after `since`, as many as one delta takes, and the number up to which they reach.

        It ends before a damaged register, and before one whose clock is beyond `limit`.
        """
        registers: list[Register] = []
        size = 0
        with self._connection:  # held and registers of one moment
            upto = self.number(origin)
            for row in self._rows(_AFTER, (origin, since, MAX_DELTA + 1)):
                placed = self._placed(row)
                if placed is not None and placed.register.seq > upto:  # salvaged: what was before it need not be here
                    break
                if placed is not None:
                    size += len(placed.register.value or b"")
                full = registers and (len(registers) == MAX_DELTA or size > MAX_DELTA_BYTES)
                if placed is None or full or (limit is not None and placed.register.clock > limit):
                    while placed is not None and registers and registers[-1].seq == placed.register.seq:
                        registers.pop()  # a number that was used twice is sent whole
                    upto = registers[-1].seq if registers else since
                    break
                registers.append(placed.register)
        return Delta(origin, since, max(since, upto), registers)

    def highest(self) -> tuple[int, int]:
        """The greatest change number and the greatest clock in the store."""
        rv = max((placed.rv for placed in self._sound(_TOP_RV)), default=0)
        return rv, max((placed.register.clock for placed in self._sound(_TOP_CLOCK)), default=0)

    # Who this store is, and whom it knows

    def begin(self, new: str) -> tuple[str, int]:
        """One more start: the id of this store, and how many starts it had. `new` becomes it when the file is new.

        It also does when the file was another node's: two nodes must never number under one name.
        """
        id_, starts = next(iter(numbers.every(self._connection, SELF).items()), (new, 0))
        if id_.partition(":")[0] != new.partition(":")[0]:
            id_, starts = new, 0
        self.name(id_, starts + 1)
        self.look_again()
        return id_, starts + 1

    def name(self, id_: str, starts: int) -> None:
        """This store has this id, and was started so often."""
        with self._connection:
            self._do("DELETE FROM self")
            numbers.put(self._connection, SELF, id_, starts)

    def certificates(self) -> dict[bytes, bytes]:
        """Certificates that were kept, DER by id."""
        rows = self._connection.execute("SELECT id, der FROM certificates")
        return {cast("bytes", id_): cast("bytes", der) for id_, der in rows}

    def keep_certificate(self, id_: bytes, der: bytes) -> None:
        """Keep a certificate."""
        self._do("INSERT OR REPLACE INTO certificates VALUES (?, ?)", id_, der)


def _opened(placed: Placed, vault: Vault) -> Placed | None:
    try:
        value = vault.open(placed.register.place, placed.register.value)
    except SealedError:
        return None
    if value is placed.register.value:
        return placed
    return placed._replace(register=msgspec.structs.replace(placed.register, value=value))


def _sealed(register: Register, vault: Vault) -> Register:
    value = vault.seal(register.place, register.value)
    return register if value is register.value else msgspec.structs.replace(register, value=value)


_at = itemgetter(0, 1, 2, 3)


def _pair(found: Iterable[Placed]) -> Pair:
    body: Placed | None = None
    status: Placed | None = None
    for placed in found:
        if placed.register.part == BODY:
            body = placed
        elif placed.register.part == STATUS:
            status = placed
    return body, status
