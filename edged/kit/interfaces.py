"""The addresses of this machine, its networks, routes and gateway, and what carries multicast; by rtnetlink(7)."""

import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR, RTM_NEWROUTE, RTM_GETROUTE = 16, 18, 20, 22, 24, 26
NLMSG_DONE, NLMSG_ERROR = 3, 2
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
MAIN, UNICAST = 254, 1  # the routing table that people see, and the routes that lead somewhere: linux/rtnetlink.h
MAX_ANSWER = 64 << 10  # bytes of one netlink read; the kernel sends at most 32 KiB at a time
INTERFACES = Path("/sys/class/net")
MTU = 1500  # of Ethernet: the networks beyond have no larger one
ANSWER_S = 1.0  # the kernel answers at once
_MESSAGE = struct.Struct("=IHHII")  # length, type, flags, sequence, port: linux/netlink.h
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface: linux/if_addr.h
_LINK = struct.Struct("=BxHiII")  # family, type, interface, flags, change mask: linux/rtnetlink.h
_ROUTE = struct.Struct("=BB2xBxxBI")  # family, prefix length, table, type, flags: linux/rtnetlink.h
MULTICAST = 0x1 | 0x1000  # IFF_UP and IFF_MULTICAST of linux/if.h
_ATTRIBUTE = struct.Struct("=HH")  # length, type: linux/rtnetlink.h


def own_addresses(*, ipv6: bool) -> list[str]:
    """IP addresses at which another machine may reach this one: no loopback, no link-local ones. Without duplicates."""
    request = _ADDRESS.pack(socket.AF_UNSPEC if ipv6 else socket.AF_INET, 0, 0, 0, 0)
    return list(dict.fromkeys(str(ip) for _, ip in _reachable(_dumped(RTM_GETADDR, request))))


def networks() -> dict[str, list[ipaddress.IPv4Interface]]:
    """The IPv4 addresses of this machine with their networks, by the name of the interface; loopback's too."""
    found: dict[str, list[ipaddress.IPv4Interface]] = {}
    for kind, body in _dumped(RTM_GETADDR, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)):
        if kind == RTM_NEWADDR and len(body) >= _ADDRESS.size:
            _family, length, _flags, _scope, index = _ADDRESS.unpack_from(body)
            for ip in _addresses(body):
                with suppress(OSError):  # the interface went since
                    found.setdefault(socket.if_indextoname(index), []).append(ipaddress.IPv4Interface((ip.packed, length)))
    return found


def routes() -> list[tuple[ipaddress.IPv4Network, str]]:
    """The networks to which this machine has routes (IPv4), each with the name of the interface that leads there."""
    found = []
    for length, attributes in _routes():
        if RTA_OIF in attributes:
            network = ipaddress.IPv4Network((attributes.get(RTA_DST, bytes(4)), length))
            with suppress(OSError):  # the interface went since
                found.append((network, socket.if_indextoname(_number(attributes[RTA_OIF]))))
    return found


def default_gateway() -> str | None:
    """The IPv4 address of the router by which all goes that no other route takes; None when there is none."""
    found = [
        (_number(attributes.get(RTA_PRIORITY, b"")), str(ipaddress.IPv4Address(gateway)))
        for length, attributes in _routes()
        if length == 0 and len(gateway := attributes.get(RTA_GATEWAY, b"")) == 4
    ]
    return min(found)[1] if found else None


def way_out_mtu() -> int:
    """The MTU of the interface of the default route, such as 1428 of a mobile network; at most, and without one, MTU."""
    out = [name for network, name in routes() if network.prefixlen == 0]
    try:
        return min([MTU, *(int((INTERFACES / name / "mtu").read_text()) for name in out)])
    except OSError:  # it went since
        return MTU


def multicast_interfaces() -> dict[int, list[str]]:
    """The interfaces that are up and carry multicast, by their index, each with its IPv4 addresses of `own_addresses`."""
    able = set()
    for kind, body in _dumped(RTM_GETLINK, _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        if kind == RTM_NEWLINK and len(body) >= _LINK.size:
            _family, _type, index, flags, _mask = _LINK.unpack_from(body)
            if flags & MULTICAST == MULTICAST:
                able.add(index)
    found: dict[int, list[str]] = {}
    for index, ip in _reachable(_dumped(RTM_GETADDR, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0))):
        if index in able:
            found.setdefault(index, []).append(str(ip))
    return found


def _dumped(request: int, body: bytes) -> list[tuple[int, bytes]]:
    """All that the kernel answers to a request for a list: (type, body)."""
    head = _MESSAGE.pack(_MESSAGE.size + len(body), request, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    answers: list[tuple[int, bytes]] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(ANSWER_S)
        kernel.send(head + body)
        while not (answers and answers[-1][0] in (NLMSG_DONE, NLMSG_ERROR)):
            answers += _messages(kernel.recv(MAX_ANSWER))
    return answers


def _routes() -> Iterator[tuple[int, dict[int, bytes]]]:
    """(prefix length, attributes) of each IPv4 route that people see and that leads somewhere."""
    for kind, body in _dumped(RTM_GETROUTE, _ROUTE.pack(socket.AF_INET, 0, 0, 0, 0)):
        if kind == RTM_NEWROUTE and len(body) >= _ROUTE.size:
            _family, length, table, type_, _flags = _ROUTE.unpack_from(body)
            if (table, type_) == (MAIN, UNICAST):
                yield length, _attributes(body[_ROUTE.size :])


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


def _reachable(answers: list[tuple[int, bytes]]) -> Iterator[tuple[int, ipaddress.IPv4Address | ipaddress.IPv6Address]]:
    """(interface, address) of those that other machines may use."""
    for kind, body in answers:
        if kind == RTM_NEWADDR and len(body) >= _ADDRESS.size:
            for ip in _addresses(body):
                if not (ip.is_loopback or ip.is_link_local):
                    yield _ADDRESS.unpack_from(body)[4], ip


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _MESSAGE.size:
        length, kind, _flags, _sequence, _port = _MESSAGE.unpack_from(data)
        yield kind, data[_MESSAGE.size : length]
        data = data[_aligned(length) :]


def _addresses(body: bytes) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The address of one RTM_NEWADDR: of a point-to-point interface IFA_LOCAL is ours and IFA_ADDRESS the other end's."""
    attributes = _attributes(body[_ADDRESS.size :])
    packed = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
    if packed:
        yield ipaddress.ip_address(packed)


def _attributes(rest: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        found[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[_aligned(length) :]
    return found


def _aligned(length: int) -> int:
    return max((length + 3) & ~3, 4)
