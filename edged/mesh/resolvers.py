"""Asks the host's own resolvers what this node's DNS server does not know itself."""

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from random import Random

import trio

from edged.kit.address import Address, parse_address
from edged.mesh import dns

RESOLV_CONF = Path("/etc/resolv.conf")
MAX_IN_FLIGHT = 256  # questions waiting for a resolver, a descriptor each; one more is answered SERVFAIL
TRY_S = 2.0  # for one resolver before the next is asked
MAX_RESOLVERS = 2  # asked for one question: both together stay under the 5 s that clients wait
PORT = 53


class Resolvers:
    """Forwards questions. `addresses` ("192.0.2.1", "192.0.2.1:5353") are asked in their order; none: /etc/resolv.conf's.

    `own` is never asked: a host that resolves by this server would make a question go round.
    """

    def __init__(self, addresses: Sequence[str], own: str, random: Random, resolv_conf: Path = RESOLV_CONF) -> None:
        self._configured = [_resolver(text) for text in addresses]
        self._own, self._random, self._resolv_conf = own, random, resolv_conf
        self._read: tuple[float, list[Address]] = (-1.0, [])
        self.in_flight = 0

    async def ask(self, query: bytes, *, tcp: bool) -> bytes | None:
        """The first acceptable response to `query` with its number, or None when no resolver answers in time."""
        if self.in_flight >= MAX_IN_FLIGHT:
            return None
        self.in_flight += 1
        try:
            for host, port in self._addresses()[:MAX_RESOLVERS]:
                response = await self._try(query, host, port, tcp=tcp)
                if response is not None:
                    return query[:2] + response[2:]
        finally:
            self.in_flight -= 1
        return None

    async def _try(self, query: bytes, host: str, port: int, *, tcp: bool) -> bytes | None:
        """One resolver, with a number and a source port that nobody can guess."""
        query = self._random.randbytes(2) + query[2:]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with trio.move_on_after(TRY_S), trio.socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
            try:
                await sock.connect((host, port))
                return await (_by_stream(sock, query) if tcp else _by_datagram(sock, query))
            except OSError:  # refused or no route: the next one may answer
                return None
        return None

    def _addresses(self) -> list[Address]:
        if self._configured:
            return self._configured
        try:
            changed = self._resolv_conf.stat().st_mtime
            if changed != self._read[0]:
                self._read = changed, nameservers(self._resolv_conf.read_text(errors="replace"))
        except OSError:
            self._read = (-1.0, [])
        return [address for address in self._read[1] if address.host != self._own]


def nameservers(text: str) -> list[Address]:
    """Port 53 at the address of each `nameserver` line of a resolv.conf(5); what is no address is left out."""
    words = [line.split() for line in text.splitlines()]
    hosts = (line[1] for line in words if len(line) >= 2 and line[0] == "nameserver")
    return [Address(host, PORT) for host in hosts if _is_address(host)]


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _resolver(text: str) -> Address:
    return Address(text, PORT) if _is_address(text) else parse_address(text)


async def _by_datagram(sock: trio.socket.SocketType, query: bytes) -> bytes:
    await sock.send(query)
    while True:
        response = await sock.recv(dns.MAX_TCP)
        if dns.accepts(query, response):
            return response


async def _by_stream(sock: trio.socket.SocketType, query: bytes) -> bytes | None:
    stream = trio.SocketStream(sock)
    await stream.send_all(len(query).to_bytes(2, "big") + query)
    response = await receive_message(stream)
    return response if response is not None and dns.accepts(query, response) else None


async def receive_message(stream: trio.SocketStream) -> bytes | None:
    """One message behind its 16-bit length (RFC 1035 4.2.2), or None when the stream ends before one is whole."""
    buffer = bytearray()
    length = 2
    while len(buffer) < length:
        data = await stream.receive_some(length - len(buffer))
        if not data:
            return None
        buffer += data
        if len(buffer) >= 2:
            length = 2 + int.from_bytes(buffer[:2], "big")
    return bytes(buffer[2:])
