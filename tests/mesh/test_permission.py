from collections.abc import Callable

import pytest
from msgspec.structs import replace

from edged.mesh.permission import permitted
from edged.mesh.table import Endpoint, Table, build
from edged.model.core import Pod, Service, ServicePort
from edged.wire.peer import Flow, Tunnel

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


def _first(table: Table) -> tuple:  # type: ignore[type-arg]
    return next(iter(table.entries)), 80
