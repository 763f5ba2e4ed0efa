import json
from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edged.control.exports import MAX_ENDPOINTS, of_others, reconcile
from edged.model import schema
from edged.model.core import Pod
from edged.model.kinds import BY_STRUCT
from edged.model.multicluster import EXPORT, ServiceImport
from edged.model.objects import Key, Object, dump, typed, whole
from edged.store.writes import Create, Delete, Put, PutStatus

NOW = 1_700_000_000.0
PRIVATE = "what stays at home"
RESOURCE = "serviceimports.multicluster.x-k8s.io"


def service(name: str = "web", export: str | None = "true", **spec: Any) -> Object:
    annotations = {"note": PRIVATE, **({} if export is None else {EXPORT: export})}
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "annotations": annotations}
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}], "clusterIP": "9.251.0.7", **spec}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    return Object(Key("services", "shop", name), 1, f"uid-{name}", dump(body), None)


def pod(name: str, app: str = "web", node: str = "gw-a", ready: bool = True, **more: Any) -> Pod:
    env = [{"name": "PASSWORD", "value": PRIVATE}]
    container = {"name": "c", "image": PRIVATE, "env": env, "ports": [{"name": "http", "containerPort": 8080}]}
    value = {
        **{"apiVersion": "v1", "kind": "Pod"},
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}, **more.get("metadata", {})},
        "spec": {"nodeName": node, "containers": [container]},
        "status": {
            **{"phase": more.get("phase", "Running"), "podIP": "9.252.1.2", "hostIP": "192.0.2.1"},
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    }
    return msgspec.convert(value, Pod)


class World:
    """The imports that stand, and the writes that led there."""

    def __init__(self, group: str = "site-1") -> None:
        self.group = group
        self.imports: dict[Key, Object] = {}
        self.uids: dict[Key, str] = {}
        self.writes: list[Any] = []

    def step(self, services: Iterable[Object], pods: Iterable[Pod] = (), silent: Iterable[str] = ()) -> list[Any]:
        at = len(self.writes)
        found = reconcile(services, self.imports.values(), pods, self.group, set(silent), self.uids.get, NOW)
        for write in found:
            match write:
                case Create():
                    self.imports[write.key] = Object(write.key, 1, write.uid, write.body, write.status)
                    self.uids[write.key] = write.uid
                case Put():
                    self.imports[write.key] = self.imports[write.key]._replace(body=write.body)
                case PutStatus():
                    self.imports[write.key] = self.imports[write.key]._replace(status=write.status)
                case Delete():
                    del self.imports[write.key]
        self.writes += found
        return self.writes[at:]

    def shown(self, name: str = "web.site-1") -> ServiceImport:
        return typed(self.imports[Key(RESOURCE, "shop", name)], ServiceImport)


def test_an_exported_service_is_shown_with_its_endpoints_and_nothing_else() -> None:
    world = World()
    world.step([service(), service("hidden", None), service("no", "false")], [pod("web-0"), pod("web-1", ready=False)])
    assert [key.name for key in world.imports] == ["web.site-1"]
    (there,) = world.imports.values()
    value = whole(there)
    assert schema.check(value, BY_STRUCT[ServiceImport])[:3] == ([], [], [])
    assert value["spec"] == {"type": "ClusterSetIP", "ports": [{"port": 80, "name": "", "protocol": "TCP"}]}
    ports = [{"port": 80, "targetPort": 8080}]
    assert value["status"] == {
        "clusters": [{"cluster": "site-1"}],
        "endpoints": [
            {"node": "gw-a", "pod": "web-0", "ready": True, "ports": ports},
            {"node": "gw-a", "pod": "web-1", "ready": False, "ports": ports},
        ],
    }
    assert PRIVATE not in json.dumps(value)
    assert "9.25" not in json.dumps(value)
    assert world.step([service()], [pod("web-0"), pod("web-1", ready=False)]) == []


def test_what_changes_is_written_and_what_is_exported_no_more_goes() -> None:
    world = World()
    world.step([service()], [pod("web-0")])
    assert [type(write) for write in world.step([service()], [pod("web-0", ready=False)])] == [PutStatus]
    assert [type(write) for write in world.step([service(ports=[{"port": 81}])], [pod("web-0", ready=False)])] == [
        Put,
        PutStatus,
    ]
    assert world.shown().spec.ports[0].port == 81
    first = world.shown().metadata.uid
    assert [type(write) for write in world.step([service(export=None)])] == [Delete]
    world.step([service()])
    assert world.shown().metadata.uid != first
    assert [type(write) for write in world.step([])] == [Delete]


def test_other_groups_imports_are_left_alone() -> None:
    one, two = World("site-1"), World("site-2")
    one.step([service()])
    two.imports |= one.imports
    assert two.step([]) == []
    two.step([service()])
    assert {key.name for key in two.imports} == {"web.site-1", "web.site-2"}
    assert [key.name for key in two.imports if of_others(key, "site-2")] == ["web.site-1"]
    assert not of_others(Key("services", "shop", "web"), "site-2")


def test_who_does_not_answer() -> None:
    world = World()
    pods = [
        pod("a", node=""),
        pod("b", phase="Failed"),
        pod("c", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        pod("d", app="other"),
        pod("e", node="gw-lost"),
        pod("f"),
    ]
    world.step([service()], pods, silent=["gw-lost"])
    assert [(each.pod, each.ready) for each in world.shown().status.endpoints] == [("f", True), ("e", False)]


def test_a_headless_service_and_one_without_a_selector() -> None:
    world = World()
    world.step([service(clusterIP="None"), service("bare", selector={})], [pod("web-0")])
    assert world.shown().spec.type == "Headless"
    assert world.shown("bare.site-1").status.endpoints == ()


def test_of_very_many_those_that_are_ready_are_shown_and_it_stays_small() -> None:
    ports = [{"port": number, "name": "n" * 60 + str(number), "targetPort": number} for number in range(100, 200)]
    world = World()
    pods = [pod(f"{number:03}-{'p' * 240}", node="n" * 63, ready=number >= 500) for number in range(700)]
    world.step([service(ports=ports)], pods)
    assert len(world.shown().status.endpoints) == MAX_ENDPOINTS
    assert all(each.ready for each in world.shown().status.endpoints)
    (there,) = world.imports.values()
    assert len(there.status or b"") < 1_000_000


@given(st.lists(st.sets(st.sampled_from(["web", "db", "log"])), max_size=8), st.randoms())
def test_two_leaders_with_one_history_make_the_same(exported: list[set[str]], random: Any) -> None:
    one, two = World(), World()
    for names in exported:
        services, pods = (
            [service(name) for name in sorted(names)],
            [pod(f"p{number}", app=name) for number, name in enumerate(names)],
        )
        one.step(services, pods)
        random.shuffle(pods)
        two.step(reversed(services), pods)
        assert one.imports == two.imports
        assert {key.name for key in one.imports} == {f"{name}.site-1" for name in names}
