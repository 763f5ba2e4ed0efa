"""The store: synchronous reads of the local file, writes in groups on the executor, changes to follow."""

import os
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from functools import partial, wraps
from itertools import islice
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import apsw
import trio

from edged.errors import EdgedError, StorageError
from edged.kit.executor import Executor, Inline
from edged.kit.log import Log
from edged.model.objects import Key, Object
from edged.store import upkeep
from edged.store.apply import Sign, Transaction, unsigned
from edged.store.damage import Damage
from edged.store.disk import Disk
from edged.store.faults import is_damage, why
from edged.store.keyfile import FixedKey, key_path, open_key
from edged.store.opening import open_connections
from edged.store.origins import Origins
from edged.store.salvage import salvage
from edged.store.schema import prepare
from edged.store.table import Table
from edged.store.vault import SEALED, Vault
from edged.store.view import At, Pair, later, seen
from edged.store.volatile import Draft, Volatile
from edged.store.window import Window
from edged.store.writes import Change, Write
from edged.wire.sync import BODY, STATUS, VOLATILE, Delta, Place, Register

MEMORY = ":memory:"
MAX_GROUP = 64  # requests committed together: beyond 50 the disk is no longer what a commit waits for
MAX_WAITING = 1024  # requests; who comes then waits for its turn to ask
START_BITS = 32  # change numbers of one start: what it gave out and did not store is never given out again
Objects = list[Object]
Changes = list[Change]
Registers = list[Register]
T = TypeVar("T")
P = ParamSpec("P")


class _Request:
    """One transaction that somebody waits for."""

    def __init__(self, apply: Callable[[Transaction], Any]) -> None:
        self.apply = apply
        self.done = trio.Event()
        self.result: Any = None
        self.error: EdgedError | None = None


