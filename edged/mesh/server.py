"""The DNS server: UDP and TCP on one address and port, in front of `dns.answer` and of what others know."""

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass

import trio

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.mesh import dns, message, streams
from edged.mesh.forwarder import Forwarder
from edged.mesh.resolvers import receive_message
from edged.mesh.zone import Zone

MAX_STREAMS = 256  # TCP clients at a time: TCP is for the rare long answer; one more is reset
STREAM_IDLE_S = 10.0  # a TCP client that asks nothing for so long is closed (RFC 7766 6.2.3)
STREAM_S = 120.0  # and any after so long: who has more to ask comes again
MAX_WAITING = 1024  # questions by UDP that wait for others; one more is answered SERVFAIL at once
BURST = 64  # questions answered without a pause: a flood must leave the other tasks their turn
MAX_BINDS = 16  # tries to find a port that is free for both protocols when any will do


@dataclass
class DnsStatistics:
    """Counted since the start. `refused`: asked by another machine; `dropped`: nonsense, or could not be answered."""

    queries: int = 0
    forwarded: int = 0
    refused: int = 0
    dropped: int = 0


class DnsServer:
    """Answers on `address`, whose port may be 0: any that is free. `zone` gives our names as they are now.

    `allows(host, now)` says who may ask.
    """

    def __init__(
        self,
        address: Address,
        zone: Callable[[], Zone],
        forwarder: Forwarder,
        allows: Callable[[str, float], bool],
    ) -> None:
        self._host, self._port = address
        self._zone, self._forwarder, self._allows = zone, forwarder, allows
        self._streams = self._waiting = 0
        self.statistics = DnsStatistics()

    async def run(self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; `started` with the address. UnreachableError when it cannot be had."""
        udp, listener = await self._bind()
        with udp:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._forwarder.run)
                nursery.start_soon(self._datagrams, udp, nursery)
                nursery.start_soon(streams.serve, listener, self._stream, nursery)
                task_status.started(Address(self._host, udp.getsockname()[1]))

    async def _bind(self) -> tuple[socket.socket, socket.socket]:
        """Both sockets on one port: the kernel picks one for UDP, which TCP may find taken."""
        for left in reversed(range(MAX_BINDS)):
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            try:
                udp.bind((self._host, self._port))
                return udp, await streams.listen(self._host, udp.getsockname()[1])
            except BaseException as error:
                udp.close()
                if not isinstance(error, OSError):
                    raise
                if self._port or not left or error.errno != errno.EADDRINUSE:
                    raise UnreachableError(f"DNS cannot listen on {self._host}:{self._port}: {error.strerror}") from error
        raise AssertionError("the last round returns or raises")

    async def _datagrams(self, udp: socket.socket, nursery: trio.Nursery) -> None:
        """Straight on the socket: a question costs a tenth of a millisecond less than with a wait for each call."""
        while True:
            await trio.lowlevel.wait_readable(udp)
            for _ in range(BURST):
                try:
                    query, (host, port) = udp.recvfrom(message.MAX_QUERY + 1)
                except BlockingIOError:
                    break
                except OSError:  # an ICMP error about an earlier answer: that client is gone
                    continue
                found = self._answer(query, host, tcp=False)
                if isinstance(found, dns.Forward):
                    self._wait(udp, (host, port), found, nursery)
                elif found is not None:
                    self._send(udp, found, (host, port))
            else:
                await trio.lowlevel.checkpoint()

    def _wait(self, udp: socket.socket, client: tuple[str, int], forward: dns.Forward, nursery: trio.Nursery) -> None:
        if self._waiting >= MAX_WAITING:
            self._send(udp, dns.failed(forward), client)
        else:
            self._waiting += 1
            nursery.start_soon(self._forward_datagram, udp, client, forward)

    async def _forward_datagram(self, udp: socket.socket, client: tuple[str, int], forward: dns.Forward) -> None:
        try:
            self._send(udp, await self._forward(forward), client)
        finally:
            self._waiting -= 1

    def _send(self, udp: socket.socket, answer: bytes, client: tuple[str, int]) -> None:
        try:
            udp.sendto(answer, client)
        except OSError:  # no room, the client's network is gone, or a firewall of the host forbids it: it will ask again
            self.statistics.dropped += 1

    async def _stream(self, stream: trio.SocketStream) -> None:
        """One TCP client: its questions one after the other."""
        if self._streams >= MAX_STREAMS:
            await streams.reset(stream)
            return
        self._streams += 1
        try:
            async with stream:
                host, _ = stream.socket.getpeername()
                with trio.move_on_after(STREAM_S):
                    while await self._exchange(stream, host):
                        pass
        except (trio.BrokenResourceError, OSError):
            pass  # the client left
        finally:
            self._streams -= 1

    async def _exchange(self, stream: trio.SocketStream, host: str) -> bool:
        """One question and its answer; False when the client is done, silent for STREAM_IDLE_S, or talks nonsense."""
        query = None
        with trio.move_on_after(STREAM_IDLE_S):
            query = await receive_message(stream, message.MAX_QUERY)
        found = None if query is None else self._answer(query, host, tcp=True)
        if found is None:
            return False
        answer = await self._forward(found) if isinstance(found, dns.Forward) else found
        with trio.move_on_after(STREAM_IDLE_S):
            await stream.send_all(len(answer).to_bytes(2, "big") + answer)
            return True
        return False

    def _answer(self, query: bytes, host: str, *, tcp: bool) -> bytes | dns.Forward | None:
        self.statistics.queries += 1
        if not self._allows(host, trio.current_time()):
            self.statistics.refused += 1
            return None
        found = dns.answer(self._zone(), query, tcp=tcp)
        if found is None:
            self.statistics.dropped += 1
        return found

    async def _forward(self, forward: dns.Forward) -> bytes:
        self.statistics.forwarded += 1
        response = await self._forwarder.resolve(forward.query)
        return dns.failed(forward) if response is None else dns.finish(forward, response)
