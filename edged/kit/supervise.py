"""Runs a service again after a declared outage. A bug is no outage: it goes up and ends the daemon loudly."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from edged.kit.backoff import Backoff
from edged.kit.log import Log

STEADY_S = 60.0  # a service that ran this long has recovered: its next outage starts from the first delay


class Service(Protocol):
    """What runs until it is cancelled or breaks."""

    async def __call__(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run; started when it is ready to serve."""


async def supervise(
    run: Callable[[], Awaitable[None]], *, outages: tuple[type[Exception], ...], backoff: Backoff, log: Log
) -> None:
    """Run `run` until it returns; after one of `outages` wait by `backoff` and run it again.

    An outage raised alone inside an exception group (a nursery of the service) counts; a group that holds anything
    else goes up unchanged.
    """
    while True:
        began = trio.current_time()
        try:
            await run()
        except* outages as group:
            if trio.current_time() - began > STEADY_S:
                backoff.reset()
            delay = backoff.next()
            log.warning(f"{first(group)}; retrying in {delay:.1f} s")
        else:
            return
        await trio.sleep(delay)


async def supervise_service(
    run: Service,
    *,
    outages: tuple[type[Exception], ...],
    backoff: Backoff,
    log: Log,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """`supervise` a service; started once it is, or is away for now: who needs it waits for its first try, and no longer."""
    once = _Once(task_status)

    async def serve() -> None:
        try:
            await run(task_status=once)
        finally:
            once.started()

    await supervise(serve, outages=outages, backoff=backoff, log=log)


class _Once(trio.TaskStatus[None]):
    """Passes on the first word of many."""

    def __init__(self, status: trio.TaskStatus[None]) -> None:
        self._status, self._told = status, False

    def started(self, value: None = None) -> None:
        if not self._told:
            self._told = True
            self._status.started()


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group, however deep."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
