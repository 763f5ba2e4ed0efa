"""The shell of control with a real store: from a Deployment to bound pods, and only where it leads."""

import io
import json
from collections.abc import AsyncIterator
from ipaddress import IPv4Network
from itertools import count
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from edged.control.controllers import Control
from edged.control.failover import DEFAULT_TOLERATION_S
from edged.control.liveness import AGAIN_S, SETTLE_S
from edged.control.nodes import Facts
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.model.core import Event, Node, NodeSystemInfo
from edged.model.discovery import EndpointSlice
from edged.model.multicluster import EXPORT, ServiceImport
from edged.model.objects import Key, dump, typed
from edged.store.events import Recorder
from edged.store.store import MEMORY, Store, open_store
from edged.store.writes import Create, Delete, Put, PutStatus
from edged.sync.membership import View

UID = "7b1f2f2e-0000-4000-8000-000000000001"
DEPLOYMENT = Key("deployments.apps", "default", "web")
NOW = 1_700_000_000.0
C = TypeVar("C", bound=Control)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    numbers = count(1)
    async with open_store(MEMORY, origin="gw-a", stamp=lambda: next(numbers), executor=Inline()) as opened:
        yield opened


class Links:
    """Who is seen, as a test says; the first name leads. Leases are proven in tests/sync."""

    def __init__(self, *linked: str) -> None:
        self.node = ""
        self._linked = frozenset(linked)
        self._lot = trio.lowlevel.ParkingLot()

    @property
    def view(self) -> View:
        members = self._linked | {self.node}
        return View(self._linked, members, min(members))

    @property
    def leads(self) -> bool:
        return self.view.holder == self.node

    async def changed(self, before: View) -> View:
        while self.view == before:
            await self._lot.park()
        return self.view

    def set(self, *linked: str) -> None:
        self._linked = frozenset(linked)
        self._lot.unpark_all()


def control(
    store: Store, node: str, links: Links, *, kind: type[C] = Control, limited: bool = False, pods: IPv4Network | None = None
) -> C:
    log = Log(stream=io.StringIO())
    facts = Facts(node, f"uid-{node}", "site", "10.0.0.1", 1 << 30, 2, NodeSystemInfo(), {}, limited, pods)
    links.node = node
    membership: Any = links
    return kind(store, membership, facts, Recorder(store, "edged-control", node, lambda: NOW, log), lambda: NOW, log)


def deployment() -> Create:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "host"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    metadata = {"name": "web", "namespace": "default", "uid": UID}
    return Create(DEPLOYMENT, UID, dump({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}))


async def until(store: Store, true: object) -> None:
    assert callable(true)
    with trio.fail_after(30):
        while not true():
            await store.changed(store.revision)


def bound(store: Store) -> list[str]:
    return [json.loads(pod.body)["spec"].get("nodeName", "") for pod in store.list("pods")]


async def test_from_a_deployment_to_bound_pods_and_back(store: Store) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-a", Links()).run)
        assert [node.key.name for node in store.list("nodes")] == ["gw-a"]
        assert [namespace.key.name for namespace in store.list("namespaces")] == ["default", "kube-system"]
        await store.write(deployment())
        await until(store, lambda: bound(store) == ["gw-a", "gw-a"])
        await until(store, lambda: len(store.list("events")) == 2)
        assert {typed(event, Event).reason for event in store.list("events")} == {"Scheduled"}
        await store.write(Delete(DEPLOYMENT))
        await until(store, lambda: all(b"deletionTimestamp" in pod.body for pod in store.list("pods")))
        nursery.cancel_scope.cancel()


async def test_who_does_not_lead_makes_nothing_until_it_does(store: Store) -> None:
    links = Links("gw-a")
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-b", links).run)
        await store.write(deployment())
        await trio.testing.wait_all_tasks_blocked()
        assert store.list("pods") == []
        links.set()
        await until(store, lambda: bound(store) == ["gw-b", "gw-b"])
        nursery.cancel_scope.cancel()


async def test_who_leads_shows_who_answers(store: Store) -> None:
    def answering() -> list[list[str]]:
        found = (typed(obj, EndpointSlice) for obj in store.list("endpointslices.discovery.k8s.io"))
        return [[endpoint.node_name for endpoint in each.endpoints] for each in found]

    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": spec}
    key = Key("services", "default", "web")
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-a", Links()).run)
        await store.write(deployment(), Create(key, "s", dump(service), None))
        await until(store, lambda: answering() == [[]])
        await until(store, lambda: len(bound(store)) == 2)
        for pod in store.list("pods"):
            await store.write(PutStatus(pod.key, dump({"phase": "Running", "podIP": "172.17.0.2"})))
        await until(store, lambda: answering() == [["gw-a", "gw-a"]])
        await store.write(Delete(key))
        await until(store, lambda: answering() == [])
        nursery.cancel_scope.cancel()


