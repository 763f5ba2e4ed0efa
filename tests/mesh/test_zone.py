from collections.abc import Callable
from time import perf_counter

import pytest

from edged.mesh import zone
from edged.mesh.message import AAAA, CNAME, PTR, SOA, SRV, TXT, A, wire
from edged.mesh.names import Name
from edged.mesh.table import build
from edged.mesh.zone import Zone
from edged.model.core import ContainerPort, Node, NodeAddress, NodeStatus, Pod, Service, ServicePort
from edged.model.meta import ObjectMeta
from tests.mesh.test_table import imported

MakeService = Callable[..., Service]
MakePod = Callable[..., Pod]
CLUSTER = "svc.cluster.local"


def zone_of(*things: Service | Pod | Node, node: str = "gw-a", lost: tuple[str, ...] = (), loopback: str | None = None) -> Zone:
    services = [each for each in things if isinstance(each, Service)]
    pods = [each for each in things if isinstance(each, Pod)]
    nodes = [each for each in things if isinstance(each, Node)]
    return zone.build(build(services, pods, node, loopback, lost), services, pods, nodes, lost)


def make_node(name: str, *addresses: str) -> Node:
    found = tuple(NodeAddress("InternalIP", each) for each in addresses)
    return Node("v1", "Node", ObjectMeta(name=name), status=NodeStatus(addresses=(NodeAddress("Hostname", name), *found)))


def data(found: Zone, name: str, type_: int) -> list[bytes]:
    """The data of the records: behind the pointer to the name (2 bytes) and the fields (10)."""
    return [record[12:] for record in found.names[wire(name)].get(type_, ())]


def ip(*addresses: str) -> list[bytes]:
    return [bytes(map(int, each.split("."))) for each in addresses]


def srv(port: int, target: str) -> bytes:
    return b"\0\0\0\x64" + port.to_bytes(2, "big") + wire(target)


def exists(found: Zone, name: str) -> bool:
    return wire(name) in found.names


def test_a_service_has_an_address_named_ports_and_the_way_back(make_service: MakeService) -> None:
    ports = (ServicePort(80, name="http"), ServicePort(53, name="dns", protocol="UDP"))
    found = zone_of(make_service(ports=ports))
    name = f"web.default.{CLUSTER}"
    assert data(found, name, A) == ip("9.251.1.2")
    assert data(found, f"_http._tcp.{name}", SRV) == [srv(80, name)]
    assert data(found, f"_dns._udp.{name}", SRV) == [srv(53, name)]
    assert data(found, "2.1.251.9.in-addr.arpa", PTR) == [wire(name)]


def test_a_port_without_a_name_has_no_srv_record(make_service: MakeService) -> None:
    found = zone_of(make_service())
    assert not exists(found, f"_._tcp.web.default.{CLUSTER}")
    assert not exists(found, f"_tcp.web.default.{CLUSTER}")


def test_names_between_exist(make_service: MakeService) -> None:
    found = zone_of(make_service(ports=(ServicePort(80, name="http"),)))
    for name in (f"_tcp.web.default.{CLUSTER}", f"default.{CLUSTER}", CLUSTER, "pod.cluster.local", "1.251.9.in-addr.arpa"):
        assert found.names[wire(name)] == {}
    assert not exists(found, "local")


def test_each_apex_has_an_soa_record() -> None:
    found = zone_of()
    for apex in ("cluster.local", "node.edged", "251.9.in-addr.arpa"):
        assert len(found.names[wire(apex)][SOA]) == 1
        assert found.apex(wire(f"a.b.{apex}")) == wire(apex)
        assert found.apex(wire(apex)) == wire(apex)
    assert found.apex(wire("mycluster.local")) is None


def test_a_label_that_looks_like_the_end_of_a_name_is_not_one() -> None:
    tail = b"\x07cluster\x05local"
    assert zone_of().apex(bytes([len(tail) + 1]) + b"x" + tail + b"\0") is None


def test_a_headless_service_has_its_ready_pods_and_their_names(make_service: MakeService, make_pod: MakePod) -> None:
    ports = (ServicePort(80, name="http", target_port="web"),)
    pods = [
        make_pod("db-0", "gw-b", "10.42.2.7", ports=(ContainerPort(8080, name="web"),)),
        make_pod("db-1", "gw-a", "10.42.1.9", ports=(ContainerPort(8081, name="web"),)),
        make_pod("db-2", "gw-a", "10.42.1.8", ready=False),
        make_pod("db-3", "gw-c", "10.42.3.8"),
    ]
    found = zone_of(make_service("db", ip="None", ports=ports, selector={"app": "web"}), *pods, lost=("gw-c",))
    name = f"db.default.{CLUSTER}"
    assert data(found, name, A) == ip("10.42.1.9", "10.42.2.7"), "this node's first"
    assert data(found, f"db-0.{name}", A) == ip("10.42.2.7")
    assert data(found, f"_http._tcp.{name}", SRV) == [srv(8081, f"db-1.{name}"), srv(8080, f"db-0.{name}")]
    assert data(found, "7.2.42.10.in-addr.arpa", PTR) == [wire(f"db-0.{name}")]
    assert not exists(found, f"db-2.{name}")
    assert not exists(found, f"db-3.{name}")


def test_a_headless_service_without_ready_pods_does_not_exist(make_service: MakeService, make_pod: MakePod) -> None:
    found = zone_of(make_service(ip="None"), make_pod(ready=False))
    assert not exists(found, f"web.default.{CLUSTER}")


def test_a_headless_service_may_show_pods_that_are_not_ready(make_service: MakeService, make_pod: MakePod) -> None:
    found = zone_of(make_service(ip="None", publish_not_ready_addresses=True), make_pod(ready=False))
    assert data(found, f"web-0.web.default.{CLUSTER}", A) == ip("172.17.0.2")


