"""Devices whose gateway is killed: one that another may serve instead, and one that is read anew before all else."""

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from build.fleet import temporary
from build.group import Group, OnLoopback
from edged.daemon import VERSION_S
from tests.bench import device_push

SECONDS = 60.0
DEVICES = "/apis/devices.kubeedge.io/v1beta1/namespaces/default/devices"
MODEL = {
    "apiVersion": "devices.kubeedge.io/v1beta1",
    "kind": "DeviceModel",
    "metadata": {"name": "meter", "namespace": "default"},
    "spec": {"properties": [{"name": "count", "type": "INT", "visitors": {"configData": {"kind": "counter"}}}]},
}


def meter(name: str) -> dict[str, Any]:
    spec = {"deviceModelRef": {"name": "meter"}, "nodeSelector": {"bus": "1"}, "protocol": {"protocolName": "virtual"}}
    spec["tolerations"] = [{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}]  # type: ignore[assignment]
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "devices.kubeedge.io/v1beta1", "kind": "Device", "metadata": metadata, "spec": spec}


@pytest.fixture
def group() -> Iterator[Group]:
    with temporary("edged-meters") as folder, Group(folder, OnLoopback(2)) as made:
        made.found(bus={"mqtt": ""}, node={"labels": {"bus": "1"}})
        made.start_nodes(*made.nodes)
        yield made


def test_a_device_goes_to_the_gateway_that_is_left_and_stays_there(group: Group) -> None:
    first, second = group.nodes

    def served(name: str, node: str, at: str) -> bool:
        found = group.local(at).get(f"{DEVICES}/{name}")
        return found["spec"].get("nodeName") == node and found.get("status", {}).get("state") == "ok"

    def both() -> bool:
        return len(group.local(first).get("/api/v1/nodes")["items"]) == 2

    group.wait("the group", both, SECONDS)
    group.local(first).create(MODEL)
    for name in ("meter-a", "meter-b"):
        group.local(first).create(meter(name))
    group.wait(
        "one meter at each gateway", lambda: served("meter-a", first, first) and served("meter-b", second, first), SECONDS
    )

    group.kill(second)
    group.wait("the first gateway to serve both", lambda: served("meter-b", first, first), SECONDS)
    events = group.local(first).get("/api/v1/namespaces/default/events")["items"]
    said = [each["message"] for each in events if each["reason"] == "Scheduled" and each["involvedObject"]["name"] == "meter-b"]
    assert f"Successfully assigned default/meter-b to {first}: node {second} is lost" in said, json.dumps(said)

    group.start_nodes(second)
    group.wait("the second gateway to hear of it", lambda: served("meter-b", first, second), SECONDS)
    assert served("meter-a", first, first)


def test_a_device_is_read_before_a_docker_that_hangs_is_given_up() -> None:
    with (
        temporary("edged-meters") as folder,
        Group(folder, OnLoopback(1)) as group,
        closing(device_push.Counters()) as counters,
    ):
        (node,) = group.nodes
        group.found(bus={"mqtt": ""})
        group.start_nodes(node)
        *manifests, counter = device_push.manifests(counters.port, 1)
        del counter["spec"]["properties"][0]["pushMethod"]
        counter["spec"]["nodeName"] = node
        for each in (manifests[0], counter):
            group.local(node).create(each)
        group.wait("the counter to be read", lambda: counters.served, SECONDS)

        group.kill(node)
        counters.served.clear()
        with socket.socket(socket.AF_UNIX) as docker:
            docker.bind(str(folder / "docker.sock"))
            docker.listen()  # takes connections, and never answers
            group.configure(node, bus={"mqtt": ""}, runtime={"driver": "docker", "docker_socket": str(folder / "docker.sock")})
            group.start(node, group.daemon(node))
            asked, _, _ = select.select([docker], [], [], SECONDS)
            given_up = time.time() + VERSION_S
            group.wait("the counter to be read", lambda: counters.served, SECONDS)
        assert asked, "nobody asked Docker for its version"
        assert min(counters.served.values()) < given_up
