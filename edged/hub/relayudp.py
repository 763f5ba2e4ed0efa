"""What a node asks its relay by UDP: under which addresses it is seen, and to be let through its ports to other nodes. Pure.

    welcomed, lost                 a relay takes us, or is away again
    parted(node, now)              a node left the relay, or came anew
    check(node, now), moved(now)   a port seems to lead nowhere any more; we have other addresses
    inquire(on, now)               a person wants to know
    want(nodes, now)               the links that want to go by UDP: without any nothing is asked
    allotted(node, port, now)      the relay's port for a node
    receive(data, source, now)     an answer came in
    tick(now)                      time passed
    outgoing()                     questions to send by UDP
    allots()                       nodes for which to ask the relay for a port, by its WebSocket
    deadline()                     when to call tick

What happened comes back as events. A question is asked again every 20 to 26 s, as NATs forget a mapping after 30 s; one that
is not answered is asked again soon, then ever more seldom: where UDP is blocked that costs next to nothing.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import Random

from edged.errors import ProtocolError
from edged.kit.address import Address
from edged.wire.relayudp import NO_COOKIE, Here, Where, opened, sealed

AGAIN_FIRST_S, AGAIN_LAST_S = 20.0, 26.0  # between questions at a port: drawn from here, so that nodes do not march in step
FRESH_S = 27.0  # an address that was seen longer ago is asked for anew when it is wanted again
RETRY_FIRST_S = 0.3  # an unanswered question is repeated after this, doubling up to
RETRY_CAP_S = 300.0  # this: two ports then cost 50 kB a day
MOST_UNANSWERED = 5  # questions in a row, some 10 s: UDP is blocked, or the port is gone
AT_ONCE = 3  # questions that follow each other without waiting, each with the cookie of the answer before
CHECK_S = 1.0  # a port that answered since is asked anew only in its turn
PATIENCE_S = 0.3  # for which a link wants it before a port is asked for: most of a LAN are on a direct path by then
ALLOT_FIRST_S, ALLOT_CAP_S = 5.0, 300.0  # between tries to get a port for a node, doubling
MAX_ASKED = 1024  # questions remembered until they are answered, one for each port of a node and some more; the oldest goes


@dataclass(frozen=True, slots=True)
class Observed:
    """The addresses under which the relay sees us have changed."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Forwards:
    """`address` leads to `node` through the relay from now on; None: nothing does any more."""

    node: str
    address: Address | None


Event = Observed | Forwards


@dataclass(slots=True, eq=False)
class _Port:
    """A port of the relay: `node` is the one to whom it forwards, None at a port for questions."""

    address: Address
    node: str | None
    ask_at: float
    cookie: bytes = NO_COOKIE
    retry: float = RETRY_FIRST_S
    unanswered: int = 0
    at_once: int = 0
    answered: float = -math.inf
    rtt: float = math.inf
    seen: Address | None = None
    bound: bool = False

    @property
    def silent(self) -> bool:
        return self.unanswered > MOST_UNANSWERED

    def ask(self, now: float) -> None:
        """Ask at once; a port that is silent keeps its pace."""
        if not self.silent:
            self.ask_at, self.retry, self.at_once = now, RETRY_FIRST_S, 0


@dataclass(slots=True, eq=False)
class _Wish:
    """A port is wanted for a node: when to ask for one next, infinity while there is one."""

    ask_at: float
    retry: float = ALLOT_FIRST_S


