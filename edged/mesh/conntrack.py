"""The kernel's memory of rewritten UDP flows: made to forget those whose pod is gone (linux/netfilter/nfnetlink_conntrack.h).

A rule decides on the first datagram of a flow; the kernel remembers for as long as the client goes on. A client that keeps
its port would send to an address of nobody for good. TCP needs none of this: its connections break with their pod.
"""

import os
import socket
import struct
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from edged.errors import UnreachableError

NETLINK_NETFILTER = 12
GET, DELETE = 0x0101, 0x0102  # the subsystem of connection tracking in the high byte, the message in the low one
REQUEST, DUMP, ACK = 0x1, 0x300, 0x4
ERROR, DONE = 2, 3
TUPLE_ORIG, TUPLE_REPLY = 1, 2
TUPLE_IP, TUPLE_PROTO = 1, 2
IP_SRC, IP_DST = 1, 2
PROTO_NUM, PROTO_SRC, PROTO_DST = 1, 2, 3
NESTED, TYPE = 0x8000, 0x3FFF  # the flag, and what is left of an attribute's type without flags
HEADER, GENERIC, ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BBH"), struct.Struct("=HH")
READ = 1 << 16
TIMEOUT_S = 5.0  # for one message of the kernel, which has them ready

Address = tuple[str, int]


class Tracked(NamedTuple):
    """A UDP flow: who called what, and who answers. `raw` is the kernel's name of it."""

    called: Address
    answers: Address
    raw: bytes


def forget(answering: Mapping[Address, Collection[Address]]) -> int:
    """Forget the UDP flows to these doors that are answered by none of their pods; returns how many.

    UnreachableError when the kernel does not let us.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
            kernel.settimeout(TIMEOUT_S)
            kernel.sendto(_message(GET, REQUEST | DUMP), (0, 0))
            flows = [each for each in _dumped(kernel) if each.called in answering]
            gone = [each for each in flows if each.answers not in answering[each.called]]
            for each in gone:
                kernel.sendto(_message(DELETE, REQUEST | ACK, each.raw), (0, 0))
                kernel.recv(READ)  # that it is done, or was gone already
            return len(gone)
    except OSError as error:
        raise UnreachableError(f"connection tracking: {error.strerror or error}") from error


def called(proxy: Address, client: Address) -> Address | None:
    """Whom `client`, as the proxy sees it, called with datagrams that a rule sent to the proxy; None when that is not known.

    The kernel knows for TCP alone by SO_ORIGINAL_DST. UnreachableError when it does not let us ask.
    """
    asked = _attribute(TUPLE_REPLY | NESTED, _named(proxy, client))
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
            kernel.settimeout(TIMEOUT_S)
            kernel.sendto(_message(GET, REQUEST, asked), (0, 0))
            found = next(_dumped(kernel), None)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreachableError(f"connection tracking: {error.strerror or error}") from error
    return found.called if found is not None else None


def tracked(message: bytes) -> Tracked | None:
    """The flow of one message without its headers; None when it is none of UDP over IPv4."""
    found = dict(_attributes(message))
    original, reply = (_tuple(found.get(which, b"")) for which in (TUPLE_ORIG, TUPLE_REPLY))
    if original is None or reply is None:
        return None
    raw = _attribute(TUPLE_ORIG | NESTED, found[TUPLE_ORIG])
    return Tracked(original[1], reply[0], raw)


def _dumped(kernel: socket.socket) -> Iterator[Tracked]:
    while True:
        data = kernel.recv(READ)
        at = 0
        while at + HEADER.size <= len(data):
            length, kind, *_ = HEADER.unpack_from(data, at)
            if kind == ERROR:
                code = -struct.unpack_from("=i", data, at + HEADER.size)[0]
                raise OSError(code, os.strerror(code))
            if kind == DONE or length < HEADER.size:
                return
            if (flow := tracked(data[at + HEADER.size + GENERIC.size : at + length])) is not None:
                yield flow
            at += _aligned(length)


def _message(kind: int, flags: int, body: bytes = b"") -> bytes:
    payload = GENERIC.pack(socket.AF_INET, 0, 0) + body
    return HEADER.pack(HEADER.size + len(payload), kind, flags, 1, 0) + payload


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, at)
        if length < ATTRIBUTE.size:
            return
        yield kind & TYPE, data[at + ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _attribute(kind: int, value: bytes) -> bytes:
    length = ATTRIBUTE.size + len(value)
    return ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def _tuple(data: bytes) -> tuple[Address, Address] | None:
    """Source and destination of one direction; None when it is not UDP over IPv4."""
    parts = dict(_attributes(data))
    ip, protocol = (dict(_attributes(parts.get(part, b""))) for part in (TUPLE_IP, TUPLE_PROTO))
    if protocol.get(PROTO_NUM) != bytes([socket.IPPROTO_UDP]):
        return None
    ends = [(ip.get(address, b""), protocol.get(port, b"")) for address, port in ((IP_SRC, PROTO_SRC), (IP_DST, PROTO_DST))]
    if any(len(address) != 4 or len(port) != 2 for address, port in ends):
        return None
    source, destination = ((socket.inet_ntoa(address), int.from_bytes(port, "big")) for address, port in ends)
    return source, destination


def _named(source: Address, destination: Address) -> bytes:
    """One direction of a flow of UDP, as `_tuple` reads it."""
    addresses = _attribute(IP_SRC, socket.inet_aton(source[0])) + _attribute(IP_DST, socket.inet_aton(destination[0]))
    ports = _attribute(PROTO_SRC, source[1].to_bytes(2, "big")) + _attribute(PROTO_DST, destination[1].to_bytes(2, "big"))
    protocol = _attribute(PROTO_NUM, bytes([socket.IPPROTO_UDP])) + ports
    return _attribute(TUPLE_IP | NESTED, addresses) + _attribute(TUPLE_PROTO | NESTED, protocol)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
