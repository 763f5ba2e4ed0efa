from collections.abc import Callable
from ipaddress import IPv4Network

import pytest
from msgspec.structs import replace

from edged.mesh.permission import permitted, source
from edged.mesh.pods import members
from edged.mesh.table import Endpoint, Table, build
from edged.model.core import Pod, Service, ServicePort
from edged.wire.peer import Flow, Tunnel

NETWORK = IPv4Network("10.42.0.0/16")
WEB, DNS = Tunnel("default", "web", 80, "web-0"), Flow(1, "default", "web", 53, "web-0")


@pytest.fixture
def table(make_service: Callable[..., Service], make_pod: Callable[..., Pod]) -> Callable[..., Table]:
    def make(ip: str = "172.17.0.2", annotations: dict[str, str] | None = None) -> Table:
        ports = (ServicePort(80, "web", target_port=8080), ServicePort(53, "dns", "UDP"))
        return build(
            [make_service(ports=ports, annotations=annotations)],
            [make_pod(ip=ip), make_pod("web-1", "gw-b", "172.17.0.3")],
            "gw-a",
        )

    return make


def test_what_a_service_declares_is_permitted(table: Callable[..., Table]) -> None:
    assert permitted(table(), "gw-b", WEB) == Endpoint("web-0", "gw-a", "172.17.0.2", 8080)
    assert permitted(table(), "gw-b", DNS) == Endpoint("web-0", "gw-a", "172.17.0.2", 53)


@pytest.mark.parametrize(
    "asked",
    [
        *(Tunnel("default", "web", port, "web-0") for port in (53, 8080, 22, 2375, 0, -1, 2**40)),
        *(Flow(1, "default", "web", port, "web-0") for port in (80, 8080, 0)),
        *(Tunnel("default", "web", 80, pod) for pod in ("web-1", "web-2", "", "127.0.0.1")),
        *(Tunnel(namespace, service, 80, "web-0") for namespace, service in (("other", "web"), ("default", "db"), ("", ""))),
    ],
)
def test_all_else_is_not(table: Callable[..., Table], asked: Tunnel | Flow) -> None:
    assert permitted(table(), "gw-b", asked) is None


@pytest.mark.parametrize("ip", ["127.0.0.1", "169.254.169.254", "169.254.96.16", "0.0.0.0", "224.0.0.1"])
def test_what_is_no_address_of_a_pod_is_not_whatever_its_status_says(table: Callable[..., Table], ip: str) -> None:
    assert table(ip).endpoints(*_first(table(ip)))
    assert permitted(table(ip), "gw-b", WEB) is None
    assert permitted(table(ip), "gw-b", DNS) is None


@pytest.mark.parametrize(
    ("annotations", "passes"),
    [
        ({}, False),
        ({"edged.io/export": "false"}, False),
        ({"edged.io/export": "true"}, True),
        ({"edged.io/export": "true", "apps.kubeedge.io/service-topology": "range-nodegroup"}, False),
        ({"edged.io/export": "true", "edged.io/allow-from": "node:gw-b"}, False),
        ({"edged.io/export": "true", "edged.io/allow-from": "node:yard/gw-b"}, True),
        ({"edged.io/allow-from": "node:yard/gw-b"}, False),
    ],
)
def test_other_groups_reach_what_is_exported(table: Callable[..., Table], annotations: dict[str, str], passes: bool) -> None:
    for asked in (WEB, DNS):
        assert (permitted(table(annotations=annotations), "yard/gw-b", asked) is not None) == passes


@pytest.mark.parametrize(
    ("peer", "caller", "passes"),
    [("gw-b", "", True), ("gw-b", "other", True), ("gw-c", "shop", True), ("gw-c", "", False), ("gw-c", "other", False)],
)
def test_some_callers_only(table: Callable[..., Table], peer: str, caller: str, passes: bool) -> None:
    made = table(annotations={"edged.io/allow-from": "namespace:shop, node:gw-b"})
    for asked in (WEB, DNS):
        assert (permitted(made, peer, replace(asked, caller=caller)) is not None) == passes


def test_a_process_pod_is_permitted(table: Callable[..., Table]) -> None:
    assert permitted(table("127.33.7.9"), "gw-b", WEB) is not None


@pytest.fixture
def by_address(make_service: Callable[..., Service], make_pod: Callable[..., Pod]) -> Table:
    closed = make_service("closed", annotations={"edged.io/allow-from": "namespace:shop"})
    some = [
        make_pod("open", ip="10.42.1.2"),
        make_pod("closed", ip="10.42.1.3", labels={"app": "closed"}),
        make_pod("host", ip="10.42.1.4", host_network=True),
        make_pod("old", ip="172.17.0.2"),
        make_pod("far", "gw-b", "10.42.2.2"),
        make_pod("third", "gw-c", "10.42.3.2"),
        make_pod("left", "gw-b", "10.42.1.9"),  # of the range that both nodes had
    ]
    return build([closed], some, "gw-a", by_address=members(NETWORK, [closed], some, [], "gw-a"))


@pytest.mark.parametrize("port", [1, 22, 65535])
def test_a_pod_with_an_address_of_its_own_is_called_there_at_any_port(by_address: Table, port: int) -> None:
    expected = Endpoint("open", "gw-a", "10.42.1.2", port)
    assert permitted(by_address, "gw-b", Tunnel("default", "", port, "open")) == expected
    assert permitted(by_address, "gw-b", Flow(1, "default", "", port, "open")) == expected


def test_nothing_else_is_called_by_address(by_address: Table) -> None:
    for name in ("host", "old", "far", "third", "none", "", "10.42.1.2"):
        assert permitted(by_address, "gw-b", Tunnel("default", "", 80, name)) is None
    for port in (0, -1, 65536, 2**40):
        assert permitted(by_address, "gw-b", Tunnel("default", "", port, "open")) is None
    assert permitted(by_address, "gw-b", Tunnel("shop", "", 80, "open")) is None
    assert permitted(by_address, "yard/gw-b", Tunnel("default", "", 80, "open")) is None, "a node of another group"


def test_a_pod_of_a_restricted_service_is_so_at_its_address_too(by_address: Table) -> None:
    asked = Tunnel("default", "", 80, "closed", "shop")
    assert permitted(by_address, "gw-b", asked) is not None
    for caller in ("", "default"):
        assert permitted(by_address, "gw-b", replace(asked, caller=caller)) is None


def test_a_pod_sees_who_calls_when_that_is_a_pod_of_the_peer(by_address: Table) -> None:
    near, old = Endpoint("open", "gw-a", "10.42.1.2", 80), Endpoint("old", "gw-a", "172.17.0.2", 80)
    for asked in (Tunnel("default", "", 80, "open", "", "10.42.2.2"), Flow(1, "default", "web", 80, "x", "", "10.42.2.2")):
        assert source(by_address, "gw-b", asked, near) == "240.42.2.2"
        assert source(by_address, "gw-b", asked, old) == "", "it would have no way back"
        assert source(by_address, "gw-c", asked, near) == "", "that is a pod of another node"
        assert source(by_address, "site/gw-b", asked, near) == ""
    for said in ("", "10.42.2.3", "127.0.0.1", "169.254.169.254", "10.42.1.2", "10.42.1.9"):
        assert source(by_address, "gw-b", Tunnel("default", "", 80, "open", "", said), near) == ""


def _first(table: Table) -> tuple:  # type: ignore[type-arg]
    return next(iter(table.entries)), 80
