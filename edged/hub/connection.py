"""A link with its path and its streams, as one thing: datagrams and time go in, what follows goes to streams and owner."""

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Protocol

import trio

from edged.errors import UnreachableError
from edged.hub.events import Called, Data, Down, Event, Named, Reset, Stopped, Told, Up
from edged.hub.link import Link
from edged.hub.path import Path, Probe
from edged.hub.pieces import Pieces, is_piece
from edged.hub.probe import Probes
from edged.hub.stream import LinkStream
from edged.hub.ways import Route, Spot
from edged.kit.udp import bursts

LINGER_S = 0.004  # in which an answer is likely that can take more along


class Ports(Protocol):
    """What a connection sends by."""

    def send(self, route: Route, node: str | None, datagrams: Sequence[bytes]) -> None:
        """Send datagrams of a link to `node` that way; None: nobody was proved or dialled yet."""

    def probe(self, probe: Probe) -> None:
        """Send a probe by UDP."""

    def open(self, sockets: int) -> Sequence[int]:
        """Open so many further UDP sockets, or fewer; what comes in there goes by its content, as elsewhere."""

    def close(self, sockets: Iterable[int]) -> None:
        """Close these of them."""

    def name(self, connection: "Connection", connection_id: bytes, *, added: bool) -> None:
        """Datagrams for this id are the connection's, or no more."""

    def schedule(self, deadline: float) -> None:
        """Call `tick` at this time at the latest."""


class Owner(Protocol):
    """Whom a connection tells what happens."""

    def up(self, connection: "Connection") -> None:
        """The peer is proved."""

    def down(self, connection: "Connection") -> None:
        """The connection is over, for `connection.reason`; nothing follows."""

    def opened(self, connection: "Connection", stream: LinkStream) -> None:
        """The peer opened a stream."""

    def steered(self, connection: "Connection") -> None:
        """The path is another one, or wants the relay's help by UDP now (`path.wants_relay`), or no more."""

    def told(self, connection: "Connection", addresses: Sequence[str]) -> None:
        """The peer told where it may be reached, and whether it wants the link (`connection.wanted`)."""


