"""What a store holds: read at once from the local file and from what is volatile, and followed as it changes."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import apsw
import trio

from edged.errors import StorageError
from edged.model.objects import Key, Object
from edged.store.damage import Damage
from edged.store.digest import Digest
from edged.store.disk import Disk
from edged.store.opaque import uncovered
from edged.store.origins import Origins
from edged.store.quota import NOTHING, Quota, Used, writer_of
from edged.store.table import Table
from edged.store.vault import Vault
from edged.store.view import At, Pair, later, seen
from edged.store.volatile import Volatile
from edged.store.window import Window
from edged.store.writes import Change
from edged.wire.sync import BODY, STATUS, VOLATILE, Delta, Place, Register, durable, start_of

Objects = list[Object]
Registers = list[Register]
Outlines = list[tuple[Any, ...]]
Changes = list[Change]
START_BITS = 32  # change numbers of one start: what it gave out and did not store is never given out again
OUTLINES = 512  # registers of a digest at once: 2 ms, then others run
T = TypeVar("T")
P = ParamSpec("P")


def reads(method: Callable[Concatenate["Reading", P], T]) -> Callable[Concatenate["Reading", P], T]:
    """A method of `Reading` that reads the file: StorageError when it cannot be read; and damage ends the store."""

    @wraps(method)
    def read(self: "Reading", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except apsw.Error as error:
            raise self._unread(error) from error

    return cast("Callable[Concatenate[Reading, P], T]", read)  # mypy loses the name of the first argument


class Reading:
    """The half of a store that only reads: it touches the page cache of a small local file, and does not wait for the disk.

    `origins` are the names under which this file writes, among all that ever wrote for this node; `origin` is the one of the
    objects of its group.
    """

    def __init__(self, disk: Disk, origins: Origins, vault: Vault, quota: Quota) -> None:
        self._disk, self._origins, self._vault = disk, origins, vault
        self._damage, self._damaged = Damage(), trio.lowlevel.ParkingLot()
        self._reader = self._table(disk.reader, origins)
        self._volatile = Volatile(origins.volatile)
        self._held, self._floors = self._reader.held(), self._reader.floors()
        self._opened = {origin: self._held.get(origin, 0) for origin in (origins.durable, origins.fleet)}
        self._usage, self._quota = self._reader.usage(), quota
        self._opaque = self._reader.opaque()
        self.opaque_kinds = {place[1] for place in self._opaque}  # resources that a newer edged has written in another form
        revision, self.latest_clock = self._reader.highest()
        self._rv = max(revision, (origins.start - 1) << START_BITS)
        self._window = Window(self._rv)
        self._changed = trio.lowlevel.ParkingLot()

    def _adopt(self, origins: Origins) -> None:
        """This store has new names, under which nothing is written yet."""
        self._origins, self._opened = origins, {origins.durable: 0, origins.fleet: 0}
        self._volatile.own_is(origins.volatile)

    def _table(self, connection: apsw.Connection, origins: Origins) -> Table:
        return Table(connection, origins.group, self._damage, self._vault)

    @property
    def origin(self) -> str:
        """Under which the objects of the group are written."""
        return self._origins.durable

    @property
    def origins(self) -> frozenset[str]:
        """All under which this store writes now: durable ones and a volatile one."""
        return self._origins.all

    @property
    def trouble(self) -> str:
        """Why the disk refused the last write; "" when it did not."""
        return self._disk.trouble

    @reads
    def get(self, key: Key, group: str | None = None) -> Object | None:
        """The object of a key, or None; an object whose body is damaged is not seen.

        With `group`, as a node of that group would see it that held what is held here: for groups that are observed.
        """
        at = (self._reader.scope(key.resource, group), *key)
        found = self._seen(at, self._reader.pair(at))
        self._tell_damage()
        return found

    @reads
    def list(self, resource: str, namespace: str | None = None, group: str | None = None) -> Objects:
        """The objects of a resource, all or of one namespace, by (namespace, name); those of an observed `group`: see `get`."""
        seen = (self._seen(at, pair) for at, pair in self._reader.pairs(resource, namespace, group))
        found = [obj for obj in seen if obj is not None]
        self._tell_damage()
        return found

    def _seen(self, at: At, pair: Pair) -> Object | None:
        body, status = uncovered(at, pair, self._opaque)
        return seen(body, later(status, self._volatile.best((*at, STATUS))))

    @reads
    def last_uid(self, key: Key) -> str | None:
        """The uid of the object that has this key, or had it last; None when there never was one, or long ago."""
        there = self._reader.register((self._reader.scope(key.resource), *key, BODY))
        return None if there is None else there.register.uid

    def held(self) -> dict[str, int]:
        """The version vector {origin: highest number}, volatile origins too."""
        return {origin: number for origin, number in self._held.items() if number} | self._volatile.held()

    def number(self, origin: str) -> int:
        """The number up to which this store has everything of an origin."""
        return self._held.get(origin, 0) if VOLATILE not in origin else self._volatile.held().get(origin, 0)

    @reads
    def delta(self, origin: str, since: int, limit: int | None = None) -> Delta:
        """What another node needs that has `origin` up to `since`: as much as one delta takes.

        It ends before a register that is damaged, or whose clock is beyond `limit`: what comes after it waits, so that
        nobody believes to have what was never sent. A delta that ends where it began says that this is so just now.
        """
        if VOLATILE in origin:
            return self._volatile.delta(origin, since, limit)
        delta = self._reader.delta(origin, since, limit)
        self._tell_damage()
        return delta

    @reads
    def standing(self, places: Iterable[Place]) -> Registers:
        """What stands durably in these places, for a node that lost it; those that are missing or damaged are left out."""
        there = [self._reader.register(place) for place in places]
        self._tell_damage()
        return [placed.register for placed in there if placed is not None]

    def floors(self) -> dict[str, int]:
        """For each origin, the number up to which tombstones may be gone for their age (`forget`)."""
        return self._floors

    @reads
    def _read_floors(self) -> None:
        self._floors = self._reader.floors()

    @reads
    def certificates(self) -> dict[bytes, bytes]:
        """The certificates that were kept, DER by id."""
        return self._reader.certificates()

    @property
    def damaged(self) -> frozenset[Place]:
        """Places whose register the flash did not keep: not seen, never sent, until restored, superseded or abandoned.

        An object whose body is damaged takes no writes (ConflictError): to this node it is neither there nor not there, and
        a new one of its name would end the one that others still have. A damaged status is overwritten by the next one.
        """
        return self._damage.places

    @property
    def opaque_count(self) -> int:
        """How many registers this version cannot read: held and passed on, not seen, and no API write replaces such a body."""
        return len(self._opaque)

    def doubted(self, key: Key) -> bool:
        """Whether the body of an object is damaged or cannot be read: to this node it is neither there nor not there."""
        place = (self._reader.scope(key.resource), *key, BODY)
        return place in self.damaged or place in self._opaque

    @property
    def damage_count(self) -> int:
        """How many damaged registers were met since the store was opened."""
        return self._damage.noticed

    async def damage(self, before: frozenset[Place]) -> frozenset[Place]:
        """Wait until `damaged` is another set than `before`; returns it."""
        if self.damaged != before:
            await trio.lowlevel.checkpoint()
        while self.damaged == before:
            await self._damaged.park()
        return self.damaged

    def _tell_damage(self) -> None:
        if self._damage.news():
            self._damaged.unpark_all()

    def opened(self, origin: str) -> int:
        """The number of an own origin when this store was opened; 0 for a volatile one, of which nothing was there."""
        return self._opened.get(origin, 0)

    def forgot(self, register: Register) -> bool:
        """Whether this store wrote a register, by its verified signature, and does not know: its disk went back."""
        own = self._origins
        if durable(register.origin) not in (own.durable, own.fleet):
            return False
        if VOLATILE in register.origin:
            return (start_of(register.origin), register.seq) > (own.start, self.number(own.volatile))
        if register.seq > self.number(register.origin):
            return True
        return register.seq > self._opened[register.origin] and self.lacks(register)

    @reads
    def lacks(self, register: Register) -> bool:
        """Whether a durable register would stand here, whatever numbers are held; not a tombstone that was forgotten."""
        placed = self._reader.register(register.place)
        self._tell_damage()
        if placed is not None:
            return register.beats(placed.register)
        forgotten = register.value is None and register.seq <= self._floors.get(register.origin, 0)
        return not forgotten and register.place not in self.damaged

    def used(self, origin: str) -> Used:
        """What stands here of the node that writes under an origin."""
        return self._usage.get(writer_of(origin), NOTHING)

    def has_room(self, origin: str) -> bool:
        """Whether the node that writes under an origin is within its quota."""
        return not self._quota.reached(self.used(origin))

    @reads
    def refuses(self, register: Register) -> bool:
        """Whether a node that has more than its quota here wrote a durable register in a new place."""
        if VOLATILE in register.origin or not self._quota.refuses(self.used(register.origin), register):
            return False
        return self._reader.register(register.place) is None

    async def digest(self, shares: Callable[[str], bool]) -> bytes | None:
        """A digest of the durable registers of scopes; None while some are damaged, or of a copy that is not complete.

        None, too, if one changed meanwhile.
        """
        revision, row, made = self.revision, 0, Digest()
        while rows := self._outlines(row):
            row = rows[-1][0]
            shared = [outline[1:] for outline in rows if shares(outline[1])]
            if any(seq > self._held.get(origin, 0) for _, _, _, _, _, origin, seq, *_ in shared):
                return None
            made.add(shared)
            await trio.lowlevel.checkpoint()
        return None if self.damaged or self.revision != revision else made.value

    @reads
    def _outlines(self, row: int) -> Outlines:
        outlines = self._reader.outlines(row, OUTLINES)
        self._tell_damage()
        return outlines

    @reads
    def look(self, row: int, count: int) -> tuple[int | None, bool]:
        """Look at `count` rows after row `row`: the last one, None at the end; and whether the indexes find each of them."""
        following = self._reader.scrub(row, count)
        self._tell_damage()
        return following

    @property
    def revision(self) -> int:
        """The number of the last change."""
        return self._window.revision

    def changes(self, since: int) -> Changes:
        """The changes after number `since`, in order; ExpiredError when some are no longer remembered."""
        return self._window.since(since)

    async def changed(self, since: int) -> int:
        """Wait until the last change's number is greater than `since`; returns it."""
        if self.revision > since:
            await trio.lowlevel.checkpoint()
        while self.revision <= since:
            await self._changed.park()
        return self.revision

    def _unread(self, error: apsw.Error) -> StorageError:
        refusal = self._disk.unread(error)
        if self._disk.damage is not None:
            self._doubt()
        return refusal

    def _doubt(self) -> None:
        """The file is found to be damaged."""
