"""What one device's twin has to say: its status to the store, readings and alarms to whoever takes them, Events. A shell."""

import math
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import msgspec
import trio

from edged.device.alarms import TakeAlarm
from edged.device.readings import Take
from edged.device.timer import Bell, Timer
from edged.device.twin import DeviceTwin
from edged.device.wiring import Wiring
from edged.errors import ConflictError, NotFoundError, StorageError
from edged.kit.log import Log
from edged.model.devices import DeviceStatus
from edged.model.objects import Key, Object, dump
from edged.store.events import NORMAL, WARNING, Recorder
from edged.store.store import Store
from edged.store.writes import PutStatus, Write

TOGETHER_S = 0.25  # statuses are stored at multiples of this: those of many devices are one commit
STORE_AGAIN_S = 5.0  # a disk that takes no writes is asked again after this: it is used within 10 s of taking them again


class Outlets(NamedTuple):
    """Where goes what devices say: their statuses, readings and alarms, and Events of what becomes of desired values."""

    statuses: Store
    readings: Take
    alarms: TakeAlarm
    events: Recorder


class Reporter:
    """Speaks for the `twin` of one device. `wall` gives seconds since 1970."""

    def __init__(
        self,
        device: Object,
        wiring: Wiring,
        status: DeviceStatus,
        outlets: Outlets,
        wall: Callable[[], float],
        random: Random,
        log: Log,
        timer: Timer,
    ) -> None:
        self._device, self._outlets = device, outlets
        self._key: Key = device.key
        self.wall, self.log, self.timer = wall, log, timer
        self.twin = DeviceTwin(wiring, status, trio.current_time(), random)
        self._said = (device.status, device.status)  # what the store has, and what is on its way there
        self._one = trio.Lock()  # one status is on its way at a time
        self._bell = Bell(timer)
        self._asleep_until = -math.inf  # `run` looks at the twin again by itself then

    def contradicted(self, status: bytes | None) -> None:
        """The store has this status: what another wrote there (a leader that took this node for lost) is answered."""
        if status not in self._said:
            self._said = (status, status)
            self.twin.contradicted(msgspec.json.decode(status or b"{}", type=DeviceStatus), trio.current_time())
            self.look()

    def pushing(self, problems: Sequence[str] | None) -> None:
        """What keeps this device's readings from the targets of its pushMethods; None: it has none."""
        if self.twin.pushing(problems):
            self.look()

    def rewire(self, wiring: Wiring) -> bool:
        """The device or its model was changed. Whether that makes a difference."""
        if wiring == self.twin.wiring:
            return False
        self.twin.rewire(wiring, trio.current_time())
        self.look()
        return True

    def pass_on(self) -> None:
        """The twin's readings and alarms go their way now."""
        if readings := self.twin.readings():
            self._outlets.readings(self._key.namespace, self._key.name, readings)
        for name, turn in self.twin.turns():
            self._outlets.alarms(self._key.namespace, self._key.name, name, turn)

    def look(self) -> None:
        """The twin was told something: its readings and alarms go their way now, the rest when it is time."""
        self.pass_on()
        self._wake()

    def _wake(self) -> None:
        if self.twin.has_news(trio.current_time()) or self.twin.look_at < self._asleep_until:
            self._bell.ring()

    async def run(self) -> None:
        """Until cancelled, or the device is gone."""
        refused = ""
        while True:
            for note in self.twin.notes():
                type_ = WARNING if note.trouble else NORMAL
                await self._outlets.events.record(self._device, type_, note.reason, note.message)
            now = trio.current_time()
            if not self.twin.has_news(now):
                self._asleep_until = self.twin.report_deadline(now)
                await self._bell.wait(self._asleep_until)
                continue
            now = (now // TOGETHER_S + 1) * TOGETHER_S
            await self.timer.sleep_until(now)
            try:
                async with self._one:
                    if (status := self.twin.status(now, self.wall())) is not None:
                        await self._write(status, now, (), volatile=self.twin.volatile(status))
            except (NotFoundError, ConflictError):
                return  # it is gone, or another of its name is there: who started this task sees it, too
            except StorageError as error:
                if refused != str(error):  # the same every few seconds would bury all else
                    self.log.error(f"status not stored: {error}; trying again every {STORE_AGAIN_S:g} s")
                refused = str(error)
                await trio.sleep(STORE_AGAIN_S)
            else:
                refused = ""

    async def store(self, also: Sequence[Write] = ()) -> None:
        """Store all that the twin knows now, and `also` this, in one write: on disk when this returns. Raises as the store."""
        try:
            async with self._one:
                now = trio.current_time()
                await self._write(self.twin.whole_status(now, self.wall()), now, also, volatile=False)
        finally:
            self._wake()

    async def _write(self, status: DeviceStatus, now: float, also: Sequence[Write], *, volatile: bool) -> None:
        self.pass_on()  # making it, delays of alarms were over
        said = dump(status)
        self._said = (self._said[0], said)
        await self._outlets.statuses.write(*also, PutStatus(self._key, said, uid=self._device.uid, volatile=volatile))
        self._said = (said, said)
        self.twin.stored(status, now)
