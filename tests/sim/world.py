"""A simulated group from its beginning to its healed end, by a schedule, and all that must hold meanwhile and afterwards."""

import gc
import json
import math
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import trio
import trio.testing

from edged.control.failover import DEFAULT_TOLERATION_S
from edged.errors import AlreadyExistsError, ConflictError, NotFoundError
from edged.model.failover import ANNOTATION
from edged.model.objects import Key, dump, whole
from edged.store.writes import Create, Delete, Put

from .network import Network
from .node import LEASE_S, Happened, Node

LOOK_S = 0.5  # between two looks at what must hold
NOTICE_S = 12.0  # to notice a cut (IDLE_S) and link again
SETTLE_S = NOTICE_S + LEASE_S + 3.0  # after which a side that did not change has settled who leads
MOVE_S = SETTLE_S + 5.0  # and who runs what
LEAST_S = LEASE_S * 0.6 + DEFAULT_TOLERATION_S  # for which the others must miss a node, at the least, before its pods move
AFTER_S = 30.0  # a peer that was refused, or could not be reached, is tried again within this
HEAL_S = 6.0  # at the end all is well again: the least, and the most that it may take for everything to be as it should,
HEALED_S = 120.0  # for pods of nodes that were lost a moment ago have to move and come to rest, and refused peers to be tried
RULES = ("quorum", "always", "never")


class Op(NamedTuple):
    """What happens, `after` seconds after what happened before. `who` and `which` choose a node and a thing, by their rest."""

    what: str
    after: float
    who: int
    which: int


OPS = ("write", "update", "delete", "deploy", "scale", "undeploy", "split", "cut", "heal", "crash", "stop", "start", "clock")
PAUSES = (0.0, 0.05, 0.5, 2.0, 8.0, 32.0)  # seconds; the longest is enough for pods to move
SHORT, LONG, AFTERWARDS = (3, 3, 3, 3, 0, 0), (3, 3, 3, 3, 2, 1), (1, 1, 1, 1, 2, 6)
LONG_TALES = 0.3  # of all
WEIGHTS = (10, 10, 3, 3, 2, 1, 3, 2, 3, 2, 1, 4, 1)


def schedule(random: Random) -> tuple[int, list[Op]]:
    """How many nodes, and what happens to them: small groups more often, as most sites are, and many short tales."""
    size = random.choices((5, 6, 7, 9, 12, 20), (180, 9, 4, 3, 2, 1))[0]
    long = random.random() < LONG_TALES
    whats = ["deploy"] * random.randint(long, 2) + random.choices(OPS, WEIGHTS, k=random.randint(3, 10 if size < 12 else 6))
    ops: list[Op] = []
    for what in whats:
        after = ops and ops[-1].what in ("split", "crash", "stop")
        weights = (AFTERWARDS if after else LONG) if long else SHORT
        ops.append(Op(what, random.choices(PAUSES, weights)[0], random.getrandbits(16), random.getrandbits(16)))
    return size, ops


