from collections.abc import Callable
from ipaddress import IPv4Network

import pytest

from edged.mesh.names import Name
from edged.mesh.pods import Pods, members
from edged.mesh.table import TCP, UDP, Called, Caller, Endpoint, Port, Table, build
from edged.model.core import Node, NodeSpec, Pod, Service
from edged.model.meta import ObjectMeta

NETWORK = IPv4Network("10.42.0.0/16")
MakePod = Callable[..., Pod]
MakeService = Callable[..., Service]


def node(name: str, range_: str) -> Node:
    return Node("v1", "Node", ObjectMeta(name=name), NodeSpec(pod_cidr=range_))


NODES = [node("gw-a", "10.42.1.0/24"), node("gw-b", "10.42.2.0/24"), node("gw-c", "nonsense")]


def pods(*some: Pod, services: tuple[Service, ...] = (), lost: tuple[str, ...] = ()) -> Pods:
    return members(NETWORK, services, some, NODES, "gw-a", lost)


def test_pods_of_all_nodes_are_known_by_name_and_address(make_pod: MakePod) -> None:
    found = pods(make_pod("a", "gw-a", "10.42.1.2"), make_pod("b", "gw-b", "10.42.2.2", "shop", ready=False))
    assert [(each.name, each.node) for each in found.at.values()] == [("a", "gw-a"), ("b", "gw-b")]
    assert found.named["shop", "b"] == found.at["10.42.2.2"]
    assert found.own == IPv4Network("10.42.1.0/24")


@pytest.mark.parametrize("ip", ["", "172.17.0.2", "10.43.0.2", "10.42.2.0", "10.42.2.1", "10.42.2.255", "127.0.0.1", "x"])
def test_what_is_no_address_of_a_container_of_the_network_is_not_called(make_pod: MakePod, ip: str) -> None:
    assert pods(make_pod("b", "gw-b", ip)).at == {}, "a status may say anything, and .1 is the node itself"


def test_who_has_no_address_of_its_own_or_does_not_run_is_not_called(make_pod: MakePod, make_service: MakeService) -> None:
    assert pods(make_pod("b", "gw-b", "10.42.2.2", host_network=True)).named == {}
    assert pods(make_pod("b", "", "10.42.2.2")).named == {}
    assert pods(make_pod("b", "gw-b", "10.42.2.2"), lost=("gw-b",)).named == {}
    assert members(None, [], [make_pod("b", "gw-b", "10.42.2.2")], NODES, "gw-a") == Pods()


def test_of_two_at_one_address_the_one_here_is_called_then_the_one_of_the_ranges_node(make_pod: MakePod) -> None:
    lost, won = make_pod("lost", "gw-c", "10.42.2.2"), make_pod("won", "gw-b", "10.42.2.2")
    for order in ((lost, won), (won, lost)):
        found = pods(*order)
        assert found.at["10.42.2.2"].name == "won"
        assert found.named["default", "lost"].node == "gw-c", "its name still leads to it"
    assert pods(won, make_pod("here", "gw-a", "10.42.2.2")).at["10.42.2.2"].name == "here"


def test_a_pod_that_keeps_an_address_of_a_range_that_its_node_lost_is_called(make_pod: MakePod) -> None:
    assert pods(make_pod("lost", "gw-c", "10.42.2.9")).at["10.42.2.9"].node == "gw-c"


def test_who_may_not_call_a_service_may_not_call_its_pods(make_pod: MakePod, make_service: MakeService) -> None:
    shop = make_service("web", annotations={"edged.io/allow-from": "namespace:shop"})
    gateway = make_service("all", selector={"app": "web"}, annotations={"edged.io/allow-from": "node:gw-a,namespace:shop"})
    both = pods(make_pod("a", "gw-b", "10.42.2.2"), services=(shop, gateway, make_service("open", selector={"app": "web"})))
    restricted = both.named["default", "a"]
    assert [restricted.admits("gw-a", namespace) for namespace in ("shop", "", "default")] == [True, False, False]
    other = pods(make_pod("a", "gw-b", "10.42.2.2", labels={"app": "x"}), services=(shop, gateway))
    assert other.named["default", "a"].admits("gw-z", "")


@pytest.fixture
def table(make_pod: MakePod, make_service: MakeService) -> Table:
    some = [make_pod("a", "gw-a", "10.42.1.2"), make_pod("b", "gw-b", "10.42.2.2"), make_pod("c", "gw-a", "172.17.0.2")]
    services = [make_service(selector={"app": "none"}, type="NodePort")]
    return build(services, some, "gw-a", by_address=pods(*some))


def test_an_address_leads_to_its_pod_at_any_port(table: Table) -> None:
    for protocol, number in ((TCP, 1), (UDP, 65535), (TCP, 30080)):
        called = Called(Name("default", ""), Port(protocol, number), "b")
        assert table.called("10.42.2.2", number, protocol) == called
        assert table.answering(called) == (Endpoint("b", "gw-b", "10.42.2.2", number),)
        assert table.admits(called, "")
    assert str(Called(Name("default", ""), Port(TCP, 80), "b")) == "default/b:80/TCP"
    assert table.called("10.42.2.3", 80) is None
    assert table.answering(Called(Name("default", ""), Port(TCP, 80), "gone")) == ()


def test_a_caller_is_known_by_its_address_where_other_nodes_know_it(table: Table) -> None:
    assert table.caller("10.42.1.2") == Caller("default", "10.42.1.2")
    assert table.caller("172.17.0.2") == Caller("default", "")
    assert table.caller("10.42.2.2") == Caller("", ""), "a pod of another node does not call from here"
    assert table.caller("169.254.96.16") == Caller("", "")
