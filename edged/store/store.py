"""The store: synchronous reads of the local file, writes in groups on the executor, changes to follow."""

import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import apsw
import trio

from edged.errors import StorageError
from edged.kit.executor import Executor, Inline
from edged.kit.files import size_of
from edged.kit.log import Log
from edged.store import upkeep
from edged.store.apply import Sign, Transaction, unsigned
from edged.store.commits import Commits
from edged.store.disk import Disk
from edged.store.faults import is_damage, why
from edged.store.keyfile import FixedKey, key_path, open_key
from edged.store.opening import open_connections
from edged.store.origins import Origins
from edged.store.quota import QUOTA, Quota
from edged.store.reading import Objects, Reading
from edged.store.salvage import salvage
from edged.store.schema import prepare
from edged.store.table import Table
from edged.store.vault import SEALED, Vault
from edged.store.volatile import Draft
from edged.store.writes import Write
from edged.wire.sync import VOLATILE, Delta, Place, Register

MEMORY = ":memory:"
T = TypeVar("T")


class Store(Reading):
    """The objects of one node. Open it with `open_store`.

    Reads are synchronous (`Reading`). A write waits until it is on disk; writes that wait together share one commit.
    """

    def __init__(
        self,
        disk: Disk,
        origins: Origins,
        vault: Vault,
        stamp: Callable[[], int],
        executor: Executor,
        sign: Sign = unsigned,
        *,
        new_id: Callable[[], str],
        quota: Quota,
    ) -> None:
        super().__init__(disk, origins, vault, quota)
        self._stamp, self._sign, self._new_id = stamp, sign, new_id
        self._commits = Commits(disk, executor, self._begin, self._publish)

    async def write(self, *writes: Write) -> Objects:
        """Apply `writes` as one transaction; the objects as they are then (a deleted one as it was).

        It is on disk when this returns. NotFoundError, AlreadyExistsError, ConflictError or StorageError: none of it is.
        A caller that is cancelled while it waits does not know which; what was not begun by then never is.
        """
        stamp = self._stamp()
        return await self._commits.ask(lambda transaction: transaction.write(writes, stamp))

    async def merge(self, delta: Delta) -> None:
        """Take in what another node sent; on disk when this returns. ConflictError: the delta leaves a gap. StorageError."""
        await self._commits.ask(lambda transaction: transaction.merge(delta))

    async def scrub(self) -> bool:
        """Look at every register, so that damage is noticed while other nodes still have what was damaged.

        True when damaged indexes were made anew, too: then some objects were missing in lists until now. StorageError.
        """
        row: int | None = 0
        found = True
        while row is not None:
            row, indexed = self.look(row, upkeep.UPKEEP_BATCH)
            found = found and indexed
            await trio.lowlevel.checkpoint()
        if not found:
            await self._commits.ask(lambda transaction: transaction.table.reindex())
        return not found

    async def checkpoint(self) -> None:
        """Write this store's volatile statuses durably: seldom, and at a clean stop. StorageError."""
        for batch in _batches(self._volatile.own()):
            stamp = self._stamp()
            await self._commits.ask(partial(upkeep.checkpoint, fleeting=batch, clock=stamp))

    async def restore(self, registers: Iterable[Register]) -> None:
        """Put back registers that were damaged here, as another node has them, verified. No number moves. StorageError.

        One that is older than what was damaged does not heal it: somebody else may have the latest.
        """
        for batch in _batches(registers):
            await self._commits.ask(partial(upkeep.restore, registers=batch))

    async def abandon(self, places: Iterable[Place]) -> None:
        """Give up damaged registers that no other node has: their places are free, and what comes after them is sent again.

        An older register that somebody has may be restored afterwards. StorageError.
        """
        for batch in _batches(places):
            await self._commits.ask(partial(upkeep.abandon, places=batch))

    async def forget(self, before_clock: int) -> int:
        """Remove tombstones that are older than a clock; how many. `floors` then says who may have missed one. StorageError."""
        gone = 0
        while count := await self._commits.ask(partial(upkeep.forget, before_clock=before_clock)):
            gone += count
            self._read_floors()
        return gone

    async def sweep(self, held: Mapping[str, int], standing: Mapping[str, AbstractSet[int]], floors: Mapping[str, int]) -> None:
        """A fresh copy is complete, all that it had is restored: drop what it did not have, and hold its numbers. StorageError.

        What it did not have are registers up to its `held` whose numbers are not `standing` in it. It must be of one moment:
        what supersedes a register that does not stand is in it, or was a tombstone that is forgotten. What was written here
        and not yet seen there is beyond `held` and stays. `floors` are the other node's: the tombstones that it forgot are
        missing here, too. Objects that vanish give DELETED changes.
        """
        for origin, upto in held.items():
            stands, since, came = standing.get(origin, frozenset()), -1, 0
            while came > since:
                since = came
                came = await self._commits.ask(partial(upkeep.sweep, origin=origin, since=since, upto=upto, standing=stands))
        await self._commits.ask(partial(upkeep.swept, held=held, floors=floors))
        self._read_floors()

    async def restamp(self, limit: int) -> int:
        """Write own registers again whose clock is beyond `limit`, with a stamp of now; how many. StorageError.

        For a node whose clock was far ahead and is right again: nobody takes those registers. 0, too, while the stamps
        themselves are beyond `limit`.
        """
        count = 0
        for origin in (self._origins.durable, self._origins.fleet, self._origins.volatile):
            stamp = self._stamp()
            while stamp <= limit and (more := await self._commits.ask(partial(_restamp, origin, limit, stamp))):
                count += more
        return count

    async def renew(self, forgotten: Register) -> int | None:
        """Go on under a new id: this store wrote a register that it does not know, so its numbers are not its own any more.

        What it wrote since it was opened it writes again, since others may have other registers of these numbers; how many.
        Those it takes from them as any others. None: it has a new id already. StorageError.
        """
        before = {origin: (since, self.number(origin)) for origin, since in self._opened.items()}
        if not await self._commits.ask(
            partial(upkeep.rename, forgotten=forgotten.origin, id_=self._new_id(), opened=self._opened)
        ):
            return None
        count = 0
        for origin, span in before.items():
            count += await self._rewrite(origin, *span)
        return count

    async def leap(self, origin: str, upto: int) -> None:
        """Use no number of an own origin up to `upto`: others may have registers of these, which do not stand any more.

        What has such a number since the store was opened is written again. StorageError.
        """
        await self._commits.ask(partial(upkeep.leap, origin=origin, upto=upto))
        if origin in self._opened:
            since, self._opened[origin] = self._opened[origin], upto
            await self._rewrite(origin, since, upto)

    async def _rewrite(self, origin: str, since: int, upto: int) -> int:
        count = 0
        while more := await self._commits.ask(partial(upkeep.rewrite, origin=origin, since=since, upto=upto)):
            count += more
        return count

    async def keep_certificates(self, certificates: Mapping[bytes, bytes]) -> None:
        """Keep certificates, DER by id. Verified ones only: there are no more of those than were issued. StorageError."""

        def keep(transaction: Transaction) -> None:
            for id_, der in certificates.items():
                transaction.table.keep_certificate(id_, der)

        await self._commits.ask(keep)

    async def run(self) -> None:
        """Commit what is asked until cancelled. StorageError when the file is found to be damaged."""
        await self._commits.run()

    def _begin(self, writer: apsw.Connection) -> Transaction:
        table = self._table(writer, self._origins)
        draft = Draft(self._volatile)
        return Transaction(
            *(table, draft, self._origins, self._rv, self._sign), opaque=self._opaque, usage=self._usage, quota=self._quota
        )

    def _doubt(self) -> None:
        self._commits.wake()

    def _publish(self, transaction: Transaction) -> None:
        if transaction.origins != self._origins:
            self._adopt(transaction.origins)
        self._rv = transaction.rv
        self._usage |= transaction.usage.changes
        for place, opaque in transaction.opaque.changes.items():
            (self._opaque.add if opaque else self._opaque.discard)(place)
            self.opaque_kinds.add(place[1])
        self._held |= {origin: number for origin, number in transaction.numbers.items() if VOLATILE not in origin}
        self._volatile.apply(transaction.draft.steps)
        for change in transaction.changes:
            self._window.append(change)
        self._window.advance(self._rv)
        self._changed.unpark_all()
        self._tell_damage()

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
    quota: Quota = QUOTA,
) -> AsyncGenerator[Store, None]:
    """Open the store of node `origin` of a group, making the file (mode 0600) when it is not there. StorageError if it cannot.

    A file that is damaged is set aside and begun again, with what can be read of it: `log` tells (stderr unless given).
    `stamp` gives the hybrid logical clock for a write, `sign` the signature of what is written (called on the executor).
    `new_id` names a new store among all that ever were this node's. `quota` is what
    one node may write. A path of ":memory:" is for tests: it runs inline.
    """
    if str(path) == MEMORY:
        executor = Inline()
    log = Log() if log is None else log

    def new() -> str:
        return f"{origin}:{new_id()}"

    def begin() -> Store:
        fresh = new()
        disk, vault = _open(path, Origins(fresh, group, 0), sign, wall(), log)
        try:
            id_, start = Table(disk.writer, vault=vault).begin(fresh)
            limit = quota if str(path) == MEMORY else quota.of_disk(size_of(Path(path).parent))
            return Store(disk, Origins(id_, group, start), vault, stamp, executor, sign, new_id=new, quota=limit)
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
