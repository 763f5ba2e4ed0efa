"""Which way the datagrams of a link go: lan, direct, relay-udp, or the relay's WebSocket, which is there from the first.

    receive(data, source, now)   a probe came in over UDP
    heard(route, size, now)      datagrams of the link came in
    sent(size, awaiting, now)    datagrams of the link went out; `awaiting`: some that the peer will acknowledge
    tick(now)                    time passed
    outgoing()                   probes to send
    deadline()                   when to call tick
    routes                       where the link's datagrams go now: one way, or two while the one in use is doubtful

The path in use costs no probes: the link's own datagrams (every few seconds a keep-alive) say whether it works. When nothing
comes back on it for a moment it is doubtful: pinged, and doubled by the next best way, until a pong ends the doubt or none
does and it is left. While the path is no good one, rounds look for a better one: at first often, then seldom, not at all
while the link carries nothing.

A round pings the peer's private addresses. Towards others it only opens our NATs, by a packet that dies before the peer's, and
calls the peer over the link: then the peer pings, and is pinged back. A ping at an address whose NAT has not been opened yet
would be worse than lost: a NAT that tracks unsolicited packets gives the peer's own flow to us another port from then on.
When one of both NATs is hard, which its node sees and tells, rounds in vain are followed by a search (portsearch.py).

A way that answers a small ping is asked how wide it is: it is used once it has answered a full ping, or after some of those in
vain a narrow one; then the link's datagrams go by it in two pieces (pieces.py). ICMP, which anybody may forge, has no say.

Probed are configured addresses, addresses that the peer told over the link, and addresses from which it proved itself;
nobody else can make a node send anything anywhere. Until the link is authenticated there are no probes, and datagrams go
back the way they came (or, dialling, every way there is).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from edged.errors import ProtocolError
from edged.hub.portsearch import SOCKETS, Searches, hard_host
from edged.hub.probe import PING_SIZE, PONG_SIZE, TRANSACTION, Ping, Probes
from edged.hub.ways import DIRECT, LAN, RELAY, RELAY_UDP, From, Route, Spot, Way, kind_of
from edged.kit.address import Address
from edged.wire.peer import MAX_CANDIDATES

SILENCE_S = 0.3  # nothing came back for so long: the path is doubtful. A peer's busy moment is shorter, mostly
HEARTBEAT_S = 3.0  # the same, when the peer itself speaks by another way and only pongs come on this one
LEAVE_S = 0.5  # a doubtful path whose pings are not answered for so long is left; so both together stay under 1 s
LEAVE_CAP_S = 3.0  # however slow its answers were: a path of seconds is none
DOUBT_PING_S = 0.15  # between those pings: a lost one decides nothing
SIZE_S = 0.2  # between pings that find out how wide a way is, or more where answers take longer
REPEAT_S = 0.1  # a way is pinged no more often than this, but in doubt, whoever asks for it
ROUND_FIRST_S, ROUND_CAP_S = 1.0, 60.0  # between rounds,
ROUND_PART = 8  # in between: this part of how long they have been in vain, so that a mended way is soon found again
LOOK_S = 60.0  # between looks for something better than a slow direct path
IDLE_S = 45.0  # a link that carried nothing for so long looks for nothing better
OPEN_TTL, OPEN_TTLS = 2, 4  # hops of the packets that open our NATs and die before the peer's: counted up round by round
MAX_ADDRESSES = 2 * MAX_CANDIDATES  # configured, told and seen together; a further one pushes out one that never answered
PLAIN_ROUNDS = 3  # in vain, before a hard NAT is taken on
MAX_SEARCHED = 2  # addresses of the other side to which a hard side opens its ports
MAX_ASKED = 256  # pings remembered until their pongs come, 4 rounds of them; the oldest is forgotten


class Probe(NamedTuple):
    """A probe to send; with a `ttl` it goes no further than so many hops."""

    spot: Spot
    data: bytes
    ttl: int | None = None


class Path:
    """The way of one link. `relay` says whether the relay reaches the peer; `token(n)` gives n bytes nobody can guess."""

    def __init__(self, *, relay: bool, configured: Iterable[Address], token: Callable[[int], bytes]) -> None:
        self._relay = relay
        self._token = token
        self._probes: Probes | None = None
        self._ways: dict[Spot, Way] = {address: Way(address, kind_of(address), kept=True) for address in configured}
        self._used: Way | None = None
        self._last: Route | None = None  # the way the peer last used before there were probes, or the last direct one since
        self._forward: Address | None = None
        self._asked: dict[bytes, tuple[Spot, float, int]] = {}
        self._out: list[Probe] = []
        # The path in use: since when the peer ought to answer and was not heard at all, since when it was heard by other ways
        # only; since when the path is doubtful; whether the peer uses it, too.
        self._waiting = math.inf
        self._aside = math.inf
        self._doubted = math.inf
        self._mutual = False
        self._now = -math.inf  # of the last tick
        # The search for a better one: since when, how many rounds, when the next is; when the link carried something.
        self._began = 0.0
        self._round = 0
        self._round_at = math.inf
        self._size_at = math.inf  # when some way is pinged next to find out how wide it is
        self._busy = -math.inf
        self._calls: int | None = None
        self._searches = Searches()
        self._wants = 0
        self.seen: Address | None = None  # our own address, as the peer last saw it
        self.sent_bytes: Counter[str] = Counter()  # by kind
        self.received_bytes: Counter[str] = Counter()
        self.routes = self._routes()

    @property
    def kind(self) -> str:
        """`lan`, `direct`, `relay-udp` or `relay-ws`; `none` while nothing is known to reach the peer."""
        if self._used is not None:
            return self._used.kind
        return RELAY if self._relay else "none"

    @property
    def address(self) -> Address | None:
        """The peer's address in use, None while none is."""
        used = self._used
        return Address(*used.spot[:2]) if used is not None and used.kind != RELAY_UDP else None

    @property
    def answered(self) -> Address | Literal["relay-ws"] | None:
        """The way that the link's first datagram from the peer came; the last direct one once the peer is proved."""
        return Address(*self._last[:2]) if isinstance(self._last, From) else self._last

    def narrow(self, route: Route) -> bool:
        """Whether that way carries no full datagrams."""
        way = None if route == RELAY else self._ways.get(route)
        return way is not None and way.narrow

    @property
    def rtt(self) -> float | None:
        """Seconds that the last answered ping took on the path in use, if that is by UDP."""
        return self._used.rtt if self._used is not None else None

    def wants_relay(self, now: float) -> bool:
        """Whether the link carries something, and not on a LAN: the relay's help by UDP is worth asking for."""
        return self._probes is not None and self.kind != LAN and now <= self._busy + IDLE_S

    def mapped(self, *, hard: bool) -> None:
        """Whether our NAT draws a port for each flow."""
        self._searches.hard = hard

    # ---- what happens

    def authenticate(self, probes: Probes, now: float) -> None:
        """The link is authenticated: find a direct path from now on."""
        self._probes = probes
        self._busy = now
        if isinstance(self._last, tuple):
            way = self._add(self._last)
            if way is not None:
                way.meet()  # the handshake passed
        self._search(now)
        self.tick(now)

    def learn(self, addresses: Iterable[Address], now: float) -> None:
        """The peer told its addresses over the link: try them. A call of ours before was not for all of them."""
        known = len(self._ways)
        told = list(addresses)
        for address in told:
            self._add(address)
        self._searches.host = hard_host(told) or self._searches.host
        if self._searching and self._probes is not None:
            if len(self._ways) > known:
                self._search(now)
            self._round_at = now
        self.tick(now)

    def relay(self, present: bool) -> None:
        """Whether the relay reaches the peer has changed."""
        self._relay = present
        self.routes = self._routes()

    def forward(self, address: Address | None, now: float) -> None:
        """The relay's forwarding address for this link has become usable, or is gone (None)."""
        if self._forward is not None and self._forward != address:
            gone = self._ways.pop(self._forward, None)
            if gone is not None and gone is self._used:
                self._leave(now)
        self._forward = address
        if address is not None:
            way = self._ways.setdefault(address, Way(address, RELAY_UDP, kept=True))
            way.kind, way.kept = RELAY_UDP, True
            way.meet()
            if self._searching:
                self._ping(way, now)
        self.tick(now)

    def called(self, now: float, ports: int = 0) -> None:
        """The peer has opened its NATs for us: ping it at once, wherever it may be, and look for its `ports` if it says any."""
        for way in self._ways.values():
            if way is not self._used:
                self._ping(way, now)
        if self._searching:
            self._searches.called(ports, int.from_bytes(self._token(4), "big"), now)
        self.tick(now)

    def carried(self, now: float) -> None:
        """The link carried something for a stream: it is worth looking for a good path."""
        if now > self._busy + IDLE_S and self._round_at < math.inf:
            self._round_at = now
        self._busy = now

    def heard(self, route: Route, size: int, now: float) -> None:
        """Datagrams of the link came this way. Until the link is authenticated, answers go back there."""
        used = self._used
        if used is not None and route == used.spot:
            self._works(mutual=True)
            self.received_bytes[used.kind] += size
            return
        way = None if route == RELAY else self._ways.get(route)
        self.received_bytes[RELAY if route == RELAY else DIRECT if way is None else way.kind] += size
        if self._probes is None:
            if route != self._last:
                self._last = route
                self.routes = self._routes()
        elif used is not None and way is not None and self._follows(way, used, now):
            self._settle(way, now)
            self.routes = self._routes()
        else:
            self._waiting, self._aside = math.inf, min(self._aside, now)

    def suspect(self, now: float) -> None:
        """Nothing is acknowledged, whatever comes: who sits on the path may forge that. Doubtful, if no pong came just now."""
        used = self._used
        if used is not None and self._doubted == math.inf and now >= used.answered + _patience(used):
            self._doubt(used, now)
            self.tick(now)

    def sent(self, size: int, awaiting: bool, now: float) -> None:
        """Datagrams of the link were sent by `routes`; `awaiting`: the peer is to acknowledge some that it has."""
        for route in self.routes:
            way = None if route == RELAY else self._ways.get(route)
            self.sent_bytes[RELAY if route == RELAY else DIRECT if way is None else way.kind] += size
        if awaiting and self._waiting == math.inf:
            self._waiting = now

    def receive(self, data: bytes, source: Spot, now: float) -> None:
        """A probe of this link came from `source`. ProtocolError when it is not authentic or answers nothing."""
        if self._probes is None:
            raise ProtocolError("a probe before its link is authenticated")
        probe = self._probes.open(data)
        if isinstance(probe, Ping):
            self._out.append(Probe(source, self._probes.pong(probe.transaction, Address(*source[:2]))))
            self._was_pinged(source, now)
        else:
            spot, asked, size = self._asked.pop(probe.transaction, (None, now, 0))
            way = self._ways.get(source)
            if spot != source or way is None:
                raise ProtocolError("an answer to no ping")
            if way.kind != RELAY_UDP:
                self.seen = probe.seen
            self._answered(way, asked, size, now)
        self.tick(now)

    def outgoing(self) -> list[Probe]:
        """Probes to send by UDP, and where to."""
        out, self._out = self._out, []
        return out

    def calls(self) -> int | None:
        """Whether the peer is to be called now, over the link: with how many ports open to be found, else None."""
        calls, self._calls = self._calls, None
        return calls

    def wants(self) -> int:
        """How many further sockets are to be opened now (`opened`) for a search through our hard NAT."""
        wants, self._wants = self._wants, 0
        return wants

    def opened(self, sockets: Iterable[int], now: float) -> None:
        """These were opened: open our NAT from each of them for the peer."""
        numbers = tuple(sockets)
        ttl = OPEN_TTL if self._searches.opened(numbers, now) else None
        far = [way.spot for way in self._ways.values() if way.kind == DIRECT and isinstance(way.spot, Address)]
        if self._probes is not None:
            for spot in far[:MAX_SEARCHED]:
                for socket in numbers:
                    ping = self._probes.ping(self._token(TRANSACTION), PONG_SIZE)  # who answers pings us, too
                    self._out.append(Probe(From(*spot[:2], socket), ping, ttl))
        self._calls = self._searches.ports(now)

    @property
    def sockets(self) -> frozenset[int]:
        """Those of the opened sockets that are still needed."""
        return self._searches.needed(self._used.spot if self._used is not None else None, self._now)

    # ---- time

    def deadline(self) -> float:
        """When to call tick, at the latest."""
        if self._probes is None:
            return math.inf
        due = min(self._searches.deadline(self._now), self._size_at)
        if self._round_at < due and self._round_at <= self._busy + IDLE_S:
            due = self._round_at
        if self._used is None:
            return due
        if self._doubted == math.inf:
            return min(due, self._doubt_at(self._used))
        return min(due, self._used.pinged + DOUBT_PING_S, self._doubted + _leave_s(self._used))

    def tick(self, now: float) -> None:
        """Time passed, or something was learned: choose the path, and ping whom it is time to ping."""
        if self._probes is not None:
            self._judge(now)
            if self._round_at <= now and self._round_at <= self._busy + IDLE_S:
                self._do_round(now)
            for way in self._ways.values():
                if way.sizing and now >= _size_at(way):
                    self._ping(way, now, again=True)
            self._size_at = min((_size_at(way) for way in self._ways.values() if way.sizing), default=math.inf)
            if self._probes is not None:
                for address in self._searches.due(now):  # who got through pings us: what it answers need not be known
                    self._out.append(Probe(address, self._probes.ping(self._token(TRANSACTION), PONG_SIZE)))
        self._now = now
        self.routes = self._routes()

    def _doubt_at(self, used: Way) -> float:
        patience = _patience(used)
        return min(self._waiting + patience, self._aside + (patience if self._mutual else HEARTBEAT_S))

    def _works(self, *, mutual: bool) -> None:
        """Something has just come by the path in use: the peer's own datagrams, or only a pong."""
        self._waiting = self._aside = math.inf
        self._mutual = mutual

    def _judge(self, now: float) -> None:
        used = self._used
        if used is None:
            return
        if self._doubted == math.inf:
            if now >= self._doubt_at(used):
                self._doubt(used, now)
        elif now >= self._doubted + _leave_s(used):
            self._leave(now)
        elif now >= used.pinged + DOUBT_PING_S:
            self._ping(used, now)

    def _doubt(self, used: Way, now: float) -> None:
        self._doubted = now
        self._search(now)
        self._do_round(now)
        self._ping(used, now)

    def _leave(self, now: float) -> None:
        """The path in use is no good: go on by the next best, and look for a better one."""
        left, self._used = self._used, None
        self._waiting = self._doubted = math.inf
        others = [way for way in self._ways.values() if way is not left and way.trusted(now)]
        if left is not None:
            left.forget()
        best = min(others, key=lambda way: (way.rank, way.rtt), default=None)
        if best is not None:
            self._settle(best, now)
        if self._searching and self._round_at == math.inf:
            self._search(now)

    # ---- the search

    @property
    def _searching(self) -> bool:
        used = self._used
        return used is None or used.kind == RELAY_UDP or self._doubted < math.inf

    def _search(self, now: float) -> None:
        """Begin anew to look for a better path."""
        self._began, self._round, self._round_at = now, 0, now

    def _do_round(self, now: float) -> None:
        """Ask every way whether it is there, and call the peer when NATs may be between."""
        ttl = OPEN_TTL + self._round % OPEN_TTLS
        for way in self._ways.values():
            if way.kind != DIRECT or way is self._used or way.trusted(now):
                self._ping(way, now)
                if way.narrow:  # perhaps no more
                    self._ask(way, now, size=PING_SIZE)
            else:
                self._calls = self._searches.ports(now)
                self._ask(way, now, ttl)
        every = min(max((now - self._began) / ROUND_PART, ROUND_FIRST_S), ROUND_CAP_S)
        self._round_at = now + (every if self._searching else LOOK_S)
        self._round += 1
        if self._searching and self._round > PLAIN_ROUNDS and self._searches.takes_on(now):
            self._wants = SOCKETS

    def _ping(self, way: Way, now: float, *, again: bool = False) -> None:
        if now >= way.pinged + REPEAT_S or again:
            self._ask(way, now, size=way.size)
            way.asked(now)

    def _ask(self, way: Way, now: float, ttl: int | None = None, size: int = PONG_SIZE) -> None:
        if self._probes is None:
            return
        transaction = self._token(TRANSACTION)
        if len(self._asked) >= MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        self._asked[transaction] = (way.spot, now, size)
        self._out.append(Probe(way.spot, self._probes.ping(transaction, size), ttl))

    def _add(self, spot: Spot) -> Way | None:
        """The way there; None when it is new and all places are taken by ways that answered."""
        way = self._ways.get(spot)
        if way is None:
            if len(self._ways) >= MAX_ADDRESSES:
                silent = (way.spot for way in self._ways.values() if not (way.kept or way.met))
                oldest = next(silent, None)
                if oldest is None:
                    return None
                del self._ways[oldest]
            way = self._ways[spot] = Way(spot, kind_of(spot), kept=False)
        return way

    def _was_pinged(self, source: Spot, now: float) -> None:
        """The peer is there: ask back, when it could be a path for us."""
        way, used = self._add(source), self._used
        if way is None or way is used or way.trusted(now):
            return
        if used is None or way.rank <= used.rank or self._doubted < math.inf:
            # The relay let nothing through until the peer had proved itself there, too: our ping of just now is lost.
            self._ping(way, now, again=way.kind == RELAY_UDP and way.answered == -math.inf)

    # ---- the choice

    def _answered(self, way: Way, asked: float, size: int, now: float) -> None:
        way.rtt = now - asked
        if size == PONG_SIZE:
            way.meet()
            self._ping(way, now, again=True)
            return
        if size < PING_SIZE and not way.narrow:  # were the full ones lost by accident?
            self._ask(way, now, size=PING_SIZE)
        way.fits(size, asked)
        if way is self._used:
            self._works(mutual=False)
            if self._doubted < math.inf:
                self._settle(way, now)
        elif self._used is None or way.rank < self._used.rank or self._chooses(way, self._used):
            self._settle(way, now)

    def _chooses(self, way: Way, used: Way) -> bool:
        """Of ways of one rank the dialler takes the quicker one, and the other end follows."""
        if way.rank != used.rank:
            return False
        dialler = self._probes is not None and self._probes.dialler
        return self._doubted < math.inf or (dialler and way.beats(used))

    def _follows(self, way: Way, used: Way, now: float) -> bool:
        dialler = self._probes is not None and self._probes.dialler
        return not dialler and way.rank <= used.rank and way.trusted(now)

    def _settle(self, way: Way, now: float) -> None:
        """Use `way` from now on."""
        self._used = way
        self._doubted = math.inf
        self._works(mutual=False)
        if way.kind != RELAY_UDP:
            self._searches.found(now)
            self._last = way.spot
            self._round_at = math.inf if way.fast else now + LOOK_S

    def _routes(self) -> tuple[Route, ...]:
        relay: tuple[Route, ...] = (RELAY,) if self._relay else ()
        used = self._used
        if used is not None and self._doubted == math.inf:
            return (used.spot,)
        if used is not None:
            others = (way for way in self._ways.values() if way is not used and way.trusted(self._now))
            second = min(others, key=lambda way: (way.rank, way.rtt), default=None)
            return (used.spot, second.spot) if second is not None else (used.spot, *relay)
        if self._probes is None:
            return (self._last,) if self._last is not None else (*relay, *self._ways)
        if relay:
            return relay
        return (self._last,) if isinstance(self._last, tuple) else ()


def _size_at(way: Way) -> float:
    return way.pinged + max(SIZE_S, 2 * way.rtt)


def _patience(used: Way) -> float:
    return min(max(SILENCE_S, 2 * used.rtt + REPEAT_S), HEARTBEAT_S)


def _leave_s(used: Way) -> float:
    return min(max(LEAVE_S, 3 * used.rtt), LEAVE_CAP_S)
