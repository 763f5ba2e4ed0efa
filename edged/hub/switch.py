"""Where datagrams come in and go out: one UDP socket and the relay, and which connection a datagram is for."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import trio

from edged.errors import ProtocolError
from edged.hub.connection import Connection
from edged.hub.forwarding import Forwarding
from edged.hub.packets import Destination, destination, is_probe, one_flow
from edged.hub.path import Probe
from edged.hub.probe import LINK_ID
from edged.hub.relaylink import RelayLink
from edged.hub.sockets import Sockets
from edged.hub.ways import RELAY, From, Route, Spot
from edged.kit.address import Address
from edged.kit.udp import UdpSocket, bursts
from edged.wire.relayudp import is_ours

DRAIN = 64  # receive calls, some 44 datagrams each at most, before links answer: late ACKs cost more than batching gains
MAX_STRANGERS = 32  # links begun by UDP and not proved yet; more are dropped. The relay's callers have their own number
MAX_CALLERS = 256  # links begun by the relay and not proved yet: a site's nodes that all restart together

Answer = Callable[[bytes, str | None], Connection]  # connection id, who calls as far as known -> the new connection


class Switch:
    """Hands datagrams to connections and connections' datagrams on. `dropped` counts by reason what was for nobody."""

    def __init__(self, udp: UdpSocket, relay: RelayLink, forwarding: Forwarding, answer: Answer) -> None:
        self._udp, self._relay, self._forwarding, self._answer = udp, relay, forwarding, answer
        self._sockets = Sockets(udp.address.host)
        self._by_id: dict[bytes, Connection] = {}
        self._by_link: dict[bytes, Connection] = {}
        self.connections: set[Connection] = set()
        self._touched: set[Connection] = set()
        self._due = math.inf
        self._sleep = trio.CancelScope()
        self.dropped: Counter[str] = Counter()

    # ---- connections

    def add(self, connection: Connection, *connection_ids: bytes) -> None:
        """Datagrams for these ids are the connection's."""
        self.connections.add(connection)
        for connection_id in connection_ids:
            self._by_id[connection_id] = connection

    def name(self, connection: Connection, connection_id: bytes, *, added: bool) -> None:
        """So are those for a further id, or no more."""
        if added:
            self._by_id[connection_id] = connection
        else:
            self._by_id.pop(connection_id, None)

    def prove(self, connection: Connection) -> None:
        """The connection has probes from now on."""
        if connection.probes is not None:
            self._by_link[connection.probes.link_id] = connection

    def to(self, node: str) -> list[Connection]:
        """The connections to a node, proved or not."""
        return [connection for connection in self.connections if connection.node == node]

    def remove(self, connection: Connection) -> None:
        """The connection is over."""
        self.connections.discard(connection)
        self._touched.discard(connection)
        self._by_id = {key: other for key, other in self._by_id.items() if other is not connection}
        self._by_link = {key: other for key, other in self._by_link.items() if other is not connection}

    # ---- in

    async def read(self) -> None:
        """Take what comes by UDP, until cancelled."""
        while True:
            await self._udp.readable()
            now = trio.current_time()
            for _ in range(DRAIN):
                received = self._udp.receive()
                if received is None:
                    break
                self._from_udp(*received, now)
            self._flush()

    async def read_further(self) -> None:
        """The same at the further sockets; they are closed in the end."""
        try:
            while True:
                for number, udp in await self._sockets.readable():
                    now = trio.current_time()
                    while (received := udp.receive()) is not None:
                        data, segment, source = received
                        self._from_udp(data, segment, From(*source, number), now)
                self._flush()
        finally:
            self._sockets.close_all()

    def from_relay(self, sender: str, datagrams: Sequence[bytes]) -> None:
        """Take what the relay delivers from another node of our group."""
        now = trio.current_time()
        for burst in bursts(datagrams):
            whole = b"".join(burst)
            if len(burst) > 1 and one_flow(whole, len(burst[0])):
                self._quic(whole, len(burst[0]), RELAY, sender, now)
            else:
                for data in burst:
                    self._quic(data, len(data), RELAY, sender, now)
        self._flush()

    def _from_udp(self, data: bytes, segment: int, source: Spot, now: float) -> None:
        if not data:
            self.dropped["empty"] += 1
        elif segment < len(data) and not one_flow(data, segment):
            for at in range(0, len(data), segment):
                self._from_udp(data[at : at + segment], segment, source, now)
        elif is_probe(data):
            self._probe(data, source, now)
        else:
            self._quic(data, segment, source, None, now)

    def _probe(self, data: bytes, source: Spot, now: float) -> None:
        connection = self._by_link.get(data[LINK_ID])
        try:
            if is_ours(data) and isinstance(source, Address):
                self._forwarding.receive(data, source, now)
                return
            if connection is None:
                raise ProtocolError("a probe of no link")
            connection.probed(data, source, now)
        except ProtocolError:
            self.dropped["probe"] += 1
        else:
            self._touched.add(connection)

    def _quic(self, data: bytes, segment: int, route: Route, sender: str | None, now: float) -> None:
        try:
            target = destination(data)
        except ProtocolError:
            self.dropped["not QUIC"] += 1
            return
        connection = self._by_id.get(target.connection_id) or self._begin(target, sender)
        if connection is None:
            return
        if sender is not None and connection.node not in (sender, None):
            self.dropped["another node's link"] += 1
            return
        self._touched.add(connection)
        connection.receive(data, segment, route, now)

    def _begin(self, target: Destination, sender: str | None) -> Connection | None:
        if not target.begins:
            self.dropped["no such link"] += 1
            return None
        unproved = sum(1 for known in self.connections if known.probes is None and (known.node is None) == (sender is None))
        if unproved >= (MAX_STRANGERS if sender is None else MAX_CALLERS):
            self.dropped["too many unproved"] += 1
            return None
        return self._answer(target.connection_id, sender)

    def _flush(self) -> None:
        touched, self._touched = self._touched, set()
        for connection in touched:
            connection.settle()

    # ---- out

    def send(self, route: Route, node: str | None, datagrams: Sequence[bytes]) -> None:
        """Send a connection's datagrams."""
        if isinstance(route, From):
            self._sockets.send(route.socket, Address(*route[:2]), datagrams)
        elif isinstance(route, tuple):
            self._udp.send(route, datagrams)
        elif node is not None:
            self._relay.send(node, datagrams)

    def probe(self, probe: Probe) -> None:
        """Send a probe."""
        if isinstance(probe.spot, From):
            self._sockets.send(probe.spot.socket, Address(*probe.spot[:2]), (probe.data,), probe.ttl)
        elif probe.ttl is None:
            self._udp.send(probe.spot, (probe.data,))
        else:
            self._udp.send_near(probe.spot, probe.data, probe.ttl)

    def open(self, sockets: int) -> Sequence[int]:
        """Open further sockets, as many as can be had up to this number."""
        return self._sockets.open(sockets)

    def close(self, sockets: Iterable[int]) -> None:
        """Close these of them."""
        self._sockets.close(sockets)

    # ---- time

    def schedule(self, deadline: float) -> None:
        """Some connection's deadline."""
        if deadline < self._due:
            self._due = self._sleep.deadline = deadline

    async def keep_time(self) -> None:
        """Tick connections when it is time, until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._due) as self._sleep:
                await trio.sleep_forever()
            now, self._due = trio.current_time(), math.inf
            for connection in tuple(self.connections):
                due = connection.deadline()
                if due <= now:
                    connection.tick(now)
                    connection.flush()  # which says when it is due next
                else:
                    self.schedule(due)
