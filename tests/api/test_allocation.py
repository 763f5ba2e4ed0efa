from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.api.allocation import keep, node_port
from edged.errors import InvalidError
from edged.model.rules.services import NODE_PORTS

SERVICES = "/api/v1/namespaces/default/services"
MERGE = {"content-type": "application/merge-patch+json"}


def service(name: str, *ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": list(ports or ({"port": 80},)), **spec}}


def node_ports(reply: Any) -> list[int | None]:
    return [port.get("nodePort") for port in reply.json["spec"]["ports"]]


async def test_each_port_gets_a_node_port_that_no_other_has(client: Any) -> None:
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}, {"name": "c", "port": 80, "protocol": "UDP"}]
    given = [number for name in ("x", "y") for number in node_ports(await client("POST", SERVICES, service(name, *ports)))]
    assert all(number in NODE_PORTS for number in given)
    assert len(set(given)) == 6
    assert given[0] == node_port("default", "x", "TCP", 80, set()), "another node would give the same"


async def test_what_another_has_is_refused(client: Any) -> None:
    assert (await client("POST", SERVICES, service("a", {"port": 80, "nodePort": 30080}))).status == 201
    taken = await client("POST", SERVICES, service("b", {"port": 80, "nodePort": 30080}))
    assert (taken.status, taken.json["details"]["causes"][0]["field"]) == (422, "spec.ports[0].nodePort")
    assert "already allocated" in taken.json["message"]
    other = await client("POST", SERVICES, service("b", {"port": 80, "nodePort": 30080, "protocol": "UDP"}))
    assert other.status == 201, "another protocol is another port"


async def test_a_service_keeps_its_node_ports_until_its_type_changes(client: Any) -> None:
    made = await client("POST", SERVICES, service("a"))
    replaced = await client("PUT", f"{SERVICES}/a", service("a", {"port": 80, "targetPort": 8080}))
    assert node_ports(replaced) == node_ports(made)
    closed = await client("PATCH", f"{SERVICES}/a", {"spec": {"type": "ClusterIP"}}, MERGE)
    assert (closed.status, node_ports(closed)) == (200, [None])
    opened = await client("PATCH", f"{SERVICES}/a", {"spec": {"type": "NodePort"}}, MERGE)
    assert node_ports(opened) == node_ports(made), "by hash: the same again"


async def test_an_external_name_has_no_address_and_gets_one_when_it_is_none_any_more(client: Any) -> None:
    body = {"metadata": {"name": "a"}, "spec": {"type": "ExternalName", "externalName": "db.example.com"}}
    made = await client("POST", SERVICES, body)
    assert made.status == 201
    assert "clusterIP" not in made.json["spec"]
    here = await client("PATCH", f"{SERVICES}/a", {"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}}, MERGE)
    assert here.json["spec"]["clusterIP"].startswith("9.251.")
    there = await client("PATCH", f"{SERVICES}/a", {"spec": {"type": "ExternalName"}}, MERGE)
    assert there.status == 200
    assert "clusterIP" not in there.json["spec"]


@given(st.sets(st.integers(NODE_PORTS.start, NODE_PORTS.stop - 1)))
def test_the_next_free_one_is_given(taken: set[int]) -> None:
    used = {("TCP", number) for number in taken} | {("UDP", number) for number in NODE_PORTS}
    if len(taken) < len(NODE_PORTS):
        assert ("TCP", node_port("default", "web", "TCP", 80, used)) not in used


def test_when_none_is_free_it_is_said() -> None:
    with pytest.raises(InvalidError, match="no TCP node port is free for service default/web"):
        node_port("default", "web", "TCP", 80, {("TCP", number) for number in NODE_PORTS})


def test_an_address_that_is_asked_for_is_not_replaced() -> None:
    value = {"spec": {"type": "ClusterIP", "clusterIP": "9.251.9.9"}}
    keep(value, {"spec": {"clusterIP": "9.251.1.2", "clusterIPs": ["9.251.1.2"]}})
    assert value["spec"]["clusterIP"] == "9.251.9.9"
