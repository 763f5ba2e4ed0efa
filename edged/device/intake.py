"""One device whose values come from outside: takes them in, keeps its status in the store. A shell."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
import trio

from edged.device.external import ExternalTwin, Told
from edged.device.readings import Take
from edged.device.report import differs, lasting
from edged.device.wiring import Wiring
from edged.errors import ConflictError, NotFoundError, StorageError
from edged.kit.log import Log
from edged.model.devices import DeviceStatus
from edged.model.objects import Key, Object, dump
from edged.store.store import Store
from edged.store.writes import PutStatus, Write

GAP_S = 1.0  # what is heard within this time is stored together
STORE_AGAIN_S = 5.0  # a disk that takes no writes is asked again after this


class Intake:
    """Serves one such device until it is cancelled. `wall` gives seconds since 1970."""

    def __init__(
        self,
        device: Object,
        wiring: Wiring,
        status: DeviceStatus,
        store: Store,
        wall: Callable[[], float],
        log: Log,
        take: Take,
    ) -> None:
        self._key: Key = device.key
        self._uid = device.uid
        self._store, self._wall, self._log, self._take = store, wall, log, take
        self._stored = status
        self._said = (device.status, device.status)  # what the store has, and what is on its way there
        self._one = trio.Lock()
        self._changed = trio.Event()
        self._changed.set()
        self.twin = ExternalTwin(wiring, status)

    def rewire(self, wiring: Wiring) -> None:
        """The device or its model was changed."""
        if wiring != self.twin.wiring:
            self.twin.rewire(wiring)
            self._changed.set()

    def pushing(self, problems: Sequence[str] | None) -> None:
        """What keeps this device's readings from the targets of its pushMethods; None: it has none."""
        if problems != self.twin.pushing:
            self.twin.pushing = problems
            self._changed.set()

    def contradicted(self, status: bytes | None) -> None:
        """The store has this status: what another wrote there (a leader that took this node for lost) is answered."""
        if status not in self._said:
            self._said = (status, status)
            self._stored = msgspec.json.decode(status or b"{}", type=DeviceStatus)
            self._changed.set()

    async def run(self) -> None:
        """Store what is heard, and what changes by itself: mistakes in the manifests, desired values that wait."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            try:
                async with self._one:
                    status = self.twin.status(self._wall())
                    if differs(status, self._stored):
                        await self._write((), volatile=not lasting(status, self._stored))
            except (NotFoundError, ConflictError):
                return  # it is gone, or another of its name is there: who started this task sees it, too
            except StorageError as error:
                self._log.error(f"status not stored: {error}; trying again in {STORE_AGAIN_S:g} s")
                await trio.sleep(STORE_AGAIN_S)
                self._changed.set()
            else:
                await trio.sleep(GAP_S)

    def hear(self, values: Mapping[str, Told]) -> None:
        """Take in what was told. Its readings go their way now; the status is stored within GAP_S. InvalidError as `told`."""
        try:
            self.twin.take(values, trio.current_time(), self._wall())
        finally:
            self._pass_on()
        self._changed.set()

    def _pass_on(self) -> None:
        if readings := self.twin.readings():
            self._take(self._key.namespace, self._key.name, readings)

    async def told(self, reports: Sequence[Mapping[str, Told]], also: Sequence[Write] = (), *, volatile: bool = False) -> None:
        """Take in what was told, in this order, with one write; `also` is written with it.

        On disk when this returns, unless it may be lost with this process (`volatile`). InvalidError: a value is wrong; those
        before it are taken in, and nothing is written. ConflictError, NotFoundError, StorageError: the store's.
        """
        async with self._one:
            now = trio.current_time()
            try:
                for values in reports:
                    self.twin.take(values, now, self._wall())
            finally:
                self._pass_on()
            await self._write(also, volatile=volatile)

    async def say(self, state: str) -> None:
        """The device is online, offline or unknown. Raises as `told`."""
        async with self._one:
            self.twin.say(state, self._wall())
            await self._write((), volatile=False)

    async def _write(self, also: Sequence[Write], *, volatile: bool) -> None:
        status = self.twin.status(self._wall())
        said = dump(status)
        self._said = (self._said[0], said)
        await self._store.write(*also, PutStatus(self._key, said, uid=self._uid, volatile=volatile))
        self._stored, self._said = status, (said, said)
