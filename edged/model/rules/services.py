"""Rules for services (Kubernetes, `core/validation`)."""

from collections.abc import Iterator

from edged.errors import Cause
from edged.model import causes, names
from edged.model.core import Service, ServicePort, ServiceSpec
from edged.model.rules.metadata import labels
from edged.model.rules.pods import PROTOCOLS, address, port_number

TYPES = ("ClusterIP",)  # what the mesh serves; NodePort, LoadBalancer and ExternalName are refused, not ignored
HEADLESS = "None"


def service(parsed: Service) -> Iterator[Cause]:
    """A service."""
    spec = parsed.spec
    if not spec.ports and spec.cluster_ip != HEADLESS:
        yield causes.required("spec.ports")
    if spec.type not in TYPES:
        yield causes.unsupported("spec.type", spec.type, TYPES)
    yield from _ports(spec.ports)
    yield from labels(spec.selector, "spec.selector")
    yield from _addresses(spec)


def service_changes(new: Service, old: Service) -> Iterator[Cause]:
    """Clients may hold the address: it stays."""
    if old.spec.cluster_ip and new.spec.cluster_ip != old.spec.cluster_ip:
        yield causes.invalid("spec.clusterIPs[0]", [new.spec.cluster_ip], "may not change once set")


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


def _addresses(spec: ServiceSpec) -> Iterator[Cause]:
    for at, given in enumerate(spec.cluster_ips):
        if given != HEADLESS:
            yield from address(given, f"spec.clusterIPs[{at}]")
    if not spec.cluster_ips and spec.cluster_ip not in {"", HEADLESS}:
        yield from address(spec.cluster_ip, "spec.clusterIP")
    if spec.cluster_ips and spec.cluster_ips[0] != spec.cluster_ip:
        yield causes.invalid("spec.clusterIPs", list(spec.cluster_ips), "first value must match `clusterIP`")
