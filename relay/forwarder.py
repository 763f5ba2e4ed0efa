"""Which datagrams pass the relay's UDP ports: those of the two nodes of a pair, between the addresses that they proved. Pure.

    allot(one, other)             a port for the datagrams between two sessions, opened by the caller's `open_port`
    answer(data, source, port)    a question about addresses (edged/wire/relayudp.py): the answer, perhaps a binding
    way(port, source, size)       where datagrams that came to a forwarding port go on to, if anywhere
    expire(now)                   the ports that nobody used

A session proves an address with a cookie that was sent there, by questions whose numbers grow: neither a forged sender nor a
question that is sent again binds anything, and nothing is answered with more bytes than it had.
"""

import hmac
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edged.errors import ProtocolError
from edged.kit.address import Address
from edged.kit.bucket import Bucket
from edged.wire import endpoint
from edged.wire.relay import UDP_KEY
from edged.wire.relayudp import COOKIE, SIZE, Here, Where, opened, sealed, session

IDLE_S = 90.0  # without a datagram that passed or an address that was proved: a node that uses a port asks every 26 s
COOKIE_S = 60.0  # a cookie is good for as long, and up to twice that: a node gets a new one every 26 s
MOST_A_NODE = 512  # ports of one node; it has a link to a dozen nodes, an observer to two of each group
BURST_S = 0.25  # of a node's rate, at once: more than the socket's buffer holds


@dataclass(slots=True, eq=False)
class _Member:
    key: bytes
    bucket: Bucket
    ports: dict[int, int] = field(default_factory=dict)  # by the other session of each


@dataclass(slots=True)
class _Side:
    session: int
    address: Address | None = None
    transaction: int = -1  # of the question that proved it


@dataclass(slots=True, eq=False)
class _Pair:
    sides: tuple[_Side, _Side]
    used: float | None = None  # None until `expire` has looked at it once
    ways: dict[Address, tuple[Address | None, Bucket]] = field(default_factory=dict)


class Expired(NamedTuple):
    """Two sessions that had a port."""

    one: int
    other: int


class Forwarder:
    """`secret` (32 bytes) is this process's own; `rate` is in bytes a second for what one node sends, at most `most` ports.

    `questions` are the ports where nodes ask about addresses; `open_port` opens a forwarding port, 0 when it cannot.
    All times are of one clock that does not jump, in seconds.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        questions: Sequence[int],
        open_port: Callable[[], int],
        close_port: Callable[[int], None],
        rate: float,
        most: int,
    ) -> None:
        self._secret, self._rate, self._most = secret, rate, most
        self._open_port, self._close_port = open_port, close_port
        self._members: dict[int, _Member] = {}
        self._pairs: dict[int, _Pair] = {}
        self.questions = list(questions)
        self.answered = self.datagrams = self.bytes = 0
        self.dropped: Counter[str] = Counter()  # datagrams, by reason

    @property
    def ports(self) -> int:
        """How many forwarding ports are open."""
        return len(self._pairs)

    def join(self, session: int) -> bytes:
        """A node was admitted: the key of its questions."""
        key = self._derived(b"key", session)[:UDP_KEY]
        self._members[session] = _Member(key, Bucket(self._rate, self._rate * BURST_S))
        return key

    def leave(self, session: int) -> None:
        """It is gone, and with it its ports."""
        member = self._members.pop(session, None)
        if member is not None:
            for port in tuple(member.ports.values()):
                self._close(port)

    def allot(self, one: int, other: int) -> int:
        """The port between two admitted sessions, opened when there is none; 0 when there are too many."""
        members = self._members[one], self._members[other]
        if other in members[0].ports:
            return members[0].ports[other]
        full = len(self._pairs) >= self._most or any(len(member.ports) >= MOST_A_NODE for member in members)
        port = 0 if full else self._open_port()
        if port:
            members[0].ports[other] = members[1].ports[one] = port
            self._pairs[port] = _Pair((_Side(one), _Side(other)))
        return port

    def part(self, one: int, other: int) -> None:
        """The two may not speak to each other any more."""
        port = self._members[one].ports.get(other) if one in self._members else None
        if port is not None:
            self._close(port)

    def answer(self, data: bytes, source: Address, port: int, now: float) -> bytes | None:
        """What to answer there to a question that came from `source` to `port`, if anything."""
        member = self._members.get(session(data))
        try:
            if member is None:
                raise ProtocolError("a question of no session")
            question = opened(data, member.key)
            if not isinstance(question, Where):
                raise ProtocolError("an answer, expected a question")
        except ProtocolError:
            self.dropped["forged"] += 1
            return None
        if not member.bucket.take(SIZE, now):
            self.dropped["rate"] += 1
            return None
        self.answered += 1
        pair = self._pairs.get(port)
        bound = pair is not None and self._bind(pair, member, question, source, now)
        cookie = self._cookie(question.session, source, int(now // COOKIE_S))
        return sealed(Here(question.session, question.transaction, source, cookie, bound), member.key)

    def way(self, port: int, source: Address, size: int, datagrams: int, now: float) -> Address | None:
        """Where `datagrams` of `size` bytes in all that came to `port` from `source` go, None: nowhere."""
        pair = self._pairs.get(port)
        to, bucket = pair.ways.get(source, (None, None)) if pair is not None else (None, None)
        if pair is None or bucket is None:
            self.dropped["stranger"] += datagrams
        elif to is None:
            self.dropped["unproved"] += datagrams
        elif not bucket.take(size, now):
            self.dropped["rate"] += datagrams
        else:
            pair.used = now
            self.datagrams += datagrams
            self.bytes += size
            return to
        return None

    def expire(self, now: float) -> list[Expired]:
        """Close the ports that were not used for IDLE_S; called every few seconds."""
        expired: list[Expired] = []
        for port, pair in tuple(self._pairs.items()):
            if pair.used is None:
                pair.used = now
            elif now - pair.used >= IDLE_S:
                expired.append(Expired(*(side.session for side in pair.sides)))
                self._close(port)
        return expired

    def _bind(self, pair: _Pair, member: _Member, question: Where, source: Address, now: float) -> bool:
        """Whether the question proves that its session receives at `source`, which passes from now on."""
        mine, theirs = sorted(pair.sides, key=lambda side: side.session != question.session)
        if mine.session != question.session or question.transaction <= mine.transaction:
            return False
        epoch = int(now // COOKIE_S)
        fitting = [self._cookie(question.session, source, at) for at in (epoch, epoch - 1)]
        if not any(hmac.compare_digest(question.cookie, cookie) for cookie in fitting):
            return False
        mine.address, mine.transaction = source, question.transaction
        if theirs.address == source:  # a NAT gave it to another node meanwhile
            theirs.address = None
        pair.used = now
        pair.ways = {
            side.address: (other.address, self._members[side.session].bucket)
            for side, other in ((mine, theirs), (theirs, mine))
            if side.address is not None
        }
        return True

    def _close(self, port: int) -> None:
        one, other = (side.session for side in self._pairs.pop(port).sides)
        for mine, theirs in ((one, other), (other, one)):
            if mine in self._members:
                self._members[mine].ports.pop(theirs, None)
        self._close_port(port)

    def _cookie(self, session: int, address: Address, epoch: int) -> bytes:
        return self._derived(b"cookie" + endpoint.packed(*address) + epoch.to_bytes(8, "big", signed=True), session)[:COOKIE]

    def _derived(self, what: bytes, session: int) -> bytes:
        return hmac.digest(self._secret, what + session.to_bytes(8, "big"), "sha256")
