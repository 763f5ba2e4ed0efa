"""One timer for all devices: it wakes whoever waits for a moment, all of one moment at once. A shell.

A timeout of trio that runs out is a cancellation, 100 to 300 us: of a hundred devices, read and reported once a second, these
were a fifth of the processor time. Here it costs one for each moment.
"""

import math

import trio


class Timer:
    """Sets events at their times, while it runs."""

    def __init__(self) -> None:
        self._times: dict[trio.Event, float] = {}  # one a waiter
        self._next = math.inf  # when it wakes
        self._sooner = trio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._sooner = trio.Event()
            self._next = min(self._times.values(), default=math.inf)
            with trio.move_on_at(self._next):
                await self._sooner.wait()
            now = trio.current_time()
            for event in [event for event, time in self._times.items() if time <= now]:
                del self._times[event]
                event.set()

    async def wait(self, event: trio.Event, until: float) -> None:
        """Until this event, which is set at this time of trio's clock, if nobody does it before. One waiter an event."""
        if until < math.inf:
            self._times[event] = until
        if until < self._next:
            self._sooner.set()
        try:
            await event.wait()
        finally:
            self._times.pop(event, None)

    async def sleep_until(self, time: float) -> None:
        """As trio's."""
        await self.wait(trio.Event(), time)


class Bell:
    """Wakes one waiter; a ring that nobody waits for is kept."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self._rung = trio.Event()

    def ring(self) -> None:
        """Wake who waits, or will."""
        self._rung.set()

    async def wait(self, until: float) -> None:
        """Until it rings, at most until this time of trio's clock."""
        await self._timer.wait(self._rung, until)
        self._rung = trio.Event()
