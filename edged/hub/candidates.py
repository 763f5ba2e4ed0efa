"""Which of the addresses that a peer tells are probed."""

import ipaddress
from collections.abc import Iterable

from edged.kit.address import Address, parse_address
from edged.wire.peer import MAX_CANDIDATES


def candidates(texts: Iterable[str], *, ipv6: bool, loopback: bool) -> list[Address]:
    """What may be probed of the addresses that a peer told, at most MAX_CANDIDATES; the rest is left out.

    They are IP addresses of one host each: nobody makes us send to a group. IPv6 ones count when our socket is IPv6,
    loopback ones when it is bound there.
    """
    taken: dict[Address, None] = {}
    for text in texts:
        if len(taken) == MAX_CANDIDATES:
            break
        try:
            address = parse_address(text)
        except ValueError:
            continue
        ip = address.ip
        if ip is not None and address.port and _one_host(ip) and (ipv6 or ip.version == 4) and (loopback or not ip.is_loopback):
            taken[Address(str(ip), address.port)] = None
    return list(taken)


def _one_host(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not (ip.is_multicast or ip.is_unspecified or ip.is_link_local or (ip.is_reserved and not ip.is_loopback))
