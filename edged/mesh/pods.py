"""The pods that are called by their own addresses, anywhere in the group. Pure.

A pod has an address of its own when it is in the group's pod network; which node it is on is looked up here, not in the
ranges of the nodes: a pod that runs on keeps its address when its node had to take another range.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network
from types import MappingProxyType
from typing import NamedTuple

from edged.model.closure import AllowFrom, allow_from
from edged.model.core import Node, Pod, Service
from edged.model.endpoints import chosen

ENDED = ("Succeeded", "Failed")
CONTAINERS = range(2, 255)  # last bytes: .1 is the node itself on the bridge, which nobody may call by way of a pod
Key = tuple[str, str]  # namespace and name


class Member(NamedTuple):
    """A pod: where it is, and who may call it: everybody whom each of `allow` lets."""

    namespace: str
    name: str
    node: str
    ip: str
    allow: tuple[AllowFrom, ...] = ()

    def admits(self, node: str, namespace: str) -> bool:
        """Whether a caller on `node`, a pod of `namespace` or ("") none, may call it."""
        return all(each.passes(node, namespace) for each in self.allow)


class Pods(NamedTuple):
    """Pods by name and by address. `network` is the pod network, None on a node that has nothing to do with it.

    `own` is the range of this node; None when it has none.
    """

    network: IPv4Network | None = None
    own: IPv4Network | None = None
    named: Mapping[Key, Member] = MappingProxyType({})
    at: Mapping[str, Member] = MappingProxyType({})

    def covers(self, address: str) -> bool:
        """Whether an address is of the pod network, and of a pod: the first ones and the last one of a range are not."""
        if self.network is None:
            return False
        try:
            found = IPv4Address(address)
        except ValueError:
            return False
        return found in self.network and found.packed[-1] in CONTAINERS


def members(
    network: IPv4Network | None,
    services: Iterable[Service],
    pods: Iterable[Pod],
    nodes: Iterable[Node],
    node: str,
    lost: Collection[str] = (),
) -> Pods:
    """The pods that `node` may call by address, ready or not, in `network`; none on `lost` nodes, which nobody sees.

    Of two at one address, which two nodes with the same range gave, the one of this node is called, then the one whose node
    has the range now. A service with `edged.io/allow-from` restricts the pods that it selects at their addresses, too.
    """
    if network is None:
        return Pods()
    here = Pods(network)
    ranges = {each.metadata.name: _range(each, network) for each in nodes}
    restricted: dict[str, list[tuple[Service, AllowFrom]]] = defaultdict(list)
    for service in services:
        if (allow := allow_from(service.metadata.annotations)) is not None:
            restricted[service.metadata.namespace].append((service, allow))
    found = []
    for pod in pods:
        if here.covers(pod.status.pod_ip) and _runs(pod) and pod.spec.node_name not in lost:
            rules = tuple(rule for service, rule in restricted[pod.metadata.namespace] if any(chosen(service, [pod])))
            found.append(Member(pod.metadata.namespace, pod.metadata.name, pod.spec.node_name, pod.status.pod_ip, rules))
    found.sort(key=lambda each: (each.node != node, not _within(each.ip, ranges.get(each.node)), each.namespace, each.name))
    at: dict[str, Member] = {}
    for each in found:
        at.setdefault(each.ip, each)
    return Pods(network, ranges.get(node), {(each.namespace, each.name): each for each in found}, at)


def _runs(pod: Pod) -> bool:
    """Whether a pod runs somewhere, with an address of its own."""
    return bool(pod.spec.node_name) and not pod.spec.host_network and pod.status.phase not in ENDED


def _range(node: Node, network: IPv4Network) -> IPv4Network | None:
    try:
        said = IPv4Network(node.spec.pod_cidr)
    except ValueError:
        return None
    return said if said.subnet_of(network) else None


def _within(address: str, range_: IPv4Network | None) -> bool:
    return range_ is not None and IPv4Address(address) in range_
