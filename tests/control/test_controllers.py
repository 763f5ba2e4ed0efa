"""The shell of control with a real store: from a Deployment to bound pods, and only where it leads."""

import io
import json
from collections.abc import AsyncIterator
from itertools import count

import pytest
import trio
import trio.testing

from edged.control.controllers import UNSEEN_S, Control
from edged.control.nodes import Facts
from edged.kit.executor import Inline
from edged.kit.log import Log
from edged.model.core import Event, NodeSystemInfo
from edged.model.objects import Key, dump, typed
from edged.store.events import Recorder
from edged.store.store import MEMORY, Store, open_store
from edged.store.writes import Create, Delete
from edged.sync.membership import Membership

UID = "7b1f2f2e-0000-4000-8000-000000000001"
DEPLOYMENT = Key("deployments.apps", "default", "web")
NOW = 1_700_000_000.0


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    numbers = count(1)
    async with open_store(MEMORY, origin="gw-a", stamp=lambda: next(numbers), executor=Inline()) as opened:
        yield opened


class Links:
    def __init__(self, *linked: str) -> None:
        self.linked = frozenset(linked)
        self.lot = trio.lowlevel.ParkingLot()

    async def changed(self, before: frozenset[str]) -> frozenset[str]:
        while self.linked == before:
            await self.lot.park()
        return self.linked

    def set(self, *linked: str) -> None:
        self.linked = frozenset(linked)
        self.lot.unpark_all()


def control(store: Store, node: str, links: Links) -> Control:
    log = Log(stream=io.StringIO())
    facts = Facts(node, f"uid-{node}", "site", "10.0.0.1", 1 << 30, 2, NodeSystemInfo(), {})
    membership = Membership(node, lambda: links.linked, links.changed)
    return Control(store, membership, facts, Recorder(store, "edged-control", node, lambda: NOW, log), lambda: NOW, log)


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
        assert [namespace.key.name for namespace in store.list("namespaces")] == ["default"]
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


async def test_a_node_without_a_link_becomes_unknown_and_says_itself_when_it_is_back(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    def ready(name: str) -> str:
        [node] = [each for each in store.list("nodes") if each.key.name == name]
        return str(json.loads(node.status or b"")["conditions"][0]["status"])

    links = Links("gw-b")
    async with trio.open_nursery() as nursery:
        other = control(store, "gw-b", Links("gw-a"))
        async with trio.open_nursery() as theirs:
            await theirs.start(other.run)
            theirs.cancel_scope.cancel()
        await nursery.start(control(store, "gw-a", links).run)
        await trio.sleep(10 * UNSEEN_S)
        assert ready("gw-b") == "True"
        links.set()
        await trio.sleep(UNSEEN_S - 1)
        assert ready("gw-b") == "True"
        await trio.sleep(2)
        assert (ready("gw-a"), ready("gw-b")) == ("True", "Unknown")
        links.set("gw-b")
        await nursery.start(control(store, "gw-b", Links("gw-a")).run)
        assert ready("gw-b") == "True"
        await trio.sleep(10 * UNSEEN_S)
        assert ready("gw-b") == "True"
        nursery.cancel_scope.cancel()


async def test_two_nodes_that_see_another_one_differently_do_not_argue(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(control(store, "gw-c", Links("gw-b")).run)  # it leads nobody, and says that it is there
        await nursery.start(control(store, "gw-a", Links()).run)  # it leads, and has no link to gw-c
        await trio.sleep(UNSEEN_S / 2)
        before = store.revision
        await trio.sleep(10 * UNSEEN_S)
        assert 0 < store.revision - before <= 2 * 10
        nursery.cancel_scope.cancel()