async def test_who_leads_shows_what_is_exported(store: Store) -> None:
    def service(annotations: dict[str, str]) -> bytes:
        metadata = {"name": "web", "namespace": "default", "uid": "s", "annotations": annotations}
        spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
        return dump({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})

    def imports() -> list[tuple[str, list[str]]]:
        found = store.list("serviceimports.multicluster.x-k8s.io")
        return [(obj.key.name, [each.node for each in typed(obj, ServiceImport).status.endpoints]) for obj in found]

    key = Key("services", "default", "web")
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-a", Links()).run)
        await store.write(deployment(), Create(key, "s", service({EXPORT: "true"}), None))
        await until(store, lambda: imports() == [("web.site", ["gw-a", "gw-a"])])
        await store.write(Put(key, service({})))
        await until(store, lambda: imports() == [])
        nursery.cancel_scope.cancel()


def ready(store: Store, name: str) -> str:
    found = store.get(Key("nodes", "", name))
    assert found is not None
    return str(json.loads(found.status or b"")["conditions"][0]["status"])


def tainted(store: Store, name: str) -> bool:
    found = store.get(Key("nodes", "", name))
    assert found is not None
    return b"node.kubernetes.io/unreachable" in found.body


def reasons(store: Store) -> list[str]:
    return sorted(typed(event, Event).reason for event in store.list("events"))


async def once(store: Store, node: str, links: Links) -> None:
    """A node that says of itself what it has to say, and is gone."""
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, node, links).run)
        nursery.cancel_scope.cancel()


