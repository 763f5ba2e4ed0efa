"""Where blocking work runs: a thread in the daemon, inline in a simulation, chosen by whoever wires the room."""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar, cast

import outcome
import trio

IDLE_S = 10.0  # after which the thread of a worker ends; the next function starts another
T = TypeVar("T")


class Executor(Protocol):
    """Runs a blocking function to its end and returns what it returns."""

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function`; its exceptions are the caller's. Not cancellable once begun: a write is done or not, never half."""


class Worker:
    """One function at a time, in a thread: what must not overlap (a database writer) needs no lock.

    The thread waits for the next function: one out of trio's pool is twice as long on its way, there and back.
    """

    def __init__(self) -> None:
        self._one = trio.Lock()
        self._asked: SimpleQueue[tuple[Callable[[], Any], Callable[[outcome.Outcome[Any]], None]]] = SimpleQueue()
        self._ending = threading.Lock()  # held while a function is given to the thread, and while the thread ends
        self._runs = False

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function` in the thread; wait while another runs."""
        async with self._one:
            task, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
            with self._ending:
                if not self._runs:
                    threading.Thread(target=self._work, name="worker", daemon=True).start()
                    self._runs = True
                self._asked.put((function, lambda result: token.run_sync_soon(trio.lowlevel.reschedule, task, result)))
            return cast("T", await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED))

    def _work(self) -> None:
        while True:
            try:
                function, done = self._asked.get(timeout=IDLE_S)
            except Empty:
                with self._ending:
                    if self._asked.empty():
                        self._runs = False
                        return
            else:
                done(outcome.capture(function))
                del function, done  # what they refer to is not kept until the next function comes


class Inline:
    """Runs on the spot: no thread under a mock clock."""

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function` here and now, after one checkpoint."""
        await trio.lowlevel.checkpoint()
        return function()
