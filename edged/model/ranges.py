"""The addresses of pods: each node of a group has a /24, its range, of the group's pod network. Pure.

Nobody allots them. A node takes the range that follows from its name, or the next one that no other Node claims (its
`spec.podCIDR`), and writes that into its own Node. Two that could not see each other may take the same one; when they meet,
the Node that was made first keeps it, of equally old ones the lower name, and the other takes another one.
"""

import hashlib
from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import NamedTuple

from edged.model.core import Node

LENGTH = 24  # of a range: 253 containers; the kubelet's limit is 110 pods
WIDEST, NARROWEST = 16, 22  # of a pod network: 256 ranges, as many as groups have nodes and more; and 4
LEAST_OF_ROUTE = 8  # a route of a shorter prefix is no network but half of a default route, as VPNs set them


class Route(NamedTuple):
    """Where the machine sends what is for `network`."""

    network: IPv4Network
    interface: str


def pod_network(text: str) -> IPv4Network:
    """The pod network that a setting names. ValueError when it is none."""
    try:
        network = IPv4Network(text)
    except ValueError:
        network = IPv4Network("0.0.0.0/0")
    if not WIDEST <= network.prefixlen <= NARROWEST or not network.is_private or network.is_loopback or network.is_link_local:
        raise ValueError(f"expected a private network with /{WIDEST} to /{NARROWEST}, such as 10.42.0.0/16, got {text!r}")
    return network


def claim(name: str, created: str, network: IPv4Network, nodes: Iterable[Node]) -> str:
    """The range that node `name`, whose Node was made at `created`, has or takes; "" when all of them are taken.

    `nodes` are all that are known, with its own Node, which says what it has.
    """
    mine = ""
    others: dict[str, tuple[str, str]] = {}
    for node in nodes:
        said = node.spec.pod_cidr
        if node.metadata.name == name:
            mine = said
        elif said not in others or _age(node) < others[said]:
            others[said] = _age(node)
    if _is_range(mine, network) and (created, name) < others.get(mine, (created, f"{name}\x00")):
        return mine
    count = 1 << LENGTH - network.prefixlen
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    turns = (str(IPv4Network((network[(start + step) % count << 32 - LENGTH], LENGTH))) for step in range(count))
    return next((each for each in turns if each not in others), "")


def range_of(address: str) -> IPv4Network:
    """The range in which an address would be."""
    return IPv4Network((address, LENGTH), strict=False)


def bridge(pods: str) -> str:
    """The interface of the range `pods`: `pods10-42-7` for 10.42.7.0/24. At most 15 characters, as Linux has it."""
    return f"pods{'-'.join(pods.split('.')[:3])}"


def taken(network: IPv4Network, routes: Iterable[Route], own: str) -> Route | None:
    """A route of the machine to somebody else's part of `network`: ours are by interface `own` and by bridges of ranges."""
    for route in routes:
        ours = route.interface in (own, bridge(str(route.network)))
        if route.network.prefixlen >= LEAST_OF_ROUTE and route.network.overlaps(network) and not ours:
            return route
    return None


def _is_range(text: str, network: IPv4Network) -> bool:
    """Whether it is a range of the network, as it is written."""
    try:
        found = IPv4Network(text)
    except ValueError:
        return False
    return found.prefixlen == LENGTH and found.subnet_of(network) and str(found) == text


def _age(node: Node) -> tuple[str, str]:
    return node.metadata.creation_timestamp or "", node.metadata.name
