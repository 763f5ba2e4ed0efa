"""One asyncio loop in one thread, for the libraries that need it, and the crossings between it and trio. A shell.

The thread is started by the first `run` and ended by `aclose`. A crossing costs two wake-ups of a thread, so what comes
often crosses in batches (`Batches`).
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar

import trio

from edged.errors import EdgedError, ProtocolError, UnreachableError

CANCEL_S = 3.0  # a library that does not end a cancelled call in this time is left to end it by itself
END_S = 5.0  # the same for all that still runs when the thread is to end
MOST = 100_000  # values that wait for trio: 100 s of 1,000 a second; more means that this node cannot follow

T = TypeVar("T")


class Aio:
    """The loop, as trio's tasks see it. Its own methods are called from trio only."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `work` returns or raises, run as a task of the loop. Cancelled together with the caller.

        UnreachableError: the loop was ended, or the library gave the call up by itself.
        """
        loop, token, done = self._started(), trio.lowlevel.current_trio_token(), trio.Event()
        tasks: list[asyncio.Task[T]] = []  # one, once it runs

        def ended(task: asyncio.Task[T]) -> None:
            if not task.cancelled():
                task.exception()  # from now on it counts as seen, also when nobody is left to see it
            token.run_sync_soon(done.set)

        def start() -> None:
            tasks.append(loop.create_task(work()))
            tasks[0].add_done_callback(ended)

        def cancel() -> None:
            tasks[0].cancel()

        loop.call_soon_threadsafe(start)
        try:
            await done.wait()
        except trio.Cancelled:
            loop.call_soon_threadsafe(cancel)
            with trio.move_on_after(CANCEL_S, shield=True):
                await done.wait()
            raise
        if tasks[0].cancelled():
            raise UnreachableError("the call was given up")
        return tasks[0].result()

    def soon(self, act: Callable[[], object]) -> None:
        """Call `act` on the loop; nobody waits for it."""
        self._started().call_soon_threadsafe(act)

    async def aclose(self) -> None:
        """Cancel all that runs on the loop and end its thread, when there is one."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        self._loop = self._thread = None
        loop.call_soon_threadsafe(loop.stop)
        with trio.CancelScope(shield=True):  # the thread ends by itself within END_S and a little
            await trio.to_thread.run_sync(thread.join, 2 * END_S)

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_serve, args=(self._loop,), name="asyncio", daemon=True)
            self._thread.start()
        return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=END_S))
        loop.run_until_complete(loop.shutdown_asyncgens())
        # asyncio has no other list of connections; some are open still, as their other end has not closed them yet.
        for transport in list(loop._transports.values()):  # type: ignore[attr-defined]  # noqa: SLF001
            transport.abort()
        loop.run_until_complete(asyncio.sleep(0))  # a transport that was closed just now ends in the next turn
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class Batches(Generic[T]):
    """What comes on the loop, for one task of trio: everything that waits crosses at once.

    Made in trio. At most `most` values wait; more end it with ProtocolError, so that a gap is never silent.
    """

    def __init__(self, most: int = MOST) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._most = most
        self._lock = threading.Lock()
        self._waiting: list[T] = []
        self._error: EdgedError | None = None
        self._rung = False  # a ring is on its way to trio
        self._bell = trio.Event()

    def put(self, values: Sequence[T]) -> None:
        """On the loop: these come next."""
        with self._lock:
            if len(self._waiting) + len(values) > self._most:
                self._error = ProtocolError(f"sends faster than this node takes: {len(self._waiting)} values wait")
            elif self._error is None:
                self._waiting += values
        self._ring()

    def fail(self, error: EdgedError) -> None:
        """On the loop: nothing comes any more. The first error counts; it is raised after what came before it."""
        with self._lock:
            self._error = self._error or error
        self._ring()

    def again(self) -> None:
        """On the loop: more comes after all. What waits still waits."""
        with self._lock:
            self._error = None

    async def receive(self) -> list[T]:
        """In trio: everything that waits, once there is something. Raises what ended it."""
        while True:
            with self._lock:
                found, self._waiting, self._rung = self._waiting, [], False
                error, self._bell = self._error, trio.Event()
            if found:
                return found
            if error is not None:
                raise error
            await self._bell.wait()

    def _ring(self) -> None:
        with self._lock:
            rung, self._rung = self._rung, True
        if not rung:
            self._token.run_sync_soon(self._wake)

    def _wake(self) -> None:
        self._bell.set()
