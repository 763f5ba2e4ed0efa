"""What the mesh acts on: each service with its doors, its ports and the pods that answer. Built anew on every change."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from edged.mesh.addresses import NETWORK, allocate, is_service_address, twin
from edged.mesh.names import Name
from edged.mesh.pods import Pods
from edged.mesh.policy import USUAL, Policy, policies, policy_of
from edged.model.closure import AllowFrom, allow_from, is_exported
from edged.model.core import Pod, Service, ServicePort
from edged.model.endpoints import PORTS, chosen, is_address, is_ready, target
from edged.model.istio import DestinationRule
from edged.model.multicluster import CLUSTER_SET_IP, ServiceImport
from edged.model.rules.services import EXTERNAL_NAME, HEADLESS, LOCAL, NODE_PORTS

TCP, UDP = PROTOCOLS = ("TCP", "UDP")
ANY = ""  # the address of a door that is at all addresses of the node


class Endpoint(NamedTuple):
    """A pod that answers a port of a service: where it runs, and what to dial there.

    `node` is GROUP/NAME in another group, whose addresses nobody here needs to know: `ip` is "".
    """

    pod: str
    node: str
    ip: str
    port: int


class Port(NamedTuple):
    """A port of a service as its clients call it."""

    protocol: str
    number: int


class Served(NamedTuple):
    """What stands behind a port: `name` is the port's in the Service, `node_port` 0 when it has none."""

    name: str
    node_port: int
    endpoints: tuple[Endpoint, ...]


class Entry(NamedTuple):
    """One service. `address` is what clients on this node dial, "" when it has none.

    `hosts` are the addresses of its ready pods: what the name of a headless service resolves to. `external_name`: its name
    stands for that one. `policy` says how its calls are shared, `allow` who may make them (None: everybody), `exported` whether
    other groups may.
    """

    name: Name
    address: str
    headless: bool
    ports: Mapping[Port, Served]
    hosts: tuple[str, ...]
    external_name: str = ""
    external_ips: tuple[str, ...] = ()
    policy: Policy = USUAL
    exported: bool = False
    allow: AllowFrom | None = None


class Door(NamedTuple):
    """What a client on this node, or who reaches this node, dials. The address of a node port is ANY."""

    address: str
    protocol: str
    port: int


class Called(NamedTuple):
    """What a call is for: a port of a service, where a door leads, or of a `pod` itself, called by its address.

    The name of a pod has the pod's namespace and no service.
    """

    name: Name
    port: Port
    pod: str = ""

    def __str__(self) -> str:
        """`default/web:80/TCP`, as in logs."""
        return f"{self.name}{self.pod}:{self.port.number}/{self.port.protocol}"


class Caller(NamedTuple):
    """Who calls: a pod of `namespace`, at `source` when other nodes know it by that address; both "" when it is no pod."""

    namespace: str
    source: str


class Table(NamedTuple):
    """All services as `node` sees them. `network` is the /16 of their addresses, 9.251.0.0/16 or its loopback twin.

    `namespace_of` says of which namespace the pod of this node is that has an address.
    `conflicts` says in words which service lacks an address or a node port because another one has it already.
    """

    node: str
    network: str
    entries: Mapping[Name, Entry]
    addressed: Mapping[str, Entry]
    namespaces: frozenset[str]
    conflicts: tuple[str, ...]
    doors: Mapping[Door, Called] = MappingProxyType({})
    namespace_of: Mapping[str, str] = MappingProxyType({})
    pods: Pods = Pods()

    def endpoints(self, name: Name, port: int, protocol: str = TCP) -> tuple[Endpoint, ...]:
        """Who answers `port` of service `name`: empty when nobody does, or there is no such port."""
        entry = self.entries.get(name)
        served = entry.ports.get(Port(protocol, port)) if entry else None
        return served.endpoints if served else ()

    def answering(self, called: Called) -> tuple[Endpoint, ...]:
        """Who answers: empty when nobody does."""
        if not called.pod:
            return self.endpoints(called.name, called.port.number, called.port.protocol)
        pod = self.pods.named.get((called.name.namespace, called.pod))
        return (Endpoint(pod.name, pod.node, pod.ip, called.port.number),) if pod else ()

    def admits(self, called: Called, namespace: str) -> bool:
        """Whether a caller on this node, a pod of `namespace` or ("") none, may call that."""
        if called.pod:
            pod = self.pods.named.get((called.name.namespace, called.pod))
            return pod is None or pod.admits(self.node, namespace)
        entry = self.entries.get(called.name)
        return entry is None or entry.allow is None or entry.allow.passes(self.node, namespace)

    def policy(self, name: Name) -> Policy:
        """How the calls of a service are shared."""
        entry = self.entries.get(name)
        return entry.policy if entry is not None else USUAL

    def caller(self, address: str) -> Caller:
        """Who a client on this node is."""
        namespace = self.namespace_of.get(address, "")
        return Caller(namespace, address if address in self.namespace_of and self.pods.covers(address) else "")

    def called(self, address: str, port: int, protocol: str = TCP) -> Called | None:
        """Where an address leads that a client dialled, by its door or to a pod; None when to nothing."""
        if self.pods.covers(address):
            pod = self.pods.at.get(address)
            return Called(Name(pod.namespace, ""), Port(protocol, port), pod.name) if pod else None
        return self.doors.get(Door(address, protocol, port)) or self.doors.get(Door(ANY, protocol, port))


