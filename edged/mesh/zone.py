"""Our names and what stands at each, as the Kubernetes DNS specification 1.1.0 has it: made once for a table, then looked up.

    SERVICE.NAMESPACE.svc.cluster.local              A: its address; of a headless service, of each ready pod
    HOSTNAME.SERVICE.NAMESPACE.svc.cluster.local     A: a pod of a headless service; its name when it asks for no hostname
    _PORT._PROTOCOL.SERVICE.NAMESPACE.svc...         SRV: a named port; of a headless service, of each pod
    1-2-3-4.NAMESPACE.pod.cluster.local              A: the pod that has this address
    NODE.node.edged                                  A, AAAA: the addresses that a node says it has

and PTR records of the addresses of services and pods. A service with an `externalName` is a CNAME.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import NamedTuple

from edged.mesh import message
from edged.mesh.message import AAAA, CNAME, PTR, SOA, SRV, TXT, A, wire
from edged.mesh.names import Name
from edged.mesh.table import Entry, Table, behind, may_answer
from edged.model.core import Node, Pod, Service
from edged.model.endpoints import target

TTL_S = 30  # as Kubernetes: a service that is gone is forgotten within half a minute; also for what is not there
CLUSTER = "cluster.local"
NODES = "node.edged"
VERSION = b"1.1.0"  # of the specification

Records = Mapping[int, tuple[bytes, ...]]


class Zone(NamedTuple):
    """`names` are all that are there, by their wire form in small letters, each with its records by type.

    What ends in one of `apexes` and is not in `names` does not exist; everything else is somebody else's.
    """

    names: Mapping[bytes, Records]
    apexes: frozenset[bytes]

    def apex(self, key: bytes) -> bytes | None:
        """The apex above `key`, or None. A single address of a pod is an apex of its own."""
        above = next((name for name in message.parents(key) if name in self.apexes), None)
        return above or (key if key in self.names else None)


class _Names(defaultdict[bytes, dict[int, list[bytes]]]):
    """The names while they are collected; what cannot be a name of DNS is left out: a peer that checks less stored it."""

    def __init__(self) -> None:
        super().__init__(lambda: defaultdict(list))

    def add(self, name: str, type_: int, data: bytes) -> None:
        with suppress(ValueError):
            found = self[wire(name)][type_]
            if data not in found:
                found.append(data)

    def add_target(self, name: str, type_: int, target: str, before: bytes = b"") -> None:
        """A record whose data ends in a name."""
        with suppress(ValueError):
            self.add(name, type_, before + wire(target))


def build(
    table: Table, services: Iterable[Service], pods: Collection[Pod], nodes: Iterable[Node], lost: Collection[str] = ()
) -> Zone:
    """The zone of `table` and what it was built from; `lost` are nodes that nobody sees."""
    names = _Names()
    local: dict[str, list[Pod]] = defaultdict(list)
    for pod in pods:
        if may_answer(pod) and pod.spec.node_name not in lost:
            local[pod.metadata.namespace].append(pod)
    by_name = {Name(each.metadata.namespace, each.metadata.name): each for each in services}
    for name, entry in table.entries.items():
        if entry.external_name:
            names.add_target(_name(entry), CNAME, entry.external_name)
        elif not entry.headless:
            _addressed(names, entry)
        elif name in by_name:
            service = by_name[name]
            _headless(names, service, _name(entry), behind(service, local[name.namespace]), table.node)
    for pod in sorted(pods, key=lambda pod: pod.spec.node_name != table.node):
        _pod(names, pod)
    for node in nodes:
        for address in node.status.addresses:
            _host(names, f"{node.metadata.name}.{NODES}", address.address)
    names.add(f"dns-version.{CLUSTER}", TXT, bytes([len(VERSION)]) + VERSION)
    return _whole(names, [CLUSTER, NODES, _reverse_network(table.network)])


def soa(key: bytes, apex: bytes) -> bytes:
    """The SOA record of `apex` behind the question `key`, which ends in it. Short: server and mailbox are the apex itself.

    Serial, refresh, retry and expire mean nothing, since there are no transfers.
    """
    pointer = (message.POINTER << 8 | message.HEADER + len(key) - len(apex)).to_bytes(2, "big")
    times = b"".join(seconds.to_bytes(4, "big") for seconds in (1, 7200, 1800, 86400, TTL_S))
    return message.record(SOA, pointer + pointer + times, TTL_S, pointer)


def _addressed(names: _Names, entry: Entry) -> None:
    name = _name(entry)
    with suppress(ValueError):
        names[wire(name)]  # it exists, whether or not it has an address
    if not entry.address:
        return
    names.add(name, A, IPv4Address(entry.address).packed)
    names.add_target(_reverse(entry.address), PTR, name)
    for port, served in entry.ports.items():
        if served.name:
            names.add_target(f"_{served.name}._{port.protocol}.{name}", SRV, name, _priority(port.number))


def _headless(names: _Names, service: Service, name: str, pods: Iterable[Pod], node: str) -> None:
    """Nothing at all when no pod is ready (specification, 2.4.1). Ports lead to the pods', since nobody translates them."""
    for pod in sorted(pods, key=lambda pod: (pod.spec.node_name != node, pod.metadata.name)):
        ip = IPv4Address(pod.status.pod_ip)
        its = f"{_hostname(pod, service)}.{name}"
        names.add(name, A, ip.packed)
        names.add(its, A, ip.packed)
        if not pod.spec.host_network:
            names.add_target(_reverse(str(ip)), PTR, its)
        for port in service.spec.ports:
            number = target(port, pod)
            if port.name and number:
                names.add_target(f"_{port.name}._{port.protocol}.{name}", SRV, its, _priority(number))


