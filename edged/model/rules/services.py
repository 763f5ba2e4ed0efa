"""Rules for services (Kubernetes, `core/validation`)."""

from collections.abc import Iterator
from ipaddress import IPv4Address

from edged.errors import Cause
from edged.model import causes, names
from edged.model.closure import ALLOW_FROM, wrong_words
from edged.model.core import Service, ServicePort, ServiceSpec
from edged.model.rules.metadata import labels
from edged.model.rules.pods import PROTOCOLS, address, port_number

CLUSTER_IP, EXTERNAL_NAME, NODE_PORT = TYPES = ("ClusterIP", "ExternalName", "NodePort")  # LoadBalancer is refused, not ignored
NO_AFFINITY, CLIENT_IP = AFFINITIES = ("None", "ClientIP")
CLUSTER, LOCAL = POLICIES = ("Cluster", "Local")
LONGEST_AFFINITY_S = 86400  # as in Kubernetes: a day
NODE_PORTS = range(30000, 32768)
HEADLESS = "None"


def service(parsed: Service) -> Iterator[Cause]:
    """A service."""
    spec = parsed.spec
    if not spec.ports and spec.cluster_ip != HEADLESS and spec.type != EXTERNAL_NAME:
        yield causes.required("spec.ports")
    if spec.type not in TYPES:
        yield causes.unsupported("spec.type", spec.type, TYPES)
    yield from _ports(spec.ports)
    yield from _node_ports(spec)
    yield from labels(spec.selector, "spec.selector")
    yield from _external_name(spec)
    yield from _addresses(spec)
    yield from _external_addresses(spec.external_ips)
    yield from _traffic(spec)
    for word in wrong_words(parsed.metadata.annotations):
        yield causes.invalid(f"metadata.annotations[{ALLOW_FROM}]", word, "must be namespace:NAME or node:[GROUP/]NAME")


def service_changes(new: Service, old: Service) -> Iterator[Cause]:
    """Clients may hold the address: it stays."""
    before, after = old.spec, new.spec
    if before.cluster_ip and after.cluster_ip != before.cluster_ip and EXTERNAL_NAME not in (before.type, after.type):
        yield causes.invalid("spec.clusterIPs[0]", [after.cluster_ip], "may not change once set")


def _ports(ports: tuple[ServicePort, ...]) -> Iterator[Cause]:
    seen: set[str] = set()
    places: set[tuple[str, int]] = set()
    for at, port in enumerate(ports):
        where = f"spec.ports[{at}]"
        if not port.name and len(ports) > 1:
            yield causes.required(f"{where}.name")
        elif port.name and (wrong := names.label(port.name)):
            yield causes.invalid(f"{where}.name", port.name, wrong)
        elif port.name in seen:
            yield causes.duplicate(f"{where}.name", port.name)
        seen.add(port.name)
        yield from port_number(port.port, f"{where}.port")
        if port.protocol not in PROTOCOLS:
            yield causes.unsupported(f"{where}.protocol", port.protocol, PROTOCOLS)
        yield from _target(port.target_port, f"{where}.targetPort")
        if (port.protocol, port.port) in places:
            yield causes.duplicate(where, {"protocol": port.protocol, "port": port.port})
        places.add((port.protocol, port.port))


def _target(target: int | str | None, path: str) -> Iterator[Cause]:
    if isinstance(target, int):
        yield from port_number(target, path)
    elif target is not None and (wrong := names.port_name(target)):
        yield causes.invalid(path, target, wrong)


def _node_ports(spec: ServiceSpec) -> Iterator[Cause]:
    taken: set[tuple[str, int]] = set()
    for at, port in enumerate(spec.ports):
        where = f"spec.ports[{at}].nodePort"
        if port.node_port and spec.type != NODE_PORT:
            yield causes.forbidden(where, f"may not be used when `type` is '{spec.type}'")
        elif port.node_port and port.node_port not in NODE_PORTS:
            allowed = f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
            yield causes.invalid(where, port.node_port, f"provided port is not in the valid range: {allowed}")
        elif port.node_port and (port.protocol, port.node_port) in taken:
            yield causes.duplicate(where, port.node_port)
        taken.add((port.protocol, port.node_port))
    if spec.type == NODE_PORT and spec.cluster_ip == HEADLESS:
        yield causes.invalid("spec.clusterIPs[0]", HEADLESS, "may not be set to 'None' for NodePort services")


def _external_name(spec: ServiceSpec) -> Iterator[Cause]:
    if spec.type != EXTERNAL_NAME:
        return
    if spec.cluster_ip:
        yield causes.forbidden("spec.clusterIPs", "may not be set for ExternalName services")
    if not spec.external_name:
        yield causes.required("spec.externalName")
    elif wrong := names.subdomain(spec.external_name.removesuffix(".")):
        yield causes.invalid("spec.externalName", spec.external_name, wrong)


def _addresses(spec: ServiceSpec) -> Iterator[Cause]:
    for at, given in enumerate(spec.cluster_ips):
        if given != HEADLESS:
            yield from address(given, f"spec.clusterIPs[{at}]")
    if not spec.cluster_ips and spec.cluster_ip not in {"", HEADLESS}:
        yield from address(spec.cluster_ip, "spec.clusterIP")
    if spec.cluster_ips and spec.cluster_ips[0] != spec.cluster_ip:
        yield causes.invalid("spec.clusterIPs", list(spec.cluster_ips), "first value must match `clusterIP`")


def _external_addresses(addresses: tuple[str, ...]) -> Iterator[Cause]:
    """Addresses that would take from a node what it needs for itself are refused, as in Kubernetes."""
    for at, text in enumerate(addresses):
        where = f"spec.externalIPs[{at}]"
        try:
            given = IPv4Address(text)
        except ValueError:
            yield causes.invalid(where, text, "must be a valid IPv4 address: IPv6 is not served")
            continue
        if given.is_unspecified or given.is_loopback or given.is_link_local or given.is_multicast:
            yield causes.invalid(where, text, "may not be an unspecified, loopback, link-local or multicast address")


def _traffic(spec: ServiceSpec) -> Iterator[Cause]:
    if spec.session_affinity not in AFFINITIES:
        yield causes.unsupported("spec.sessionAffinity", spec.session_affinity, AFFINITIES)
    seconds = spec.session_affinity_config.client_ip.timeout_seconds
    if not 0 < seconds <= LONGEST_AFFINITY_S:
        allowed = f"must be greater than 0 and less than {LONGEST_AFFINITY_S}"
        yield causes.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, allowed)
    if spec.internal_traffic_policy not in POLICIES:
        yield causes.unsupported("spec.internalTrafficPolicy", spec.internal_traffic_policy, POLICIES)
