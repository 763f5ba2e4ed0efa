"""Where blocking work runs: a thread in the daemon, inline in a simulation, chosen by whoever wires the room."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import trio

T = TypeVar("T")


class Executor(Protocol):
    """Runs a blocking function to its end and returns what it returns."""

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function`; its exceptions are the caller's. Not cancellable once begun: a write is done or not, never half."""


class Worker:
    """One function at a time, in a thread of trio's pool: what must not overlap (a database writer) needs no lock."""

    def __init__(self) -> None:
        self._one = trio.CapacityLimiter(1)

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function` in a thread; wait while another runs."""
        return await trio.to_thread.run_sync(function, limiter=self._one)


class Inline:
    """Runs on the spot: no thread under a mock clock."""

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function` here and now, after one checkpoint."""
        await trio.lowlevel.checkpoint()
        return function()
