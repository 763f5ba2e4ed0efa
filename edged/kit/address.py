"""Addresses as people write them: `host:port`, `[::1]:443`."""

import ipaddress
import re
from typing import NamedTuple

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
MAX_HOST = 253  # characters of a DNS name (RFC 1035, section 2.3.4)


class Address(NamedTuple):
    """A host (an IP address without brackets, or a DNS name) and a port from 0 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The host as an IP address, None when it is a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def loopback(self) -> bool:
        """Whether only this machine can be meant."""
        return self.host == "localhost" or (self.ip is not None and self.ip.is_loopback)


def parse_address(text: str) -> Address:
    """The address in `text`; ValueError says what was expected."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise ValueError(f"expected host:port, got {text!r}")
    address = Address(host[1:-1] if host.startswith("[") and host.endswith("]") else host, int(port))
    if address.ip is not None:
        if (address.ip.version == 6) != host.startswith("["):
            raise ValueError(f"expected host:port with an IPv6 address in brackets, got {text!r}")
    elif len(host) > MAX_HOST or not _HOST.fullmatch(host):
        raise ValueError(f"expected host:port with an IP address or a DNS name, got {text!r}")
    return address
