"""Runs a service again after a declared outage. A bug is no outage: it goes up and ends the daemon loudly."""

from collections.abc import Awaitable, Callable

import trio

from edged.kit.backoff import Backoff
from edged.kit.log import Log

STEADY_S = 60.0  # a service that ran this long has recovered: its next outage starts from the first delay


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


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group, however deep."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
