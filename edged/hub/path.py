"""Which way the datagrams of a link go: directly to an address that answers probes, else by the relay.

    receive(data, source, now)   a probe came in over UDP
    tick(now)                    time passed
    outgoing()                   probes to send
    deadline()                   when to call tick
    routes                       where the link's datagrams go now: one way, or two while the direct one is doubtful

Probed are configured addresses, addresses that the peer told over the link, and addresses from which it proved itself;
nobody else can make a node send anything anywhere. Until the link is authenticated there are no probes, and datagrams go
back the way they came (or, dialling, every way there is).
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from edged.errors import ProtocolError
from edged.hub.probe import TRANSACTION, Ping, Probes
from edged.kit.address import Address
from edged.wire.peer import MAX_CANDIDATES

RELAY: Final = "relay-ws"
Route = Address | Literal["relay-ws"]

HEARTBEAT_S = 3.0  # between pings on the path in use
TRUST_S = 6.5  # a path is used for so long after an answered ping: two heartbeats and a slow answer
DOUBT_S = 1.0  # a ping unanswered for so long makes the path doubtful; it is pinged again as often
RETRY_FIRST_S = 1.0  # an address that does not answer is tried again after this, doubling up to
RETRY_CAP_S = 300.0  # this: 16 silent addresses then cost a metered line 6 MB a day
MAX_ADDRESSES = 2 * MAX_CANDIDATES  # configured, told and seen together; a further one pushes out one that never answered
MAX_ASKED = 64  # pings remembered until their pongs come; the oldest is forgotten


@dataclass(slots=True, eq=False)
class _Way:
    """An address to probe. `answered` is when its last answered ping was sent; `ping_at` when it is pinged next."""

    address: Address
    kept: bool
    ping_at: float
    retry: float = RETRY_FIRST_S
    answered: float = -math.inf
    rtt: float = math.inf

    def search(self, now: float) -> None:
        self.ping_at, self.retry = now, RETRY_FIRST_S


class Path:
    """The way of one link. `relay` says whether the relay reaches the peer; `token(n)` gives n bytes nobody can guess."""

    def __init__(self, *, relay: bool, configured: Iterable[Address], token: Callable[[int], bytes]) -> None:
        self._relay = relay
        self._token = token
        self._probes: Probes | None = None
        self._ways = {address: _Way(address, kept=True, ping_at=math.inf) for address in configured}
        self._used: _Way | None = None
        self._unanswered = math.inf  # when the first ping since the last pong was sent on the path in use
        self._doubtful = False
        self._asked: dict[bytes, tuple[Address, float]] = {}
        self._out: list[tuple[Address, bytes]] = []
        self._last: Route | None = None  # the way the peer last used before there were probes, or the last direct one since
        self.seen: Address | None = None  # our own address, as the peer last saw it
        self.routes = self._routes()

    @property
    def kind(self) -> str:
        """`lan` or `relay-ws`; `none` while nothing is known to reach the peer."""
        if self._used is not None:
            return "lan"
        return RELAY if self._relay else "none"

    @property
    def address(self) -> Address | None:
        """The address in use, None while none is."""
        return self._used.address if self._used is not None else None

    @property
    def answered(self) -> Route | None:
        """The way that the link's first datagram from the peer came; the last direct one once the peer is proved."""
        return self._last

    @property
    def rtt(self) -> float | None:
        """Seconds that the last answered ping took on the direct path in use."""
        return self._used.rtt if self._used is not None else None

    def heard(self, route: Route) -> None:
        """A datagram of the link came this way: until the link is authenticated, answers go back there."""
        if self._probes is None and route != self._last:
            self._last = route
            self.routes = self._routes()

    def authenticate(self, probes: Probes, now: float) -> None:
        """The link is authenticated: find a direct path from now on."""
        self._probes = probes
        if isinstance(self._last, tuple):
            self._add(self._last, now)
        for way in self._ways.values():
            way.search(now)
        self.tick(now)

    def learn(self, addresses: Iterable[Address], now: float) -> None:
        """The peer told its addresses over the link: try them now, unless a direct path is in use."""
        for address in addresses:
            self._add(address, now)
        self.tick(now)

    def relay(self, present: bool) -> None:
        """Whether the relay reaches the peer has changed."""
        self._relay = present
        self.routes = self._routes()

    def receive(self, data: bytes, source: Address, now: float) -> None:
        """A probe of this link came from `source`. ProtocolError when it is not authentic or answers nothing."""
        if self._probes is None:
            raise ProtocolError("a probe before its link is authenticated")
        probe = self._probes.open(data)
        if isinstance(probe, Ping):
            self._out.append((source, self._probes.pong(probe.transaction, source)))
            self._add(source, now)
        else:
            address, asked = self._asked.pop(probe.transaction, (None, now))
            if address != source or source not in self._ways:
                raise ProtocolError("an answer to no ping")
            self.seen = probe.seen
            self._answered(self._ways[source], asked, now)
        self.tick(now)

    def outgoing(self) -> list[tuple[Address, bytes]]:
        """Probes to send by UDP, and where to."""
        out, self._out = self._out, []
        return out

    def deadline(self) -> float:
        """When to call tick, at the latest."""
        due = min((way.ping_at for way in self._ways.values()), default=math.inf)
        if self._used is None:
            return due
        doubt = math.inf if self._doubtful else self._unanswered + DOUBT_S
        return min(due, doubt, self._used.answered + TRUST_S)

    def tick(self, now: float) -> None:
        """Time passed, or something was learned: choose the path, and ping whom it is time to ping."""
        self._choose(now)
        for way in self._ways.values():
            if way.ping_at <= now:
                self._ping(way, now)
        self.routes = self._routes()

    def _add(self, address: Address, now: float) -> None:
        searching = self._used is None or self._doubtful
        way = self._ways.get(address)
        if way is not None:
            if searching and way.retry > 2 * RETRY_FIRST_S:
                way.search(now)
            return
        if len(self._ways) >= MAX_ADDRESSES:
            silent = (way.address for way in self._ways.values() if not way.kept and way.answered == -math.inf)
            oldest = next(silent, None)
            if oldest is None:
                return
            del self._ways[oldest]
        self._ways[address] = _Way(address, kept=False, ping_at=now if searching else math.inf)

    def _answered(self, way: _Way, asked: float, now: float) -> None:
        way.answered, way.rtt = asked, now - asked
        if way is self._used:
            way.ping_at = max(now, asked + HEARTBEAT_S)
            self._unanswered = math.inf
            if self._doubtful:
                self._settle(way)

    def _choose(self, now: float) -> None:
        if self._used is not None and now >= self._used.answered + TRUST_S:
            self._used = None
            if not self._doubtful:
                self._search(now)
            self._doubtful = False
        if self._used is None:
            trusted = (way for way in self._ways.values() if now < way.answered + TRUST_S)
            best = min(trusted, key=lambda way: way.rtt, default=None)
            if best is not None:
                best.ping_at = best.answered + HEARTBEAT_S
                self._settle(best)
        elif not self._doubtful and now >= self._unanswered + DOUBT_S:
            self._doubtful = True
            self._search(now)

    def _settle(self, way: _Way) -> None:
        """Use `way`, and leave the others in peace."""
        self._used, self._last = way, way.address
        self._unanswered, self._doubtful = math.inf, False
        for other in self._ways.values():
            if other is not way:
                other.ping_at = math.inf

    def _search(self, now: float) -> None:
        for way in self._ways.values():
            way.search(now)

    def _ping(self, way: _Way, now: float) -> None:
        if self._probes is None:
            return
        transaction = self._token(TRANSACTION)
        if len(self._asked) >= MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        self._asked[transaction] = (way.address, now)
        self._out.append((way.address, self._probes.ping(transaction)))
        if way is self._used:
            self._unanswered = min(self._unanswered, now)
            way.ping_at = now + DOUBT_S
        else:
            way.ping_at = now + way.retry
            way.retry = min(way.retry * 2, RETRY_CAP_S)

    def _routes(self) -> tuple[Route, ...]:
        relay: tuple[Route, ...] = (RELAY,) if self._relay else ()
        if self._used is not None:
            return (self._used.address, *relay) if self._doubtful else (self._used.address,)
        if self._probes is None:
            return (self._last,) if self._last is not None else (*relay, *self._ways)
        if relay:
            return relay
        return (self._last,) if isinstance(self._last, tuple) else ()
