"""Which pods answer for a service, and where: what the mesh dials and what other groups are shown. Pure."""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from edged.model.core import Node, Pod, Service, ServicePort

PORTS = range(1, 1 << 16)  # what a peer that checks less may have stored beyond is not served


def chosen(service: Service, pods: Iterable[Pod]) -> Iterator[Pod]:
    """Those of the pods of its namespace that a service selects; a service without a selector selects none."""
    selector = service.spec.selector.items()
    return (pod for pod in pods if selector and selector <= pod.metadata.labels.items())


def is_ready(thing: Pod | Node) -> bool:
    """Whether its Ready condition is True."""
    return any(condition.type == "Ready" and condition.status == "True" for condition in thing.status.conditions)


def is_address(text: str) -> bool:
    """Whether it is an IPv4 address: a pod without one is not called."""
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def is_lost(node: Node) -> bool:
    """Whether nobody of its group sees a node: its Ready condition is Unknown."""
    return any(condition.type == "Ready" and condition.status == "Unknown" for condition in node.status.conditions)


def target(port: ServicePort, pod: Pod) -> int | None:
    """The number of the pod's port to which a port of a service leads; None when the pod has none of that name."""
    wanted = port.target_port or port.port
    if isinstance(wanted, int):
        return wanted if wanted in PORTS else None
    ports = (each for container in pod.spec.containers for each in container.ports if each.container_port in PORTS)
    return next((each.container_port for each in ports if each.name == wanted and each.protocol == port.protocol), None)
