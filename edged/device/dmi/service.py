"""The Device Mapper Interface in its house: the devices of this node as mappers see them. A shell."""

from collections.abc import Sequence
from pathlib import Path

import trio

from edged.device.dmi.server import Dmi
from edged.device.dmi.speech import Said
from edged.device.external import External, Told
from edged.device.intake import Intake
from edged.device.mapper import Mappers
from edged.device.worker import DEVICES, MODELS, Devices
from edged.errors import ExpiredError, InvalidError, NotFoundError
from edged.kit.log import Log
from edged.model.devices import Device, DeviceModel
from edged.model.objects import key, typed
from edged.store.store import Store

ONLINE = "online"
STATES = {"ok": ONLINE, **{state: state for state in (ONLINE, "offline", "disconnected", "unhealthy", "unknown")}}


class Spoken(External):
    """The mapper of devices whose values come from a mapper that registered: nobody else tells them."""


class Service:
    """Serves mappers at `socket`; `node` is this node."""

    def __init__(self, socket: Path, store: Store, devices: Devices, mappers: Mappers, node: str, log: Log) -> None:
        self._store, self._devices, self._mappers, self._node = store, devices, mappers, node
        self._dmi = Dmi(socket, mappers.aio, self, log)
        self._seen: set[tuple[str, bytes]] = set()  # of each Device and DeviceModel all but its status, as mappers know it

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started when mappers can connect. UnreachableError: the socket cannot be made."""
        async with trio.open_nursery() as nursery:
            seen = self._store.revision
            self._differs()
            await nursery.start(self._dmi.run)
            task_status.started()
            while True:
                revision = await self._store.changed(seen)
                if self._concerned(seen) and self._differs():
                    await self._dmi.tell()
                seen = revision

    def _concerned(self, since: int) -> bool:
        try:
            return any(change.object.key.resource in (DEVICES, MODELS) for change in self._store.changes(since))
        except ExpiredError:
            return True

    def _differs(self) -> bool:
        """Whether anything but a status was changed, which mappers themselves change all the time."""
        objects = (*self._store.list(DEVICES), *self._store.list(MODELS))
        before, self._seen = self._seen, {(each.uid, each.body) for each in objects}
        return before != self._seen

    def served(self, protocol: str) -> list[tuple[Device, DeviceModel | None]]:
        """The devices of a protocol on this node, with their models."""
        found = (typed(each, Device) for each in self._store.list(DEVICES))
        mine = [each for each in found if (each.spec.node_name, each.spec.protocol.protocol_name) == (self._node, protocol)]
        return [(each, self._model(each)) for each in mine]

    def spoken(self, protocols: frozenset[str]) -> None:
        """These protocols are spoken by mappers that are registered."""
        if self._mappers.offer({protocol: Spoken() for protocol in protocols}):
            self._devices.again()

    async def take(self, namespace: str, name: str, said: Sequence[Said]) -> None:
        """What a mapper says of a device goes into its twin. NotFoundError, InvalidError."""
        values = {each.property: Told(each.value, each.time) for each in said}
        intake = self._intake(namespace, name)
        intake.hear(intake.check(values))

    async def state(self, namespace: str, name: str, state: str) -> None:
        """A device is as a mapper says. NotFoundError, InvalidError."""
        if state.lower() not in STATES:
            raise InvalidError(f"state: expected one of {', '.join(STATES)}, got {state!r}")
        await self._intake(namespace, name).say(STATES[state.lower()])

    def _intake(self, namespace: str, name: str) -> Intake:
        found = self._devices.intake(namespace, name)
        if found is None or not isinstance(found.wiring.mapper, Spoken):
            raise NotFoundError(f"there is no Device {namespace}/{name} on this node whose values come from a mapper")
        return found

    def _model(self, device: Device) -> DeviceModel | None:
        found = self._store.get(key(DeviceModel, device.spec.device_model_ref.name, device.metadata.namespace))
        return None if found is None else typed(found, DeviceModel)