def _pod(names: _Names, pod: Pod) -> None:
    """A pod with an address of its own, ready or not; a PTR record unless a headless service gave it a better name."""
    try:
        ip = IPv4Address(pod.status.pod_ip)
    except ValueError:
        return
    if pod.spec.host_network:
        return
    name = f"{str(ip).replace('.', '-')}.{pod.metadata.namespace}.pod.{CLUSTER}"
    names.add(name, A, ip.packed)
    reverse = _reverse(str(ip))
    if not names.get(wire(reverse)):
        names.add_target(reverse, PTR, name)


def _host(names: _Names, name: str, address: str) -> None:
    """A node's address, unless it means another machine to each who uses it: a node may say that it is at our 127.0.0.1."""
    with suppress(ValueError):  # an address of the type Hostname
        ip = ip_address(address)
        if not (ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_unspecified):
            names.add(name, A if ip.version == 4 else AAAA, ip.packed)


def _whole(names: _Names, apexes: Iterable[str]) -> Zone:
    """With the names between, which exist too (RFC 8020), and the SOA record of each apex."""
    tops = frozenset(wire(apex) for apex in apexes)
    above = {parent for key in names for parent in _up_to(key, tops)}
    above |= tops | {wire(f"svc.{CLUSTER}"), wire(f"pod.{CLUSTER}")}
    whole: dict[bytes, Records] = {name: {} for name in above}
    for key, records in names.items():
        whole[key] = {
            type_: tuple(message.record(type_, each, TTL_S) for each in found) for type_, found in records.items() if found
        }
    for top in tops:
        whole[top] = {**whole[top], SOA: (soa(top, top),)}
    return Zone(whole, tops)


def _up_to(key: bytes, tops: Collection[bytes]) -> Iterator[bytes]:
    """The names between `key` and the apex above it; none for a key that has no apex."""
    above = message.parents(key)[1:]
    end = next((number for number, name in enumerate(above) if name in tops), 0)
    yield from above[:end]


def _name(entry: Entry) -> str:
    return f"{entry.name.service}.{entry.name.namespace}.svc.{CLUSTER}"


def _hostname(pod: Pod, service: Service) -> str:
    """A StatefulSet's pods ask for their names; the name is also the identifier of those that ask for nothing."""
    asked = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
    return pod.spec.hostname if asked else pod.metadata.name


def _priority(port: int) -> bytes:
    """Priority 0, weight 100 as CoreDNS gives one target; all are equal."""
    return bytes(2) + (100).to_bytes(2, "big") + port.to_bytes(2, "big")


def _reverse(address: str) -> str:
    return f"{'.'.join(reversed(address.split('.')))}.in-addr.arpa"


def _reverse_network(network: str) -> str:
    """The zone of a /16."""
    return _reverse(str(IPv4Network(network).network_address)).removeprefix("0.0.")
