"""Requests that wait together are committed together, each of them whole or not at all."""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import apsw
import trio

from edged.errors import EdgedError
from edged.kit.executor import Executor
from edged.store.apply import Transaction
from edged.store.disk import Disk

MAX_GROUP = 64  # requests committed together: beyond 50 the disk is no longer what a commit waits for
MAX_WAITING = 1024  # requests; who comes then waits for its turn to ask
T = TypeVar("T")


class _Request:
    """What somebody waits for."""

    def __init__(self, apply: Callable[[Transaction], Any]) -> None:
        self.apply = apply
        self.done = trio.Event()
        self.result: Any = None
        self.error: EdgedError | None = None


class Commits:
    """The queue before the disk. `begin` makes the transaction of a group on a connection, `publish` is told of its commit."""

    def __init__(
        self,
        disk: Disk,
        executor: Executor,
        begin: Callable[[apsw.Connection], Transaction],
        publish: Callable[[Transaction], None],
    ) -> None:
        self._disk, self._executor, self._begin, self._publish = disk, executor, begin, publish
        self._waiting: deque[_Request] = deque()
        self._room = trio.Semaphore(MAX_WAITING)
        self._asked = trio.Event()

    async def ask(self, apply: Callable[[Transaction], T]) -> T:
        """What `apply` does to a transaction is on disk when this returns. StorageError, or what `apply` raises: none of it is.

        A caller that is cancelled while it waits does not know which; what was not begun by then never is.
        """
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

    def wake(self) -> None:
        """There may be damage: `run` looks."""
        self._asked.set()

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
            done = self._begin(writer)
            for request in group:
                _attempt(writer, request, done)
            done.hold()

        refusal = self._disk.commit(work)
        for request in group:
            request.error = request.error or refusal
        return done if refusal is None else None


def _attempt(writer: apsw.Connection, request: _Request, transaction: Transaction) -> None:
    mark = transaction.mark()
    try:
        with writer:  # a savepoint inside the group's transaction
            request.result = request.apply(transaction)
    except EdgedError as error:
        request.error = error
        transaction.back_to(mark)
    transaction.end()
