"""Asks the host's own resolvers what this node's DNS server does not know itself."""

import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import NamedTuple

import trio

from edged.errors import ProtocolError
from edged.kit.address import Address, parse_address
from edged.mesh import message
from edged.mesh.message import Query, Survey

RESOLV_CONF = Path("/etc/resolv.conf")
BEHIND_STUB = Path("/run/systemd/resolve/resolv.conf")  # whom systemd-resolved itself asks
STUBS = {"127.0.0.53", "127.0.0.54"}  # systemd-resolved, which may ask us: a question would go round
TRY_S = 2.0  # for one resolver before the next is asked
MAX_RESOLVERS = 2  # asked for one question: both together stay under the 5 s that clients wait
AVOID_S = 30.0  # a resolver that did not answer is asked after the others for so long
PORT = 53


class Response(NamedTuple):
    """A resolver's whole response, without OPT record, and what is known of it."""

    data: bytes
    survey: Survey


class Resolvers:
    """Forwards questions. `addresses` ("192.0.2.1", "192.0.2.1:5353") are asked in their order; none: /etc/resolv.conf's.

    One that failed lately comes last. `own` is never asked: a host that resolves by this server would make a question go
    round.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        own: str,
        random: Random,
        resolv_conf: Path = RESOLV_CONF,
        behind_stub: Path = BEHIND_STUB,
    ) -> None:
        self._configured = [_resolver(text) for text in addresses]
        self._own, self._random = own, random
        self._files = (resolv_conf, behind_stub)
        self._read: tuple[tuple[float, ...], list[Address]] = ((), [])
        self._failed: dict[Address, float] = {}

    async def ask(self, query: Query) -> Response | None:
        """The first good response, or else the last one, to `query`; None when no resolver answers in time.

        A resolver that refuses, or cannot answer, is followed by the next one.
        """
        response = None
        for address in self._ordered(trio.current_time()):
            found = await self._try(query, address)
            if found is None or found.data[3] & message.RCODE in (message.SERVFAIL, message.REFUSED, message.NOTIMP):
                self._failed[address] = trio.current_time()
                response = found or response
            else:
                self._failed.pop(address, None)
                return found
        return response

    async def _try(self, query: Query, address: Address) -> Response | None:
        """One resolver: by TCP what does not fit into a datagram, without EDNS if it knows none (RFC 6891 7)."""
        with trio.move_on_after(TRY_S):
            for edns in (True, False):
                response = await self._exchange(message.ask(self._number(), query, edns=edns), address, tcp=False)
                if response and response.data[2] & message.TC >> 8:
                    response = await self._exchange(message.ask(self._number(), query, edns=edns), address, tcp=True)
                if response is None or response.data[3] & message.RCODE != message.FORMERR:
                    return response
            return response
        return None

    async def _exchange(self, question: bytes, address: Address, *, tcp: bool) -> Response | None:
        """A question by a socket of its own: neither its number nor its port can be guessed."""
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with trio.socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
            try:
                await sock.connect(address)
                return await (_by_stream(sock, question) if tcp else _by_datagram(sock, question))
            except (OSError, trio.BrokenResourceError):  # refused or no route: the next one may answer
                return None

    def _number(self) -> int:
        return self._random.getrandbits(16)

    def _ordered(self, now: float) -> list[Address]:
        self._failed = {address: since for address, since in self._failed.items() if now - since < AVOID_S}
        return sorted(self._addresses(), key=lambda address: self._failed.get(address, 0.0))[:MAX_RESOLVERS]

    def _addresses(self) -> list[Address]:
        if self._configured:
            return self._configured
        changed = tuple(_changed(path) for path in self._files)
        if changed != self._read[0]:
            found = nameservers(_text(self._files[0]))
            if any(address.host in STUBS for address in found):
                found = nameservers(_text(self._files[1])) or found
            self._read = changed, found
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


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return -1.0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


async def _by_datagram(sock: trio.socket.SocketType, question: bytes) -> Response:
    await sock.send(question)
    while True:
        response = _checked(question, await sock.recv(message.MAX_TCP))
        if response is not None:  # else somebody guesses, or an old answer comes late: the right one may follow
            return response


async def _by_stream(sock: trio.socket.SocketType, question: bytes) -> Response | None:
    stream = trio.SocketStream(sock)
    await stream.send_all(len(question).to_bytes(2, "big") + question)
    response = await receive_message(stream)
    return None if response is None else _checked(question, response)


def _checked(question: bytes, response: bytes) -> Response | None:
    """The response when it is one to `question`, and well formed."""
    if not message.accepts(question, response):
        return None
    try:
        bare = message.without_opt(response, message.survey(response))
        return Response(bare, message.survey(bare))
    except ProtocolError:
        return None


async def receive_message(stream: trio.SocketStream, most: int = message.MAX_TCP) -> bytes | None:
    """One message behind its 16-bit length (RFC 1035 4.2.2); None when it has over `most` bytes, or the stream ends first."""
    buffer = bytearray()
    length = 2
    while len(buffer) < length:
        data = await stream.receive_some(length - len(buffer))
        if not data:
            return None
        buffer += data
        if len(buffer) >= 2:
            length = 2 + int.from_bytes(buffer[:2], "big")
            if length > 2 + most:
                return None
    return bytes(buffer[2:])
