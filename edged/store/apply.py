"""What a write or a delta does to the registers: the decisions of the store, one transaction at a time."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from edged.errors import AlreadyExistsError, ConflictError, NotFoundError, QuotaError
from edged.model.objects import Key, Object
from edged.store.opaque import Opaque, readable, uncovered
from edged.store.origins import Origins
from edged.store.quota import QUOTA, Quota, Usage, Used, Writer, writer_of
from edged.store.rows import Placed
from edged.store.table import Table
from edged.store.view import At, Pair, later, seen
from edged.store.volatile import Beat, Draft, Drop, Hold, Lay
from edged.store.writes import ADDED, DELETED, MODIFIED, Change, Create, Delete, Put, PutStatus, Write
from edged.wire.sync import BODY, STATUS, VOLATILE, Delta, Place, Register, signed_bytes, start_of

Sign = Callable[[bytes], bytes]


def unsigned(_: bytes) -> bytes:
    """No signature: for a store whose registers nobody else takes."""
    return b""


class Mark(NamedTuple):
    """How far a transaction had come: what a request did after it can be taken back."""

    rv: int
    numbers: dict[str, int]
    changes: int
    steps: int
    origins: Origins
    opaque: dict[Place, bool]
    usage: dict[Writer, Used]


class Transaction:
    """Applies writes of this store, and deltas of others, to a table; collects what can be seen to change.

    `rv` is the last change number given out, `numbers` the number up to which everything is here, of each origin that was
    touched. Nothing here commits. Call `end` after each request, and `hold` before the commit.
    """

    def __init__(
        self,
        table: Table,
        draft: Draft,
        origins: Origins,
        rv: int,
        sign: Sign = unsigned,
        opaque: AbstractSet[Place] = frozenset(),
        usage: Mapping[Writer, Used] | None = None,
        quota: Quota = QUOTA,
    ) -> None:
        self.table, self.draft, self.origins, self.rv = table, draft, origins, rv
        self._sign, self.opaque = sign, Opaque(opaque)
        self.usage, self._quota = Usage(usage or {}), quota
        self.numbers: dict[str, int] = {}
        self._kept: dict[str, int] = {}  # what the table has of them
        self.changes: list[Change] = []
        self._pairs: dict[At, Pair] = {}
        self._before: dict[At, Object | None] = {}

    # A request's beginning and end

    def mark(self) -> Mark:
        """Where a request begins."""
        so_far, beside = (len(self.changes), len(self.draft.steps)), (dict(self.opaque.changes), dict(self.usage.changes))
        return Mark(self.rv, dict(self.numbers), *so_far, self.origins, *beside)

    def back_to(self, mark: Mark) -> None:
        """A request is refused: nothing of it happened."""
        self.rv, self.numbers, self.origins = mark.rv, mark.numbers, mark.origins
        self.opaque.changes, self.usage.changes = mark.opaque, mark.usage
        del self.changes[mark.changes :]
        self.draft.back_to(mark.steps)
        self.end()

    def end(self) -> None:
        """A request ends."""
        self._pairs.clear()
        self._before.clear()

    def hold(self) -> None:
        """Put the numbers of durable origins into the table, once for all requests."""
        for origin, number in self.numbers.items():
            if VOLATILE not in origin and number != self._kept.get(origin, 0):
                self.table.hold(origin, number)

    # What is asked

    def write(self, writes: Sequence[Write], clock: int) -> list[Object]:
        """Apply `writes` in order; the objects as they are afterwards (a deleted one as it was)."""
        return [self._write(write, clock) for write in writes]

    def merge(self, delta: Delta) -> None:
        """Take the registers of another origin that beat what is here. ConflictError when the delta leaves a gap.

        Those of a copy are looked at even if their numbers are held: they may be others of these numbers.
        """
        if VOLATILE in delta.origin and not self._starts(delta.origin):
            return
        held = self.held(delta.origin)
        if delta.since > held:
            raise ConflictError(f"a delta of {delta.origin} after {delta.since}, {held} is held here")
        for register in delta.registers:
            if register.seq > held or (delta.copy and VOLATILE not in delta.origin):
                self._take(register)
        if delta.upto > held:
            self.advance(delta.origin, delta.upto)
        self.tell()

    def held(self, origin: str) -> int:
        """The number up to which everything of an origin is here."""
        if origin not in self.numbers:
            run = self.draft.run(origin)
            self.numbers[origin] = self._kept[origin] = run.held if run.origin == origin else self.table.number(origin)
        return self.numbers[origin]

    def _starts(self, origin: str) -> bool:
        """Whether a volatile origin is of the latest start of its store. A later one makes the earlier's registers vanish."""
        known = self.draft.run(origin).origin
        if start_of(origin) <= start_of(known):
            return origin == known
        for place in self.draft.places(origin):
            self.look(place)
        self.rv += 1
        self.draft.take(Hold(origin, 0))
        return True

    def advance(self, origin: str, upto: int) -> None:
        """All of an origin up to a number is here; of this store's own the next number is the next one."""
        self.numbers[origin] = upto
        if VOLATILE in origin:
            self.draft.take(Hold(origin, upto))

    def _take(self, register: Register) -> None:
        place = register.place
        there = self.look(place)
        stands = there is None or register.beats(there.register)
        if VOLATILE in register.origin:
            kept = stands and register.part == STATUS and readable(register)
            if kept and self.draft.takes(register.origin, place, register.value):
                self._lay(register)
            else:  # it is not kept, but ends what its store said before
                self.draft.take(Drop(place, register.origin))
        elif stands and not (there is None and self._doubted(place, register)):
            self._put(place, register)

    def _doubted(self, place: Place, register: Register) -> bool:
        """Whether what was damaged in a place may stand against a register: then it comes back with `restore`."""
        clock = self.table.damage.clock(place)
        return clock is not None and clock >= register.clock

    # One write

    def _write(self, write: Write, clock: int) -> Object:
        key = write.key
        body = (self.table.scope(key.resource), *key, BODY)
        self.look(body)
        before = self._before[body[:4]]
        if before is None and self.table.damage.clock(body) is not None:
            raise ConflictError(
                f"{key.resource} \"{key.name}\" is damaged on this node's disk: it waits for another node's copy"
            )
        if before is None and body in self.opaque:
            raise ConflictError(f'{key.resource} "{key.name}" is of a newer edged: this one cannot read it')
        if isinstance(write, Create):
            if before is not None:
                raise AlreadyExistsError(f'{key.resource} "{key.name}" already exists')
            self._afford(key)
            there = Object(key, self.rv, write.uid, write.body, write.status)
            self.own(body, write.uid, write.body, clock)
            if write.status is not None:
                self.own(_status(body), write.uid, write.status, clock)
        else:
            there = _expected(before, write)
            match write:
                case Put():
                    if write.body != there.body:
                        self.own(body, there.uid, write.body, clock)
                case PutStatus():
                    self._put_status(write, there, clock)
                case Delete():
                    self.own(body, there.uid, None, clock)
                    if there.status is not None:
                        self.own(_status(body), there.uid, None, clock)
        self.tell()
        return self._object(body[:4]) or there

    def _afford(self, key: Key) -> None:
        used, quota = self.usage.of(writer_of(self.origins.durable)), self._quota
        if quota.reached(used):
            raise QuotaError(
                f'{key.resource} "{key.name}" is forbidden: exceeded quota: what one node may write, '
                f"used: registers={used.registers},bytes={used.bytes}, "
                f"limited: registers={quota.registers},bytes={quota.bytes}"
            )

    def _put_status(self, write: PutStatus, there: Object, clock: int) -> None:
        place = (self.table.scope(write.key.resource), *write.key, STATUS)
        standing = later(self.look(place), self.draft.best(place))
        kept = standing is None or VOLATILE not in standing.register.origin
        if write.status != there.status or not (kept or write.volatile):
            self.own(place, there.uid, write.status, clock, volatile=write.volatile)

    def own(self, place: Place, uid: str, value: bytes | None, clock: int, *, volatile: bool = False) -> None:
        """Write under this store's origin what is later than all that stands in a place, whatever the wall clock says."""
        there = later(self.look(place), self.draft.best(place))
        if there is not None:
            clock = max(clock, there.register.clock + 1)
        origin = self.origins.of(place[0])
        if volatile and place[0] == self.origins.group and self.draft.takes(self.origins.volatile, place, value):
            origin = self.origins.volatile
        self.write_at(origin, place, uid, value, clock)

    def write_at(self, origin: str, place: Place, uid: str, value: bytes | None, clock: int) -> None:
        """Write the next register of an own origin, with exactly this clock."""
        register = Register(*place[1:], uid, origin, self.held(origin) + 1, clock, value)
        register = msgspec.structs.replace(register, signature=self._sign(signed_bytes(register)))
        self.advance(origin, register.seq)
        if VOLATILE in origin:
            self._lay(register)
        else:
            self.put(register)

    # Registers

    def look(self, place: Place) -> Placed | None:
        """What stands durably in a place. The object is remembered as it was when it was first looked at."""
        at = place[:4]
        pair = self._pair(at)
        if at not in self._before and at[0] == self.table.scope(at[1]):
            self._before[at] = self._object(at)
        return pair[0] if place[4] == BODY else pair[1]

    def put(self, register: Register) -> None:
        """Put a durable register in its place; what was damaged there is healed, unless it may have been later."""
        place = register.place
        self.look(place)
        self._put(place, register)

    def _put(self, place: Place, register: Register) -> None:
        self.rv += 1
        before = self.look(place)
        self.usage.replace(None if before is None else before.register, register)
        self.table.replace(register, self.rv)
        self._cover(place, opaque=register.origin not in self.origins.all and not readable(register))
        if not self._doubted(place, register):
            self.table.damage.forget(place)
        self._changed(place, Placed(register, self.rv))
        self.draft.take(Beat(place, register))

    def remove(self, place: Place) -> None:
        """Take a durable register away."""
        before = self.look(place)
        self.rv += 1
        self.usage.replace(None if before is None else before.register, None)
        self.table.remove(place)
        self._cover(place, opaque=False)
        self._changed(place, None)

    def _cover(self, place: Place, *, opaque: bool) -> None:
        if self.opaque.cover(place, opaque=opaque):
            self.table.cover(place, opaque=opaque)

    def tell(self) -> None:
        """Note as changes how the objects that were looked at differ from before."""
        for at, before in self._before.items():
            self._see(before, self._object(at))
        self._before.clear()

    def _lay(self, register: Register) -> None:
        self.look(register.place)
        self.rv += 1
        self.draft.take(Lay(Placed(register, self.rv)))

    def _changed(self, place: Place, placed: Placed | None) -> None:
        at = place[:4]
        body, status = self._pair(at)
        self._pairs[at] = (placed, status) if place[4] == BODY else (body, placed)

    def _pair(self, at: At) -> Pair:
        pair = self._pairs.get(at)
        if pair is None:
            pair = self._pairs[at] = self.table.pair(at)
        return pair

    def _object(self, at: At) -> Object | None:
        body, status = uncovered(at, self._pair(at), self.opaque)
        return seen(body, later(status, self.draft.best((*at, STATUS))))

    def _see(self, before: Object | None, after: Object | None) -> None:
        if before is not None and (after is None or after.uid != before.uid):
            self.changes.append(Change(DELETED, self.rv, before._replace(rv=self.rv)))
            before = None
        if after is not None and after != before:
            self.changes.append(Change(ADDED if before is None else MODIFIED, self.rv, after))


def _status(body: Place) -> Place:
    return (*body[:4], STATUS)


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
