"""An IP address and a port in 18 bytes, as datagrams of fixed fields carry them."""

import ipaddress
import struct

SIZE = 18  # bytes: an IPv6 address, or an IPv4 one mapped into it (RFC 4291, section 2.5.5.2), and the port
NOWHERE = bytes(SIZE)
_MAPPED = b"\x00" * 10 + b"\xff\xff"
_LAYOUT = struct.Struct("!16sH")


def packed(host: str, port: int) -> bytes:
    """`host` is an IP address."""
    ip = ipaddress.ip_address(host)
    return _LAYOUT.pack(ip.packed if ip.version == 6 else _MAPPED + ip.packed, port)


def unpacked(data: bytes) -> tuple[str, int]:
    """The host and the port in exactly SIZE bytes, whatever they are."""
    host, port = _LAYOUT.unpack(data)
    ip = ipaddress.IPv6Address(host)
    return str(ip.ipv4_mapped or ip), port
