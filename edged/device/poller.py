"""One device: a task that talks to it and a task that stores its status, over one twin. A shell."""

import math
from collections.abc import Callable
from random import Random
from typing import Any

import trio

from edged.device.mapper import PropertyError, Session
from edged.device.twin import DeviceTwin, Read, Write
from edged.device.wiring import Wiring
from edged.errors import ConflictError, EdgedError, NotFoundError, ProtocolError, StorageError, UnreachableError
from edged.kit.backoff import Backoff
from edged.kit.log import Log
from edged.model.devices import DeviceStatus
from edged.model.objects import Key, Object, dump
from edged.store.store import Store
from edged.store.writes import PutStatus

RETRY_FIRST_S, RETRY_CAP_S = 0.5, 30.0  # a device that is away or answers nonsense
CLOSE_S = 2.0  # a connection that cannot be closed in this time is dropped
BATCH_S = 0.05  # what is read within this time is stored together
STORE_AGAIN_S = 5.0  # a disk that takes no writes is asked again after this: it is used within 10 s of taking them again


class Poller:
    """Polls one device and keeps its status in the store until it is cancelled."""

    def __init__(
        self,
        device: Object,
        wiring: Wiring,
        status: DeviceStatus,
        store: Store,
        wall: Callable[[], float],
        random: Random,
        log: Log,
    ) -> None:
        self._key: Key = device.key
        self._uid = device.uid
        self._store, self._wall, self._random, self._log = store, wall, random, log
        self._twin = DeviceTwin(wiring, status, trio.current_time(), random)
        self._to_talk, self._to_report = _Bell(), _Bell()
        self._trouble = False

    def rewire(self, wiring: Wiring) -> None:
        """The device or its model was changed; a device that is away is tried again at once."""
        if wiring != self._twin.wiring:
            self._twin.rewire(wiring, trio.current_time())
            self._to_talk.ring()
            self._to_report.ring()

    async def run(self) -> None:
        """Talk and report, each without waiting for the other."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report)
            nursery.start_soon(self._keep_talking)

    async def _keep_talking(self) -> None:
        backoff = Backoff(RETRY_FIRST_S, RETRY_CAP_S, self._random)
        while True:
            try:
                if self._twin.wiring.properties:
                    await self._talk(backoff)
                else:
                    await self._to_talk.wait(math.inf)
            except UnreachableError as error:
                self._twin.lost(str(error), trio.current_time())
                await self._pause(error, backoff)
            except ProtocolError as error:
                self._twin.garbled(str(error))
                await self._pause(error, backoff)

    async def _pause(self, error: EdgedError, backoff: Backoff) -> None:
        if not self._trouble:
            self._log.warning(f"{error}; trying again until it answers, at least every {RETRY_CAP_S:g} s")
        self._trouble = True
        self._to_report.ring()
        await self._to_talk.wait(trio.current_time() + backoff.next())

    async def _talk(self, backoff: Backoff) -> None:
        """One session, until it breaks (UnreachableError, ProtocolError) or the device is to be found elsewhere."""
        mapper, address = self._twin.wiring.mapper, self._twin.wiring.address
        if mapper is None:
            return
        session = await mapper.connect(address)
        try:
            self._twin.connected(trio.current_time())
            while self._twin.wiring.properties and self._twin.wiring.address == address:
                await self._next(session, backoff)
        finally:
            with trio.move_on_after(CLOSE_S, shield=True):
                await session.aclose()

    async def _next(self, session: Session[Any], backoff: Backoff) -> None:
        task = self._twin.task(trio.current_time())
        if task is None:
            await self._to_talk.wait(self._twin.deadline())
        elif isinstance(task, Read):
            await self._read(session, task)
        else:
            await self._write(session, task)
        self._to_report.ring()
        if self._twin.answers:
            backoff.reset()
            if self._trouble:
                self._log.info("answers again")
            self._trouble = False

    async def _read(self, session: Session[Any], task: Read) -> None:
        try:
            value = await session.read(task.wired.point)
        except PropertyError as error:
            self._twin.unread(task, str(error), self._wall())
        else:
            self._twin.read(task, value, self._wall())

    async def _write(self, session: Session[Any], task: Write) -> None:
        try:
            await session.write(task.wired.point, task.desired.value)
        except PropertyError as error:
            self._twin.unwritten(task, str(error), self._wall())
            return
        try:
            found = await session.read(task.wired.point)
        except PropertyError:  # it can be written, but not read: its confirmation must do
            found = None
        self._twin.written(task, found, trio.current_time(), self._wall())

    async def _report(self) -> None:
        refused = ""
        while True:
            now = trio.current_time()
            if self._twin.status(now, self._wall()) is None:
                await self._to_report.wait(self._twin.report_deadline(now))
                continue
            await trio.sleep(BATCH_S)
            now = trio.current_time()
            status = self._twin.status(now, self._wall())
            if status is None:  # it is again as it was
                continue
            try:
                write = PutStatus(self._key, dump(status), uid=self._uid, volatile=self._twin.volatile(status))
                await self._store.write(write)
            except (NotFoundError, ConflictError):
                return  # it is gone, or another of its name is there: who started this task sees it, too
            except StorageError as error:
                if refused != str(error):  # the same every few seconds would bury all else
                    self._log.error(f"status not stored: {error}; trying again every {STORE_AGAIN_S:g} s")
                refused = str(error)
                await trio.sleep(STORE_AGAIN_S)
            else:
                refused = ""
                self._twin.stored(status, now)


class _Bell:
    """Wakes one waiter; a ring that nobody waits for is kept."""

    def __init__(self) -> None:
        self._rung = trio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, until: float) -> None:
        """Until it rings, at most until this time of trio's clock."""
        with trio.move_on_at(until):
            await self._rung.wait()
        self._rung = trio.Event()
