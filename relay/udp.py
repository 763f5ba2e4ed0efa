"""The relay's UDP ports, a shell around `forwarder.Forwarder`: two for questions, and one for each pair of nodes.

All wait in one epoll, which trio waits for: a turn of the loop serves whichever ports have something, whole bursts at a time.
"""

import secrets
import select
from collections.abc import Sequence

import trio

from edged.errors import UnreachableError
from edged.kit.address import Address
from edged.kit.log import Log
from edged.kit.udp import MAX_RECEIVE, UdpSocket
from edged.wire.relayudp import SIZE, is_ours
from relay.forwarder import Forwarder

READY = 64  # ports served in a turn of the loop; the others are next
BURSTS = 16  # receive calls at a port in a turn, up to 64 datagrams each: no port keeps the others waiting for long
TRIES = 64  # ports of the range that are tried for one pair: others may hold some


class UdpPorts:
    """Ports on the IP address `host`: `questions`, and as many of `forwards` as pairs need; port 0: any that is free.

    UnreachableError when the ports for questions cannot be had.
    """

    def __init__(self, host: str, *, questions: Sequence[int], forwards: range, most: int, rate: float, log: Log) -> None:
        self._host, self._forwards, self._log = host, forwards, log
        self._buffer = memoryview(bytearray(MAX_RECEIVE))
        self._next = 0
        self._warned = False
        self._epoll = select.epoll()
        self._served: dict[int, tuple[UdpSocket, int]] = {}
        self._sockets: dict[int, UdpSocket] = {}
        try:
            ports = [self._serve(port) for port in questions]
        except UnreachableError:
            self.close()
            raise
        self.forwarder = Forwarder(
            secrets.token_bytes(32),
            questions=ports,
            open_port=self._open,
            close_port=self._close,
            rate=rate,
            most=most,
        )

    def close(self) -> None:
        """Close all ports."""
        for port in tuple(self._sockets):
            self._close(port)
        self._epoll.close()

    async def run(self) -> None:
        """Serve the ports until cancelled, and close them."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                now = trio.current_time()
                for descriptor, _ in self._epoll.poll(0, READY):
                    if descriptor in self._served:
                        self._drain(*self._served[descriptor], now)
        finally:
            self.close()

    def _drain(self, udp: UdpSocket, port: int, now: float) -> None:
        for _ in range(BURSTS):
            received = udp.receive_into(self._buffer)
            if received is None:
                return
            size, segment, source = received
            if not size:
                self.forwarder.dropped["empty"] += 1
            elif SIZE in (segment, size % segment):  # a question is of that size, and may end a burst
                for at in range(0, size, segment):
                    self._one(udp, port, self._buffer[at : min(at + segment, size)], source, now)
            else:
                self._forward(udp, port, self._buffer[:size], segment, source, now)

    def _one(self, udp: UdpSocket, port: int, data: memoryview, source: Address, now: float) -> None:
        if not is_ours(data):
            self._forward(udp, port, data, len(data), source, now)
            return
        answer = self.forwarder.answer(bytes(data), source, port, now)
        if answer is not None:
            udp.send(source, (answer,))

    def _forward(self, udp: UdpSocket, port: int, burst: memoryview, segment: int, source: Address, now: float) -> None:
        to = self.forwarder.way(port, source, len(burst), -(-len(burst) // segment), now)
        if to is not None:
            lost = udp.lost
            udp.pass_on(to, burst, segment)
            if udp.lost > lost:
                self.forwarder.dropped["unsent"] += udp.lost - lost

    def _serve(self, port: int) -> int:
        udp = UdpSocket(Address(self._host, port))
        self._sockets[udp.address.port] = udp
        self._served[udp.fileno()] = udp, udp.address.port
        self._epoll.register(udp.fileno(), select.EPOLLIN)
        return udp.address.port

    def _open(self) -> int:
        why = "all are used"
        for _ in range(min(TRIES, len(self._forwards))):
            port = self._forwards[self._next % len(self._forwards)]
            self._next += 1
            if port not in self._sockets:
                try:
                    return self._serve(port)
                except UnreachableError as error:
                    why = str(error)
        if not self._warned:
            self._warned = True  # each pair would say so again
            self._log.warning(f"no forwarding port is free ({why}): nodes go on by WebSocket")
        return 0

    def _close(self, port: int) -> None:
        udp = self._sockets.pop(port)
        del self._served[udp.fileno()]
        self._epoll.unregister(udp.fileno())
        udp.close()
