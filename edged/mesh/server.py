"""The DNS server: UDP and TCP on one address and port, in front of `dns.answer` and the host's resolvers."""

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass

import trio

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.mesh import dns, streams
from edged.mesh.resolvers import Resolvers, receive_message
from edged.mesh.table import Table

MAX_STREAMS = 64  # TCP clients at a time: TCP is for the rare long answer; one more is reset
STREAM_IDLE_S = 10.0  # a TCP client that asks nothing for so long is closed (RFC 7766 6.2.3)
MAX_BINDS = 16  # tries to find a port that is free for both protocols when any will do


@dataclass
class DnsStatistics:
    """Counted since the start. `unanswered`: SERVFAIL because no resolver answered in time, or too many were waited for."""

    queries: int = 0
    forwarded: int = 0
    unanswered: int = 0
    dropped: int = 0


class DnsServer:
    """Answers on `address`, whose port may be 0: any that is free. `table` gives the table as it is now."""

    def __init__(self, address: Address, table: Callable[[], Table], resolvers: Resolvers) -> None:
        self._host, self._port = address
        self._table, self._resolvers = table, resolvers
        self._streams = 0
        self.statistics = DnsStatistics()

    async def run(self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started` with the address. UnreachableError when it cannot be had."""
        udp, listener = await self._bind()
        with udp:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._datagrams, udp, nursery)
                nursery.start_soon(trio.serve_listeners, self._stream, [listener])
                task_status.started(Address(self._host, udp.getsockname()[1]))

    async def _bind(self) -> tuple[trio.socket.SocketType, trio.SocketListener]:
        """Both sockets on one port: the kernel picks one for UDP, which TCP may find taken."""
        for left in reversed(range(MAX_BINDS)):
            udp = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                await udp.bind((self._host, self._port))
                return udp, await streams.listen(self._host, udp.getsockname()[1])
            except BaseException as error:
                udp.close()
                if not isinstance(error, OSError):
                    raise
                if self._port or not left or error.errno != errno.EADDRINUSE:
                    raise UnreachableError(f"DNS cannot listen on {self._host}:{self._port}: {error.strerror}") from error
        raise AssertionError("the last round returns or raises")

    async def _datagrams(self, udp: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            try:
                query, client = await udp.recvfrom(dns.MAX_QUERY + 1)
            except OSError:  # an ICMP error about an earlier answer: that client is gone
                continue
            found = self._answer(query, tcp=False)
            if isinstance(found, dns.Forward):
                nursery.start_soon(self._forward_datagram, udp, query, client, found)
            elif found is not None:
                await self._send(udp, found, client)

    async def _forward_datagram(
        self, udp: trio.socket.SocketType, query: bytes, client: tuple[str, int], forward: dns.Forward
    ) -> None:
        await self._send(udp, await self._forward(query, forward, tcp=False), client)

    async def _send(self, udp: trio.socket.SocketType, message: bytes, client: tuple[str, int]) -> None:
        try:
            await udp.sendto(message, client)
        except OSError:  # the client's network is gone, or a firewall of the host forbids it: it will ask again
            self.statistics.dropped += 1

    async def _stream(self, stream: trio.SocketStream) -> None:
        """One TCP client: its questions one after the other."""
        if self._streams >= MAX_STREAMS:
            await streams.reset(stream)
            return
        self._streams += 1
        try:
            async with stream:
                while await self._exchange(stream):
                    pass
        except trio.BrokenResourceError:
            pass  # the client left
        finally:
            self._streams -= 1

    async def _exchange(self, stream: trio.SocketStream) -> bool:
        """One question and its answer; False when the client is done, silent for STREAM_IDLE_S, or talks nonsense."""
        query = None
        with trio.move_on_after(STREAM_IDLE_S):
            query = await receive_message(stream)
        found = None if query is None else self._answer(query, tcp=True)
        if query is None or found is None:
            return False
        message = await self._forward(query, found, tcp=True) if isinstance(found, dns.Forward) else found
        with trio.move_on_after(STREAM_IDLE_S):
            await stream.send_all(len(message).to_bytes(2, "big") + message)
            return True
        return False

    def _answer(self, query: bytes, *, tcp: bool) -> bytes | dns.Forward | None:
        self.statistics.queries += 1
        found = dns.answer(self._table(), query, tcp=tcp)
        if found is None:
            self.statistics.dropped += 1
        return found

    async def _forward(self, query: bytes, forward: dns.Forward, *, tcp: bool) -> bytes:
        self.statistics.forwarded += 1
        response = await self._resolvers.ask(query, tcp=tcp)
        if response is None:
            self.statistics.unanswered += 1
            return dns.failure(query, dns.SERVFAIL)
        return dns.shortened(response, query, forward.limit)
