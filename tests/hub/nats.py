"""Two paths with NATs, routers and a relay between them, in virtual time: the same seed gives the same run."""

import heapq
import itertools
import math
from collections.abc import Callable
from random import Random
from typing import Any, Final, Literal

from edged.errors import ProtocolError
from edged.hub.path import Path
from edged.hub.portsearch import hard_host
from edged.hub.probe import NARROW_SIZE, PING_SIZE, Probes
from edged.hub.ways import RELAY, From, Route, Spot
from edged.kit.address import Address

KEY = bytes(range(32))
Kind = Literal["open", "dropping", "tracking", "hard"]
HOPS_ACROSS = 3  # routers between the NATs
TRACKED_S = 30.0  # a NAT that tracks unsolicited packets remembers one for so long (nf_conntrack_udp_timeout)
MAPPED_S = 120.0
STALLED = 8  # datagrams that nobody acknowledged: half a second of a busy end, as of a link whose timers run out
QUIC = b"\x40"
ACK = b"\x41"
CALL = b"call"


class Nat:
    """A Linux NAT with one node behind it. `dropping` and `tracking` keep the port; `hard` draws one for each destination."""

    def __init__(self, kind: Kind, public: str, inside: Address, random: Random) -> None:
        self.kind: Final = kind
        self.public, self.inside, self._random = public, inside, random
        self._ports: dict[tuple[int, Address], tuple[int, float]] = {}  # socket and destination -> our port, when it was used
        self._tracked: dict[Address, float] = {}

    def out(self, socket: int, destination: Address, now: float) -> Address:
        """As whom the packet of a socket of the node leaves."""
        port, used = self._ports.get((socket, destination), (0, -math.inf))
        if now >= used + MAPPED_S:
            taken = now < self._tracked.get(destination, -math.inf) + TRACKED_S
            port = self._random.randrange(1024, 65536) if taken or self.kind == "hard" else self.inside.port
        self._ports[socket, destination] = (port, now)
        return Address(self.public, port)

    def lets_in(self, source: Address, port: int, now: float) -> int | None:
        """To which socket of the node a packet from outside gets, if to any."""
        for (socket, destination), (mapped, used) in self._ports.items():
            if destination == source and mapped == port and now < used + MAPPED_S:
                self._ports[socket, destination] = (port, now)
                return socket
        if self.kind == "tracking" and port == self.inside.port:
            self._tracked[source] = now
        return None


class End:
    """A node with its path. `busy`: it sends a datagram every 50 ms; else a keep-alive every 3 s."""

    def __init__(self, world: "World", name: str, kind: Kind, path: Path) -> None:
        self.world, self.name, self.path = world, name, path
        number = 1 if name == "a" else 2
        self.local = Address(f"192.168.{number}.2", 7400) if kind != "open" else Address(f"198.51.100.{number}", 7400)
        self.nat = Nat(kind, f"198.51.100.{number}", self.local, world.random) if kind != "open" else None
        self.busy = False
        self.send_at = 0.0
        self.flight = 0
        self.learned = False
        self.got = 0

    def told(self) -> list[Address]:
        """What it tells of itself: its interface, and what the relay sees."""
        if self.nat is None:
            return [self.local]
        if self.nat.kind == "hard":
            return [self.local, *(Address(self.nat.public, self.world.random.randrange(1024, 65536)) for _ in range(2))]
        return [self.local, Address(self.nat.public, self.local.port)]

    def flush(self, now: float) -> None:
        for probe in self.path.outgoing():
            self.world.by_udp(self, probe.spot, probe.data, probe.ttl, now)
        wants = self.path.wants()
        if wants:
            self.path.opened(range(1, wants + 1), now)
        calls = self.path.calls()
        if calls is not None and self.learned:  # else it is not for all our addresses, and the peer waits
            self.say(CALL + calls.to_bytes(2, "big"), now)

    def hurry(self, busy: bool) -> None:
        """Be busy from now on, or no more."""
        self.busy, self.send_at = busy, self.world.now

    def say(self, data: bytes, now: float) -> None:
        self.flight += data == QUIC
        for route in self.path.routes:
            if route == RELAY:
                self.world.post(0.015, self.world.other(self), RELAY, data, now)
            else:
                self.world.by_udp(self, route, data, None, now)
        self.path.sent(len(data), self.flight > 0, now)

    def hear(self, source: Route, data: bytes, now: float) -> None:
        if data[:1] in (QUIC, ACK) or data.startswith(CALL):
            self.path.heard(source, len(data), now)
            if data == ACK:
                self.flight = 0
            else:
                self.got += data == QUIC
                self.say(ACK, now)
            if data.startswith(CALL):
                self.path.called(now, int.from_bytes(data[len(CALL) :], "big"))
        elif source != RELAY:
            try:
                self.path.receive(data, source, now)
            except ProtocolError:
                self.world.refused += 1

    def tick(self, now: float) -> None:
        if self.path.deadline() <= now:
            self.path.tick(now)
            assert self.path.deadline() > now
        if self.send_at <= now:
            self.send_at = now + (0.05 if self.busy else 3.0)
            if self.busy:
                self.path.carried(now)
            if self.flight >= STALLED:
                self.path.suspect(now)
            self.say(QUIC, now)
        self.flush(now)