def test_a_pod_may_ask_for_a_hostname(make_service: MakeService, make_pod: MakePod) -> None:
    pods = [
        make_pod("a", ip="10.42.1.1", hostname="one", subdomain="web"),
        make_pod("b", ip="10.42.1.2", hostname="two", subdomain="other"),
    ]
    found = zone_of(make_service(ip="None"), *pods)
    assert data(found, f"one.web.default.{CLUSTER}", A) == ip("10.42.1.1")
    assert data(found, f"b.web.default.{CLUSTER}", A) == ip("10.42.1.2")
    assert not exists(found, f"two.web.default.{CLUSTER}")


def test_a_pod_has_a_name_by_its_address_ready_or_not(make_pod: MakePod) -> None:
    found = zone_of(
        make_pod("a", ip="10.42.1.1", ready=False, namespace="shop"),
        make_pod("b", ip="", namespace="shop"),
        make_pod("c", ip="192.168.1.1", namespace="shop", host_network=True),
    )
    assert data(found, "10-42-1-1.shop.pod.cluster.local", A) == ip("10.42.1.1")
    assert data(found, "1.1.42.10.in-addr.arpa", PTR) == [wire("10-42-1-1.shop.pod.cluster.local")]
    assert found.apex(wire("1.1.42.10.in-addr.arpa")) == wire("1.1.42.10.in-addr.arpa")
    assert found.apex(wire("2.1.42.10.in-addr.arpa")) is None, "not ours"
    assert not exists(found, "192-168-1-1.shop.pod.cluster.local"), "that is the node's"


def test_of_two_pods_of_one_address_this_nodes_has_the_name(make_pod: MakePod) -> None:
    found = zone_of(make_pod("a", "gw-b", namespace="far"), make_pod("b", "gw-a", namespace="near"))
    assert data(found, "2.0.17.172.in-addr.arpa", PTR) == [wire("172-17-0-2.near.pod.cluster.local")]


def test_a_node_has_the_addresses_that_it_says() -> None:
    found = zone_of(make_node("gw-a", "192.168.1.5", "fd00::5"), make_node("gw.b", "192.168.1.6"))
    assert data(found, "gw-a.node.edged", A) == ip("192.168.1.5")
    assert data(found, "gw-a.node.edged", AAAA) == [b"\xfd" + bytes(14) + b"\x05"]
    assert data(found, "gw.b.node.edged", A) == ip("192.168.1.6")


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1"])
def test_a_node_that_says_it_is_in_this_machine_is_not_believed(address: str) -> None:
    assert not exists(zone_of(make_node("gw-b", address)), "gw-b.node.edged")


def test_an_external_name_is_an_alias(make_service: MakeService) -> None:
    found = zone_of(make_service("out", ip="", type="ExternalName", external_name="www.Example.org."))
    assert data(found, f"out.default.{CLUSTER}", CNAME) == [wire("www.example.org")]


def test_a_service_of_another_group_has_its_name_here() -> None:
    table = build((), (), "gw-a", imports=[imported()], group="site")
    found = zone.build(table, (), (), ())
    address = table.entries[Name("default", "web")].address
    assert data(found, f"web.default.{CLUSTER}", A) == ip(address)
    assert data(found, f"_http._tcp.web.default.{CLUSTER}", SRV) == [srv(80, f"web.default.{CLUSTER}")]


def test_the_version_of_the_specification() -> None:
    assert data(zone_of(), "dns-version.cluster.local", TXT) == [b"\x051.1.0"]


def test_without_root_the_twin_is_the_address(make_service: MakeService) -> None:
    found = zone_of(make_service(), loopback="127.96.0.0/16")
    assert data(found, f"web.default.{CLUSTER}", A) == ip("127.96.1.2")
    assert data(found, "2.1.96.127.in-addr.arpa", PTR) == [wire(f"web.default.{CLUSTER}")]


def test_a_service_that_lost_its_address_exists(make_service: MakeService) -> None:
    found = zone_of(make_service("aaa"), make_service("bbb"))
    assert found.names[wire(f"bbb.default.{CLUSTER}")] == {}


@pytest.mark.parametrize("name", ["a" * 64, "", "ü", "a..b", ".".join(["a" * 60] * 5)])
def test_what_cannot_be_a_name_is_left_out(make_service: MakeService, make_pod: MakePod, name: str) -> None:
    """Peers may store what our own API refuses."""
    headless = make_service("good", ip="None", selector={"app": "web"})
    found = zone_of(
        make_service(name),
        make_service(name, namespace=name, ip="9.251.1.3"),
        make_service("out", ip="", type="ExternalName", external_name=name),
        make_service("ports", ip="9.251.1.4", ports=(ServicePort(80, name=name), ServicePort(1 << 20, name="big"))),
        headless,
        make_pod(name, hostname=name, subdomain="good"),
        make_pod("b", ip="10.42.1.1", namespace=name),
        make_node(name, "192.168.1.5"),
    )
    assert data(found, f"ports.default.{CLUSTER}", A) == ip("9.251.1.4")
    assert data(found, f"good.default.{CLUSTER}", A) == ip("172.17.0.2")
    assert all(len(key) <= 255 for key in found.names)


def test_five_thousand_services_are_named_in_no_time(make_service: MakeService) -> None:
    ports = (ServicePort(80, name="http"),)
    services = [
        make_service(f"web-{number}", ip=f"9.251.{1 + number // 200}.{1 + number % 200}", ports=ports) for number in range(5000)
    ]
    table = build(services, (), "gw-a")
    began = perf_counter()
    found = zone.build(table, services, (), ())
    assert len(found.names) > 15_000
    assert perf_counter() - began < 5
