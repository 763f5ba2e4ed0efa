"""What a write or a delta does to the registers: the decisions of the store, one transaction at a time."""

from collections.abc import Sequence

from edged.errors import AlreadyExistsError, ConflictError, NotFoundError
from edged.model.objects import Key, Object
from edged.store.table import Table
from edged.store.writes import ADDED, DELETED, MODIFIED, Change, Create, Delete, Put, PutStatus, Write
from edged.wire.sync import BODY, STATUS, Delta, Register


class Transaction:
    """Applies writes of this origin, and deltas of others, to a table; collects what can be seen to change.

    `rv` and `seq` are the last numbers given out; `clock` stamps all writes of the transaction. Nothing here commits.
    """

    def __init__(self, table: Table, origin: str, rv: int, seq: int) -> None:
        self._table, self._origin = table, origin
        self.rv, self.seq = rv, seq
        self.changes: list[Change] = []

    def write(self, writes: Sequence[Write], clock: int) -> list[Object]:
        """Apply `writes` in order; the objects as they are afterwards (a deleted one as it was)."""
        return [self._write(write, clock) for write in writes]

    def merge(self, delta: Delta) -> None:
        """Take the registers of another origin that beat what is here. ConflictError when the delta leaves a gap."""
        held = self._table.held().get(delta.origin, 0)
        if delta.since > held:
            raise ConflictError(f"a delta of {delta.origin} after {delta.since}, {held} is held here")
        touched: dict[Key, Object | None] = {}
        for register in delta.registers:
            if register.seq <= held:
                continue
            key = Key(register.resource, register.namespace, register.name)
            there = self._table.register(key, register.part)
            if there is None or register.beats(there):
                touched.setdefault(key, self._table.get(key))
                self.rv += 1
                self._table.replace(register, self.rv)
        if delta.upto > held:
            self._table.hold(delta.origin, delta.upto)
            if delta.origin == self._origin:  # a disk that forgot what it had acknowledged: never use a number twice
                self.seq = max(self.seq, delta.upto)
        for key, before in touched.items():
            self._see(before, self._table.get(key))

    def _write(self, write: Write, clock: int) -> Object:
        key = write.key
        before = self._table.get(key)
        if isinstance(write, Create):
            if before is not None:
                raise AlreadyExistsError(f'{key.resource} "{key.name}" already exists')
            self._put(key, BODY, write.uid, write.body, clock)
            if write.status is not None:
                self._put(key, STATUS, write.uid, write.status, clock)
        else:
            there = _expected(before, write)
            match write:
                case Put(_, body, _):
                    if body == there.body:
                        return there
                    self._put(key, BODY, there.uid, body, clock)
                case PutStatus(_, status, _, _):
                    if status == there.status:
                        return there
                    self._put(key, STATUS, there.uid, status, clock)
                case Delete():
                    self._put(key, BODY, there.uid, None, clock)
                    if there.status is not None:
                        self._put(key, STATUS, there.uid, None, clock)
        after = self._table.get(key)
        self._see(before, after)
        return after or there

    def _put(self, key: Key, part: str, uid: str, value: bytes | None, clock: int) -> None:
        there = self._table.register(key, part)
        if there is not None:
            clock = max(clock, there.clock + 1)  # a write follows what its writer saw, whatever the wall clock says
        self.seq += 1
        self.rv += 1
        self._table.replace(Register(*key, part, uid, self._origin, self.seq, clock, value), self.rv)
        self._table.hold(self._origin, self.seq)

    def _see(self, before: Object | None, after: Object | None) -> None:
        if before is not None and (after is None or after.uid != before.uid):
            self.changes.append(Change(DELETED, self.rv, before._replace(rv=self.rv)))
            before = None
        if after is not None and after != before:
            self.changes.append(Change(ADDED if before is None else MODIFIED, self.rv, after))


def _expected(there: Object | None, write: Put | PutStatus | Delete) -> Object:
    key = write.key
    if there is None:
        raise NotFoundError(f'{key.resource} "{key.name}" not found')
    uid = None if isinstance(write, Put) else write.uid
    if uid is not None and uid != there.uid:
        raise ConflictError(f'{key.resource} "{key.name}": the UID is {there.uid}, expected was {uid}')
    if write.rv is not None and write.rv != there.rv:
        raise ConflictError(
            f'Operation cannot be fulfilled on {key.resource} "{key.name}": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )
    return there
