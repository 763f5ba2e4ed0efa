import json
from collections.abc import Iterable
from typing import Any

import msgspec

from edged.control.slices import MAX_ENDPOINTS, RESOURCE, reconcile
from edged.model import schema
from edged.model.core import Pod
from edged.model.discovery import EndpointSlice
from edged.model.kinds import BY_RESOURCE
from edged.model.objects import Key, Object, dump, typed, whole
from edged.store.writes import Create, Delete, Put

NOW = 1_700_000_000.0


def service(name: str = "web", **spec: Any) -> Object:
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}], **spec}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"}, "spec": spec}
    return Object(Key("services", "shop", name), 1, f"uid-{name}", dump(body), None)


def pod(name: str, ip: str = "172.17.0.2", ready: bool = True, port: int = 8080, **more: Any) -> Pod:
    container = {"name": "c", "ports": [{"name": "http", "containerPort": port}]}
    value = {
        **{"apiVersion": "v1", "kind": "Pod"},
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "labels": {"app": "web"}, **more},
        "spec": {"nodeName": "gw-a", "containers": [container]},
        "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }
    return msgspec.convert(value, Pod)


class World:
    """The slices that stand, and what was written the last time."""

    def __init__(self) -> None:
        self.slices: dict[Key, Object] = {}
        self.uids: dict[Key, str] = {}

    def step(self, services: Iterable[Object], pods: Iterable[Pod] = (), silent: Iterable[str] = ()) -> list[Any]:
        writes = reconcile(services, self.slices.values(), pods, set(silent), self.uids.get, NOW)
        for write in writes:
            match write:
                case Create():
                    self.slices[write.key] = Object(write.key, 1, write.uid, write.body, None)
                    self.uids[write.key] = write.uid
                case Put():
                    self.slices[write.key] = self.slices[write.key]._replace(body=write.body, rv=2)
                case Delete():
                    del self.slices[write.key]
        assert reconcile(services, self.slices.values(), pods, set(silent), self.uids.get, NOW) == [], "then all is said"
        return writes

    @property
    def said(self) -> dict[tuple[int, ...], list[tuple[str, bool]]]:
        """By ports: the addresses, and whether they are ready."""
        found = [typed(obj, EndpointSlice) for obj in self.slices.values()]
        return {
            tuple(port.port for port in each.ports): [(end.addresses[0], end.conditions.ready) for end in each.endpoints]
            for each in found
        }


def test_a_service_shows_its_pods_and_whether_they_are_ready() -> None:
    world = World()
    assert [type(write) for write in world.step([service()], [pod("b", "172.17.0.3", ready=False), pod("a")])] == [Create]
    assert world.said == {(8080,): [("172.17.0.2", True), ("172.17.0.3", False)]}
    assert [type(write) for write in world.step([service()], [pod("b", "172.17.0.3"), pod("a")])] == [Put]
    assert world.said == {(8080,): [("172.17.0.2", True), ("172.17.0.3", True)]}
    assert [type(write) for write in world.step([])] == [Delete]


def test_a_slice_is_what_kubernetes_takes_for_one() -> None:
    world = World()
    world.step([service()], [pod("a")])
    [obj] = world.slices.values()
    value = whole(obj)
    checked = schema.check(value, BY_RESOURCE[RESOURCE])
    assert (checked.errors, checked.unknown) == ([], [])
    assert value["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
    assert value["metadata"]["ownerReferences"][0] == {
        **{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": "uid-web"},
        **{"controller": True, "blockOwnerDeletion": True},
    }
    assert json.loads(obj.body)["endpoints"] == [
        {
            "addresses": ["172.17.0.2"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": "gw-a",
            "targetRef": {"kind": "Pod", "namespace": "shop", "name": "a", "uid": "uid-a"},
        }
    ]


def test_pods_whose_port_has_another_number_have_a_slice_of_their_own() -> None:
    world = World()
    world.step([service()], [pod("a"), pod("b", "172.17.0.3", port=9090)])
    assert world.said == {(8080,): [("172.17.0.2", True)], (9090,): [("172.17.0.3", True)]}


def test_who_is_going_or_not_seen_is_not_ready_unless_it_is_published() -> None:
    world = World()
    world.step([service()], [pod("a", deletionTimestamp="2025-01-01T00:00:00Z")])
    assert world.said == {(8080,): [("172.17.0.2", False)]}
    world.step([service()], [pod("a")], silent=["gw-a"])
    assert world.said == {(8080,): [("172.17.0.2", False)]}
    world.step([service(publishNotReadyAddresses=True)], [pod("a", ready=False)])
    assert world.said == {(8080,): [("172.17.0.2", True)]}


def test_who_has_no_address_is_not_there() -> None:
    world = World()
    world.step([service()], [pod("a", ip="")])
    assert world.said == {(): []}


def test_a_service_without_a_selector_has_no_slices() -> None:
    assert World().step([service(selector={})], [pod("a")]) == []


def test_two_nodes_make_the_same_slice_and_a_second_one_is_another_object() -> None:
    here, there = World(), World()
    assert here.step([service()], [pod("a")]) == there.step([service()], [pod("a")])
    [first] = here.slices.values()
    here.step([])
    here.step([service()], [pod("a")])
    [second] = here.slices.values()
    assert (first.key, first.uid == second.uid) == (second.key, False)


def test_a_slice_is_bounded() -> None:
    world = World()
    world.step([service()], [pod(f"pod-{number:04}", f"10.0.{number >> 8}.{number & 255}") for number in range(1100)])
    assert [len(ends) for ends in world.said.values()] == [MAX_ENDPOINTS]
    assert len(next(iter(world.slices.values())).body) < 500_000
