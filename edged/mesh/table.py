"""What the mesh acts on: each service with its address, its ports and the pods that answer. Built anew on every change."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address
from typing import NamedTuple

from edged.mesh.addresses import NETWORK, is_service_address, twin
from edged.model.core import Pod, Service, ServicePort
from edged.model.endpoints import PORTS, chosen, is_ready, target

HEADLESS = "None"  # the clusterIP of a service that has no address: its name resolves to its pods


class Endpoint(NamedTuple):
    """A pod that answers a port of a service: where it runs, and what to dial there."""

    pod: str
    node: str
    ip: str
    port: int


class Name(NamedTuple):
    """Which service."""

    namespace: str
    service: str

    def __str__(self) -> str:
        """`default/web`, as in logs."""
        return f"{self.namespace}/{self.service}"


class Entry(NamedTuple):
    """One service. `address` is what clients on this node dial, "" when it has none; only TCP ports are served.

    `hosts` are the addresses of its ready pods: what the name of a headless service resolves to.
    """

    name: Name
    address: str
    headless: bool
    ports: Mapping[int, tuple[Endpoint, ...]]
    hosts: tuple[str, ...]


class Table(NamedTuple):
    """All services as `node` sees them. `network` is the /16 of their addresses, 9.251.0.0/16 or its loopback twin.

    `conflicts` says in words which service has no address because another one has it already.
    """

    node: str
    network: str
    entries: Mapping[Name, Entry]
    addressed: Mapping[str, Entry]
    namespaces: frozenset[str]
    conflicts: tuple[str, ...]

    def endpoints(self, name: Name, port: int) -> tuple[Endpoint, ...]:
        """Who answers `port` of service `name`: empty when nobody does, or there is no such port."""
        entry = self.entries.get(name)
        return entry.ports.get(port, ()) if entry else ()


def build(
    services: Iterable[Service], pods: Iterable[Pod], node: str, loopback: str | None = None, lost: Collection[str] = ()
) -> Table:
    """The table of `node`. With `loopback` (a /16) each service is served at its twin there instead of its own address.

    Pods of `lost` nodes, which nobody sees, are not called: a call would wait for them in vain.
    """
    ready = defaultdict(list)
    for pod in pods:
        if _answers(pod) and pod.spec.node_name not in lost:
            ready[pod.metadata.namespace].append(pod)
    taken: dict[str, Name] = {}
    entries: dict[Name, Entry] = {}
    conflicts = []
    # The oldest keeps an address that two nodes gave to two services while they could not see each other.
    for service in sorted(services, key=lambda s: (s.metadata.creation_timestamp or "", s.metadata.namespace, s.metadata.name)):
        name = Name(service.metadata.namespace, service.metadata.name)
        address = service.spec.cluster_ip
        if not is_service_address(address):
            address = ""
        elif address in taken:
            conflicts.append(f"service {name} has the address {address} of {taken[address]}: create it again to get another")
            address = ""
        else:
            taken[address] = name
        entries[name] = _entry(
            service, name, twin(address, loopback) if loopback and address else address, ready[name.namespace]
        )
    addressed = {entry.address: entry for entry in entries.values() if entry.address}
    namespaces = frozenset(name.namespace for name in entries)
    return Table(node, loopback or NETWORK, entries, addressed, namespaces, tuple(conflicts))


def _entry(service: Service, name: Name, address: str, pods: Iterable[Pod]) -> Entry:
    selected = list(chosen(service, pods))
    served = [port for port in service.spec.ports if port.protocol == "TCP" and port.port in PORTS]
    ports = {port.port: _endpoints(port, selected) for port in served}
    hosts = tuple(sorted({pod.status.pod_ip for pod in selected}))
    return Entry(name, address, service.spec.cluster_ip == HEADLESS, ports, hosts)


def _endpoints(port: ServicePort, pods: Iterable[Pod]) -> tuple[Endpoint, ...]:
    found = ((pod, target(port, pod)) for pod in pods)
    return tuple(
        sorted(Endpoint(pod.metadata.name, pod.spec.node_name, pod.status.pod_ip, number) for pod, number in found if number)
    )


def _answers(pod: Pod) -> bool:
    """Ready, not being deleted, bound, and at an address that can be dialled."""
    if pod.metadata.deletion_timestamp or not pod.spec.node_name or not is_ready(pod):
        return False
    try:
        IPv4Address(pod.status.pod_ip)
    except ValueError:
        return False
    return True
