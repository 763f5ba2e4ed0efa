"""The store: synchronous reads of the local file, writes in groups on the executor, changes to follow."""

import os
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import apsw
import trio

from edged.errors import EdgedError, StorageError
from edged.kit.executor import Executor, Inline
from edged.kit.files import PRIVATE_FILE, private_dir
from edged.model.objects import Key, Object
from edged.store.apply import Transaction
from edged.store.schema import prepare
from edged.store.table import Table
from edged.store.window import Window
from edged.store.writes import Change, Write
from edged.wire.sync import BODY, Delta

MEMORY = ":memory:"
MAX_GROUP = 64  # requests committed together: beyond 50 the disk is no longer what a commit waits for
MAX_WAITING = 1024  # requests; who comes then waits for its turn to ask
BUSY_MS = 5000  # another process (a backup) may hold the file this long


Objects = list[Object]
Changes = list[Change]


class _Request:
    """One transaction that somebody waits for."""

    def __init__(self, apply: Callable[[Transaction], Objects]) -> None:
        self.apply = apply
        self.done = trio.Event()
        self.objects: Objects = []
        self.error: EdgedError | None = None


class Store:
    """The objects of one node. Open it with `open_store`.

    Reads are synchronous: they touch the page cache of a small local file. A write waits until it is on disk; writes that
    wait together share one commit. `origin` names this file among all that ever wrote for this node.
    """

    def __init__(
        self, writer: apsw.Connection, reader: apsw.Connection, origin: str, stamp: Callable[[], int], executor: Executor
    ) -> None:
        self._connections = (writer, reader)
        self._writer, self._reader = Table(writer), Table(reader)
        self._stamp, self._executor = stamp, executor
        self.origin = origin
        revision, self.latest_clock = self._reader.highest()
        self._window = Window(revision)
        self._rv, self._seq = revision, self._reader.held().get(origin, 0)
        self._waiting: deque[_Request] = deque()
        self._room = trio.Semaphore(MAX_WAITING)
        self._asked = trio.Event()
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def revision(self) -> int:
        """The number of the last change."""
        return self._window.revision

    def get(self, key: Key) -> Object | None:
        """The object of a key, or None."""
        return self._reader.get(key)

    def list(self, resource: str, namespace: str | None = None) -> Objects:
        """The objects of a resource, all or of one namespace, by (namespace, name)."""
        return self._reader.list(resource, namespace)

    def last_uid(self, key: Key) -> str | None:
        """The uid of the object that has this key, or had it last; None when there never was one, or long ago."""
        register = self._reader.register(key, BODY)
        return None if register is None else register.uid

    def held(self) -> dict[str, int]:
        """The version vector {origin: highest number}."""
        return self._reader.held()

    def delta(self, origin: str, since: int) -> Delta:
        """What another node needs that has `origin` up to `since`: as much as one delta takes."""
        return self._reader.delta(origin, since)

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

        def apply(transaction: Transaction) -> Objects:
            transaction.merge(delta)
            return []

        await self._ask(apply)

    async def _ask(self, apply: Callable[[Transaction], Objects]) -> Objects:
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
        return request.objects

    async def run(self) -> None:
        """Commit what is asked, a group at a time, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            while self._waiting:
                group = [self._waiting.popleft() for _ in range(min(MAX_GROUP, len(self._waiting)))]
                transaction = Transaction(self._writer, self.origin, self._rv, self._seq)
                if await self._executor.run(partial(self._commit, group, transaction)):
                    self._publish(transaction)
                for request in group:
                    request.done.set()

    def _commit(self, group: Sequence[_Request], transaction: Transaction) -> bool:
        """On the executor. Each request stands or falls alone; then those that stand are committed, or none is."""
        writer = self._connections[0]
        try:
            with writer:
                for request in group:
                    self._attempt(writer, request, transaction)
        except apsw.Error as error:
            for request in group:
                request.error = request.error or StorageError(f"the store takes no writes: {error}")
            return False
        return True

    def _attempt(self, writer: apsw.Connection, request: _Request, transaction: Transaction) -> None:
        mark = (transaction.rv, transaction.seq, len(transaction.changes))
        try:
            with writer:  # a savepoint inside the group's transaction
                request.objects = request.apply(transaction)
        except EdgedError as error:
            request.error = error
            transaction.rv, transaction.seq = mark[0], mark[1]
            del transaction.changes[mark[2] :]

    def _publish(self, transaction: Transaction) -> None:
        self._rv, self._seq = transaction.rv, transaction.seq
        for change in transaction.changes:
            self._window.append(change)
        self._window.advance(self._rv)
        self._changed.unpark_all()

    def close(self) -> None:
        """Close the file; nothing may be asked any more."""
        for connection in set(self._connections):
            connection.close()


@asynccontextmanager
async def open_store(
    path: str | Path, *, origin: str, stamp: Callable[[], int], executor: Executor
) -> AsyncGenerator[Store, None]:
    """Open the store of node `origin`, making the file (mode 0600) when it is not there. StorageError when it cannot be.

    `stamp` gives the hybrid logical clock for a write. A path of ":memory:" is for tests and simulations: it runs inline.
    """
    if str(path) == MEMORY:
        executor = Inline()
    try:
        writer, reader = await executor.run(lambda: _open(path))
        origin = Table(writer).origin(f"{origin}:{secrets.token_hex(4)}")
    except (apsw.Error, OSError) as error:
        raise StorageError(f"{path}: {error}") from error
    store = Store(writer, reader, origin, stamp, executor)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            yield store
            nursery.cancel_scope.cancel()
    finally:
        store.close()


def _open(path: str | Path) -> tuple[apsw.Connection, apsw.Connection]:
    if str(path) == MEMORY:
        connection = apsw.Connection(MEMORY)
        prepare(connection)
        return connection, connection
    private_dir(Path(path).parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE))
    Path(path).chmod(PRIVATE_FILE)
    writer = apsw.Connection(str(path))
    writer.set_busy_timeout(BUSY_MS)
    prepare(writer)
    reader = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    reader.set_busy_timeout(BUSY_MS)
    reader.pragma("query_only", True)
    return writer, reader
