"""The room's service: a task for each Device that is bound to this node, as the store has them. A shell."""

import gc
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

import trio

from edged.device.calls import prepared
from edged.device.external import External
from edged.device.intake import Intake
from edged.device.mapper import Mappers
from edged.device.poller import Poller
from edged.device.reporter import Outlets, Reporter
from edged.device.secrets import NAME, texts
from edged.device.timer import Timer
from edged.device.wiring import Wiring, wire
from edged.errors import ExpiredError, InvalidError, NotFoundError
from edged.kit.log import Log
from edged.model.core import Secret
from edged.model.devices import Device, DeviceModel
from edged.model.kinds import BY_STRUCT
from edged.model.meta import JSON
from edged.model.objects import Key, Object, key, typed
from edged.store.writes import DELETED, Change
from edged.wire.peer import DeviceCall

DEVICES = BY_STRUCT[Device].resource
MODELS = BY_STRUCT[DeviceModel].resource
SECRETS = BY_STRUCT[Secret].resource
SET_ASIDE_S = 10.0  # after a device came; others that come with it are there by then


class _Running(NamedTuple):
    uid: str
    reporter: Reporter
    service: Poller | Intake
    scope: trio.CancelScope


class Devices:
    """Serves the devices of `node`, which are in the store of `outlets`. `wall` gives seconds since 1970.

    `listed` is told all Devices of the group, whenever one of them or its model was changed.
    """

    def __init__(
        self,
        outlets: Outlets,
        node: str,
        wall: Callable[[], float],
        random: Random,
        log: Log,
        mappers: Mappers,
        listed: Callable[[Sequence[Device]], None],
    ) -> None:
        self._outlets, self._store, self._node = outlets, outlets.statuses, node
        self._wall, self._random, self._log = wall, random, log
        self._mappers, self._listed, self._timer = mappers, listed, Timer()
        self._running: dict[Key, _Running] = {}
        self._wired: dict[Key, tuple[object, Wiring]] = {}  # with what it was made of
        self._grown = trio.Event()  # there are devices that are not set aside
        self._nursery: trio.Nursery | None = None  # while it runs
        self._seen: dict[Key, int] = {}  # a hash of each Device but its status: this node's own reports change nothing here

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started when every device that is there has its task."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery, seen = nursery, self._store.revision
                nursery.start_soon(self._timer.run)
                nursery.start_soon(self._set_aside)
                self._reconcile(nursery)
                task_status.started()
                while True:
                    revision = await self._store.changed(seen)
                    if self._concerned(seen):
                        self._reconcile(nursery)
                    seen = revision
        finally:
            self._nursery = None
            await self._mappers.aclose()

    def again(self) -> None:
        """The mappers are others than before: devices are wired anew."""
        if self._nursery is not None:
            self._wired.clear()
            self._reconcile(self._nursery)

    async def call(self, asked: DeviceCall) -> JSON:
        """Call a method of a device that is served here, as `Poller.call`. NotFoundError for any other."""
        name = key(Device, asked.device, asked.namespace)
        running, stored = self._running.get(name), self._store.get(name)
        if running is None or stored is None:
            raise NotFoundError(f'device "{asked.namespace}/{asked.device}" is not served by node {self._node}')
        device, poller = typed(stored, Device), running.service
        if isinstance(poller, Intake):
            raise InvalidError(f'the values of device "{asked.device}" come from outside: who tells them does not take calls')
        return await poller.call(prepared(device, self._model(device), poller.wiring, asked.method, asked.arguments))

    async def _set_aside(self) -> None:
        """What devices keep is not looked through for garbage any more: that held up all, 50 ms for 5,000 properties."""
        while True:
            await self._grown.wait()
            await trio.sleep(SET_ASIDE_S)
            self._grown = trio.Event()
            gc.unfreeze()
            gc.collect()
            gc.freeze()

    def _concerned(self, since: int) -> bool:
        try:
            changes = self._store.changes(since)
        except ExpiredError:
            return True
        latest = {change.object.key: change for change in changes}
        for name, change in latest.items():
            if change.type != DELETED and (running := self._running.get(name)) is not None:
                running.reporter.contradicted(change.object.status)
        return any(self._matters(change) for change in changes)

    def _matters(self, change: Change) -> bool:
        key = change.object.key
        if key.resource == DEVICES:
            return change.type == DELETED or self._seen.get(key) != _spec(change.object)
        return key.resource in {MODELS, SECRETS}

    def _reconcile(self, nursery: trio.Nursery) -> None:
        """Start, rewire and end pollers until they are those that the store asks for."""
        objects = self._store.list(DEVICES)
        self._seen = {each.key: _spec(each) for each in objects}
        devices = [typed(each, Device) for each in objects]
        mine = {
            each.key: (each, device)
            for each, device in zip(objects, devices, strict=True)
            if device.spec.node_name == self._node
        }
        wirings = self._wirings(mine)
        for name, running in list(self._running.items()):
            if (
                name not in mine
                or mine[name][0].uid != running.uid
                or isinstance(running.service, Intake) != wirings[name].external
            ):
                running.scope.cancel()
                del self._running[name]
        for name, (each, device) in mine.items():
            wiring = wirings[name]
            if name in self._running:
                self._running[name].service.rewire(wiring)
                continue
            log = self._log.bind(device=f"{name.namespace}/{name.name}")
            given = (self._outlets, self._wall, self._random, log, self._timer)
            reporter = Reporter(each, wiring, device.status, *given)
            service = Intake(reporter) if wiring.external else Poller(reporter, self._random)
            self._running[name] = _Running(each.uid, reporter, service, trio.CancelScope())
            self._grown.set()
            nursery.start_soon(self._serve, self._running[name])
        self._listed(devices)

    def pushing(self, name: Key, problems: Sequence[str] | None) -> None:
        """What keeps a device's readings from the targets of its pushMethods; None: it has none."""
        if name in self._running:
            self._running[name].reporter.pushing(problems)

    def intake(self, namespace: str, name: str) -> Intake | None:
        """Where the values of a device go that come from outside; None when it is not such a device of this node."""
        running = self._running.get(key(Device, name, namespace))
        return running.service if running is not None and isinstance(running.service, Intake) else None

    def told_by_anybody(self, namespace: str, name: str) -> bool:
        """Whether a device's values are told by whoever may speak on the bus, and by no mapper that is known."""
        intake = self.intake(namespace, name)
        return intake is not None and type(intake.wiring.mapper) is External

    @staticmethod
    async def _serve(running: _Running) -> None:
        with running.scope:
            await running.service.run()

    def _wirings(self, mine: dict[Key, tuple[Object, Device]]) -> dict[Key, Wiring]:
        """The wiring of each. One that is made of the same as before is not made again: a hundred properties take 10 ms."""
        before, self._wired = self._wired, {}
        for name, (each, device) in mine.items():
            namespace, signed_by = device.metadata.namespace, str(device.spec.protocol.config_data.get(NAME, ""))
            model = self._store.get(key(DeviceModel, device.spec.device_model_ref.name, namespace))
            secret = self._store.get(key(Secret, signed_by, namespace)) if signed_by else None
            made_of = (_spec(each), _version(model), _version(secret))
            known = before.get(name)
            self._wired[name] = known if known is not None and known[0] == made_of else (made_of, self.wire(device))
        return {name: wiring for name, (_, wiring) in self._wired.items()}

    def wire(self, device: Device) -> Wiring:
        """What this node would do with a device. A protocol that nobody here speaks is left to whoever tells the values."""
        model, protocol = self._model(device), device.spec.protocol.protocol_name
        try:
            self._mappers.find(protocol)
        except InvalidError as error:
            wiring = wire(device, model, lambda _: External())
            return wiring._replace(problems=(f"spec.protocol.protocolName: {error}", *wiring.problems))
        return wire(device, model, self._mappers.find, lambda name: self._secret(name, device.metadata.namespace))

    def _secret(self, name: str, namespace: str) -> dict[str, str] | None:
        found = self._store.get(key(Secret, name, namespace))
        return None if found is None else texts(typed(found, Secret))

    def _model(self, device: Device) -> DeviceModel | None:
        found = self._store.get(key(DeviceModel, device.spec.device_model_ref.name, device.metadata.namespace))
        return None if found is None else typed(found, DeviceModel)


def _version(found: Object | None) -> tuple[str, int] | None:
    return None if found is None else (found.uid, found.rv)


def _spec(device: Object) -> int:
    return hash((device.uid, device.body))