def build(
    services: Iterable[Service],
    pods: Iterable[Pod],
    node: str,
    loopback: str | None = None,
    lost: Collection[str] = (),
    rules: Iterable[DestinationRule] = (),
    imports: Iterable[ServiceImport] = (),
    group: str = "",
    by_address: Pods | None = None,
) -> Table:
    """The table of `node`. `by_address` are pods that are called by theirs.

    With `loopback` (a /16) each service is served at its twin there instead of its own address.

    Pods of `lost` nodes, which nobody sees, are not called: a call would wait for them in vain. `imports` are services of
    other groups than `group`: they have an address here when no service of the name is, and answer for one that is exported.
    """
    local = defaultdict(list)
    for pod in pods:
        if may_answer(pod) and pod.spec.node_name not in lost:
            local[pod.metadata.namespace].append(pod)
    said, abroad = policies(rules), _abroad(imports, group)
    # The oldest keeps what two nodes gave to two services while they could not see each other.
    known = sorted(services, key=lambda s: (s.metadata.creation_timestamp or "", s.metadata.namespace, s.metadata.name))
    entries: dict[Name, Entry] = {}
    for service in known:
        entry = _entry(service, local[service.metadata.namespace], node, loopback, policy_of(service, said))
        ports = abroad.pop(entry.name, {})
        entries[entry.name] = _joined(entry, ports) if entry.exported else entry
    given = {service.spec.cluster_ip for service in known}
    for name, ports in sorted(abroad.items()):
        address = allocate(*name, given)  # known on this node alone, as are its clients
        given.add(address)
        policy = said.get(name, USUAL)
        entries[name] = Entry(name, _here(address, loopback), headless=False, ports=ports, hosts=(), policy=policy)
    addressed: dict[str, Entry] = {}
    doors: dict[Door, Called] = {}
    conflicts: list[str] = []
    for entry in entries.values():
        if (before := addressed.get(entry.address)) is not None:
            address = _there(entry.address)
            conflicts.append(f"service {entry.name} has the address {address} of {before.name}: create it again to get another")
            entries[entry.name] = entry._replace(address="")
        elif entry.address:
            addressed[entry.address] = entry
        for door, called in _doors(entries[entry.name], rootless=loopback is not None):
            if doors.setdefault(door, called) != called:
                where = f"{door.address or 'node port'} {door.port}/{door.protocol}"
                conflicts.append(f"service {entry.name} has {where} of {doors[door].name}, which keeps it")
    return Table(
        *(node, loopback or NETWORK, entries, addressed),
        namespaces=frozenset(name.namespace for name in entries),
        conflicts=tuple(conflicts),
        doors=doors,
        namespace_of=_callers((pod for each in local.values() for pod in each), node),
        pods=by_address or Pods(),
    )


def _callers(pods: Iterable[Pod], node: str) -> dict[str, str]:
    """The namespaces of the pods of `node` by address. Pods on the host's network cannot be told from the host."""
    mine = (pod for pod in pods if pod.spec.node_name == node and not pod.spec.host_network)
    return {pod.status.pod_ip: pod.metadata.namespace for pod in mine}


