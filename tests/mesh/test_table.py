from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from edged.mesh.names import Name
from edged.mesh.policy import Policy
from edged.mesh.table import UDP, Called, Door, Endpoint, Port, build
from edged.model.core import ContainerPort, Pod, Service, ServicePort
from edged.model.multicluster import ServiceImport

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


def test_tcp_and_udp_ports_are_served(make_service: Make, make_pod: MakePod) -> None:
    ports = (ServicePort(53, "dns", "UDP"), ServicePort(53, "dns-tcp"), ServicePort(9, "no", "SCTP"))
    table = build([make_service(ports=ports)], [make_pod()], "gw-a")
    assert list(table.entries[WEB].ports) == [Port("UDP", 53), Port("TCP", 53)]
    assert table.called("9.251.1.2", 53, UDP) == Called(WEB, Port("UDP", 53))
    assert table.called("9.251.1.2", 9, "SCTP") is None
    assert [each.port for each in table.endpoints(WEB, 53, UDP)] == [53]


def test_node_ports_and_external_addresses_are_doors(make_service: Make, make_pod: MakePod) -> None:
    made = make_service(ports=(ServicePort(80, node_port=30080),), type="NodePort", external_ips=("203.0.113.7",))
    table = build([made], [make_pod()], "gw-a")
    web = Called(WEB, Port("TCP", 80))
    assert table.doors == dict.fromkeys(
        [Door("9.251.1.2", "TCP", 80), Door("203.0.113.7", "TCP", 80), Door("", "TCP", 30080)], web
    )
    assert table.called("192.0.2.7", 30080) == web, "a node port is at any address of the node"
    assert table.called("203.0.113.7", 81) is None
    rootless = build([made], [make_pod()], "gw-a", "127.97.0.0/16")
    assert set(rootless.doors) == {Door("127.97.1.2", "TCP", 80), Door("", "TCP", 30080)}


def test_of_two_services_with_one_node_port_the_older_keeps_it(make_service: Make) -> None:
    ports = (ServicePort(80, node_port=30080),)
    young = make_service("aaa", ip="9.251.1.3", ports=ports, created="2025-02-01T00:00:00Z", type="NodePort")
    old = make_service("zzz", ports=ports, created="2025-01-01T00:00:00Z", type="NodePort")
    table = build([young, old], [], "gw-a")
    assert table.doors[Door("", "TCP", 30080)].name.service == "zzz"
    assert table.doors[Door("9.251.1.3", "TCP", 80)].name.service == "aaa"
    assert table.conflicts == ("service default/aaa has node port 30080/TCP of default/zzz, which keeps it",)


def test_an_external_name_has_nothing_else(make_service: Make, make_pod: MakePod) -> None:
    entry = build([make_service(type="ExternalName", external_name="db.example.com")], [make_pod()], "gw-a").entries[WEB]
    assert (entry.external_name, entry.address, dict(entry.ports), entry.hosts) == ("db.example.com", "", {}, ())


def test_local_traffic_stays_on_the_node(make_service: Make, make_pod: MakePod) -> None:
    pods = [make_pod(), make_pod("web-1", "gw-b", "172.17.0.3")]
    made = make_service(internal_traffic_policy="Local")
    assert [each.pod for each in build([made], pods, "gw-a").endpoints(WEB, 80)] == ["web-0"]
    assert build([made], pods, "gw-c").endpoints(WEB, 80) == ()


def test_pods_that_are_not_ready_when_they_are_published(make_service: Make, make_pod: MakePod) -> None:
    made = make_service(publish_not_ready_addresses=True)
    table = build([made], [make_pod(ready=False), make_pod("web-1", ready=False, deleted="2025-01-01T00:00:00Z")], "gw-a")
    assert [each.pod for each in table.endpoints(WEB, 80)] == ["web-0"]
    assert table.entries[WEB].hosts == ("172.17.0.2",)


def test_how_calls_are_shared_is_in_the_entry(make_service: Make) -> None:
    assert build([make_service(session_affinity="ClientIP")], [], "gw-a").entries[WEB].policy.kind == "hash"
    assert build([make_service()], [], "gw-a").entries[WEB].policy == Policy()


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
    assert {port.number: [each.port for each in served.endpoints] for port, served in entry.ports.items()} == {80: [], 81: [81]}


def imported(group: str = "yard", name: str = "web", ready: bool = True, **spec: Any) -> ServiceImport:
    value = {
        **{"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport"},
        "metadata": {"name": f"{name}.{group}", "namespace": "default"},
        "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}], **spec},
        "status": {
            "endpoints": [{"node": "gw-x", "pod": "web-7", "ready": ready, "ports": [{"port": 80, "targetPort": 8080}]}]
        },
    }
    return msgspec.convert(value, ServiceImport)


def test_a_service_of_another_group_has_an_address_here() -> None:
    table = build([], [], "gw-a", imports=[imported(), imported("port"), imported("site")], group="site")
    assert [each.node for each in table.endpoints(WEB, 80)] == ["port/gw-x", "yard/gw-x"]
    address = table.entries[WEB].address
    assert address.startswith("9.251.")
    assert table.called(address, 80) == Called(WEB, Port("TCP", 80))
    assert table == build([], [], "gw-b", imports=[imported("port"), imported()], group="site")._replace(node="gw-a")


def test_who_is_not_ready_or_has_no_address_of_its_own_is_not_there() -> None:
    assert build([], [], "gw-a", imports=[imported(ready=False)], group="site").endpoints(WEB, 80) == ()
    assert WEB not in build([], [], "gw-a", imports=[imported(type="Headless")], group="site").entries


def test_other_groups_answer_for_a_service_that_is_exported_here_too(make_service: Make, make_pod: MakePod) -> None:
    def nodes(annotations: dict[str, str]) -> list[str]:
        made = make_service(annotations=annotations)
        table = build([made], [make_pod()], "gw-a", imports=[imported()], group="site")
        return [each.node for each in table.endpoints(WEB, 80)]

    assert nodes({}) == ["gw-a"], "another group's service of the same name is another service"
    assert nodes({"edged.io/export": "true"}) == ["gw-a", "yard/gw-x"]
    assert nodes({"edged.io/export": "true", "apps.kubeedge.io/service-topology": "range-nodegroup"}) == ["gw-a"]


def test_an_address_that_a_service_has_is_given_to_no_import(make_service: Make) -> None:
    address = build([], [], "gw-a", imports=[imported()], group="site").entries[WEB].address
    table = build([make_service("other", ip=address)], [], "gw-a", imports=[imported()], group="site")
    assert (table.addressed[address].name.service, table.conflicts) == ("other", ())
    assert table.entries[WEB].address != address


def test_pods_of_this_node_are_known_by_their_address(make_service: Make, make_pod: MakePod) -> None:
    table = build([], [make_pod(), make_pod("x", "gw-b", "172.17.0.3")], "gw-a")
    assert table.namespace_of == {"172.17.0.2": "default"}
    closed = build([make_service(annotations={"edged.io/allow-from": "namespace:shop"})], [], "gw-a")
    web = Called(WEB, Port("TCP", 80))
    assert [closed.admits(web, namespace) for namespace in ("shop", "default", "")] == [True, False, False]