class RelayUdp:
    """One node's side; `random` draws the pauses. It is told of nodes that are known, which bounds what it remembers."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._host: str | None = None
        self._session, self._key = 0, b""
        self._number = 0
        self._questions: list[_Port] = []
        self._forwards: dict[str, _Port] = {}
        self._wishes: dict[str, _Wish] = {}
        self._asked: dict[int, tuple[_Port, float]] = {}
        self._inquiring = False
        self._out: list[tuple[Address, bytes]] = []
        self._allots: list[str] = []
        self._observed: tuple[Address, ...] = ()

    @property
    def observed(self) -> tuple[Address, ...]:
        """Our addresses as the relay sees them; two of one family mean a NAT whose mapping varies by destination."""
        return self._observed

    @property
    def blocked(self) -> bool:
        """Whether the relay has UDP and none of it reaches us."""
        return bool(self._questions) and all(port.silent for port in self._questions)

    @property
    def asks(self) -> bool:
        """Whether there is a relay to ask."""
        return bool(self._questions)

    @property
    def rtt(self) -> float | None:
        """Seconds to the relay and back by UDP, when it was asked last; None: it has not answered."""
        return min((port.rtt for port in self._questions if port.seen is not None), default=None)

    def answered_since(self, then: float) -> bool:
        """Whether all ports for questions, if there are any, have answered."""
        return all(port.answered >= then for port in self._questions)

    def forwarding(self, node: str) -> Address | None:
        """The address that leads to `node` through the relay."""
        port = self._forwards.get(node)
        return port.address if port is not None and port.bound else None

    # ---- what the relay says by its WebSocket

    def welcomed(self, host: str | None, session: int, ports: Sequence[int], key: bytes, now: float) -> list[Event]:
        """A relay takes us; its IP address is `host`, None when we cannot speak UDP to it."""
        events = self.lost()
        self._host = host if ports else None
        self._session, self._key, self._number = session, key, 0
        if self._host is not None:
            self._questions = [_Port(Address(self._host, port), None, now) for port in ports]
            for wish in self._wishes.values():
                wish.ask_at, wish.retry = now + PATIENCE_S, ALLOT_FIRST_S
        return events

    def lost(self) -> list[Event]:
        """No relay takes us."""
        events: list[Event] = [Forwards(node, None) for node, port in self._forwards.items() if port.bound]
        self._host = None
        self._questions, self._forwards, self._asked, self._out, self._allots = [], {}, {}, [], []
        for wish in self._wishes.values():
            wish.ask_at = math.inf
        return events + self._look()

    def allotted(self, node: str, port: int, now: float) -> list[Event]:
        """The relay's port between us and `node`; 0: none, or none any more."""
        wish = self._wishes.get(node)
        if self._host is not None and port:
            if wish is not None:
                wish.ask_at, wish.retry = math.inf, ALLOT_FIRST_S
            known = self._forwards.get(node)
            if known is not None and known.address.port == port:
                return []
            events = self._forget(node)
            cookie = next((asked.cookie for asked in self._questions if asked.seen is not None), NO_COOKIE)
            self._forwards[node] = _Port(Address(self._host, port), node, now, cookie)
            return events
        if wish is not None:
            wish.ask_at = now + wish.retry
            wish.retry = min(2 * wish.retry, ALLOT_CAP_S)
        return self._forget(node)

    def parted(self, node: str, now: float) -> list[Event]:
        """The node went away from the relay, or came to it anew: a port that there was is gone."""
        wish = self._wishes.get(node)
        if wish is not None and self._host is not None:
            wish.ask_at, wish.retry = now + PATIENCE_S, ALLOT_FIRST_S
        return self._forget(node)

    # ---- what links want

    def want(self, nodes: Collection[str], now: float) -> None:
        """Which links are to go by UDP through the relay, or need our address for a better way."""
        idle = not self._wishes
        for node in self._wishes.keys() - set(nodes):
            del self._wishes[node]
        for node in nodes:
            if node not in self._wishes:
                wanted_at = now + PATIENCE_S if self._host is not None and node not in self._forwards else math.inf
                self._wishes[node] = _Wish(wanted_at)
                port = self._forwards.get(node)
                if port is not None and now - port.answered > FRESH_S:
                    port.ask(now)
        if idle and self._wishes:
            for port in self._questions:
                if now - port.answered > FRESH_S:
                    port.ask(now)

    def inquire(self, *, on: bool, now: float) -> None:
        """Somebody wants to know how we are seen, whether links want it or not; asked anew even where nothing is answered."""
        self._inquiring = on
        if on:
            self.moved(now)

    def check(self, node: str, now: float) -> None:
        """The node is not reached through its port, as it seems: perhaps a NAT has given us another address."""
        port = self._forwards.get(node)
        if port is not None and now - port.answered > CHECK_S:
            port.ask(now)

    def moved(self, now: float) -> None:
        """We may be seen under other addresses than before: ask anew, even where nothing was answered."""
        for port in (*self._questions, *self._forwards.values()):
            port.unanswered = 0
            port.ask(now)

    # ---- by UDP

    def receive(self, data: bytes, source: Address, now: float) -> list[Event]:
        """An answer came from `source`. ProtocolError when it is not authentic or answers nothing."""
        answer = opened(data, self._key)
        if not isinstance(answer, Here) or answer.session != self._session:
            raise ProtocolError("not an answer of this session")
        port, asked = self._asked.get(answer.transaction, (None, now))
        if port is None or port.address != source:
            raise ProtocolError("an answer to no question")
        del self._asked[answer.transaction]
        if port.node is None and port.seen not in (None, answer.seen):
            self._doubt_older(port)
        port.cookie, port.seen, port.answered = answer.cookie, Address(*answer.seen), now
        port.rtt, port.unanswered, port.retry = now - asked, 0, RETRY_FIRST_S
        if port.node is not None and not answer.bound and port.at_once < AT_ONCE:
            port.at_once += 1
            port.ask_at = now  # with this cookie we prove that we receive here
        else:
            port.at_once = 0
            port.ask_at = now + self._random.uniform(AGAIN_FIRST_S, AGAIN_LAST_S)
        events: list[Event] = []
        if answer.bound and not port.bound and port.node is not None:
            port.bound = True
            events.append(Forwards(port.node, port.address))
        return events + self.tick(now)

    def tick(self, now: float) -> list[Event]:
        """Time passed: ask what it is time to ask."""
        events: list[Event] = []
        if any(port.ask_at <= now for port in self._questions):
            for port in self._questions:  # together: what they show of a NAT is compared
                if not port.unanswered:
                    port.ask_at = now
        for port in self._active():
            if port.ask_at <= now:
                self._ask(port, now)
                if port.silent:
                    events += self._fell_silent(port)
        for node, wish in self._wishes.items():
            if wish.ask_at <= now and not self.blocked:
                self._allots.append(node)
                wish.ask_at = now + wish.retry
                wish.retry = min(2 * wish.retry, ALLOT_CAP_S)
        return events + self._look()

    def outgoing(self) -> list[tuple[Address, bytes]]:
        """Questions to send, and where to."""
        out, self._out = self._out, []
        return out

    def allots(self) -> list[str]:
        """Nodes for which to ask the relay for a port."""
        allots, self._allots = self._allots, []
        return allots

    def deadline(self) -> float:
        """When to call tick, at the latest."""
        due = min((port.ask_at for port in self._active()), default=math.inf)
        if self.blocked:
            return due
        return min(due, min((wish.ask_at for wish in self._wishes.values()), default=math.inf))

    def _active(self) -> list[_Port]:
        """The ports where questions are asked now."""
        if not (self._wishes or self._inquiring):
            return []
        return [*self._questions, *(port for node, port in self._forwards.items() if node in self._wishes)]

    def _ask(self, port: _Port, now: float) -> None:
        self._number += 1
        if len(self._asked) >= MAX_ASKED:
            del self._asked[next(iter(self._asked))]
        self._asked[self._number] = port, now
        self._out.append((port.address, sealed(Where(self._session, self._number, port.cookie), self._key)))
        port.unanswered += 1
        port.ask_at = now + port.retry
        port.retry = min(2 * port.retry, RETRY_CAP_S)

    def _doubt_older(self, changed: _Port) -> None:
        """A port shows another address than before: what others showed before they were asked with it is as old."""
        for port in self._questions:
            if port is not changed and port.unanswered:
                port.seen = None

    def _fell_silent(self, port: _Port) -> list[Event]:
        events: list[Event] = [Forwards(port.node, None)] if port.bound and port.node is not None else []
        port.seen, port.bound = None, False
        return events

    def _forget(self, node: str) -> list[Event]:
        port = self._forwards.pop(node, None)
        return [Forwards(node, None)] if port is not None and port.bound else []

    def _look(self) -> list[Event]:
        observed = tuple(dict.fromkeys(port.seen for port in self._questions if port.seen is not None))
        if observed == self._observed:
            return []
        self._observed = observed
        return [Observed(observed)]
