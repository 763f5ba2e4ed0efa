"""What the store needs now and then: checkpoints of what is volatile, the end of old tombstones, a look at every register."""

from collections.abc import Awaitable, Callable

import trio

from edged.errors import StorageError
from edged.kit.log import Log
from edged.store.store import Store
from edged.sync.clock import Clock, at

CHECKPOINT_S = 3600.0  # readings that only this node's flash has are no older than this; 20 devices write 5 MB a day
FORGET_S = 3600.0
TOMBSTONES_S = 30 * 86_400.0  # a node may be away for so long and miss no deletion; after longer it takes a fresh copy
SCRUB_S = 86_400.0
STOP_S = 2.0  # for the last checkpoint


class Upkeep:
    """Looks after the store of one node."""

    def __init__(self, store: Store, clock: Clock, log: Log) -> None:
        self._store, self._clock, self._log = store, clock, log

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for pause, work in ((CHECKPOINT_S, self._store.checkpoint), (FORGET_S, self._forget), (SCRUB_S, self._scrub)):
                nursery.start_soon(self._repeat, pause, work)
            task_status.started()

    async def stop(self) -> None:
        """Write what is volatile, as the node stops."""
        with trio.move_on_after(STOP_S):
            await self._try(self._store.checkpoint)

    async def _repeat(self, pause: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await trio.sleep(pause)
            await self._try(work)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except StorageError as error:
            self._log.warning(f"{work.__name__.strip('_')}: {error}; it is tried again next time")

    async def _forget(self) -> None:
        count = await self._store.forget(at(self._clock.agreed() - TOMBSTONES_S))
        if count:
            self._log.info(f"{count} deletions of more than {TOMBSTONES_S / 86_400:.0f} days ago are forgotten")

    async def _scrub(self) -> None:
        if await self._store.scrub():
            self._log.warning("indexes of the store were damaged: they are made anew, and what lists did not show is back")
