"""The worker with the real store and real host processes."""

import io
import json
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec
import pytest
import trio

from edged.errors import StorageError, UnreachableError
from edged.kit.log import Log
from edged.model.core import Event, Pod
from edged.model.meta import JSON
from edged.model.objects import Key, key, typed
from edged.runtime.driver import ContainerSpec, Driver, Identity, Observed
from edged.runtime.process import ProcessDriver
from edged.runtime.worker import Runtime
from edged.store.events import Recorder
from edged.store.store import Store
from edged.store.writes import Create, Delete, Put, PutStatus

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
HOST_IP = "192.0.2.7"


class Slow:
    """The real driver, except that the pull of one image never ends, and that it is away when told so."""

    def __init__(self, driver: Driver, image: str = "") -> None:
        self._driver, self._image, self.away = driver, image, False
        self.pulling = trio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def containers(self, uid: str | None = None) -> list[Observed]:
        if self.away:
            raise UnreachableError("docker: connection refused")
        return await self._driver.containers(uid)

    async def pull(self, image: str, policy: str) -> None:
        if image == self._image:
            self.pulling.set()
            await trio.sleep_forever()
        await self._driver.pull(image, policy)


class Site:
    """A store with a worker on it; what a test does with pods."""

    def __init__(self, store: Store, driver: Any, *, node: str = "gw-a", clock: Callable[[], float] = time.time) -> None:
        self.store, self.driver, self.node, self._clock = store, driver, node, clock
        self.log = io.StringIO()

    @asynccontextmanager
    async def worker(self, driver: Any = None) -> AsyncIterator[Runtime]:
        runtime = Runtime(
            self.store,
            driver or self.driver,
            node=self.node,
            host_ip=HOST_IP,
            recorder=Recorder(self.store, "edged-runtime", self.node, self._clock, Log(stream=self.log)),
            log=Log(stream=self.log, level="debug"),
            random=Random(1),
            clock=self._clock,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(runtime.run)
            yield runtime
            nursery.cancel_scope.cancel()

    def events(self) -> set[tuple[str, str]]:
        return {(event.reason, event.type) for event in (typed(obj, Event) for obj in self.store.list("events"))}

    async def apply(self, name: str = "web", script: str = FOREVER, *, container: JSON | None = None, **spec: Any) -> str:
        one = {"name": "c", "image": "host", "command": ["/bin/sh", "-c", script], **(container or {})}
        uid = str(uuid.uuid4())
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": uid},
            "spec": {"containers": [one], "nodeName": self.node, "terminationGracePeriodSeconds": 5, **spec},
        }
        await self.store.write(Create(key(Pod, name, "default"), uid, json.dumps(body).encode()))
        return uid

    async def change(self, name: str = "web", *, metadata: JSON | None = None, container: JSON | None = None) -> None:
        found = self.store.get(key(Pod, name, "default"))
        assert found is not None
        body = json.loads(found.body)
        body["metadata"] |= metadata or {}
        body["spec"]["containers"][0] |= container or {}
        await self.store.write(Put(found.key, json.dumps(body).encode()))

    async def delete(self, name: str = "web", grace: int = 5) -> None:
        deleted = {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
        await self.change(name, metadata=deleted)

    def pod(self, name: str = "web") -> Any:
        found = self.store.get(key(Pod, name, "default"))
        return None if found is None else typed(found, Pod)

    def container(self, name: str = "web") -> Any:
        pod = self.pod(name)
        return pod.status.container_statuses[0] if pod and pod.status.container_statuses else None

    async def until(self, test: Callable[[], object]) -> None:
        with trio.fail_after(60):
            revision = 0
            while not test():
                revision = await self.store.changed(revision)

    async def waits(self, reason: str) -> str:
        """Until the pod's container waits for this reason; the message."""
        await self.until(lambda: (one := self.container()) and one.state.waiting and one.state.waiting.reason == reason)
        return str(self.container().state.waiting.message)

    async def running(self, name: str = "web") -> Any:
        await self.until(lambda: (one := self.container(name)) is not None and one.state.running is not None)
        return self.pod(name)

    async def gone(self, uid: str) -> None:
        with trio.fail_after(60):
            while await self.driver.containers(uid):  # noqa: ASYNC110 - the runtime, not the store, is asked
                await trio.sleep(0.02)


@pytest.fixture
def site(store: Store, process_kit: Any) -> Site:
    return Site(store, process_kit.driver())


async def test_a_pod_runs_and_says_so(site: Any) -> None:
    async with site.worker():
        await site.apply()
        pod = await site.running()
    status = pod.status
    assert status.phase == "Running"
    assert (status.host_ip, status.pod_ip) == (HOST_IP, site.driver.address(pod.metadata.uid))
    assert [ip.ip for ip in status.pod_ips] == [status.pod_ip]
    assert {one.type: one.status for one in status.conditions} == dict.fromkeys(
        ("Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    container = status.container_statuses[0]
    assert container.ready
    assert container.started
    assert container.container_id.startswith("process://")
    assert status.start_time is not None


async def test_the_containers_go_on_without_the_daemon_and_are_adopted(site: Any) -> None:
    async with site.worker():
        uid = await site.apply()
        before = await site.running()
    (alone,) = await site.driver.containers(uid)
    assert alone.state == "running"
    revision = site.store.revision
    async with site.worker(ProcessDriver(site.driver._directory, "gw-a")):
        await site.apply("other")
        await site.running("other")
    assert (await site.driver.containers(uid))[0] == alone
    assert site.pod().status == before.status
    assert all(change.object.key.name.split(".")[0] == "other" for change in site.store.changes(revision))


async def test_pods_of_other_nodes_are_left_alone(site: Any) -> None:
    async with site.worker():
        await site.apply("theirs", nodeName="gw-b")
        await site.apply()
        await site.running()
        assert site.pod("theirs").status.phase == ""
        assert len(await site.driver.containers()) == 1


async def test_a_deleted_pod_ends_within_its_grace_and_its_object_goes(site: Any) -> None:
    async with site.worker():
        uid = await site.apply()
        await site.running()
        await site.delete()
        await site.until(lambda: site.pod() is None)
        await site.gone(uid)
    phases = [json.loads(change.object.status)["phase"] for change in site.store.changes(0) if change.object.status]
    assert phases[-1] == "Succeeded"
    events = [json.loads(obj.body) for obj in site.store.list("events")]
    assert [event["message"] for event in events if event["reason"] == "Killing"] == ["Stopping container c"]


async def test_a_deleted_pod_that_does_not_listen_is_killed(site: Any) -> None:
    async with site.worker():
        uid = await site.apply(script=STUBBORN)
        await site.running()
        await site.delete(grace=1)
        await site.until(lambda: site.pod() is None)
        await site.gone(uid)
    assert "its grace is over" in site.log.getvalue()


async def test_a_deletion_may_be_hurried(site: Any) -> None:
    async with site.worker():
        uid = await site.apply(script=STUBBORN)
        await site.running()
        await site.delete(grace=3600)
        await site.until(lambda: not site.container().ready)
        await site.change(metadata={"deletionGracePeriodSeconds": 0})
        await site.until(lambda: site.pod() is None)
        await site.gone(uid)


async def test_a_deletion_while_no_daemon_runs_is_done_by_the_next(site: Any) -> None:
    async with site.worker():
        uid = await site.apply()
        await site.running()
    await site.delete()
    async with site.worker():
        await site.until(lambda: site.pod() is None)
        await site.gone(uid)


async def test_an_object_that_is_gone_takes_its_containers_with_it(site: Any) -> None:
    async with site.worker():
        uid = await site.apply()
        await site.running()
        await site.store.write(Delete(key(Pod, "web", "default")))
        await site.gone(uid)


async def test_a_pod_replaced_by_another_of_its_name(site: Any) -> None:
    async with site.worker():
        old = await site.apply()
        await site.running()
        await site.store.write(Delete(key(Pod, "web", "default")))
        new = await site.apply()
        await site.gone(old)
        pod = await site.running()
        assert pod.metadata.uid == new
        assert len(await site.driver.containers(new)) == 1


async def test_a_pod_whose_object_the_flash_lost_runs_on(site: Any) -> None:
    async with site.worker() as worker:
        uid = await site.apply()
        await site.until(lambda: site.pod() is not None and site.pod().status.phase == "Running")
        writer: Any = site.store._disk.writer
        writer.execute("UPDATE registers SET value = x'00' WHERE name = 'web' AND part = 'body'").fetchall()
        assert site.pod() is None
        worker._scan.set()
        await site.apply("other")
        await site.until(lambda: site.pod("other") is not None and site.pod("other").status.phase == "Running")
        assert [one.state for one in await site.driver.containers(uid)] == ["running"]


async def test_a_pod_that_was_replaced_on_another_node_ends_here_and_touches_nothing_else(site: Any) -> None:
    async with site.worker():
        uid = await site.apply()
        await site.apply("stays")
        await site.running()
        before = await site.running("stays")
    where = key(Pod, "web", "default")
    body = json.loads(site.store.get(where).body)
    body["metadata"]["uid"], body["spec"]["nodeName"] = "next", "gw-b"
    status = b'{"phase":"Running"}'
    await site.store.write(Delete(where, uid=uid), Create(where, "next", json.dumps(body).encode(), status))
    made = site.store.get(where)
    async with site.worker(ProcessDriver(site.driver._directory, "gw-a")):
        await site.gone(uid)
        assert site.pod("stays") == before
    assert site.store.get(where) == made


async def test_a_status_that_another_node_wrote_is_put_right_at_once(site: Any) -> None:
    async with site.worker():
        await site.apply()
        before = (await site.running()).status
        theirs = msgspec.structs.replace(before, pod_ip="127.64.9.9", host_ip="192.0.2.9")
        await site.store.write(PutStatus(key(Pod, "web", "default"), msgspec.json.encode(theirs)))
        await site.until(lambda: site.pod().status == before)


async def test_orphans_go_and_the_others_stay(site: Any) -> None:
    async with site.worker():
        uid = await site.apply()
        await site.running()
    identity = Identity("gw-a", "default", "ghost", "ghost-uid", "c", grace=1)
    ghost = await site.driver.create(ContainerSpec(identity, "host", ("/bin/sh", "-c", STUBBORN)))
    await site.driver.start(ghost)
    async with site.worker():
        await site.gone("ghost-uid")
        assert (await site.driver.containers(uid))[0].state == "running"


async def test_restarts_are_counted_and_back_off(site: Any) -> None:
    async with site.worker():
        await site.apply(script="echo attempt; exit 2")
        message = await site.waits("CrashLoopBackOff")
        one = site.container()
        assert one.restart_count == 1
        assert one.last_state.terminated.exit_code == 2
        assert "back-off 10s restarting failed container=c pod=web_default(" in message
        assert site.pod().status.phase == "Running"
        assert {c.type: c.status for c in site.pod().status.conditions}["Ready"] == "False"
        await site.until(lambda: site.events() == {("Started", "Normal"), ("BackOff", "Warning")})
    assert [c.identity.attempt for c in await site.driver.containers()] == [0, 1]


def waits_after(container: Any, restarts: int) -> bool:
    waiting = container and container.state.waiting
    return bool(waiting and waiting.reason == "CrashLoopBackOff" and container.restart_count == restarts)


async def test_the_back_off_goes_on_after_a_restart_of_the_daemon(store: Store, process_kit: Any) -> None:
    late = [0.0]
    driver = process_kit.driver()
    site = Site(store, driver, clock=lambda: time.time() + late[0])
    async with site.worker():
        await site.apply(script="exit 2")
        await site.until(lambda: waits_after(site.container(), 1))
    late[0] = 11.0
    async with site.worker():
        await site.until(lambda: waits_after(site.container(), 2))
        assert "back-off 20s" in site.container().state.waiting.message
        with trio.fail_after(60):
            while [c.identity.attempt for c in await driver.containers()] != [1, 2]:  # noqa: ASYNC110 - as in `gone`
                await trio.sleep(0.02)


@pytest.mark.parametrize(
    ("policy", "script", "phase"),
    [("Never", "exit 0", "Succeeded"), ("Never", "exit 3", "Failed"), ("OnFailure", "exit 0", "Succeeded")],
)
async def test_a_pod_that_is_done(site: Any, policy: str, script: str, phase: str) -> None:
    async with site.worker():
        uid = await site.apply(script=script, restartPolicy=policy)
        await site.until(lambda: site.pod().status.phase == phase)
        assert site.container().state.terminated.exit_code == int(script[-1])
        assert len(await site.driver.containers(uid)) == 1
    async with site.worker():
        await site.apply("other")
        await site.running("other")
        assert len(await site.driver.containers(uid)) == 1
        assert site.pod().status.phase == phase


async def test_an_unknown_end_is_told_as_the_kubelet_does(site: Any) -> None:
    async with site.worker():
        uid = await site.apply(script="echo one; sleep 600", restartPolicy="Never")
        await site.running()
    (one,) = await site.driver.containers(uid)
    run = json.loads((site.driver._directory / one.id / "run.json").read_bytes())
    os.kill(run["shim_pid"], signal.SIGKILL)
    os.killpg(run["pid"], signal.SIGKILL)
    async with site.worker():
        await site.until(lambda: site.pod().status.phase == "Failed")
    ended = site.container().state.terminated
    assert (ended.exit_code, ended.reason) == (137, "ContainerStatusUnknown")


async def test_an_image_that_cannot_be_had_is_tried_again_when_the_pod_changes(site: Any) -> None:
    async with site.worker():
        await site.apply(container={"image": "nginx"})
        assert "host processes only" in await site.waits("ErrImagePull")
        assert site.pod().status.phase == "Pending"
        await site.change(container={"image": "host"})
        await site.running()


async def test_a_slow_pull_delays_nobody_and_ends_with_its_pod(site: Any) -> None:
    slow = Slow(site.driver, "slow")
    async with site.worker(slow):
        await site.apply("slow", container={"image": "slow"})
        await site.until(lambda: (one := site.container("slow")) and one.state.waiting)
        with trio.fail_after(60):
            await slow.pulling.wait()
        await site.apply("quick")
        await site.running("quick")
        await site.delete("slow")
        await site.until(lambda: site.pod("slow") is None)


async def test_a_runtime_that_is_away_and_returns(site: Any) -> None:
    slow = Slow(site.driver)
    slow.away = True
    async with site.worker(slow):
        await site.apply()
        with trio.fail_after(60):
            while "connection refused; retrying" not in site.log.getvalue():  # noqa: ASYNC110
                await trio.sleep(0.02)  # the log tells it, and nothing else
        slow.away = False
        await site.running()


async def test_a_full_disk_keeps_no_container_from_being_stopped(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with site.worker():
        uid = await site.apply("stubborn", STUBBORN)
        await site.running("stubborn")

        async def full(*writes: Any) -> None:
            await trio.lowlevel.checkpoint()
            raise StorageError("the store takes no writes: disk full")

        await site.delete("stubborn", grace=0)
        monkeypatch.setattr(site.store, "write", full)
        await site.gone(uid)
        monkeypatch.undo()
        await site.until(lambda: site.pod("stubborn") is None)


async def test_a_missing_config_map_is_waited_for(site: Any) -> None:
    async with site.worker():
        reference = {"configMapKeyRef": {"name": "settings", "key": "colour"}}
        await site.apply(container={"env": [{"name": "COLOUR", "valueFrom": reference}]})
        assert 'configmap "settings" not found' in await site.waits("CreateContainerConfigError")
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": "default"},
            "data": {"colour": "blue"},
        }
        await site.store.write(Create(Key("configmaps", "default", "settings"), "cm", json.dumps(body).encode()))
        await site.running()


async def test_a_missing_secret_is_waited_for(site: Any) -> None:
    async with site.worker():
        reference = {"secretKeyRef": {"name": "db", "key": "password"}}
        await site.apply(container={"env": [{"name": "PASSWORD", "valueFrom": reference}]})
        assert 'secret "db" not found' in await site.waits("CreateContainerConfigError")
        metadata = {"name": "db", "namespace": "default"}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": "aHVudGVyMg=="}}
        await site.store.write(Create(Key("secrets", "default", "db"), "s", json.dumps(body).encode()))
        await site.running()


async def test_a_changed_wish_replaces_the_container(site: Any) -> None:
    async with site.worker():
        uid = await site.apply()
        await site.running()
        await site.change(container={"env": [{"name": "A", "value": "2"}]})
        await site.until(lambda: site.container().restart_count == 1 and site.container().state.running)
        assert [one.state for one in await site.driver.containers(uid)] == ["exited", "running"]


async def test_a_pod_of_two_containers_is_refused_in_words(site: Any) -> None:
    async with site.worker():
        two = [{"name": name, "image": "host", "command": ["true"]} for name in "ab"]
        await site.apply(containers=two)
        await site.until(lambda: site.pod().status.reason == "NotSupported")
        assert "2 containers" in site.pod().status.message
        assert len(site.pod().status.container_statuses) == 2
        await site.delete()
        await site.until(lambda: site.pod() is None)


async def test_a_pod_that_leaves_this_node_is_stopped_and_its_object_stays(site: Any) -> None:
    async with site.worker():
        uid = await site.apply()
        await site.running()
        found = site.store.get(key(Pod, "web", "default"))
        await site.store.write(Put(found.key, found.body.replace(b"gw-a", b"gw-b")))
        await site.gone(uid)
        assert site.pod() is not None


async def test_nothing_is_written_while_nothing_happens(site: Any) -> None:
    async with site.worker() as runtime:
        await site.apply()
        await site.running()
        revision = site.store.revision
        await site.store.write(PutStatus(key(Pod, "web", "default"), msgspec.json.encode(site.pod().status)))
        runtime._changed(None)
        await trio.sleep(0.5)
        assert site.store.revision == revision


@pytest.mark.docker
async def test_a_pod_in_docker(store: Store, docker_kit: Any) -> None:
    site = Site(store, docker_kit.driver(), node=docker_kit.node)
    own = {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    container = {"image": docker_kit.image, "env": [own], "resources": {"limits": {"memory": "32Mi", "cpu": "500m"}}}
    async with site.worker():
        uid = await site.apply(container=container)
        pod = await site.running()
        assert pod.status.pod_ip not in ("", HOST_IP)
        assert pod.status.container_statuses[0].image_id.startswith("sha256:")
    (alone,) = await site.driver.containers(uid)
    again = docker_kit.driver()
    async with site.worker(again):
        await site.apply("other", container=container)
        await site.running("other")
        assert await again.containers(uid) == [alone]
        await site.delete()
        await site.until(lambda: site.pod() is None)
        assert await again.containers(uid) == []


@pytest.mark.docker
async def test_an_address_that_docker_does_not_know_before(store: Store, docker_kit: Any) -> None:
    site = Site(store, docker_kit.driver(), node=docker_kit.node)
    address = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    async with site.worker():
        await site.apply(container={"image": docker_kit.image, "env": [address]})
        assert "status.podIP is not known before" in await site.waits("CreateContainerConfigError")
