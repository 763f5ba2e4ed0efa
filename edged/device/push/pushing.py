"""The service of all ways out: as many as there are targets, from the Devices that there are. A shell.

A node sends what its own devices say; and what another's said while it was bound here, as long as some of that waits.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from random import Random
from typing import NamedTuple

import trio

from edged.device.history.journal import Journal
from edged.device.push.methods import sender
from edged.device.push.parcels import Parcel, Sender, Target
from edged.device.push.routes import Plan, credentials, plan
from edged.device.push.way import Way
from edged.device.secrets import texts
from edged.errors import DeniedError
from edged.kit.log import Log
from edged.model.core import Secret
from edged.model.devices import Device
from edged.model.objects import Key, key, typed
from edged.store.events import NORMAL, WARNING, Recorder
from edged.store.store import Store

FORGET_S = 600.0  # a target that no Device names any more: a Device that is deleted and made again loses nothing
MOST_NAMED = 3  # properties in the words about a target
MAX_EVENTS = 32  # that wait to be recorded; further ones are in the log only


class _Running(NamedTuple):
    way: Way
    scope: trio.CancelScope


class _Happened(NamedTuple):
    """An Event to be: about a device (namespace, name)."""

    device: tuple[str, str]
    type: str
    reason: str
    message: str


class Pushing:
    """Brings readings to the targets that Devices name. `tell` hears what keeps those of a device from them."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        node: str,
        environ: Mapping[str, str],
        random: Random,
        log: Log,
        recorder: Recorder,
        tell: Callable[[Key, Sequence[str] | None], None],
    ) -> None:
        self._store, self._journal, self._node, self._environ = store, journal, node, environ
        self._random, self._log, self._recorder, self._tell = random, log, recorder, tell
        self._targets: dict[str, Target] = {}  # of all ways that are to be
        self._all, self._own = plan(()), plan(())
        self._running: dict[str, _Running] = {}
        self._unnamed: dict[str, float] = {}  # ways that no Device names, and when they are forgotten
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._happened, self._happening = trio.open_memory_channel[_Happened](MAX_EVENTS)

    def listed(self, devices: Sequence[Device]) -> None:
        """These are all Devices of the group: the ways are now those that they ask for."""
        self._all = plan(devices)
        self._own = plan(each for each in devices if each.spec.node_name == self._node)
        self._keep_ways()
        self._changed.set()
        if self._nursery is not None:
            self._reconcile(self._nursery)
        for device in devices:
            name = (device.metadata.namespace, device.metadata.name)
            self._tell(key(Device, name[1], name[0]), self._problems(name))

    def _keep_ways(self) -> None:
        now, there = trio.current_time(), self._journal.ways
        self._targets = {way: target for way, target in self._all.targets.items() if way in self._own.targets or way in there}
        self._unnamed = {way: self._unnamed.get(way, now + FORGET_S) for way in there if way not in self._targets}
        self._unnamed = {way: until for way, until in self._unnamed.items() if until > now}
        self._journal.keep_ways([*self._targets, *self._unnamed])

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Start it before it is told what Devices are `listed`."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._record)
            self._nursery = nursery
            task_status.started()
            while True:
                with trio.move_on_at(min(self._unnamed.values(), default=math.inf)):
                    await self._changed.wait()
                    self._changed = trio.Event()
                    continue
                self._keep_ways()  # it is time to forget some

    def _reconcile(self, nursery: trio.Nursery) -> None:
        for name in self._running.keys() - self._targets.keys():
            self._running.pop(name).scope.cancel()
        for name, target in self._targets.items():
            routes = self._all.routes[name]
            if name in self._running:
                self._running[name].way.routes = routes
                continue
            way = Way(
                *(target, routes, self._journal, partial(self._open, target), self._random, self._log.bind(target=name)),
                tell=partial(self._told, name),
                skipped=self._skipped,
            )
            self._running[name] = _Running(way, trio.CancelScope())
            nursery.start_soon(self._serve, self._running[name])

    @staticmethod
    async def _serve(running: _Running) -> None:
        with running.scope:
            await running.way.run()

    def _open(self, target: Target) -> AbstractAsyncContextManager[Sender]:
        namespace, _, name = target.secret.partition("/")
        found = self._store.get(key(Secret, name, namespace)) if target.secret else None
        secret = None if found is None else texts(typed(found, Secret))
        try:
            return sender(target, credentials(target, secret, self._environ), self._node)
        except DeniedError as error:
            raise DeniedError(f"{target}: {error}") from error

    # What is to be said

    def _problems(self, device: tuple[str, str]) -> list[str] | None:
        """What is wrong with a device's pushMethods, or with the targets they name; None when it has none."""
        if device not in self._own.pushing:
            return None
        found = list(self._own.problems.get(device, ()))
        for name, running in self._running.items():
            if running.way.trouble and (properties := _of(self._own, name, device)):
                more = f" and {len(properties) - MOST_NAMED} more" if len(properties) > MOST_NAMED else ""
                found.append(f"{', '.join(properties[:MOST_NAMED])}{more}: {running.way.trouble}")
        return found

    def _told(self, name: str) -> None:
        """The trouble of a way is another."""
        devices = list(dict.fromkeys((namespace, device) for namespace, device, _ in self._own.routes.get(name, ())))
        for device in devices:
            self._tell(key(Device, device[1], device[0]), self._problems(device))
        trouble = self._running[name].way.trouble
        if devices:  # one Event a target, not one for each of a hundred devices
            what = (WARNING, "PushFails", trouble) if trouble else (NORMAL, "PushGoesOn", f"{name} takes readings again")
            self._say(_Happened(devices[0], *what))

    def _skipped(self, parcel: Parcel, why: str) -> None:
        self._say(_Happened((parcel.namespace, parcel.device), WARNING, "ReadingsRefused", f"a report is given up: {why}"))

    def _say(self, happened: _Happened) -> None:
        try:
            self._happened.send_nowait(happened)
        except trio.WouldBlock:
            self._log.warning(f"{happened.reason} of {'/'.join(happened.device)} is not recorded: too many at once")

    async def _record(self) -> None:
        async for happened in self._happening:
            namespace, name = happened.device
            about = self._store.get(key(Device, name, namespace))
            if about is not None:
                await self._recorder.record(about, *happened[1:])

    def figures(self) -> Iterator[tuple[str, str, float, Mapping[str, str]]]:
        """(name, help, value, labels) of what `/metrics` shows; names that end in `_total` only grow."""
        for name, running in self._running.items():
            labels, counts = {"target": name}, running.way.counts
            yield "edged_push_queued", "Reports that a target has not had.", self._journal.queued(name), labels
            yield "edged_push_failing", "Whether a target is away, or refuses.", bool(running.way.trouble), labels
            yield "edged_push_sent_total", "Reports that a target has.", counts.sent, labels
            yield "edged_push_skipped_total", "Reports given up, as a target refused them.", counts.skipped, labels
            yield "edged_push_rejected_total", "Readings that a target did not take of a report.", counts.rejected, labels


def _of(plan_: Plan, way: str, device: tuple[str, str]) -> list[str]:
    return [name for namespace, device_name, name in plan_.routes.get(way, ()) if (namespace, device_name) == device]
