"""The shell of control: reads what is, asks the pure functions what to do, writes it, waits for the next change."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import trio

from edged.control import deployments, devices, exports, failover, lease, nodes, scheduler, slices
from edged.control.devices import Hosts
from edged.control.failover import Group, Plan
from edged.control.liveness import SETTLE_S, Liveness, Sight
from edged.control.nodes import Facts
from edged.control.pods import Owned, Parsed
from edged.control.scheduler import Places
from edged.control.step import Note, Step
from edged.errors import AlreadyExistsError, ConflictError, ExpiredError, NotFoundError, StorageError
from edged.kit.log import Log
from edged.model.core import Namespace, Node
from edged.model.objects import Key, Object, dump, key, typed
from edged.model.times import format_time
from edged.store.events import NORMAL, WARNING, Recorder
from edged.store.store import Store
from edged.store.writes import DELETED, Change, Create, Put, Write
from edged.sync.membership import Membership, View

RETRY_S = 5.0  # after the disk refused a write
PRUNE_S = 300.0  # between two looks for old events
AT_ONCE = 64  # steps under way: as many as the store commits together
REST_S = 1.0  # the longest rest after a round: under steady change control takes half of a processor at most
NAMESPACES = ("default", lease.NAMESPACE)

# The resources whose changes may give controllers something to do: readings of devices and events come every second.
ALL = frozenset({"nodes", "namespaces", "pods", lease.KEY.resource, *failover.WORKLOADS, *exports.WATCHED, slices.RESOURCE})


_Nodes = dict[str, tuple[Object, Node]]  # by name: as the store has it, and as its struct


class _Taken(NamedTuple):
    """What became of steps: those that are on disk, and whether the disk took all that were valid."""

    steps: list[Step]
    done: bool


class Control:
    """Runs this node's own Node, and, while it leads, the controllers and the scheduler of the group.

    `settle`: seconds that a node has to be heard after this one began to lead; one lease.
    """

    def __init__(
        self,
        store: Store,
        membership: Membership,
        facts: Facts,
        recorder: Recorder,
        wall: Callable[[], float],
        log: Log,
        settle: float = SETTLE_S,
    ) -> None:
        self._store, self._membership, self._facts = store, membership, facts
        self._recorder, self._wall, self._log = recorder, wall, log
        self._due = trio.Event()
        self._own_changed = True
        self._said = frozenset(key(Namespace, name) for name in NAMESPACES)
        self._quorum_since: float | None = None
        self._bodies: dict[Key, int] = {}  # a hash of each Device but its status
        self._liveness, self._sign, self._parsed = Liveness(settle), lease.Sign(), Parsed()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Control until cancelled; started when this node's own Node is in the store."""
        await self._apply(self._own())
        async with trio.open_nursery() as nursery:
            for task in (self._prune, self._watch_store, self._watch_group):
                nursery.start_soon(task)
            task_status.started()
            while True:
                self._due = trio.Event()
                began = trio.current_time()
                again = await self._round(self._membership.view)
                await trio.sleep(min(REST_S, trio.current_time() - began))
                with trio.move_on_at(again):
                    await self._due.wait()

    async def _round(self, view: View) -> float:
        """Do what is to be done now; returns when (trio's clock) to look again although nothing changed."""
        again, done = float("inf"), await self._say_own()
        if view.holder != self._membership.node:
            self._liveness.hear(view.members)
            self._liveness.rest()
            self._sign.rest()
            self._parsed.forget()
            self._quorum_since = None
        elif not view.behind:  # else half of what there is is on its way
            led, again = await self._lead(view)
            done &= led
        return again if done else min(again, trio.current_time() + RETRY_S)

    async def _say_own(self) -> bool:
        """Say of itself what is not said yet, if that may have changed; whether it is on disk."""
        if not self._own_changed:
            return True
        self._own_changed = False
        done = (await self._apply(self._own())).done
        self._own_changed |= not done
        return done

    def _own(self) -> list[Step]:
        """What this node says of itself; and the namespaces that everybody expects."""
        now = self._wall()
        there = self._store.get(key(Node, self._facts.name))
        known = [typed(each, Node) for each in self._store.list("nodes")]
        node = nodes.describe(there, self._facts, now, known)
        missing = [name for name in NAMESPACES if self._store.get(key(Namespace, name)) is None]
        made = [] if self._facts.limited else [Step((_namespace(name, now),)) for name in missing]
        return [Step(tuple(node), _moved(there, node)), *made] if node else made

    async def _lead(self, view: View) -> tuple[bool, float]:
        """One round of all controllers; whether all that it asked for is on disk, and when to look again."""
        now, steady = self._wall(), trio.current_time()
        pods = self._parsed.read(self._store.list("pods"))
        there = {obj.key.name: (obj, typed(obj, Node)) for obj in self._store.list("nodes")}
        things = devices.read(self._store.list(devices.RESOURCE))
        bound_to = [each.pod.spec.node_name for each in pods] + [each.where.node_name for each in things]
        said = {name: True for name in bound_to if name}  # a node without a Node is not there
        said |= {name: nodes.is_unseen(node) for name, (_, node) in there.items()}
        sight = self._liveness.look(view.members, said, steady)
        if not failover.has_quorum(frozenset(there), view.members):
            self._quorum_since = None
        elif self._quorum_since is None:
            self._quorum_since = steady
        workloads = [obj for resource in failover.WORKLOADS for obj in self._store.list(resource)]
        group = Group(frozenset(there), sight.lost, self._quorum_since)
        plan = self._fail_over(pods, workloads, there, view, group, now)
        hosts = Hosts((node for name, (_, node) in there.items() if name in view.members), things)
        served = devices.plan(things, hosts, group, steady, now)
        silent = {name for name, is_unseen in said.items() if is_unseen}  # from the store alone: who leads too sees the same
        away = self._say_unseen(there, sight, now)
        back = self._say_seen(there, view)
        signed = self._sign.writes(self._store.get(lease.KEY), self._membership.node, now, steady)
        steps = [*away.values(), *back, *plan.steps, *served.steps, *self._reconcile(workloads, pods, silent, now)]
        steps += self._publish(pods, silent, now)
        taken = await self._apply([*steps, Step(tuple(signed))] if signed else steps)
        self._liveness.told((name for name, step in away.items() if step in taken.steps), steady)
        if not taken.done:
            self._sign.rest()
        again = min(sight.again, plan.again, served.again)
        if any(step not in taken.steps for step in served.steps):
            again = min(again, steady + REST_S)  # a reading came between: that alone makes no round due
        if not taken.steps and not any(scheduler.waits(each.pod) for each in pods):
            return taken.done, again
        bound = await self._apply(self._schedule(view, now))
        return taken.done and bound.done, again

    def _fail_over(
        self, pods: list[Owned], workloads: Iterable[Object], there: _Nodes, view: View, group: Group, now: float
    ) -> Plan:
        """What becomes of the pods of lost nodes."""
        stranded = [each for each in pods if each.pod.spec.node_name in group.lost]
        if not stranded:
            return Plan([], float("inf"))
        places = Places((node for name, (_, node) in there.items() if name in view.members), (each.pod for each in pods))
        words = {obj.uid: failover.word(obj) for obj in workloads}
        return failover.plan(stranded, words, group, places, trio.current_time(), now)

    def _say_unseen(self, there: _Nodes, sight: Sight, now: float) -> dict[str, Step]:
        """By name, what is to be said of nodes that are not seen."""
        steps = {}
        for name in sight.unseen & there.keys():
            obj, node = there[name]
            if writes := nodes.unseen(obj, node, now):
                steps[name] = Step(tuple(writes), _state(obj, "NodeNotReady"))
        return steps

    def _say_seen(self, there: _Nodes, view: View) -> list[Step]:
        """The end of what was said of nodes that are there again."""
        back = [(obj, nodes.seen(obj, node)) for name, (obj, node) in there.items() if name in view.members]
        return [Step(tuple(writes), _state(obj, "NodeReady")) for obj, writes in back if writes]

    def _reconcile(self, workloads: Iterable[Object], pods: Iterable[Owned], silent: set[str], now: float) -> list[Step]:
        """What workloads lack, each write on its own."""
        owned: dict[tuple[str, str], list[Owned]] = defaultdict(list)
        for each in pods:
            if (owner := each.controller) is not None:
                owned[each.object.key.namespace, owner.uid].append(each)
        writes: list[Write] = []
        owners = set()
        for obj in workloads:
            owners.add(obj.uid)
            mine = owned.get((obj.key.namespace, obj.uid), [])
            writes += deployments.reconcile(obj, mine, self._store.last_uid, now, silent)
        writes += deployments.orphans((each for group in owned.values() for each in group), owners, now)
        return [Step((write,)) for write in writes]

    def _publish(self, pods: Iterable[Owned], silent: set[str], now: float) -> list[Step]:
        """Who answers for services: for the tools here, and for other groups; each write on its own."""
        services, imports = (self._store.list(resource) for resource in exports.WATCHED)
        of_pods = [each.pod for each in pods]
        writes = exports.reconcile(services, imports, of_pods, self._facts.group, silent, self._store.last_uid, now)
        there = self._store.list(slices.RESOURCE)
        writes += slices.reconcile(services, there, of_pods, silent, self._store.last_uid, now)
        return [Step((write,)) for write in writes]

    def _schedule(self, view: View, now: float) -> list[Step]:
        """Nodes for the pods that wait for one, as the store has them now."""
        pods = self._parsed.read(self._store.list("pods"))
        if not any(scheduler.waits(each.pod) for each in pods):
            return []
        members = [typed(obj, Node) for obj in self._store.list("nodes") if obj.key.name in view.members]
        return scheduler.schedule(pods, Places(members, (each.pod for each in pods)), now)

    async def _apply(self, steps: Sequence[Step]) -> _Taken:
        """Take each step on its own. What somebody else changed meanwhile is looked at again in the next round."""
        taken: list[Step] = []
        troubles: list[StorageError] = []
        for at in range(0, len(steps), AT_ONCE):
            async with trio.open_nursery() as nursery:
                for step in steps[at : at + AT_ONCE]:
                    nursery.start_soon(self._take, step, taken, troubles)
            if troubles:
                self._log.warning(f"{troubles[0]}; trying again in {RETRY_S:.0f} s")
                break
        return _Taken(taken, not troubles)

    async def _take(self, step: Step, taken: list[Step], troubles: list[StorageError]) -> None:
        try:
            await self._store.write(*step.writes)
        except (ConflictError, AlreadyExistsError, NotFoundError):
            return
        except StorageError as error:
            troubles.append(error)
            return
        taken.append(step)
        if step.note is not None:
            await self._recorder.record(*step.note)

    async def _watch_store(self) -> None:
        """A round is due when the store changes in what matters here."""
        revision = self._store.revision
        while True:
            seen, revision = revision, await self._store.changed(revision)
            if self._concerned(seen):
                self._due.set()

    async def _watch_group(self) -> None:
        """A round is due when the view of the group changes."""
        view = self._membership.view
        while True:
            view = await self._membership.changed(view)
            self._due.set()

    def _concerned(self, since: int) -> bool:
        """Whether the changes since a revision may give something to do: to who does not lead, to what it says of itself."""
        try:
            changed = {change.object.key: change for change in self._store.changes(since)}
        except ExpiredError:
            self._own_changed = True
            return True
        own = any(each in self._said or each.resource == "nodes" for each in changed)  # another's claim may end ours
        self._own_changed |= own
        return own or (self._membership.leads and any(map(self._matters, changed.values())))

    def _matters(self, change: Change) -> bool:
        changed = change.object.key
        if changed.resource == devices.RESOURCE:
            return self._rewritten(change)
        return changed.resource in ALL and not exports.of_others(changed, self._facts.group)

    def _rewritten(self, change: Change) -> bool:
        """Whether more of a device was changed than its status."""
        device, before = change.object.key, self._bodies.get(change.object.key)
        if change.type == DELETED:
            return self._bodies.pop(device, None) is not None
        self._bodies[device] = hash((change.object.uid, change.object.body))
        return self._bodies[device] != before

    async def _prune(self) -> None:
        while True:
            await trio.sleep(PRUNE_S)
            try:
                await self._recorder.prune()
            except StorageError as error:
                self._log.warning(f"old events stay: {error}; trying again in {PRUNE_S:.0f} s")


def _state(about: Object, state: str) -> Note:
    return Note(about, NORMAL, state, f"Node {about.key.name} status is now: {state}")


def _moved(there: Object | None, writes: Iterable[Write]) -> Note | None:
    """What to tell when the range of this node's pods is another one from now on: two nodes had the same."""
    before = typed(there, Node).spec.pod_cidr if there is not None else ""
    bodies = [write.body for write in writes if isinstance(write, Put)]
    if there is None or not before or not bodies:
        return None
    after = typed(there._replace(body=bodies[0]), Node).spec.pod_cidr
    if after == before:
        return None
    why = f"pods have addresses of {after or 'no range'} from now on: {before} is another node's, or not of this pod network"
    return Note(there, WARNING, "PodCIDRChanged", why)


def _namespace(name: str, now: float) -> Create:
    """A namespace with one uid everywhere: nodes that never met make the same object."""
    uid = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.namespaces.edged"))
    labels = {"kubernetes.io/metadata.name": name}
    metadata = {"name": name, "uid": uid, "creationTimestamp": format_time(now), "labels": labels}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    return Create(Key("namespaces", "", name), uid, dump(body), dump({"phase": "Active"}))