def _abroad(imports: Iterable[ServiceImport], group: str) -> dict[Name, dict[Port, Served]]:
    """By service what other groups than `group` answer. Endpoints that are not ready are not there."""
    found: dict[Name, dict[Port, Served]] = {}
    for each in sorted(imports, key=lambda i: (i.metadata.namespace, i.metadata.name)):
        service, _, home = each.metadata.name.rpartition(".")
        if home == group or not service or each.spec.type != CLUSTER_SET_IP:
            continue
        ports = found.setdefault(Name(each.metadata.namespace, service), {})
        for port in each.spec.ports:
            if port.protocol in PROTOCOLS and port.port in PORTS:
                key, before = Port(port.protocol, port.port), ports.get(Port(port.protocol, port.port))
                ready = tuple(
                    Endpoint(endpoint.pod, f"{home}/{endpoint.node}", "", port.port)
                    for endpoint in each.status.endpoints
                    if endpoint.ready and any(target.port == port.port for target in endpoint.ports)
                )
                ports[key] = Served(port.name, 0, (before.endpoints if before else ()) + ready)
    return found


def _joined(entry: Entry, abroad: Mapping[Port, Served]) -> Entry:
    """A service with what other groups answer for it, too."""
    ports = {
        port: served._replace(endpoints=served.endpoints + abroad[port].endpoints) if port in abroad else served
        for port, served in entry.ports.items()
    }
    return entry._replace(ports=ports)


def _here(address: str, loopback: str | None) -> str:
    return twin(address, loopback) if loopback and address else address


def _there(address: str) -> str:
    """The service address of an address here."""
    return twin(address, NETWORK)


def _entry(service: Service, pods: Iterable[Pod], node: str, loopback: str | None, policy: Policy) -> Entry:
    spec = service.spec
    name = Name(service.metadata.namespace, service.metadata.name)
    if spec.type == EXTERNAL_NAME:
        return Entry(name, "", headless=False, ports={}, hosts=(), external_name=spec.external_name)
    address = spec.cluster_ip if is_service_address(spec.cluster_ip) else ""
    selected = list(behind(service, pods))
    near = [pod for pod in selected if pod.spec.node_name == node or spec.internal_traffic_policy != LOCAL]
    return Entry(
        name,
        _here(address, loopback),
        headless=spec.cluster_ip == HEADLESS,
        ports={
            Port(port.protocol, port.port): Served(port.name, port.node_port, _endpoints(port, near))
            for port in spec.ports
            if port.protocol in PROTOCOLS and port.port in PORTS
        },
        hosts=tuple(sorted({pod.status.pod_ip for pod in selected})),
        external_ips=tuple(address for address in spec.external_ips if is_address(address)),
        policy=policy,
        exported=is_exported(service),
        allow=allow_from(service.metadata.annotations),
    )


def _doors(entry: Entry, *, rootless: bool) -> Iterable[tuple[Door, Called]]:
    addresses = [entry.address] if entry.address else []
    if not rootless:  # without root nobody may answer for an address that is not his
        addresses += entry.external_ips
    for port, served in entry.ports.items():
        called = Called(entry.name, port)
        yield from ((Door(address, port.protocol, port.number), called) for address in addresses)
        if served.node_port in NODE_PORTS:
            yield Door(ANY, port.protocol, served.node_port), called


def _endpoints(port: ServicePort, pods: Iterable[Pod]) -> tuple[Endpoint, ...]:
    found = ((pod, target(port, pod)) for pod in pods)
    return tuple(
        sorted(Endpoint(pod.metadata.name, pod.spec.node_name, pod.status.pod_ip, number) for pod, number in found if number)
    )


def behind(service: Service, pods: Iterable[Pod]) -> Iterable[Pod]:
    """Those of the pods of its namespace that may answer which a service shows: ready, or all it selects if it says so."""
    unready = service.spec.publish_not_ready_addresses
    return (pod for pod in chosen(service, pods) if unready or is_ready(pod))


def may_answer(pod: Pod) -> bool:
    """Whether a pod that is ready is called: not ended, not being deleted, bound, and at an address that can be dialled."""
    going = pod.metadata.deletion_timestamp or pod.status.phase in ("Succeeded", "Failed")
    return not going and bool(pod.spec.node_name) and is_address(pod.status.pod_ip)
