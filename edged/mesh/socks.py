"""The server's side of SOCKS5 up to where bytes are carried: CONNECT without authentication (RFC 1928). No I/O.

dialogue.receive(data) -> what the client wants to reach, once it said so
dialogue.outgoing()    -> what to write
"""

import ipaddress
from enum import IntEnum
from typing import Literal, NamedTuple

from edged.errors import ProtocolError
from edged.kit.address import Address
from edged.mesh.message import A, wire
from edged.mesh.names import Name
from edged.mesh.table import ANY, TCP, Called, Door, Port, Table
from edged.mesh.zone import CLUSTER, NODES, Zone

VERSION = 5
NO_AUTHENTICATION, NO_METHOD = 0, 0xFF
CONNECT = 1
IPV4, NAME, IPV6 = 1, 3, 4
ADDRESS_BYTES = {IPV4: 4, IPV6: 16}
SERVICES = f".svc.{CLUSTER}"


class Code(IntEnum):
    """What a reply says (RFC 1928, section 6)."""

    SUCCEEDED = 0
    HOST_UNREACHABLE = 4
    REFUSED = 5
    NO_SUCH_COMMAND = 7
    NO_SUCH_ADDRESS_TYPE = 8


class Asked(NamedTuple):
    """Where a client wants to go: a name or an address, and a port."""

    host: str
    port: int


class Dialogue:
    """One client. `greeting`, then `request`, then `over`: a client sends nothing before it is answered."""

    def __init__(self) -> None:
        self._state: Literal["greeting", "request", "over"] = "greeting"
        self._buffer = b""
        self._outgoing = b""

    def receive(self, data: bytes) -> Asked | None:
        """What the client asks for, None as long as that is not whole. ProtocolError when it speaks something else.

        Write `outgoing` after an error too: it may tell the client what was wrong.
        """
        self._buffer += data
        if self._state == "greeting":
            self._greeting()
        if self._state == "request":
            return self._request()
        self._nothing_more()
        return None

    def outgoing(self) -> bytes:
        """What to write now."""
        outgoing, self._outgoing = self._outgoing, b""
        return outgoing

    def _greeting(self) -> None:
        if self._buffer[:1] not in (b"", bytes([VERSION])):
            raise ProtocolError(f"SOCKS version {self._buffer[0]}, only {VERSION} is served")
        if len(self._buffer) < 2 or len(self._buffer) < 2 + self._buffer[1]:
            return
        end = 2 + self._buffer[1]
        methods, self._buffer = self._buffer[2:end], self._buffer[end:]
        if NO_AUTHENTICATION not in methods:
            self._outgoing = bytes([VERSION, NO_METHOD])
            raise ProtocolError("the client insists on authentication")
        self._outgoing = bytes([VERSION, NO_AUTHENTICATION])
        self._state = "request"

    def _request(self) -> Asked | None:
        buffer = self._buffer
        if len(buffer) < 5:  # the length of a name is the fifth byte
            return None
        version, command, _, kind, length = buffer[:5]
        if version != VERSION:
            raise ProtocolError(f"a request of SOCKS version {version}")
        if command != CONNECT:
            self._outgoing += reply(Code.NO_SUCH_COMMAND)
            raise ProtocolError(f"SOCKS command {command}, only CONNECT is served")
        if kind not in (IPV4, NAME, IPV6):
            self._outgoing += reply(Code.NO_SUCH_ADDRESS_TYPE)
            raise ProtocolError(f"SOCKS address type {kind}")
        begin = 5 if kind == NAME else 4
        end = begin + (length if kind == NAME else ADDRESS_BYTES[kind])
        if len(buffer) < end + 2:
            return None
        self._state, self._buffer = "over", buffer[end + 2 :]
        self._nothing_more()
        return Asked(_host(kind, buffer[begin:end]), int.from_bytes(buffer[end : end + 2], "big"))

    def _nothing_more(self) -> None:
        if self._state == "over" and self._buffer:
            raise ProtocolError("bytes before the request was answered")


def reply(code: Code) -> bytes:
    """The answer to a request; the address that we dial from is nobody's business."""
    return bytes([VERSION, code, 0, IPV4]) + bytes(6)


def destination(table: Table, zone: Zone, asked: Asked) -> Called | Address | None:
    """Where `asked` leads: a port of a service, an address of a node, or None: nowhere that we go.

    A service is asked for by its name or address. A node port is served by any node, so by this one; whatever else is asked
    of NODE.node.edged is at the address that the node says it has.
    """
    host = asked.host.lower().removesuffix(".")
    if host.endswith(f".{NODES}"):
        return table.doors.get(Door(ANY, TCP, asked.port)) or _of_node(zone, host, asked.port)
    if not host.endswith(SERVICES):
        return table.doors.get(Door(host, TCP, asked.port))
    service, _, namespace = host.removesuffix(SERVICES).partition(".")
    entry = table.entries.get(Name(namespace, service))
    port = Port(TCP, asked.port)
    return Called(entry.name, port) if entry and port in entry.ports else None


def _of_node(zone: Zone, host: str, port: int) -> Address | None:
    try:
        records = zone.names.get(wire(host), {}).get(A, ())
    except ValueError:
        return None
    return Address(str(ipaddress.IPv4Address(records[0][-4:])), port) if records and port else None


def _host(kind: int, data: bytes) -> str:
    if kind != NAME:
        return str(ipaddress.ip_address(data))
    try:
        return data.decode("ascii")
    except UnicodeDecodeError as error:
        raise ProtocolError("a name that is not ASCII") from error
