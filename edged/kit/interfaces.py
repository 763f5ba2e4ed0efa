"""The addresses of this machine, their networks, and the interfaces that carry multicast; asked by rtnetlink(7)."""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress

RTM_NEWLINK, RTM_GETLINK, RTM_NEWADDR, RTM_GETADDR, NLMSG_DONE, NLMSG_ERROR = 16, 18, 20, 22, 3, 2
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFA_ADDRESS, IFA_LOCAL = 1, 2
MAX_ANSWER = 64 << 10  # bytes of one netlink read; the kernel sends at most 32 KiB at a time
ANSWER_S = 1.0  # the kernel answers at once
_MESSAGE = struct.Struct("=IHHII")  # length, type, flags, sequence, port: linux/netlink.h
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface: linux/if_addr.h
_LINK = struct.Struct("=BxHiII")  # family, type, interface, flags, change mask: linux/rtnetlink.h
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
    attributes: dict[int, bytes] = {}
    rest = body[_ADDRESS.size :]
    while len(rest) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(rest)
        attributes[kind] = rest[_ATTRIBUTE.size : length]
        rest = rest[_aligned(length) :]
    packed = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
    if packed:
        yield ipaddress.ip_address(packed)


def _aligned(length: int) -> int:
    return max((length + 3) & ~3, 4)
