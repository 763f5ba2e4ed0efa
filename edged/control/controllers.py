"""The shell of control: reads what is, asks the pure functions what to do, writes it, waits for the next change."""

import uuid
from collections.abc import Callable, Iterable
from typing import NamedTuple

import trio

from edged.control import deployments, nodes, scheduler
from edged.control.nodes import Facts
from edged.errors import AlreadyExistsError, ConflictError, NotFoundError, StorageError
from edged.kit.log import Log
from edged.model.core import Namespace, Node
from edged.model.objects import Key, Object, dump, key
from edged.model.times import format_time
from edged.store.events import NORMAL, WARNING, Recorder
from edged.store.store import Store
from edged.store.writes import Create, Write
from edged.sync.membership import Membership

RETRY_S = 5.0  # after the disk refused a write
PRUNE_S = 300.0  # between two looks for old events
UNSEEN_S = 40.0  # a node without a link for this long is said to be unknown (Kubernetes' node-monitor-grace-period)


class _Away(NamedTuple):
    """A node without a link: since when (trio's clock), and its Node's version then."""

    since: float
    rv: int


class Control:
    """Runs this node's own Node, and, while it leads, the controllers and the scheduler of the group."""

    def __init__(
        self, store: Store, membership: Membership, facts: Facts, recorder: Recorder, wall: Callable[[], float], log: Log
    ) -> None:
        self._store, self._membership, self._facts = store, membership, facts
        self._recorder, self._wall, self._log = recorder, wall, log
        self._away: dict[str, _Away] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Control until cancelled; started when this node's own Node is in the store."""
        await self._apply(self._own())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._prune)
            task_status.started()
            while True:
                revision, linked = self._store.revision, self._membership.linked
                done = await self._apply(self._own())
                if self._membership.leads:
                    done &= await self._lead()
                with trio.move_on_after(self._pause(done)):
                    await self._any(revision, linked)

    def _own(self) -> list[Write]:
        now = self._wall()
        writes = nodes.describe(self._store.get(key(Node, self._facts.name)), self._facts, now)
        if self._store.get(key(Namespace, "default")) is None:
            writes.append(_default_namespace(now))
        return writes

    async def _lead(self) -> bool:
        """One round of all controllers; whether all that it asked for is on disk."""
        now = self._wall()
        pods = self._store.list("pods")
        asked: list[Write] = []
        owners = set()
        for obj in self._store.list("deployments.apps"):
            owners.add(obj.uid)
            same = [pod for pod in pods if pod.key.namespace == obj.key.namespace]
            asked += deployments.reconcile(obj, same, self._store.last_uid, now)
        asked += deployments.orphans(pods, owners, now)
        seen, unseen = self._look_around()
        for obj in unseen:
            asked += nodes.unseen(obj, now)
        done = await self._apply(asked)
        for decision in scheduler.schedule(self._store.list("pods"), seen, now):
            done &= await self._apply([decision.write])
            kind = NORMAL if decision.reason == "Scheduled" else WARNING
            await self._recorder.record(decision.pod, kind, decision.reason, decision.message)
        return done

    def _look_around(self) -> tuple[list[Object], list[Object]]:
        """The nodes that are members now, and those that have not been for UNSEEN_S, nor were written in that time.

        A node that contradicts what was said of it is linked to somebody else: the two may not answer each other at once.
        """
        members, now = self._membership.members, trio.current_time()
        there = self._store.list("nodes")
        away = [obj for obj in there if obj.key.name not in members]
        known, self._away = self._away, {}
        for obj in away:
            before = known.get(obj.key.name)
            self._away[obj.key.name] = before if before is not None and before.rv == obj.rv else _Away(now, obj.rv)
        seen = [obj for obj in there if obj.key.name in members]
        return seen, [obj for obj in away if now - self._away[obj.key.name].since >= UNSEEN_S]

    async def _apply(self, writes: Iterable[Write]) -> bool:
        """Write each on its own. What somebody else changed meanwhile is looked at again in the next round."""
        for write in writes:
            try:
                await self._store.write(write)
            except (ConflictError, AlreadyExistsError, NotFoundError):
                continue
            except StorageError as error:
                self._log.warning(f"{error}; trying again in {RETRY_S:.0f} s")
                return False
        return True

    def _pause(self, done: bool) -> float:
        """Seconds until a round is due without any change: something was refused, or a node is about to be unknown."""
        if not done:
            return RETRY_S
        due = (away.since + UNSEEN_S - trio.current_time() for away in self._away.values())
        return min((left for left in due if left > 0), default=float("inf"))

    async def _any(self, revision: int, linked: frozenset[str]) -> None:
        """Wait until the store or the set of linked peers changes."""
        async with trio.open_nursery() as nursery:

            async def store() -> None:
                await self._store.changed(revision)
                nursery.cancel_scope.cancel()

            async def links() -> None:
                await self._membership.changed(linked)
                nursery.cancel_scope.cancel()

            nursery.start_soon(store)
            nursery.start_soon(links)

    async def _prune(self) -> None:
        while True:
            await trio.sleep(PRUNE_S)
            try:
                await self._recorder.prune()
            except StorageError as error:
                self._log.warning(f"old events stay: {error}; trying again in {PRUNE_S:.0f} s")


def _default_namespace(now: float) -> Create:
    """`default`, with one uid everywhere: nodes that never met make the same object."""
    uid = str(uuid.uuid5(uuid.NAMESPACE_DNS, "default.namespaces.edged"))
    labels = {"kubernetes.io/metadata.name": "default"}
    metadata = {"name": "default", "uid": uid, "creationTimestamp": format_time(now), "labels": labels}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    return Create(Key("namespaces", "", "default"), uid, dump(body), dump({"phase": "Active"}))