async def test_a_lost_node_is_unknown_and_tainted_and_itself_again_when_it_is_back(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    links = Links("gw-b")
    await once(store, "gw-b", Links("gw-a"))
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-a", links).run)
        await trio.sleep(100)
        assert (ready(store, "gw-b"), tainted(store, "gw-b")) == ("True", False)
        links.set()
        await trio.sleep(0.001)  # its lease has run out already: nothing more to wait for
        assert (ready(store, "gw-a"), ready(store, "gw-b"), tainted(store, "gw-b")) == ("True", "Unknown", True)
        links.set("gw-b")
        await nursery.start(control(store, "gw-b", Links("gw-a")).run)
        await trio.sleep(100)
        assert (ready(store, "gw-b"), tainted(store, "gw-b")) == ("True", False)
        assert reasons(store) == ["NodeNotReady", "NodeReady"]
        nursery.cancel_scope.cancel()


async def test_a_leader_that_starts_gives_nodes_time(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    await once(store, "gw-b", Links("gw-a"))
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-a", Links()).run)
        await trio.sleep(SETTLE_S - 0.1)
        assert ready(store, "gw-b") == "True"
        await trio.sleep(0.2)
        assert ready(store, "gw-b") == "Unknown"
        nursery.cancel_scope.cancel()


async def test_two_nodes_that_see_another_one_differently_do_not_argue(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-c", Links("gw-b")).run)  # it leads nobody, and says that it is there
        await nursery.start(control(store, "gw-b", Links("gw-c")).run)  # it leads, and sees gw-c
        await nursery.start(control(store, "gw-a", Links()).run)  # it leads too, and sees nobody
        await store.write(deployment())
        await trio.sleep(AGAIN_S)
        before = store.revision
        await trio.sleep(10 * AGAIN_S)
        assert 0 < store.revision - before <= 10 * 20
        nursery.cancel_scope.cancel()


async def test_the_pods_of_a_lost_node_move(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    links = Links("gw-b", "gw-c")
    for name in ("gw-b", "gw-c"):
        await once(store, name, Links("gw-a"))
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-a", links).run)
        await store.write(deployment())
        await until(store, lambda: len(bound(store)) == 2 and all(bound(store)))
        before = {pod.key: (pod.uid, pod.body) for pod in store.list("pods")}
        lost = next(node for node in bound(store) if node != "gw-a")
        links.set(*({"gw-b", "gw-c"} - {lost}))
        await trio.sleep(DEFAULT_TOLERATION_S - 0.1)
        assert {pod.key: (pod.uid, pod.body) for pod in store.list("pods")} == before
        await trio.sleep(0.2)
        assert lost not in bound(store)
        assert all(bound(store))
        for pod in store.list("pods"):
            assert (pod.uid != before[pod.key][0]) == (json.loads(before[pod.key][1])["spec"]["nodeName"] == lost)
        assert "TaintManagerEviction" in reasons(store)
        await trio.sleep(1000)
        assert lost not in bound(store)
        nursery.cancel_scope.cancel()


async def test_a_node_that_is_back_in_time_keeps_its_pods(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    links = Links("gw-b", "gw-c")
    for name in ("gw-b", "gw-c"):
        await once(store, name, Links("gw-a"))
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-a", links).run)
        await store.write(deployment())
        await until(store, lambda: len(bound(store)) == 2 and all(bound(store)))
        before = [(pod.uid, pod.body) for pod in store.list("pods")]
        for _ in range(3):
            links.set()
            await trio.sleep(DEFAULT_TOLERATION_S - 1)
            links.set("gw-b", "gw-c")
            await trio.sleep(5)
        assert [(pod.uid, pod.body) for pod in store.list("pods")] == before
        nursery.cancel_scope.cancel()


async def test_who_leads_is_shown_and_written_once(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-b", links := Links()).run)
        await trio.sleep(100)
        [lease] = store.list("leases.coordination.k8s.io")
        assert (str(lease.key), lease.rv) == ("leases.coordination.k8s.io/kube-system/edged-group", lease.rv)
        assert json.loads(lease.body)["spec"]["holderIdentity"] == "gw-b"
        links.set("gw-a")
        await trio.sleep(100)
        assert store.list("leases.coordination.k8s.io") == [lease]
        await nursery.start(control(store, "gw-a", Links("gw-b")).run)
        await trio.sleep(100)
        [now] = store.list("leases.coordination.k8s.io")
        assert json.loads(now.body)["spec"]["leaseTransitions"] == 1
        nursery.cancel_scope.cancel()


class Counted(Control):
    """Counts its rounds."""

    rounds = 0

    async def _round(self, view: View) -> float:
        self.rounds += 1
        return await super()._round(view)


async def test_what_controllers_do_not_read_costs_no_round(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        counted = control(store, "gw-a", Links(), kind=Counted)
        await nursery.start(counted.run)
        device = Key("devices.devices.kubeedge.io", "default", "d")
        body = dump({"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device"})
        await store.write(Create(device, "u", body))
        await store.write(PutStatus(device, dump({"state": "new"})))  # by now what it is has been read, if not before
        await trio.sleep(1)
        before = counted.rounds
        for at in range(20):
            await store.write(PutStatus(device, dump({"state": str(at)})))
            await trio.sleep(1)
        assert counted.rounds == before
        await store.write(deployment())
        await until(store, lambda: bound(store) == ["gw-a", "gw-a"])
        assert counted.rounds > before
        nursery.cancel_scope.cancel()


async def test_a_limited_node_writes_its_own_node_only(store: Store) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-b", Links("gw-a"), limited=True).run)
        await trio.testing.wait_all_tasks_blocked()
        assert [node.key.name for node in store.list("nodes")] == ["gw-b"]
        assert store.list("namespaces") == []
        nursery.cancel_scope.cancel()


def device(**spec: Any) -> Any:
    metadata = {"name": "boiler", "namespace": "default", "uid": UID}
    return dump({"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": metadata, "spec": spec})


async def test_a_device_is_bound_and_says_so_when_no_node_has_its_labels(store: Store) -> None:
    name = Key("devices.devices.kubeedge.io", "default", "boiler")

    def served_by() -> str:
        found = store.get(name)
        assert found is not None
        return str(json.loads(found.body)["spec"].get("nodeName", ""))

    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-a", Links()).run)
        await store.write(Create(name, UID, device(nodeSelector={"kubernetes.io/hostname": "gw-a"})))
        await until(store, lambda: served_by() == "gw-a")
        await store.write(PutStatus(name, dump({"state": "ok"})))
        await store.write(Put(name, device(nodeSelector={"kubernetes.io/hostname": "gw-z"})))
        await until(store, lambda: b"Unbound" in (store.list(name.resource)[0].status or b""))
        assert served_by() == ""
        nursery.cancel_scope.cancel()


def range_of(store: Store, node: str) -> str:
    found = store.get(Key("nodes", "", node))
    assert found is not None
    return typed(found, Node).spec.pod_cidr


async def test_a_range_that_an_older_node_has_too_is_given_up_and_told(store: Store) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-b", Links("gw-a"), pods=IPv4Network("10.42.0.0/16")).run)
        mine = range_of(store, "gw-b")
        older = {"name": "gw-z", "creationTimestamp": "2020-01-01T00:00:00Z"}
        body = {"apiVersion": "v1", "kind": "Node", "metadata": older, "spec": {"podCIDR": mine, "podCIDRs": [mine]}}
        await store.write(Create(Key("nodes", "", "gw-z"), "u-z", dump(body)))
        await until(store, lambda: len(store.list("events")) == 1)
        assert range_of(store, "gw-b") not in ("", mine)
        (event,) = (typed(each, Event) for each in store.list("events"))
        assert (event.reason, event.type) == ("PodCIDRChanged", "Warning")
        assert f"addresses of {range_of(store, 'gw-b')} from now on: {mine} is another node's" in event.message
        nursery.cancel_scope.cancel()