class Spans:
    """When something was so: from when to when."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def mark(self, now: float, *, on: bool) -> None:
        """It is so from now on, or no more."""
        if self._spans and self._spans[-1][1] == math.inf:
            if not on:
                self._spans[-1] = (self._spans[-1][0], now)
        elif on:
            self._spans.append((now, math.inf))

    def within(self, begin: float, end: float) -> bool:
        """Whether it was so at any time of these."""
        return any(since <= end and until >= begin for since, until in self._spans)

    def longest(self, begin: float, end: float) -> float:
        """For how long in a row it was so at the most, in a span that reaches into these times; its end is felt later."""
        lengths = (min(until + AFTER_S, end) - since for since, until in self._spans if until >= begin and since <= end)
        return max(lengths, default=0.0)


class World:
    """Runs the nodes, takes the operations, and looks. A breach raises AssertionError with what happened."""

    def __init__(self, size: int, seed: int, folder: Path, nursery: trio.Nursery) -> None:
        self.names = [f"gw-{number:02}" for number in range(size)]
        self.random = Random(seed)
        self._nursery = nursery
        self.network = Network(self.names, nursery, self.random)
        self.happened: list[Happened] = []
        self.nodes = {name: Node(name, folder, self.network, self.random, self._note) for name in self.names}
        self.acknowledged: dict[Key, set[str]] = defaultdict(set)  # what the next reader of a key of one's own may find
        self._numbers = 0
        self._changed_at = 0.0  # when the network or the set of running nodes changed last
        self._touched: set[str] = set()  # Deployments that a person changed after they were made
        self._apart = {name: Spans() for name in self.names}  # when a node could not see all others
        self._minority = {name: Spans() for name in self.names}  # when a majority could not see it

    # ---- what happens

    async def begin(self) -> None:
        """All nodes start, and find each other."""
        for name in self.names:
            await self._nursery.start(self.nodes[name].run)
        self._mark()
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
            self._touched.add(obj.key.name)
            await self._ask(node, Put(obj.key, dump(value)))

    async def _undeploy(self, node: Node, op: Op) -> None:
        there = self._deployments(node)
        if there:
            self._touched.add(there[op.which % len(there)].key.name)
            await self._ask(node, Delete(there[op.which % len(there)].key))

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
        self._mark()
        self.network.split(sides)
        self._mark()

    async def _cut(self, node: Node, op: Op) -> None:
        other = self.names[op.which % len(self.names)]
        if other != node.name:
            self._mark()
            self.network.cut({frozenset((node.name, other))})
            self._mark()

    async def _heal(self, node: Node, op: Op) -> None:
        self._mark()
        self.network.cut(set())
        self._mark()

    async def _crash(self, node: Node, op: Op) -> None:
        if node.runs:
            self._mark()
            await node.crash()
            self._mark()

    async def _stop(self, node: Node, op: Op) -> None:
        if node.runs:
            self._mark()
            await node.stop()
            self._mark()

    async def _start(self, node: Node, op: Op) -> None:
        if not node.runs:
            self._mark()
            await self._nursery.start(node.run)
            self._mark()

    async def _clock(self, node: Node, op: Op) -> None:
        """A clock jumps: a little more than is forgiven, a day, ten years, either way; or it is set right."""
        self._mark()
        node.skew = (0.0, 900.0, 86_400.0, 315_360_000.0, -86_400.0, -315_360_000.0)[op.which % 6]
        self._mark()

    # ---- what must hold at all times

    def _mark(self) -> None:
        """The network, the running nodes or a clock is about to change, or has."""
        now = self._changed_at = trio.current_time()
        right = [name for name, node in self.nodes.items() if node.runs and abs(node.skew) < 1]
        for name in self.names:
            seen = [other for other in right if name in right and not self.network.parted(name, other)]
            reached = next((side & set(right) for side in self.network.sides() if name in side), set())
            self._apart[name].mark(now, on=len(seen) < len(self.names))
            self._minority[name].mark(now, on=name not in right or 2 * len(reached) < len(self.names) + 1)

    def _note(self, happened: Happened) -> None:
        self.happened.append(happened)
        if happened.what == "ends":
            assert self._rightly_ended(happened), f"{happened.pod} was stopped on {happened.node}, where it ran rightly"

    def _rightly_ended(self, happened: Happened) -> bool:
        """A person changed its Deployment; or its rule let others replace it, who missed its node for long enough; or it was
        made on one side of a split, or as the group formed, while others may have made it elsewhere."""
        if happened.pod.rsplit("-", 2)[0] in self._touched:
            return True
        began = max(each.at for each in self.happened if each[1:] == (happened.node, "begins", happened.uid, happened.pod))
        if began < SETTLE_S or self._apart[happened.node].within(began - SETTLE_S, began + 1):
            return True
        missed = {"quorum": self._minority, "always": self._apart}.get(happened.pod.partition("-")[0])
        return missed is not None and missed[happened.node].longest(began, happened.at) >= LEAST_S

    async def look(self) -> None:
        """Who leads, and who runs what, again and again."""
        while True:
            await trio.sleep(LOOK_S)
            quiet = trio.current_time() - self._changed_at
            if any(abs(node.skew) > 300 for node in self.nodes.values()):
                continue  # a node that is refused for its clock is a side of its own that nobody can tell from outside
            for side in self.network.sides():
                if quiet > SETTLE_S:
                    leaders = [
                        name for name in side if (group := self.nodes[name].group) is not None and group.membership.leads
                    ]
                    assert len(leaders) == 1, f"{sorted(side)} have the leaders {leaders} after {quiet:.1f} s"
                if quiet > MOVE_S:
                    self._runs_once(side)

    def _runs_once(self, side: frozenset[str]) -> None:
        where: dict[str, list[str]] = defaultdict(list)
        for name in side:
            for pod in self.nodes[name].containers.values():
                where[pod].append(name)
        for pod, names in where.items():
            assert len(names) == 1, f"{pod} runs on {sorted(names)}, which see each other"

    # ---- how it ends

    async def heal(self) -> None:
        """All is well again, for as long as it takes."""
        self._mark()
        for node in self.nodes.values():
            node.skew = 0.0
            if not node.runs:
                await self._nursery.start(node.run)
        self.network.cut(set())
        self._mark()
        await trio.sleep(HEAL_S)
        with trio.move_on_after(HEALED_S):
            while self._wrong():  # noqa: ASYNC110  what is looked at is everywhere
                await trio.sleep(5 * LOOK_S)
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
        contents = {name: content(node) for name, node in self.nodes.items()}
        first = contents[self.names[0]]
        for name, there in contents.items():
            assert there == first, f"{name} and {self.names[0]} differ: {difference(there, first)}"
        store = self.nodes[self.names[0]].store
        assert store is not None
        for key, values in self.acknowledged.items():
            obj = store.get(key)
            found = "gone" if obj is None else json.loads(obj.body)["data"]["value"]
            assert found in values, f"{key}: acknowledged was {sorted(values)}, there is {found}"
        running = sorted(pod for node in self.nodes.values() for pod in node.containers.values())
        wanted = sorted(obj.key.name for obj in store.list("pods"))
        assert running == wanted, f"there run {running}, wanted are {wanted}"
        leaders = [name for name, node in self.nodes.items() if node.group is not None and node.group.membership.leads]
        assert len(leaders) == 1, f"there lead {leaders}"
        for obj in store.list("deployments.apps"):
            value = json.loads(obj.body)
            mine = [pod for pod in wanted if pod.startswith(f"{obj.key.name}-")]
            assert len(mine) == value["spec"]["replicas"], f"{obj.key.name} has {mine}"


def config(value: str) -> bytes:
    return dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"value": value}})


def deployment(name: str, rule: str, replicas: int) -> tuple[Key, str, bytes, bytes]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "annotations": {ANNOTATION: rule}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    return Key("deployments.apps", "default", name), f"uid-{name}", dump(body), dump({})


def content(node: Node) -> dict[Any, Any]:
    """Every durable register, byte for byte, and the numbers that are held."""
    store = node.store
    assert store is not None, f"{node.name} does not run"
    held = {origin: number for origin, number in store.held().items() if "~" not in origin}
    found: dict[Any, Any] = {"held": held}
    for origin, upto in held.items():
        since = 0
        while since < upto:
            delta = store.delta(origin, since)
            assert delta.upto > since, f"{node.name}: {origin} is stuck at {since}"
            found |= {register.place: register for register in delta.registers}
            since = delta.upto
    return found


def difference(one: dict[Any, Any], other: dict[Any, Any]) -> list[Any]:
    return [(key, one.get(key), other.get(key)) for key in one.keys() | other.keys() if one.get(key) != other.get(key)][:3]


def play(size: int, ops: Sequence[Op], seed: int) -> World:
    """Run a schedule to its end in virtual time. AssertionError when something did not hold."""
    made: list[World] = []
    trio._core._run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[attr-defined]  # as trio's own tests do
    trio._core._run._r.seed(seed)

    async def main() -> None:
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder, trio.fail_after(7200):
            async with trio.open_nursery() as nursery:
                world = World(size, seed, Path(folder), nursery)
                made.append(world)
                await world.begin()
                nursery.start_soon(world.look)
                for op in ops:
                    await world.do(op)
                await world.heal()
                nursery.cancel_scope.cancel()

    gc.disable()  # a fifth of the time of so many short-lived tasks
    try:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    finally:
        gc.enable()
    return made[0]


FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None  # memory: a commit costs what it costs, without the disk's time
