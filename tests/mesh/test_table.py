from collections.abc import Callable

import pytest

from edged.mesh.table import Endpoint, Name, build
from edged.model.core import ContainerPort, Pod, Service, ServicePort

WEB = Name("default", "web")

Make = Callable[..., Service]
MakePod = Callable[..., Pod]


def test_a_ready_pod_answers_a_port(make_service: Make, make_pod: MakePod) -> None:
    table = build([make_service()], [make_pod(), make_pod("web-1", "gw-b", "172.17.0.3")], "gw-a")
    assert table.endpoints(WEB, 80) == (
        Endpoint("web-0", "gw-a", "172.17.0.2", 8080),
        Endpoint("web-1", "gw-b", "172.17.0.3", 8080),
    )
    assert table.endpoints(WEB, 81) == ()
    assert table.endpoints(Name("other", "web"), 80) == ()
    assert table.addressed["9.251.1.2"].name == WEB
    assert table.namespaces == {"default"}


@pytest.mark.parametrize(
    "difference",
    [
        {"ready": False},
        {"deleted": "2025-01-01T00:00:00Z"},
        {"node": ""},
        {"ip": ""},
        {"ip": "not-an-address"},
        {"ip": "fd00::1"},
        {"labels": {"app": "other"}},
        {"namespace": "other"},
    ],
)
def test_other_pods_do_not(make_service: Make, make_pod: MakePod, difference: dict[str, object]) -> None:
    table = build([make_service()], [make_pod(**difference)], "gw-a")
    assert table.endpoints(WEB, 80) == ()


def test_a_pod_of_a_node_that_nobody_sees_does_not(make_service: Make, make_pod: MakePod) -> None:
    pods = [make_pod(), make_pod("web-1", "gw-b", "172.17.0.3")]
    table = build([make_service()], pods, "gw-a", lost={"gw-b"})
    assert [endpoint.pod for endpoint in table.endpoints(WEB, 80)] == ["web-0"]


def test_a_pod_without_conditions_is_not_ready(make_service: Make, make_pod: MakePod) -> None:
    pod = make_pod()
    unknown = type(pod)(pod.api_version, pod.kind, pod.metadata, pod.spec)
    assert build([make_service()], [unknown], "gw-a").endpoints(WEB, 80) == ()


def test_no_selector_chooses_nobody(make_service: Make, make_pod: MakePod) -> None:
    assert build([make_service(selector={})], [make_pod()], "gw-a").endpoints(WEB, 80) == ()


def test_all_labels_of_the_selector_must_match(make_service: Make, make_pod: MakePod) -> None:
    service = make_service(selector={"app": "web", "tier": "front"})
    both = make_pod("both", labels={"app": "web", "tier": "front", "more": "x"})
    table = build([service], [make_pod("one"), both], "gw-a")
    assert [endpoint.pod for endpoint in table.endpoints(WEB, 80)] == ["both"]


@pytest.mark.parametrize(
    ("target", "expected"),
    [(None, 80), (8080, 8080), ("http", 9000), ("metrics", 9100), ("missing", None), ("udp-only", None)],
)
def test_the_target_port_by_number_or_name(
    make_service: Make, make_pod: MakePod, target: int | str | None, expected: int | None
) -> None:
    ports = (ContainerPort(9000, "http"), ContainerPort(9100, "metrics"), ContainerPort(53, "udp-only", "UDP"))
    table = build([make_service(ports=(ServicePort(80, target_port=target),))], [make_pod(ports=ports)], "gw-a")
    assert [endpoint.port for endpoint in table.endpoints(WEB, 80)] == ([] if expected is None else [expected])


def test_a_name_may_stand_for_another_number_in_each_pod(make_service: Make, make_pod: MakePod) -> None:
    old, new = (make_pod(name, ports=(ContainerPort(number, "http"),)) for name, number in (("old", 8000), ("new", 9000)))
    table = build([make_service(ports=(ServicePort(80, target_port="http"),))], [old, new], "gw-a")
    assert {(endpoint.pod, endpoint.port) for endpoint in table.endpoints(WEB, 80)} == {("old", 8000), ("new", 9000)}


def test_only_tcp_ports_are_served(make_service: Make, make_pod: MakePod) -> None:
    service = make_service(ports=(ServicePort(53, protocol="UDP"), ServicePort(80)))
    assert list(build([service], [make_pod()], "gw-a").entries[WEB].ports) == [80]


def test_a_headless_service_has_hosts_and_no_address(make_service: Make, make_pod: MakePod) -> None:
    pods = [make_pod("web-1", ip="172.17.0.3"), make_pod(), make_pod("web-2", ip="172.17.0.4", ready=False)]
    table = build([make_service(ip="None")], pods, "gw-a")
    entry = table.entries[WEB]
    assert entry.headless
    assert entry.address == ""
    assert entry.hosts == ("172.17.0.2", "172.17.0.3")
    assert not table.addressed


def test_an_address_outside_the_network_is_not_served(make_service: Make) -> None:
    table = build([make_service(ip="169.254.169.254")], [], "gw-a")
    assert not table.addressed
    assert table.entries[WEB].address == ""


def test_without_root_services_are_at_their_twins(make_service: Make) -> None:
    table = build([make_service()], [], "gw-a", "127.97.0.0/16")
    assert table.network == "127.97.0.0/16"
    assert table.addressed["127.97.1.2"].name == WEB


def test_of_two_services_with_one_address_the_older_keeps_it(make_service: Make) -> None:
    young = make_service("aaa", created="2025-02-01T00:00:00Z")
    old = make_service("zzz", created="2025-01-01T00:00:00Z")
    table = build([young, old], [], "gw-a")
    assert table.addressed["9.251.1.2"].name == Name("default", "zzz")
    assert table.entries[Name("default", "aaa")].address == ""
    assert table.conflicts == ("service default/aaa has the address 9.251.1.2 of default/zzz: create it again to get another",)
    assert table == build([old, young], [], "gw-a")


@pytest.mark.parametrize("port", [0, -1, 65536, 2**31 - 1])
def test_what_is_no_port_is_not_served(make_service: Make, make_pod: MakePod, port: int) -> None:
    made = make_service(ports=(ServicePort(port, target_port=80), ServicePort(80, target_port=port or 65536), ServicePort(81)))
    [entry] = build([made], [make_pod()], "gw-a").entries.values()
    assert {number: [each.port for each in ends] for number, ends in entry.ports.items()} == {80: [], 81: [81]}
