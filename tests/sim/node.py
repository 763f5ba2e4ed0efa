"""One whole node of a simulated group: its store on a file, its sync, its controllers, and containers that are not real."""

import hashlib
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import trio

from edged.control.controllers import Control
from edged.control.failover import EVICTED
from edged.control.nodes import Facts
from edged.device.reporter import Outlets
from edged.device.worker import DEVICES, Devices
from edged.errors import ConflictError, DeniedError, NotFoundError, StorageError
from edged.identity.certificates import Subject
from edged.identity.keyring import KEY_ID, Keyring
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.model.core import NodeSystemInfo, Pod
from edged.model.devices import Device
from edged.model.objects import Object, dump, typed
from edged.store.events import Recorder
from edged.store.store import Store, open_store
from edged.store.writes import Delete, PutStatus
from edged.sync.clock import Clock
from edged.sync.group import Group

from .devices import mappers
from .network import Hub, Network

EPOCH = 1_786_000_000.0
GROUP = "site"
LEASE_S = 10.0
START_S = (0.0, 0.4)  # a container takes so long to start
READY = dump({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})


class Keys(Keyring):
    """Certificates and signatures that cost nothing: the real ones are tested in tests/identity and tests/sync."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._der: dict[bytes, bytes] = {}

    def learn(self, certificate: bytes) -> bytes:
        id_ = _id(certificate.decode())
        self._der[id_] = certificate
        self._names.add(certificate.decode())
        return id_

    def verify(self, signature: bytes, data: bytes) -> Subject:
        certificate = self._der.get(signature[:KEY_ID])
        if certificate is None or signature != seal(certificate.decode(), data):
            raise DeniedError("a forgery, or a key that is not known here")
        return Subject("sim", "node", GROUP, certificate.decode())


def _id(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=KEY_ID).digest()


def seal(name: str, data: bytes) -> bytes:
    return _id(name) + hashlib.blake2b(data, key=name.encode(), digest_size=8).digest()


class Who:
    """`edged.sync.group.Self`."""

    def __init__(self, name: str) -> None:
        self.name, self.group, self.limited = name, GROUP, False

    def seal(self, data: bytes) -> bytes:
        return seal(self.name, data)


class Happened(NamedTuple):
    """On a node, a container of a pod "begins" or "ends"; or the node "connects" to a device, or "leaves" it; or it "leads" the
    group from now on, "yields" that again, "replaces" the pod of a lost node by another one of that name, or gives it up, or
    "moves" a device from a lost node to another.
    """

    at: float
    node: str
    what: str
    uid: str = ""
    thing: str = ""  # the name of the pod or device


class Witness(Recorder):
    """Tells what a leader has decided: it records an Event of it."""

    def __init__(self, tell: Callable[[str, str, str], None], *recorder: Any) -> None:
        super().__init__(*recorder)
        self._tell = tell

    async def record(self, about: Object, type_: str, reason: str, message: str) -> None:
        if reason == EVICTED:
            self._tell("replaces", about.uid, about.key.name)
        elif about.key.resource == DEVICES and reason == "Scheduled" and typed(about, Device).spec.node_name:
            self._tell("moves", about.uid, about.key.name)
        await super().record(about, type_, reason, message)


class Node:
    """Runs while `run` does. A crash loses what was not committed; the file and the containers stay."""

    def __init__(self, name: str, folder: Path, network: Network, random: Random, happened: Callable[[Happened], None]) -> None:
        self.name, self._path, self._network, self._random = name, folder / f"{name}.db", network, random
        self._happened = happened
        self.skew = 0.0
        self.knows_better = False  # since its start it has heard other clocks, and then its own went back
        self.started_at = 0.0
        self.containers: dict[str, str] = {}  # uid -> name of the pod; they outlive the daemon
        self.store: Store | None = None
        self.group: Group | None = None
        self.hub: Hub | None = None
        self.out = io.StringIO()
        self._led = False
        self._scope = trio.CancelScope()
        self._gone = trio.Event()

    def wall(self) -> float:
        return EPOCH + trio.current_time() + self.skew

    @property
    def runs(self) -> bool:
        return self.store is not None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start, and run until `crash` or `stop`."""
        clock, log = Clock(self.wall, steady=trio.current_time), Log(stream=self.out, node=self.name)
        self._scope, self._gone = trio.CancelScope(), trio.Event()
        self.started_at, self.knows_better = trio.current_time(), False
        opened = open_store(
            self._path,
            origin=self.name,
            group=GROUP,
            sign=partial(seal, self.name),
            stamp=clock.stamp,
            executor=Inline(),
            wall=self.wall,
            log=log,
            new_id=lambda: f"{self._random.getrandbits(32):08x}",
        )
        try:
            with self._scope:
                async with opened as store:
                    clock.observe(store.latest_clock)
                    await self._live(store, clock, log, task_status)
        finally:
            self.store = self.group = None
            self._network.detach(self.name)
            self._leads(on=False)
            self._gone.set()

    async def _live(self, store: Store, clock: Clock, log: Log, task_status: trio.TaskStatus[None]) -> None:
        keys = Keys()
        for certificate in (*store.certificates().values(), self.name.encode()):
            keys.learn(certificate)
        self._network.restarted(self.name)
        self.hub = self._network.attach(self.name)
        group = Group(store, clock, Who(self.name), keys, self.hub, lease=LEASE_S, random=self._random, log=log)
        self.hub.serve = group.replicator.serve
        facts = Facts(self.name, f"uid-{self.name}", GROUP, "10.0.0.1", 4 << 30, 2, NodeSystemInfo(), {})
        recorder = Witness(self._tell, store, "edged-control", self.name, self.wall, log)
        told = Recorder(store, "edged-device", self.name, self.wall, log)
        lines = mappers(self._path.parent, lambda what, device: self._tell(what, thing=device))
        outlets = Outlets(store, lambda *_: None, lambda *_: None, told)
        devices = Devices(outlets, self.name, self.wall, self._random, log, lines, lambda _: None)
        control = Control(store, group.membership, facts, recorder, self.wall, log, LEASE_S)

        def beat() -> None:
            self._leads(on=bool(group.membership.pulses[0].claim))

        try:
            with group.membership.listening(beat):
                async with trio.open_nursery() as nursery:
                    await nursery.start(group.run)
                    self.store, self.group = store, group
                    await nursery.start(control.run)
                    nursery.start_soon(self._run_pods, store)
                    await nursery.start(devices.run)
                    task_status.started()
        finally:
            self.store = self.group = None

    def _leads(self, *, on: bool) -> None:
        """Whether it says in its pulses that it holds the group's lease."""
        if on != self._led:
            self._led = on
            self._tell("leads" if on else "yields")

    def _tell(self, what: str, uid: str = "", thing: str = "") -> None:
        self._happened(Happened(trio.current_time(), self.name, what, uid, thing))

    async def crash(self) -> None:
        """kill -9."""
        self._scope.cancel()
        await self._gone.wait()

    async def stop(self) -> None:
        """SIGTERM."""
        if self.group is not None:
            await self.group.leave()
        await self.crash()

    # ---- the fake runtime

    async def _run_pods(self, store: Store) -> None:
        while True:
            revision = store.revision
            bound = {obj.uid: obj for obj in store.list("pods") if typed(obj, Pod).spec.node_name == self.name}
            for uid in sorted(self.containers.keys() - bound.keys()):
                self._end(uid)
            for uid, obj in bound.items():
                try:
                    await self._keep(store, uid, obj)
                except (ConflictError, NotFoundError, StorageError):
                    continue  # it is another one now: the next round sees it
            while not any(change.object.key.resource == "pods" for change in store.changes(revision)):
                await store.changed(store.revision)

    async def _keep(self, store: Store, uid: str, obj: Object) -> None:
        if typed(obj, Pod).metadata.deletion_timestamp is not None:
            if uid in self.containers:
                self._end(uid)
            await store.write(Delete(obj.key, uid=uid))
            return
        if uid not in self.containers:
            await trio.sleep(self._random.uniform(*START_S))
            there = store.get(obj.key)
            if there is None or there.uid != uid:
                return
            self.containers[uid] = obj.key.name
            self._tell("begins", uid, obj.key.name)
        if obj.status != READY:
            await store.write(PutStatus(obj.key, READY, uid=uid))

    def _end(self, uid: str) -> None:
        self._tell("ends", uid, self.containers.pop(uid))