class World:
    """Ends `a` (the dialler) and `b`. `cut`: nothing passes between them but by the relay; `loss` of what goes by UDP.

    `mtu`: bytes of UDP that pass between them. What a busy end sends is as large as a link's datagrams are.
    """

    def __init__(
        self, a: Kind = "dropping", b: Kind = "dropping", *, seed: int = 0, loss: float = 0.0, relay: bool = True
    ) -> None:
        self.random = Random(seed)
        self.loss, self.cut, self.now, self.refused = loss, False, 100.0, 0
        self.mtu = PING_SIZE
        self._order = itertools.count()
        self._wire: list[tuple[float, int, End, Route, bytes]] = []
        kinds: dict[str, Kind] = {"a": a, "b": b}
        self.a, self.b = (
            End(self, name, kind, Path(relay=relay, configured=(), token=self.random.randbytes)) for name, kind in kinds.items()
        )

    def meet(self) -> "World":
        """Both are proved over the relay, and tell where they are."""
        for end in (self.a, self.b):
            end.path.authenticate(Probes(KEY, dialler=end is self.a), self.now)
            end.send_at = self.now
        for end in (self.a, self.b):
            self.run(self.random.uniform(0, 0.05))
            end.learned = True
            end.path.mapped(hard=hard_host(end.told()) is not None)
            end.path.learn(self.other(end).told(), self.now)
        return self

    def other(self, end: End) -> End:
        return self.b if end is self.a else self.a

    def post(self, delay: float, to: End, source: Route, data: bytes, now: float) -> None:
        heapq.heappush(self._wire, (now + delay + self.random.uniform(0, 0.003), next(self._order), to, source, data))

    def by_udp(self, sender: End, to: Spot, data: bytes, ttl: int | None, now: float) -> None:
        source, hops = sender.local, HOPS_ACROSS
        socket = to.socket if isinstance(to, From) else 0
        to = Address(*to[:2])
        if sender.nat is not None:
            if ttl == 1:
                return
            source, hops = sender.nat.out(socket, to, now), hops + 1
        other = self.other(sender)
        size = len(data)
        if data == QUIC and sender.busy:
            size = NARROW_SIZE if sender.path.narrow(to) else PING_SIZE
        if self.cut or size > self.mtu or self.random.random() < self.loss or (ttl is not None and ttl <= hops):
            return
        if other.nat is None:
            reached = 0 if to == other.local else None
        else:
            reached = other.nat.lets_in(source, to.port, now + 0.01) if to.host == other.nat.public else None
        if reached is not None:
            self.post(0.01, other, From(*source, reached) if reached else source, data, now)

    def run(self, seconds: float, until: Callable[[], Any] = lambda: False) -> float:
        """Until it is so, at most for so long; how long it took."""
        began, end = self.now, self.now + seconds
        ends = (self.a, self.b)
        while not until():
            for each in ends:
                each.tick(self.now)
            due = min(*(min(each.path.deadline(), each.send_at) for each in ends), self._wire[0][0] if self._wire else end)
            if due >= end:
                self.now = end
                break
            self.now = max(due, self.now)
            while self._wire and self._wire[0][0] <= self.now:
                _, _, to, source, data = heapq.heappop(self._wire)
                to.hear(source, data, self.now)
        return self.now - began

    def kinds(self) -> tuple[str, str]:
        """The kinds of both paths."""
        return self.a.path.kind, self.b.path.kind