def _reads(method: Callable[Concatenate["Store", P], T]) -> Callable[Concatenate["Store", P], T]:
    """A method of `Store` that reads the file: StorageError when it cannot be read; and damage ends the store."""

    @wraps(method)
    def read(self: "Store", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(self, *args, **kwargs)
        except apsw.Error as error:
            raise self._unread(error) from error

    return cast("Callable[Concatenate[Store, P], T]", read)  # mypy loses the name of the first argument


class Store:
    """The objects of one node. Open it with `open_store`.

    Reads are synchronous: they touch the page cache of a small local file. A write waits until it is on disk; writes that
    wait together share one commit. `origins` are the names under which this file writes, among all that ever wrote for
    this node; `origin` is the one of the objects of its group.
    """

    def __init__(
        self,
        disk: Disk,
        origins: Origins,
        vault: Vault,
        stamp: Callable[[], int],
        executor: Executor,
        sign: Sign = unsigned,
    ) -> None:
        self._disk, self._vault, self._damage = disk, vault, Damage()
        self._reader = self._table(disk.reader, origins)
        self._stamp, self._executor, self._sign = stamp, executor, sign
        self._origins = origins
        self._volatile = Volatile(origins.volatile)
        revision, self.latest_clock = self._reader.highest()
        self._rv = max(revision, (origins.start - 1) << START_BITS)
        self._window = Window(self._rv)
        self._held = self._reader.held()
        self._copying = self._reader.copying()
        self._waiting: deque[_Request] = deque()
        self._room = trio.Semaphore(MAX_WAITING)
        self._asked = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()
        self._damaged = trio.lowlevel.ParkingLot()

    def _table(self, connection: apsw.Connection, origins: Origins) -> Table:
        return Table(connection, origins.group, self._damage, self._vault)

    @property
    def trouble(self) -> str:
        """Why the disk refused the last write; "" when it did not."""
        return self._disk.trouble

    @property
    def origin(self) -> str:
        """Under which the objects of the group are written."""
        return self._origins.durable

    @property
    def origins(self) -> frozenset[str]:
        """All under which this store writes now: durable ones and a volatile one."""
        return self._origins.all

    @property
    def revision(self) -> int:
        """The number of the last change."""
        return self._window.revision

    @_reads
    def get(self, key: Key, group: str | None = None) -> Object | None:
        """The object of a key, or None; an object whose body is damaged is not seen.

        With `group`, as a node of that group would see it that held what is held here: for groups that are observed.
        """
        at = (self._reader.scope(key.resource, group), *key)
        found = self._seen(at, self._reader.pair(at))
        self._tell_damage()
        return found

    @_reads
    def list(self, resource: str, namespace: str | None = None, group: str | None = None) -> Objects:
        """The objects of a resource, all or of one namespace, by (namespace, name); those of an observed `group`: see `get`."""
        seen = (self._seen(at, pair) for at, pair in self._reader.pairs(resource, namespace, group))
        found = [obj for obj in seen if obj is not None]
        self._tell_damage()
        return found

    def _seen(self, at: At, pair: Pair) -> Object | None:
        body, status = pair
        return seen(body, later(status, self._volatile.best((*at, STATUS))))

    @_reads
    def last_uid(self, key: Key) -> str | None:
        """The uid of the object that has this key, or had it last; None when there never was one, or long ago."""
        there = self._reader.register((self._reader.scope(key.resource), *key, BODY))
        return None if there is None else there.register.uid

    def held(self) -> dict[str, int]:
        """The version vector {origin: highest number}, volatile origins too."""
        return self._held | self._volatile.held()

    def number(self, origin: str) -> int:
        """The number up to which this store has everything of an origin."""
        return self._held.get(origin, 0) if VOLATILE not in origin else self._volatile.held().get(origin, 0)

    @_reads
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

    @_reads
    def standing(self, places: Iterable[Place]) -> Registers:
        """What stands durably in these places, for a node that lost it; those that are missing or damaged are left out."""
        there = [self._reader.register(place) for place in places]
        self._tell_damage()
        return [placed.register for placed in there if placed is not None]

    @_reads
    def floors(self) -> dict[str, int]:
        """For each origin, the number up to which tombstones may be gone for their age (`forget`)."""
        return self._reader.floors()

    @_reads
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

    def doubted(self, key: Key) -> bool:
        """Whether the body of an object is damaged: to this node it is neither there nor not there."""
        return (self._reader.scope(key.resource), *key, BODY) in self.damaged

    @property
    def damage_count(self) -> int:
        """How many damaged registers were met since the store was opened."""
        return self._damage.noticed

    async def damage(self, before: frozenset[Place]) -> frozenset[Place]:
        """Wait until `damaged` is another set than `before`; returns it."""
        await trio.lowlevel.checkpoint()
        while self.damaged == before:
            await self._damaged.park()
        return self.damaged

    def _tell_damage(self) -> None:
        if self._damage.news():
            self._damaged.unpark_all()

    def changes(self, since: int) -> Changes:
        """The changes after number `since`, in order; ExpiredError when some are no longer remembered."""
        return self._window.since(since)

    async def changed(self, since: int) -> int:
        """Wait until the last change's number is greater than `since`; returns it."""
        await trio.lowlevel.checkpoint()
        while self.revision <= since:
            await self._changed.park()
        return self.revision

    async def write(self, *writes: Write) -> Objects:
        """Apply `writes` as one transaction; the objects as they are then (a deleted one as it was).

        It is on disk when this returns. NotFoundError, AlreadyExistsError, ConflictError or StorageError: none of it is.
        A caller that is cancelled while it waits does not know which; what was not begun by then never is.
        """
        stamp = self._stamp()
        return await self._ask(lambda transaction: transaction.write(writes, stamp))

    async def merge(self, delta: Delta) -> None:
        """Take in what another node sent; on disk when this returns. ConflictError: the delta leaves a gap. StorageError."""
        await self._ask(lambda transaction: transaction.merge(delta))

    async def scrub(self) -> bool:
        """Look at every register, so that damage is noticed while other nodes still have what was damaged.

        True when damaged indexes were made anew, too: then some objects were missing in lists until now. StorageError.
        """
        row: int | None = 0
        found = True
        while row is not None:
            row, indexed = self._scrub(row)
            found = found and indexed
            await trio.lowlevel.checkpoint()
        if not found:
            await self._ask(lambda transaction: transaction.table.reindex())
        return not found

    @_reads
    def _scrub(self, row: int) -> tuple[int | None, bool]:
        following = self._reader.scrub(row, upkeep.UPKEEP_BATCH)
        self._tell_damage()
        return following

    async def checkpoint(self) -> None:
        """Write this store's volatile statuses durably: seldom, and at a clean stop. StorageError."""
        for batch in _batches(self._volatile.own()):
            stamp = self._stamp()
            await self._ask(partial(upkeep.checkpoint, fleeting=batch, clock=stamp))

    async def restore(self, registers: Iterable[Register]) -> None:
        """Put back registers that were damaged here, as another node has them, verified. No number moves. StorageError.

        One that is older than what was damaged does not heal it: somebody else may have the latest.
        """
        for batch in _batches(registers):
            await self._ask(partial(upkeep.restore, registers=batch))

    async def abandon(self, places: Iterable[Place]) -> None:
        """Give up damaged registers that no other node has: their places are free, and what comes after them is sent again.

        An older register that somebody has may be restored afterwards. StorageError.
        """
        for batch in _batches(places):
            await self._ask(partial(upkeep.abandon, places=batch))

    async def forget(self, before_clock: int) -> int:
        """Remove tombstones that are older than a clock; how many. `floors` then says who may have missed one. StorageError."""
        gone = 0
        while count := await self._ask(partial(upkeep.forget, before_clock=before_clock)):
            gone += count
        return gone

    @property
    def copying(self) -> frozenset[str]:
        """The scopes of which a fresh copy was begun and is not complete, also after a crash: then another must be taken.

        Until then this store may have numbers whose deletions it missed: what it holds there of others must not be passed on.
        """
        return self._copying

    async def begin_copy(self, scopes: AbstractSet[str]) -> None:
        """A fresh copy of scopes is to be taken: to be called before anything of it is merged. StorageError."""
        await self._ask(lambda transaction: transaction.table.copy(scopes, begins=True))
        self._copying = self._reader.copying()

    async def sweep(
        self,
        held: Mapping[str, int],
        standing: Mapping[str, AbstractSet[int]],
        floors: Mapping[str, int],
        scopes: AbstractSet[str],
    ) -> None:
        """Drop what a fresh copy did not have: registers up to its `held` whose numbers are not `standing` in it. StorageError.

        The copy must be merged, and be of one moment: what supersedes a register that does not stand is in it, or was a
        tombstone that is forgotten. What was written here and not yet seen there is beyond `held` and stays. `floors` are
        the other node's: the tombstones that it forgot are missing here, too. `scopes` are those that the copy was of.
        Objects that vanish give DELETED changes.
        """
        for origin, upto in held.items():
            stands, since, came = standing.get(origin, frozenset()), -1, 0
            while came > since and VOLATILE not in origin:
                since = came
                came = await self._ask(partial(upkeep.sweep, origin=origin, since=since, upto=upto, standing=stands))
        await self._ask(partial(upkeep.swept, floors=floors, scopes=scopes))
        self._copying = self._reader.copying()

    async def restamp(self, limit: int) -> int:
        """Write own registers again whose clock is beyond `limit`, with a stamp of now; how many. StorageError.

        For a node whose clock was far ahead and is right again: nobody takes those registers. 0, too, while the stamps
        themselves are beyond `limit`.
        """
        count = 0
        for origin in (self._origins.durable, self._origins.fleet, self._origins.volatile):
            stamp = self._stamp()
            while stamp <= limit and (more := await self._ask(partial(_restamp, origin, limit, stamp))):
                count += more
        return count

    async def keep_certificates(self, certificates: Mapping[bytes, bytes]) -> None:
        """Keep certificates, DER by id. Verified ones only: there are no more of those than were issued. StorageError."""

        def keep(transaction: Transaction) -> None:
            for id_, der in certificates.items():
                transaction.table.keep_certificate(id_, der)

        await self._ask(keep)

    async def _ask(self, apply: Callable[[Transaction], T]) -> T:
        async with self._room:
            request = _Request(apply)
            self._waiting.append(request)
            self._asked.set()
            try:
                await request.done.wait()
            except trio.Cancelled:
                if request in self._waiting:  # else callers that give up could fill the queue beyond its limit
                    self._waiting.remove(request)
                raise
        if request.error is not None:
            raise request.error
        return cast("T", request.result)

    async def run(self) -> None:
        """Commit what is asked, a group at a time, until cancelled. StorageError when the file is found to be damaged."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            if self._disk.damage is not None:
                await self._executor.run(self._disk.give_up)
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
                transaction = await self._executor.run(partial(self._commit, group))
                if transaction is not None:
                    self._publish(transaction)
                for request in group:
                    request.done.set()
                if self._disk.damage is not None:
                    self._asked.set()

    def _commit(self, group: Sequence[_Request]) -> Transaction | None:
        """On the executor. Each request stands or falls alone; then those that stand are committed, or none is."""
        done: Transaction | None = None

        def work(writer: apsw.Connection) -> None:
            nonlocal done
            table = self._table(writer, self._origins)
            done = Transaction(table, Draft(self._volatile), self._origins, self._rv, self._sign)
            for request in group:
                self._attempt(writer, request, done)
            done.hold()

        refusal = self._disk.commit(work)
        for request in group:
            request.error = request.error or refusal
        return done if refusal is None else None

    def _unread(self, error: apsw.Error) -> StorageError:
        refusal = self._disk.unread(error)
        if self._disk.damage is not None:
            self._asked.set()
        return refusal

    def _attempt(self, writer: apsw.Connection, request: _Request, transaction: Transaction) -> None:
        mark = transaction.mark()
        try:
            with writer:  # a savepoint inside the group's transaction
                request.result = request.apply(transaction)
        except EdgedError as error:
            request.error = error
            transaction.back_to(mark)
        transaction.end()

    def _publish(self, transaction: Transaction) -> None:
        self._rv = transaction.rv
        self._held |= {origin: number for origin, number in transaction.numbers.items() if number and VOLATILE not in origin}
        self._volatile.apply(transaction.draft.steps)
        for change in transaction.changes:
            self._window.append(change)
        self._window.advance(self._rv)
        self._changed.unpark_all()
        self._damaged.unpark_all()

    def close(self) -> None:
        """Close the file; nothing may be asked any more."""
        self._disk.close()


@asynccontextmanager
async def open_store(
    path: str | Path,
    *,
    origin: str,
    group: str = "",
    sign: Sign = unsigned,
    stamp: Callable[[], int],
    executor: Executor,
    wall: Callable[[], float] = time.time,
    log: Log | None = None,
    new_id: Callable[[], str] = lambda: secrets.token_hex(4),
) -> AsyncGenerator[Store, None]:
    """Open the store of node `origin` of a group, making the file (mode 0600) when it is not there. StorageError if it cannot.

    A file that is damaged is set aside and begun again, with what can be read of it: `log` tells (stderr unless given).
    `stamp` gives the hybrid logical clock for a write, `sign` the signature of what is written (called on the executor).
    `new_id` names a new file among all that ever were this node's. A path of ":memory:" is for tests: it runs inline.
    """
    if str(path) == MEMORY:
        executor = Inline()
    log = Log() if log is None else log
    new = f"{origin}:{new_id()}"

    def begin() -> Store:
        disk, vault = _open(path, Origins(new, group, 0), sign, wall(), log)
        try:
            id_, start = Table(disk.writer).begin(new)
            return Store(disk, Origins(id_, group, start), vault, stamp, executor, sign)
        except BaseException as error:
            if isinstance(error, apsw.Error):
                disk.unread(error)
            disk.close()
            raise

    def begin_again_if_damaged() -> Store:
        try:
            return begin()
        except apsw.Error as error:
            if not is_damage(error):
                raise
        return begin()  # there is a note of it now: all of the file is looked at

    try:
        store = await executor.run(begin_again_if_damaged)
    except (apsw.Error, OSError) as error:
        raise StorageError(f"{path}: {why(error)}") from error
    try:
        _tell_locked(store, path, log)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            yield store
            nursery.cancel_scope.cancel()
    finally:
        store.close()


def _tell_locked(store: Store, path: str | Path, log: Log) -> None:
    """A lost key is not noticed when a pod asks for its secret, but now."""
    for resource in SEALED:
        store.list(resource)
    locked = sum(place[1] in SEALED for place in store.damaged)
    if locked:
        log.error(f"{locked} secrets do not open with {key_path(Path(path))}: they are not there until peers give them again")


def _restamp(origin: str, limit: int, stamp: int, transaction: Transaction) -> int:
    return upkeep.restamp(transaction, origin, limit, stamp)


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, upkeep.UPKEEP_BATCH)):
        yield batch


def _open(path: str | Path, origins: Origins, sign: Sign, now: float, log: Log) -> tuple[Disk, Vault]:
    """The connections to a file. `origins` are for a store that is begun again out of a damaged one."""
    if str(path) == MEMORY:
        connection = apsw.Connection(MEMORY)
        prepare(connection)
        return Disk(connection, connection, None, log), Vault(FixedKey(), os.urandom)
    path = Path(path)
    vault = Vault(open_key(key_path(path), now, log), os.urandom)

    def rescue(damaged: Path, fresh: apsw.Connection) -> object:
        return salvage(damaged, Table(fresh, origins.group, vault=vault), vault, origins, sign)

    writer, reader = open_connections(path, rescue, now, log)
    return Disk(writer, reader, path, log), vault
