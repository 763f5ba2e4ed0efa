"""The room's service: one poller for each Device that is bound to this node, as the store has them. A shell."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import trio

from edged.device.mapper import AnyMapper, mapper_for
from edged.device.poller import Poller
from edged.device.wiring import wire
from edged.errors import ExpiredError
from edged.kit.log import Log
from edged.model.devices import Device, DeviceModel
from edged.model.kinds import BY_STRUCT
from edged.model.objects import Key, Object, key, typed
from edged.store.store import Store
from edged.store.writes import DELETED, Change

DEVICES = BY_STRUCT[Device].resource
MODELS = BY_STRUCT[DeviceModel].resource


class _Running(NamedTuple):
    uid: str
    poller: Poller
    scope: trio.CancelScope


class Devices:
    """Serves the devices of `node`. `wall` gives seconds since 1970."""

    def __init__(
        self,
        store: Store,
        node: str,
        wall: Callable[[], float],
        random: Random,
        log: Log,
        find: Callable[[str], AnyMapper] = mapper_for,
    ) -> None:
        self._store, self._node, self._wall, self._random, self._log, self._find = store, node, wall, random, log, find
        self._running: dict[Key, _Running] = {}
        self._seen: dict[Key, int] = {}  # a hash of each Device but its status: this node's own reports change nothing here

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Started when every device that is there has its task."""
        async with trio.open_nursery() as nursery:
            seen = self._store.revision
            self._reconcile(nursery)
            task_status.started()
            while True:
                revision = await self._store.changed(seen)
                if self._concerned(seen):
                    self._reconcile(nursery)
                seen = revision

    def _concerned(self, since: int) -> bool:
        try:
            changes = self._store.changes(since)
        except ExpiredError:
            return True
        return any(self._matters(change) for change in changes)

    def _matters(self, change: Change) -> bool:
        key = change.object.key
        if key.resource == DEVICES:
            return change.type == DELETED or self._seen.get(key) != _spec(change.object)
        return key.resource == MODELS

    def _reconcile(self, nursery: trio.Nursery) -> None:
        """Start, rewire and end pollers until they are those that the store asks for."""
        objects = self._store.list(DEVICES)
        self._seen = {each.key: _spec(each) for each in objects}
        mine = {}
        for each in objects:
            device = typed(each, Device)
            if device.spec.node_name == self._node:
                mine[each.key] = (each, device)
        for name, running in list(self._running.items()):
            if name not in mine or mine[name][0].uid != running.uid:
                running.scope.cancel()
                del self._running[name]
        for name, (each, device) in mine.items():
            wiring = wire(device, self._model(device), self._find)
            if name in self._running:
                self._running[name].poller.rewire(wiring)
                continue
            log = self._log.bind(device=f"{name.namespace}/{name.name}")
            poller = Poller(each, wiring, device.status, self._store, self._wall, self._random, log)
            self._running[name] = _Running(each.uid, poller, trio.CancelScope())
            nursery.start_soon(self._serve, self._running[name])

    @staticmethod
    async def _serve(running: _Running) -> None:
        with running.scope:
            await running.poller.run()

    def _model(self, device: Device) -> DeviceModel | None:
        found = self._store.get(key(DeviceModel, device.spec.device_model_ref.name, device.metadata.namespace))
        return None if found is None else typed(found, DeviceModel)


def _spec(device: Object) -> int:
    return hash((device.uid, device.body))
