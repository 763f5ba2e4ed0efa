"""Service addresses: given by hash out of 9.251.0.0/16, and their twins on loopback for a node without root.

And the aliases here of pods on other nodes: what calls for them comes from their alias, which a rule makes their address.
"""

import hashlib
from collections.abc import Container
from ipaddress import IPv4Address, IPv4Network

from edged.errors import InvalidError

NETWORK = "9.251.0.0/16"
LOOPBACK = "127.96.0.0/16"
ALIASES = "240.42.0.0/16"  # of a class that no network has (RFC 1112, 4); only this machine ever sees them
FIRST = 0x0100  # the low 16 bits of the first address that is given: x.y.0.* stays free, the twin DNS server lives there
LAST = 0xFFFE  # x.y.255.255 looks like a broadcast

_BASE = int(IPv4Network(NETWORK).network_address)
_MASK = 0xFFFF


def allocate(namespace: str, name: str, used: Container[str]) -> str:
    """The address for service `namespace/name`: always the same one, or when that is in `used` the next free one.

    Two nodes that cannot see each other give the same service the same address. InvalidError when none is free.
    """
    count = LAST - FIRST + 1
    start = int.from_bytes(hashlib.sha256(f"{namespace}/{name}".encode()).digest()[:8], "big") % count
    for step in range(count):
        address = str(IPv4Address(_BASE + FIRST + (start + step) % count))
        if address not in used:
            return address
    raise InvalidError(f"no address is free in {NETWORK} for service {namespace}/{name}")


def is_service_address(text: str) -> bool:
    """Whether `text` is an address that a service may have."""
    try:
        address = int(IPv4Address(text))
    except ValueError:
        return False
    return address & ~_MASK == _BASE and FIRST <= address & _MASK <= LAST


def twin(address: str, loopback: str = LOOPBACK) -> str:
    """The address in `loopback` (a /16) with the same low 16 bits: where a node without root serves `address`."""
    return str(IPv4Address(int(IPv4Network(loopback).network_address) | int(IPv4Address(address)) & _MASK))


def aliases(pods: IPv4Network) -> IPv4Network:
    """The aliases of a pod network, as many as it has addresses."""
    return IPv4Network((IPv4Network(ALIASES).network_address, pods.prefixlen))


def alias(address: str, pods: IPv4Network) -> str:
    """The address here that stands for a pod's of the network `pods`."""
    return str(IPv4Address(int(aliases(pods).network_address) | int(IPv4Address(address)) & int(pods.hostmask)))
