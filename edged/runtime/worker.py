"""The pod worker: watches the store and the runtime, and does for each pod of this node what `pod.decide` says.

    store --pods, config maps, secrets--> worker --actions--> driver
          <-----------status-----------         <--changed--

One task a pod, so that a slow one delays no other. When the daemon stops, the containers go on.
"""

import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import assert_never

import msgspec
import trio

from edged.errors import (
    AlreadyExistsError,
    ConflictError,
    ExpiredError,
    InvalidError,
    NotFoundError,
    StorageError,
    UnreachableError,
)
from edged.kit.backoff import Backoff
from edged.kit.log import Log
from edged.kit.supervise import supervise
from edged.model.core import ConfigMap, Pod, Secret
from edged.model.objects import K, Key, key, typed
from edged.runtime import pod as life
from edged.runtime.driver import Driver
from edged.runtime.env import Sources
from edged.runtime.spec import container_spec
from edged.runtime.status import Place, backs_off
from edged.store.events import NORMAL, WARNING, Recorder
from edged.store.store import Store
from edged.store.writes import Delete, PutStatus

RESYNC_S = 60.0  # everything is looked at again: a lost notification costs no more than this
FIRST_RETRY_S, LAST_RETRY_S = 1.0, 30.0  # a runtime or disk that is away is asked again so soon, and so seldom
REFERRED = {"configmaps", "secrets"}  # what a container's configuration may name
DISK_RETRY_S = 5.0  # at most, for a disk: what became of a pod is written within 10 s of space coming back
ROUNDS = 16  # steps of a pod without rest: a whole life takes six; more means that an action has no effect
REST_S = 1.0


class _Work:
    """What is held for one pod uid: where its object is, its body when it is ours, and what `decide` remembers.

    `told` is its status as this node wrote it, or found it at first.
    """

    def __init__(self, where: Key) -> None:
        self.key = where
        self.body: bytes | None = None
        self.told: bytes | None = None
        self.memory = life.Memory()
        self.trouble = ""
        self.news = trio.Event()
        self.forgive = False
        self.pulling: trio.CancelScope | None = None

    def changed(self, body: bytes | None) -> None:
        """The wish is another: what failed may work now, and an image that is being pulled may not be needed."""
        self.body = body
        self.forgive = True
        if self.pulling is not None:
            self.pulling.cancel()
        self.news.set()


