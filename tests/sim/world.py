"""A simulated group from its beginning to its healed end, by a schedule: what happens, and what must hold in the end.

What must hold meanwhile: laws.py.
"""

import gc
import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import trio
import trio.testing

from edged.device import worker
from edged.errors import AlreadyExistsError, ConflictError, NotFoundError
from edged.model.failover import ANNOTATION
from edged.model.objects import Key, dump, whole
from edged.store.writes import Create, Delete, Put, PutStatus
from edged.sync.clock import MAX_SKEW_S, at
from edged.wire.sync import VOLATILE

from . import devices
from .laws import HEAR_S, SETTLE_S, Laws
from .network import TICK_S, Network
from .node import EPOCH, LEASE_S, Happened, Node
from .tales import Op

HEAL_S = 6.0  # at the end all is well again: the least, and the most that it may take for everything to be as it should,
HEALED_S = 120.0  # for pods of nodes that were lost a moment ago have to move and come to rest, and refused peers to be tried
AGAIN_S = 2.5  # between two looks at that
SKEWS = (0.0, 900.0, 86_400.0, 315_360_000.0, -900.0, -86_400.0, -315_360_000.0)
RULES = ("quorum", "always", "never")


class World:
    """Runs the nodes, takes the operations, and looks. A breach raises AssertionError with what happened."""

    def __init__(self, size: int, seed: int, folder: Path, nursery: trio.Nursery) -> None:
        self.names = [f"gw-{number:02}" for number in range(size)]
        self.random = Random(seed)
        self._nursery = nursery
        self.network = Network(self.names, nursery, self.random)
        self.nodes = {name: Node(name, folder, self.network, self.random, self._note) for name in self.names}
        self.laws = Laws(self.nodes, self.network)
        self.acknowledged: dict[Key, set[str]] = defaultdict(set)  # what the next reader of a key of one's own may find
        self._numbers = 0
        self._readings: dict[Key, str] = {}  # what is seen of a device, whose readings are volatile
        self._checkpoints: dict[Key, str] = {}  # and what is left of that after a crash
        self._ahead: set[str] = set()  # nodes whose clocks were ahead once
        self._months = 0  # that have passed

    @property
    def happened(self) -> list[Happened]:
        """The whole story."""
        return self.laws.happened

    def _note(self, happened: Happened) -> None:
        self.laws.note(happened)

    # ---- what happens

    async def begin(self) -> None:
        """All nodes start, and find each other."""
        for name in self.names:
            await self._nursery.start(self.nodes[name].run)
        self.laws.mark()
        await trio.sleep(self.random.uniform(0, 0.5 * LEASE_S))

    async def do(self, op: Op) -> None:
        """One operation."""
        await trio.sleep(op.after)
        node = self.nodes[self.names[op.who % len(self.names)]]
        await getattr(self, f"_{op.what}")(node, op)

    async def _write(self, node: Node, op: Op) -> None:
        self._numbers += 1
        key = Key("configmaps", "default", f"{node.name}-{self._numbers}")
        await self._attempt(node, key, lambda: Create(key, f"uid-{key.name}", config("0")), "0")

    async def _update(self, node: Node, op: Op) -> None:
        keys = [key for key in self.acknowledged if key.name.startswith(f"{node.name}-")]
        if keys:
            key, value = keys[op.which % len(keys)], str(op.which)
            await self._attempt(node, key, lambda: Put(key, config(value)), value)

    async def _delete(self, node: Node, op: Op) -> None:
        keys = [key for key in self.acknowledged if key.name.startswith(f"{node.name}-")]
        if keys:
            key = keys[op.which % len(keys)]
            await self._attempt(node, key, lambda: Delete(key), "gone")

    async def _attempt(self, node: Node, key: Key, write: Any, value: str) -> None:
        """Each such key has one writer: what it was told to be stored is what stands. Of a write that a crash cut off,
        nobody knows."""
        if node.store is None:
            return
        self.acknowledged[key].add(value)
        try:
            await node.store.write(write())
        except NotFoundError:
            self.acknowledged[key] = {"gone"}
        else:
            self.acknowledged[key] = {value}

    async def _read(self, node: Node, op: Op) -> None:
        """The node's device is read: that is seen everywhere, and lost with the node."""
        key = Key(worker.DEVICES, "default", f"{node.name}-device")
        if node.store is None:
            return
        if node.store.get(key) is None:
            await node.store.write(Create(key, f"uid-{key.name}", DEVICE))
        self._readings[key] = str(op.which)
        await node.store.write(PutStatus(key, dump({"state": str(op.which)}), volatile=True))

    async def _deploy(self, node: Node, op: Op) -> None:
        self._numbers += 1
        rule = RULES[op.which % 3]
        await self._ask(node, Create(*deployment(f"{rule}-{self._numbers}", rule, 1 + op.which // 3 % 3)))

    async def _scale(self, node: Node, op: Op) -> None:
        there = self._deployments(node)
        if there and node.store is not None:
            obj = there[op.which % len(there)]
            value = whole(obj)
            value["spec"]["replicas"] = op.which % 4
            del value["metadata"]["resourceVersion"]
            value.pop("status", None)
            self.laws.touched.add(obj.key.name)
            await self._ask(node, Put(obj.key, dump(value)))

    async def _undeploy(self, node: Node, op: Op) -> None:
        there = self._deployments(node)
        if there:
            self.laws.touched.add(there[op.which % len(there)].key.name)
            await self._ask(node, Delete(there[op.which % len(there)].key))

    async def _device(self, node: Node, op: Op) -> None:
        self._numbers += 1
        rule = RULES[op.which % 3]
        await self._ask(node, devices.MODEL)
        await self._ask(node, devices.device(f"{rule}-{self._numbers}", rule))

    def _devices(self, node: Node) -> list[Key]:
        return [key for key in self._readings if key.name.startswith(f"{node.name}-")]

    def _deployments(self, node: Node) -> list[Any]:
        return [] if node.store is None else node.store.list("deployments.apps")

    async def _ask(self, node: Node, write: Any) -> None:
        if node.store is not None:
            try:
                await node.store.write(write)
            except (AlreadyExistsError, NotFoundError, ConflictError):
                return

    async def _split(self, node: Node, op: Op) -> None:
        names = list(self.names)
        Random(op.which).shuffle(names)
        at = 1 + op.who % (len(names) - 1)
        sides = [names[:at], names[at:]]
        if op.which % 4 == 0 and at > 1:
            sides = [names[: at // 2], names[at // 2 : at], names[at:]]
        self.laws.mark()
        self.network.split(sides)
        self.laws.mark()

    async def _cut(self, node: Node, op: Op) -> None:
        """Some pairs cannot reach each other, and what they have to say to each other comes by several ways."""
        pairs = sorted((one, other) for one in self.names for other in self.names if one < other)
        few = op.who % 2 or 2 + op.which % (len(pairs) // 2)
        self.laws.mark()
        self.network.cut({frozenset(pair) for pair in Random(op.which).sample(pairs, few)})
        self.laws.mark()

    async def _heal(self, node: Node, op: Op) -> None:
        self.laws.mark()
        self.network.cut(set())
        self.laws.mark()

    async def _crash(self, node: Node, op: Op) -> None:
        if node.runs:
            self.laws.mark()
            await node.crash()
            self.laws.mark()
            self._readings |= {key: self._checkpoints.get(key, "") for key in self._devices(node)}

    async def _stop(self, node: Node, op: Op) -> None:
        if node.runs:
            self.laws.mark()
            await node.stop()
            self.laws.mark()
            self._checkpoints |= {key: self._readings[key] for key in self._devices(node)}

    async def _start(self, node: Node, op: Op) -> None:
        """One of those that do not run."""
        await self._switch_on(self._down(op) or node)

    async def _switch_on(self, node: Node) -> None:
        if not node.runs:
            self.laws.mark()
            await self._nursery.start(node.run)
            self.laws.mark()

    async def _clock(self, node: Node, op: Op) -> None:
        """A clock jumps: a little more than is forgiven, a day, ten years, either way; or it is set right. Where the power was
        off, if it is off anywhere."""
        node = self._down(op) or node
        self.laws.mark()
        node.skew = SKEWS[op.which % len(SKEWS)]
        heard = trio.current_time() - node.started_at > HEAR_S and bool(self.network.linked(node.name))
        node.knows_better |= node.runs and heard and node.skew < 0
        if node.skew > 0:
            self._ahead.add(node.name)
        self.laws.mark()

    def _down(self, op: Op) -> Node | None:
        down = [node for node in self.nodes.values() if not node.runs]
        return down[op.who % len(down)] if down else None

    async def _month(self, node: Node, op: Op) -> None:
        """A month passes, and all who run forget the deletions before it. Who is away meanwhile has missed them for good."""
        await trio.sleep(max(0.0, SETTLE_S - self.laws.quiet))
        stores = {name: each.store for name, each in self.nodes.items() if each.store is not None}
        for side in self.network.sides():
            held = [stores[name].held() for name in side]
            if any(each != held[0] for each in held):
                return  # in a month they would be in step
        self._months += 1
        now = at(EPOCH + trio.current_time())
        for store in stores.values():
            await store.forget(now)

    # ---- how it ends

    async def heal(self) -> None:
        """All is well again, for as long as it takes."""
        self.laws.mark()
        for node in self.nodes.values():
            node.skew = 0.0
            if not node.runs:
                await self._nursery.start(node.run)
        self.network.cut(set())
        self.laws.mark()
        await trio.sleep(HEAL_S)
        with trio.move_on_after(HEALED_S):
            while self._wrong():  # noqa: ASYNC110  what is looked at is everywhere
                await trio.sleep(AGAIN_S)
        wrong = self._wrong()
        assert not wrong, wrong

    def _wrong(self) -> str:
        try:
            self.check()
        except AssertionError as error:
            return str(error)
        return ""

    def check(self) -> None:
        """Nothing acknowledged is lost, all stores are the same, what should run does."""
        contents = {name: content(node, deletions=not self._months) for name, node in self.nodes.items()}
        first = contents[self.names[0]]
        for name, there in contents.items():
            assert there == first, f"{name} and {self.names[0]} differ: {difference(there, first)}"
        store = self.nodes[self.names[0]].store
        assert store is not None
        for key, values in self.acknowledged.items():
            obj = store.get(key)
            found = "gone" if obj is None else json.loads(obj.body)["data"]["value"]
            assert found in values, f"{key}: acknowledged was {sorted(values)}, there is {found}"
        self._check_readings()
        latest = max((register.clock for register in first["registers"].values()), default=0)
        limit = at(EPOCH + trio.current_time() + MAX_SKEW_S)
        assert latest <= limit or len(self._ahead) > 1, f"something is stamped {(latest - limit) / at(1):.0f} s too late"
        running = sorted(pod for node in self.nodes.values() for pod in node.containers.values())
        wanted = sorted(obj.key.name for obj in store.list("pods"))
        assert running == wanted, f"there run {running}, wanted are {wanted}"
        for device, home in devices.homes(store).items():
            served = sorted(self.laws.served[device])
            assert served == [home], f"{device} at {home} is served by {served}"
        leaders = [name for name, node in self.nodes.items() if node.group is not None and node.group.membership.leads]
        assert len(leaders) == 1, f"there lead {leaders}"
        for obj in store.list("deployments.apps"):
            value = json.loads(obj.body)
            mine = [pod for pod in wanted if pod.startswith(f"{obj.key.name}-")]
            assert len(mine) == value["spec"]["replicas"], f"{obj.key.name} has {mine}"

    def _check_readings(self) -> None:
        for name, node in self.nodes.items():
            assert node.store is not None
            for key, value in self._readings.items():
                obj = node.store.get(key)
                found = None if obj is None else json.loads(obj.status or b"{}").get("state", "")
                assert found == value, f"{name} sees {found} of {key.name}, read was {value}"


DEVICE = dump({"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": {}, "spec": {}})


def config(value: str) -> bytes:
    return dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"value": value}})


def deployment(name: str, rule: str, replicas: int) -> tuple[Key, str, bytes, bytes]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "annotations": {ANNOTATION: rule}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    return Key("deployments.apps", "default", name), f"uid-{name}", dump(body), dump({})


def content(node: Node, *, deletions: bool) -> dict[str, dict[Any, Any]]:
    """Every durable register, byte for byte, with or without those of deletions, and the numbers that are held."""
    store = node.store
    assert store is not None, f"{node.name} does not run"
    held = store.held()
    found: dict[Any, Any] = {}
    for origin, upto in held.items():
        since = upto if VOLATILE in origin else 0
        while since < upto:
            delta = store.delta(origin, since)
            assert delta.upto > since, f"{node.name}: {origin} is stuck at {since}"
            found |= {register.place: register for register in delta.registers if deletions or register.value is not None}
            since = delta.upto
    return {"held": held, "registers": found}


def difference(one: dict[str, dict[Any, Any]], other: dict[str, dict[Any, Any]]) -> list[Any]:
    """Where two contents differ, for a person."""
    pairs = [(one[part], other[part]) for part in one]
    return [(key, a.get(key), b.get(key)) for a, b in pairs for key in a.keys() | b.keys() if a.get(key) != b.get(key)][:3]


def play(size: int, ops: Sequence[Op], seed: int, kind: type[World] = World) -> World:
    """Run a schedule to its end in virtual time. AssertionError when something did not hold."""
    made: list[World] = []
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[attr-defined]  # as trio's own tests do
    trio._core._run._r.seed(seed)

    async def main() -> None:
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder, trio.fail_after(7200):
            async with trio.open_nursery() as nursery:
                world = kind(size, seed, Path(folder), nursery)
                made.append(world)
                await world.begin()
                nursery.start_soon(world.laws.look)
                for op in ops:
                    await world.do(op)
                await world.heal()
                nursery.cancel_scope.cancel()

    gc.disable()  # a fifth of the time of so many short-lived tasks
    try:
        with patch.object(worker, "SET_ASIDE_S", math.inf):  # nor does a node that serves devices collect all nodes' garbage
            trio.run(main, clock=_clock())
    finally:
        gc.enable()
    return made[0]


def _clock() -> trio.testing.MockClock:
    """Time that passes in steps: what is due within one is due together, as on a machine that has other things to do."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    jump = clock.jump

    def step(seconds: float) -> None:
        now = clock.current_time()
        jump(max(seconds, math.ceil((now + seconds) / TICK_S) * TICK_S - now))

    clock.jump = step  # type: ignore[method-assign]  # the class does not let itself be derived from
    return clock


FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None  # memory: a commit costs what it costs, without the disk's time