class Connection:
    """`node` is the peer's name: proved when `link.peer` is set, before that the one that was dialled, or that the relay said.

    After `receive` and `probed` the caller settles, after `tick` it flushes, once for all that it has at hand.
    """

    def __init__(self, link: Link, path: Path, *, ports: Ports, owner: Owner, node: str | None) -> None:
        self.link, self.path, self.node = link, path, node
        self.waiting: set[LinkStream] = set()
        self.wanted: bool | None = None  # whether the peer wants to keep the link; None until it has said so
        self.began = trio.current_time()
        self._quiet = self.began  # since when there is no stream, while there is none
        self.over = trio.Event()
        self.reason = ""
        self._ports, self._owner = ports, owner
        self._streams: dict[int, LinkStream] = {}
        self._carried = 0  # by the link, when its path was told last
        self._routes = path.routes
        self._sockets: frozenset[int] = frozenset()  # further ones, open for it
        self._wants_relay = False
        self._flush_at = math.inf  # when what lingers is sent
        self.probes: Probes | None = None  # set when the peer is proved
        self._pieces: Pieces | None = None  # then, too
        self._whole: list[tuple[Spot, bytes]] = []  # put together of pieces; taken in bursts when it settles

    def receive(self, data: bytes, segment: int, route: Route, now: float) -> None:
        """QUIC datagrams came in that way."""
        self.path.heard(route, len(data), now)
        self._take(self.link.receive(data, segment, now), now)

    def probed(self, data: bytes, source: Spot, now: float) -> None:
        """A probe came from there, or half a datagram. ProtocolError when it is not authentic or answers nothing."""
        if self._pieces is None or not is_piece(data):
            self.path.receive(data, source, now)
            self.link.due = True
        elif (whole := self._pieces.join(data)) is not None:
            self._whole.append((source, whole))

    def _take_whole(self) -> None:
        whole, self._whole = self._whole, []
        for source, group in groupby(whole, key=itemgetter(0)):
            for burst in bursts([data for _, data in group]):
                self.receive(b"".join(burst), len(burst[0]), source, trio.current_time())

    def tick(self, now: float) -> None:
        """Time passed."""
        if self.deadline() <= now:
            self.path.tick(now)
            self._take(self.link.tick(now), now)

    def deadline(self) -> float:
        """When to call tick, at the latest."""
        return min(self.link.deadline(), self.path.deadline(), self._flush_at)

    def settle(self) -> None:
        """Flush after something came, unless all there would be to send is an acknowledgement that can wait for an answer."""
        if self._whole:
            self._take_whole()
        if self.link.due:
            self.flush()
        else:
            self._ports.schedule(self.deadline())

    def linger(self) -> None:
        """Flush in LINGER_S, if nobody does before."""
        self._flush_at = min(self._flush_at, trio.current_time() + LINGER_S)
        self._ports.schedule(self._flush_at)

    def flush(self) -> None:
        """Send what there is to send, and wake writers that have room again."""
        now = trio.current_time()
        self._flush_at = math.inf
        self._steer(now)
        datagrams = self.link.outgoing(now)
        if datagrams:
            for route in self.path.routes:
                if self._pieces is not None and self.path.narrow(route):
                    self._ports.send(route, self.node, self._pieces.cut(datagrams))
                else:
                    self._ports.send(route, self.node, datagrams)
            self.path.sent(sum(map(len, datagrams)), self.link.awaiting, now)
        for probe in self.path.outgoing():
            self._ports.probe(probe)
        for stream in tuple(self.waiting):
            stream.progressed()
        self._ports.schedule(self.deadline())

    def _steer(self, now: float) -> None:
        """What the path has to know of the link before it sends, and the link of the path."""
        if self.link.carried != self._carried:
            self._carried = self.link.carried
            self.path.carried(now)
        if self.link.stalled:
            self.path.suspect(now)
        steered = self.path.routes != self._routes
        if steered:
            self._routes = self.path.routes
            self.link.hurry(now)
        if steered or self.path.wants_relay(now) != self._wants_relay:
            self._wants_relay = self.path.wants_relay(now)
            self._owner.steered(self)
        wants = self.path.wants()
        if wants:
            self._sockets = frozenset(self._ports.open(wants))
            self.path.opened(self._sockets, now)
        if self._sockets and self.path.sockets != self._sockets:
            self._ports.close(self._sockets - self.path.sockets)
            self._sockets = self.path.sockets
        calls = self.path.calls()
        if calls is not None:
            self.link.call(calls)

    def quiet_for(self, now: float) -> float:
        """Seconds for which there was no stream."""
        return 0.0 if self._streams else now - self._quiet

    def open_stream(self) -> LinkStream:
        """A new stream to the peer. UnreachableError when the link carries no more."""
        if self.over.is_set():
            raise UnreachableError(f"the link to {self.node} is down: {self.reason}")
        return self._stream(self.link.open())

    def check(self) -> None:
        """The peer may have been restarted: it answers soon, or this is over."""
        self.link.check(trio.current_time())
        self.flush()

    def close(self, reason: str) -> None:
        """End it, and tell the peer why."""
        if not self.over.is_set():
            self.link.close(reason)
            self.flush()
            self._end(reason)

    def forget(self, stream: int) -> None:
        """The stream is closed."""
        self._streams.pop(stream, None)
        self._quiet = trio.current_time()

    def _stream(self, stream: int) -> LinkStream:
        made = self._streams[stream] = LinkStream(self, stream)
        return made

    def _take(self, events: list[Event], now: float) -> None:
        for event in events:
            if isinstance(event, Data):
                self._arrived(event)
            elif isinstance(event, Reset):
                if event.stream in self._streams:
                    self._streams[event.stream].was_reset()
            elif isinstance(event, Stopped):
                if event.stream in self._streams:
                    self._streams[event.stream].was_stopped()
            elif isinstance(event, Named):
                self._ports.name(self, event.connection_id, added=event.added)
            elif isinstance(event, Called):
                self.path.called(now, event.ports)
            elif isinstance(event, Told):
                self.wanted = event.wanted
                self._owner.told(self, event.addresses)
            elif isinstance(event, Up):
                self.node = event.peer
                self.probes = Probes(event.probe_key, dialler=self.link.dialled)
                self._pieces = Pieces(self.probes.link_id)
                self.path.authenticate(self.probes, now)
                self._owner.up(self)
            elif isinstance(event, Down):
                self.flush()
                self._end(event.reason)

    def _arrived(self, data: Data) -> None:
        stream = self._streams.get(data.stream)
        if stream is None and data.first:
            stream = self._stream(data.stream)
            stream.arrived(data.pieces, data.end)
            self._owner.opened(self, stream)
        elif stream is not None:
            stream.arrived(data.pieces, data.end)

    def _end(self, reason: str) -> None:
        self.reason = reason
        self.over.set()
        self._ports.close(self._sockets)
        for stream in tuple(self._streams.values()):
            stream.lost(reason)
        self._streams.clear()
        self._owner.down(self)