class Runtime:
    """Runs the pods whose `spec.nodeName` is `node` with `driver`, and writes their status. `host_ip` is the node's address.

    A pod that is deleted, replaced by another of its name, or bound elsewhere has its containers stopped and removed; so
    have containers of ours that no pod in the store explains. Only a deleted pod's object is removed from the store.
    """

    def __init__(
        self,
        store: Store,
        driver: Driver,
        *,
        node: str,
        host_ip: str,
        recorder: Recorder,
        log: Log,
        random: Random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._driver = store, driver
        self._node, self._host_ip = node, host_ip
        self._recorder, self._log, self._random, self._clock = recorder, log, random, clock
        self._works: dict[str, _Work] = {}
        self._scan = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. It has started when every pod in the store is being looked at; the runtime may be away."""
        try:
            async with trio.open_nursery() as nursery:
                revision = self._store.revision
                self._sort(nursery)
                nursery.start_soon(self._follow_store, revision, nursery)
                nursery.start_soon(self._find_orphans, nursery)
                nursery.start_soon(
                    partial(
                        supervise,
                        partial(self._driver.watch, self._changed),
                        outages=(UnreachableError, StorageError),
                        backoff=self._backoff(),
                        log=self._log,
                    )
                )
                task_status.started()
        finally:
            self._driver.close()

    async def _follow_store(self, revision: int, nursery: trio.Nursery) -> None:
        while True:
            last = await self._store.changed(revision)
            try:
                resources = {change.object.key.resource for change in self._store.changes(revision)}
            except ExpiredError:
                resources = {"pods", *REFERRED}
            if resources & REFERRED:
                self._retry_configuration()
            if "pods" in resources:
                self._sort(nursery)
            revision = last

    def _sort(self, nursery: trio.Nursery) -> None:
        """Compare the pods in the store with those at work: begin with new ones, tell those that changed or are gone."""
        bound = {found.uid: found for found in self._store.list("pods") if self._is_ours(typed(found, Pod))}
        for uid, found in bound.items():
            work = self._work(uid, found.key, nursery)
            if work.body != found.body:
                work.told = found.status
                work.changed(found.body)
            elif work.told != found.status:  # a node that ran it too, on the other side of a split, wrote later
                work.told = found.status
                work.news.set()
        for uid, work in self._works.items():
            if uid not in bound and work.body is not None:
                work.changed(None)

    def _is_ours(self, pod: Pod) -> bool:
        return pod.spec.node_name == self._node

    def _work(self, uid: str, where: Key, nursery: trio.Nursery) -> _Work:
        if uid not in self._works:
            self._works[uid] = _Work(where)
            nursery.start_soon(self._care, uid, self._works[uid])
        return self._works[uid]

    def _retry_configuration(self) -> None:
        for work in self._works.values():
            if work.memory.failure is not None and work.memory.failure.reason == life.CONFIG_FAILURE:
                work.changed(work.body)

    def _changed(self, uid: str | None) -> None:
        """The driver tells: a container of this pod, or of any."""
        if uid is None:
            self._scan.set()
        for one in self._works if uid is None else {uid} & self._works.keys():
            self._works[one].news.set()

    async def _find_orphans(self, nursery: trio.Nursery) -> None:
        """Now and then, and when the runtime returns: containers of pods that are not known end, all others are looked at."""
        while True:
            with trio.move_on_after(RESYNC_S):
                await self._scan.wait()
            self._scan = trio.Event()
            try:
                seen = await self._driver.containers()
            except (UnreachableError, StorageError) as error:
                self._log.debug(f"{error}; looking again in {RESYNC_S:.0f} s")
                continue
            for one in seen:
                self._work(one.identity.uid, key(Pod, one.identity.pod, one.identity.namespace), nursery)
            for work in self._works.values():
                work.news.set()

    async def _care(self, uid: str, work: _Work) -> None:
        """One pod's task: steps until there is nothing to do, then rest until there is news or time has come."""
        backoff = self._backoff()
        log = self._log.bind(pod=f"{work.key.namespace}/{work.key.name}")
        while True:
            work.news = trio.Event()
            if work.forgive:
                work.memory, work.forgive = msgspec.structs.replace(work.memory, failure=None), False
            try:
                again = await self._steps(uid, work, log)
            except (UnreachableError, StorageError) as error:
                most = DISK_RETRY_S if isinstance(error, StorageError) else LAST_RETRY_S
                rest = min(backoff.next(), most)
                if work.trouble != str(error):
                    log.warning(f"{error}; retrying in {rest:.0f} s, then at least every {most:.0f} s")
                work.trouble = str(error)
            else:
                backoff.reset()
                work.trouble = ""
                if again is None and work.body is None:
                    break
                rest = RESYNC_S if again is None else min(RESYNC_S, max(0.0, again - self._clock()))
            with trio.move_on_after(rest):
                await work.news.wait()
        del self._works[uid]

    async def _steps(self, uid: str, work: _Work, log: Log) -> float | None:
        """Decide and act until nothing is to be done; returns when to look again (wall clock), None when at news."""
        place = Place(self._host_ip, self._driver.name, self._driver.address(uid) or "")
        for _ in range(ROUNDS):
            seen = await self._driver.containers(uid)
            pod = self._pod(uid, work.key)
            if pod is None and self._store.doubted(work.key):  # the flash lost it, a peer has it: what runs goes on
                return self._clock() + REST_S
            plan = life.decide(pod, seen, work.memory, self._clock(), place)
            untold: StorageError | None = None
            try:
                if pod is not None and plan.status is not None and plan.status != pod.status:
                    try:
                        work.told = msgspec.json.encode(plan.status)
                        await self._store.write(PutStatus(work.key, work.told, uid=uid))
                        if backs_off(plan.status) and not backs_off(pod.status):
                            await self._record(work, WARNING, "BackOff", "Back-off restarting failed container")
                    except StorageError as error:
                        untold = error  # a full disk must not keep a container from being stopped
                memory = plan.memory
                for action in plan.actions:
                    memory = await self._act(action, pod, uid, work, memory, log)
            except (NotFoundError, ConflictError, InvalidError):
                continue  # the object or a container is not what it was a moment ago: look again
            work.memory = memory
            if untold is not None:
                raise untold
            if not plan.actions:
                return plan.again
        return self._clock() + REST_S

    def _pod(self, uid: str, where: Key) -> Pod | None:
        """The pod as the store has it now, while it is ours."""
        found = self._store.get(where)
        if found is None or found.uid != uid:
            return None
        pod = typed(found, Pod)
        return pod if self._is_ours(pod) else None

    async def _act(
        self, action: life.Action, pod: Pod | None, uid: str, work: _Work, memory: life.Memory, log: Log
    ) -> life.Memory:
        """Do one action; returns the memory after it."""
        match action:
            case life.Run():
                assert pod is not None, "only a pod that is ours runs"  # noqa: S101 - decide() says so
                return await self._run(action, pod, work, memory, log)
            case life.Start(container):
                await self._driver.start(container)
            case life.Terminate(container):
                log.info(f"asking container {container} to end")
                name = pod.spec.containers[0].name if pod is not None else container
                await self._record(work, NORMAL, "Killing", f"Stopping container {name}")
                await self._driver.terminate(container)
            case life.Kill(container):
                log.info(f"killing container {container}: its grace is over")
                await self._driver.kill(container)
            case life.Remove(container):
                await self._driver.remove(container)
            case life.Forget():
                await self._store.write(Delete(work.key, uid=uid))
            case _:
                assert_never(action)
        return memory

    async def _record(self, work: _Work, type_: str, reason: str, message: str) -> None:
        about = self._store.get(work.key)
        if about is not None:
            await self._recorder.record(about, type_, reason, message)

    async def _run(self, run: life.Run, pod: Pod, work: _Work, memory: life.Memory, log: Log) -> life.Memory:
        """Image, configuration, container, start: what refuses is remembered with its reason, and tried again later."""
        container = pod.spec.containers[0]
        step = life.IMAGE_FAILURE
        try:
            with trio.CancelScope() as work.pulling:
                await self._driver.pull(container.image, container.image_pull_policy or "IfNotPresent")
            if work.pulling.cancelled_caught:
                return memory
            step = life.CONFIG_FAILURE
            spec = container_spec(pod, run, self._driver.address(pod.metadata.uid), self._host_ip, self._sources(pod))
            step = life.CREATE_FAILURE
            made = await self._driver.create(spec)
        except (InvalidError, AlreadyExistsError) as error:
            log.warning(f"{step}: {error}")
            await self._record(work, WARNING, "Failed", f"Error: {step}: {error}")
            return life.failed(memory, step, str(error), self._clock())
        finally:
            work.pulling = None
        log.info(f"starting container {made}, attempt {run.attempt}")
        await self._driver.start(made)
        await self._record(work, NORMAL, "Started", f"Started container {container.name}")
        return memory

    def _sources(self, pod: Pod) -> Sources:
        namespace = pod.metadata.namespace
        return Sources(lambda name: self._find(ConfigMap, name, namespace), lambda name: self._find(Secret, name, namespace))

    def _find(self, kind: type[K], name: str, namespace: str) -> K | None:
        found = self._store.get(key(kind, name, namespace))
        return None if found is None else typed(found, kind)

    def _backoff(self) -> Backoff:
        return Backoff(FIRST_RETRY_S, LAST_RETRY_S, self._random)
