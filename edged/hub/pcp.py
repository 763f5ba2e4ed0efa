"""Port mapping by PCP (RFC 6887) and by NAT-PMP (RFC 6886), which share a port of the gateway: requests and answers. Pure.

Both map a UDP port of ours to one of the gateway's for a while. PCP's answer repeats a nonce that only who saw the question
knows; NAT-PMP has none, so its answers are as good as the gateway's address. A gateway that speaks only NAT-PMP says so when
it is asked by PCP: its answer has version 0.
"""

import ipaddress
import struct
from typing import NamedTuple

from edged.errors import ProtocolError
from edged.kit.address import Address

PORT = 5351  # RFC 6887, section 19; RFC 6886, section 3
NONCE = 12  # bytes of a PCP mapping's (RFC 6887, section 11.1)
MAX_ANSWER = 1100  # bytes of a PCP message (RFC 6887, section 7)
_UDP = 17  # the protocol's number
_VERSION, _MAP, _ANSWERS = 2, 1, 0x80
_PMP_VERSION, _PMP_ADDRESS, _PMP_UDP = 0, 0, 1  # RFC 6886, sections 3.2 and 3.3
_PMP_UNSUPPORTED = 1  # so NAT-PMP answers a question by PCP (RFC 6886, section 3.5)
_REQUEST = struct.Struct("!BBHI16s")  # version, opcode, reserved, lifetime, client's address: RFC 6887, 7.1
_RESPONSE = struct.Struct("!BBBBII12x")  # version, opcode, reserved, result, lifetime, epoch: 7.2
_MAPPING = struct.Struct(f"!{NONCE}sB3xHH16s")  # nonce, protocol, our port, outer port, outer address: 11.1
_PMP_HEAD = struct.Struct("!BBHI")  # version, opcode, result, epoch: RFC 6886, 3.2
_PMP_REQUEST = struct.Struct("!BBHHHI")  # version, opcode, reserved, our port, outer port, lifetime: 3.3
_PMP_MAPPING = struct.Struct("!BBHIHHI")  # version, opcode, result, epoch, our port, outer port, lifetime: 3.3


class Mapped(NamedTuple):
    """The gateway's `address` leads to our port for `lifetime` seconds; 0: no more."""

    address: Address
    lifetime: int


class PmpAddress(NamedTuple):
    """A gateway that speaks NAT-PMP has this outer IP address."""

    host: str


class PmpMapped(NamedTuple):
    """The gateway's `port` leads to our port for `lifetime` seconds; its address is asked for by itself."""

    port: int
    lifetime: int


class Refused(NamedTuple):
    """A gateway that does not map: `pcp` says by which protocol it was asked, `result` is its number there."""

    pcp: bool
    result: int


Answer = Mapped | PmpAddress | PmpMapped | Refused


def pcp_map(own: str, port: int, outer: int, lifetime: int, nonce: bytes) -> bytes:
    """Map UDP `port` of our IPv4 address `own`, `outer` if that is free (0: any); lifetime 0 gives it back."""
    head = _REQUEST.pack(_VERSION, _MAP, 0, lifetime, _mapped_v4(own))
    return head + _MAPPING.pack(nonce, _UDP, port, outer, _mapped_v4("0.0.0.0"))  # noqa: S104  any of the gateway's


def pmp_address() -> bytes:
    """What the gateway's outer address is."""
    return bytes((_PMP_VERSION, _PMP_ADDRESS))


def pmp_map(port: int, outer: int, lifetime: int) -> bytes:
    """As pcp_map; to give back, `outer` is 0, too (RFC 6886, section 3.4)."""
    return _PMP_REQUEST.pack(_PMP_VERSION, _PMP_UDP, 0, port, outer if lifetime else 0, lifetime)


def opened(data: bytes, port: int, nonce: bytes) -> Answer:
    """The gateway's answer about our UDP `port`. ProtocolError when it is none, whatever the bytes."""
    if len(data) < 4 or len(data) > MAX_ANSWER or not data[1] & _ANSWERS:
        raise ProtocolError(f"{len(data)} bytes that are no answer of a gateway")
    if data[0] == _VERSION:
        return _pcp(data, port, nonce)
    if data[0] == _PMP_VERSION:
        return _pmp(data, port)
    raise ProtocolError(f"an answer of version {data[0]}")


def _pcp(data: bytes, port: int, nonce: bytes) -> Answer:
    if len(data) < _RESPONSE.size + _MAPPING.size or len(data) % 4:
        raise ProtocolError(f"{len(data)} bytes that are no PCP mapping")
    _version, opcode, _reserved, result, lifetime, _epoch = _RESPONSE.unpack_from(data)
    said, protocol, inner, outer, address = _MAPPING.unpack_from(data, _RESPONSE.size)
    if (opcode, said, protocol, inner) != (_ANSWERS | _MAP, nonce, _UDP, port):
        raise ProtocolError("a PCP answer to another question")
    if result:
        return Refused(pcp=True, result=result)
    ip = ipaddress.IPv6Address(address).ipv4_mapped
    if ip is None or (lifetime and not outer):
        raise ProtocolError("a PCP mapping to no IPv4 address or port")
    return Mapped(Address(str(ip), outer), lifetime)


def _pmp(data: bytes, port: int) -> Answer:
    opcode, result = data[1] & ~_ANSWERS, int.from_bytes(data[2:4], "big")
    if result:
        return Refused(pcp=result == _PMP_UNSUPPORTED, result=result)
    if opcode == _PMP_ADDRESS and len(data) == _PMP_HEAD.size + 4:
        return PmpAddress(str(ipaddress.IPv4Address(data[_PMP_HEAD.size :])))
    if opcode == _PMP_UDP and len(data) == _PMP_MAPPING.size:
        *_, inner, outer, lifetime = _PMP_MAPPING.unpack(data)
        if inner != port or (lifetime and not outer):
            raise ProtocolError("a NAT-PMP answer to another question")
        return PmpMapped(outer, lifetime)
    raise ProtocolError(f"a NAT-PMP answer of kind {opcode} and {len(data)} bytes")


def _mapped_v4(host: str) -> bytes:
    return bytes(10) + b"\xff\xff" + ipaddress.IPv4Address(host).packed
