"""Which of the addresses that a peer tells are probed, and which of ours are told because others see us there."""

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence

from edged.kit.address import Address, parse_address
from edged.wire.peer import MAX_CANDIDATES

MAX_OUTSIDE = 4  # of our candidates: two of IPv4 and two of IPv6, or what several ways out make


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


def outside(asked: Sequence[Address], relay: str | None, seen: Iterable[Address | None], port: int) -> list[Address]:
    """Our addresses as others see them, the likeliest first.

    `asked` are what the relay's UDP ports say. Before, or without such, there is `relay`, from where our WebSocket comes: many
    NATs keep the UDP socket's `port` on that host. `seen` is what pongs of our peers say; one alone may be by a NAT that draws
    a port for each peer, and worth nothing to others.
    """
    counted = Counter(address for address in seen if address is not None)
    found = list(asked) or ([Address(parse_address(relay).host, port)] if relay is not None else [])
    return list(dict.fromkeys([*found, *(address for address, count in counted.most_common() if count > 1)]))[:MAX_OUTSIDE]


def _one_host(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not (ip.is_multicast or ip.is_unspecified or ip.is_link_local or (ip.is_reserved and not ip.is_loopback))
