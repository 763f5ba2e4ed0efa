"""The addresses of this machine, which are told to peers as candidates; asked of the kernel by rtnetlink(7)."""

import ipaddress
import socket
import struct
from collections.abc import Iterator

RTM_NEWADDR, RTM_GETADDR, NLMSG_DONE, NLMSG_ERROR = 20, 22, 3, 2
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFA_ADDRESS, IFA_LOCAL = 1, 2
MAX_ANSWER = 64 << 10  # bytes of one netlink read; the kernel sends at most 32 KiB at a time
ANSWER_S = 1.0  # the kernel answers at once
_MESSAGE = struct.Struct("=IHHII")  # length, type, flags, sequence, port: linux/netlink.h
_ADDRESS = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface: linux/if_addr.h
_ATTRIBUTE = struct.Struct("=HH")  # length, type: linux/rtnetlink.h


def own_addresses(*, ipv6: bool) -> list[str]:
    """IP addresses at which another machine may reach this one: no loopback, no link-local ones. Without duplicates."""
    request = _ADDRESS.pack(socket.AF_UNSPEC if ipv6 else socket.AF_INET, 0, 0, 0, 0)
    head = _MESSAGE.pack(_MESSAGE.size + len(request), RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    found: dict[str, None] = {}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
        kernel.settimeout(ANSWER_S)
        kernel.send(head + request)
        more = True
        while more:
            for kind, body in _messages(kernel.recv(MAX_ANSWER)):
                if kind in (NLMSG_DONE, NLMSG_ERROR):
                    more = False
                elif kind == RTM_NEWADDR:
                    found.update((str(ip), None) for ip in _addresses(body) if not (ip.is_loopback or ip.is_link_local))
    return list(found)


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
