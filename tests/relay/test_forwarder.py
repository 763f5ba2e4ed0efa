from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.kit.address import Address
from edged.wire.relayudp import NO_COOKIE, SIZE, Here, Where, opened, sealed
from relay.forwarder import COOKIE_S, IDLE_S, MOST_A_NODE, Expired, Forwarder

A, B = Address("192.0.2.1", 7400), Address("198.51.100.2", 40000)
C = Address("2001:db8::3", 9)
QUESTIONS = [7443, 7444]


class Ports:
    """What opens and closes ports: numbers that count up from 20000."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self._next = 20000
        self.refuses = False

    def __call__(self) -> int:
        if self.refuses:
            return 0
        self._next += 1
        self.open.add(self._next)
        return self._next


def made(ports: Ports | None = None, *, rate: float = 1e9, most: int = 100) -> Forwarder:
    ports = ports or Ports()
    return Forwarder(bytes(32), questions=QUESTIONS, open_port=ports, close_port=ports.open.remove, rate=rate, most=most)


class Node:
    """A node that asks, and remembers the cookies that it got."""

    def __init__(self, forwarder: Forwarder, session: int) -> None:
        self.forwarder, self.session = forwarder, session
        self.key = forwarder.join(session)
        self.asked = 0
        self.last = b""

    def ask(self, source: Address, port: int, now: float = 0.0, cookie: bytes = NO_COOKIE) -> Here:
        self.asked += 1
        self.last = sealed(Where(self.session, self.asked, cookie), self.key)
        answer = self.forwarder.answer(self.last, source, port, now)
        assert answer is not None
        assert len(answer) <= len(self.last)
        here = opened(answer, self.key)
        assert isinstance(here, Here)
        assert (here.session, here.transaction, here.seen) == (self.session, self.asked, source)
        return here

    def prove(self, source: Address, port: int, now: float = 0.0) -> None:
        assert self.ask(source, port, now, self.ask(source, QUESTIONS[0], now).cookie).bound


def passed(forwarder: Forwarder, port: int, source: Address, now: float = 0.0) -> Address | None:
    return forwarder.way(port, source, 1350, 1, now)


def test_a_node_learns_its_address_and_binds_nothing_at_a_port_for_questions() -> None:
    forwarder = made()
    node = Node(forwarder, 1)
    for source in (A, C):
        first = node.ask(source, QUESTIONS[0])
        assert not first.bound
        assert not node.ask(source, QUESTIONS[1], cookie=first.cookie).bound
    assert forwarder.answered == 4


def test_what_one_side_sends_leaves_to_the_other_when_both_have_proved_themselves() -> None:
    forwarder = made()
    one, other = Node(forwarder, 1), Node(forwarder, 2)
    port = forwarder.allot(1, 2)
    assert forwarder.allot(2, 1) == port
    assert passed(forwarder, port, A) is None
    one.prove(A, port)
    assert passed(forwarder, port, A) is None
    assert passed(forwarder, port, B) is None
    other.prove(B, port)
    assert passed(forwarder, port, A) == B
    assert passed(forwarder, port, B) == A
    assert passed(forwarder, port, C) is None
    assert passed(forwarder, QUESTIONS[0], A) is None
    assert passed(forwarder, port + 1, A) is None
    assert (forwarder.datagrams, forwarder.bytes) == (2, 2700)
    assert forwarder.dropped == {"stranger": 5, "unproved": 1}


def test_a_hard_nat_takes_one_question_more() -> None:
    """It gives another address for each port of the relay: the cookie of the one does not fit the other."""
    forwarder = made()
    node, _ = Node(forwarder, 1), Node(forwarder, 2)
    port = forwarder.allot(1, 2)
    mapped = Address(A.host, 50001)
    first = node.ask(mapped, port, cookie=node.ask(A, QUESTIONS[0]).cookie)
    assert not first.bound
    assert node.ask(mapped, port, cookie=first.cookie).bound


def test_a_forged_or_repeated_question_binds_nothing() -> None:
    forwarder = made()
    one, other = Node(forwarder, 1), Node(forwarder, 2)
    third = Node(forwarder, 3)
    port = forwarder.allot(1, 2)
    one.prove(A, port)
    other.prove(B, port)
    # The member itself forges a victim's address, without the cookie that went there, or with its own.
    assert not one.ask(C, port).bound
    assert not one.ask(C, port, cookie=one.ask(A, QUESTIONS[0]).cookie).bound
    assert not one.ask(C, port, cookie=other.ask(C, QUESTIONS[0]).cookie).bound  # another session's cookie
    # Somebody sends a good question again, from elsewhere, and from where it came after the node has moved.
    one.prove(A, port)
    repeated = one.last
    one.prove(C, port)
    for source in (B, A, C):
        answer = forwarder.answer(repeated, source, port, 0.0)
        assert answer is not None
        again = opened(answer, one.key)
        assert isinstance(again, Here)
        assert not again.bound
    assert passed(forwarder, port, B) == C
    assert passed(forwarder, port, A) is None
    # A third session has no part in the port.
    assert not third.ask(A, port, cookie=third.ask(A, QUESTIONS[0]).cookie).bound


def test_a_cookie_grows_old() -> None:
    forwarder = made()
    node, _ = Node(forwarder, 1), Node(forwarder, 2)
    port = forwarder.allot(1, 2)
    cookie = node.ask(A, QUESTIONS[0], now=1000.0).cookie
    assert node.ask(A, port, 1000.0 + COOKIE_S, cookie).bound
    assert not node.ask(A, port, 1000.0 + 2 * COOKIE_S, cookie).bound


def test_an_address_that_a_nat_gave_to_the_other_node_is_its_alone() -> None:
    forwarder = made()
    one, other = Node(forwarder, 1), Node(forwarder, 2)
    port = forwarder.allot(1, 2)
    one.prove(A, port)
    other.prove(B, port)
    other.prove(A, port)
    assert passed(forwarder, port, A) is None
    one.prove(C, port)
    assert passed(forwarder, port, A) == C
    assert passed(forwarder, port, C) == A


def test_what_is_not_asked_by_a_session_that_is_here_gets_no_answer() -> None:
    forwarder = made()
    node = Node(forwarder, 1)
    good = sealed(Where(1, 1), node.key)
    for data in (sealed(Where(1, 1), bytes(32)), sealed(Where(9, 1), node.key), good[:-1], b"", good + b"x"):
        assert forwarder.answer(data, A, QUESTIONS[0], 0.0) is None
    assert forwarder.answer(sealed(Here(1, 1, A, bytes(16), bound=True), node.key), A, QUESTIONS[0], 0.0) is None
    forwarder.leave(1)
    assert forwarder.answer(good, A, QUESTIONS[0], 0.0) is None
    assert forwarder.dropped == {"forged": 7}
    assert forwarder.join(1) == node.key  # a number is never given twice; if it were, it would be the same


def test_ports_go_when_a_node_goes_when_two_part_and_when_nobody_uses_them() -> None:
    ports = Ports()
    forwarder = made(ports)
    nodes = {session: Node(forwarder, session) for session in (1, 2, 3)}
    for one, other in ((1, 2), (1, 3), (2, 3)):
        forwarder.allot(one, other)
    assert forwarder.ports == len(ports.open) == 3
    forwarder.part(1, 3)
    forwarder.part(1, 3)
    forwarder.part(9, 1)
    assert len(ports.open) == 2
    assert forwarder.expire(1000.0) == []  # the first look
    port = forwarder.allot(2, 3)
    nodes[2].prove(A, port, 1050.0)
    nodes[3].prove(B, port, 1050.0)
    assert forwarder.expire(1000.0 + IDLE_S) == [Expired(1, 2)]
    assert passed(forwarder, port, A, 1100.0) == B
    assert forwarder.expire(1099.0 + IDLE_S) == []
    assert forwarder.expire(1100.0 + IDLE_S) == [Expired(2, 3)]
    assert ports.open == set()
    assert forwarder.allot(2, 3) != port
    forwarder.leave(3)
    forwarder.leave(3)
    assert ports.open == set()
    assert forwarder.ports == 0


def test_no_more_ports_than_there_may_be() -> None:
    ports = Ports()
    forwarder = made(ports, most=3)
    for session in range(6):
        forwarder.join(session)
    assert all(forwarder.allot(0, other) for other in (1, 2, 3))
    assert forwarder.allot(0, 4) == 0
    forwarder.leave(1)
    ports.refuses = True
    assert forwarder.allot(0, 4) == 0
    ports.refuses = False
    assert forwarder.allot(0, 4)
    forwarder = made(most=10_000)
    for session in range(MOST_A_NODE + 2):
        forwarder.join(session)
    assert all(forwarder.allot(0, other) for other in range(1, MOST_A_NODE + 1))
    assert forwarder.allot(0, MOST_A_NODE + 1) == 0
    assert forwarder.allot(MOST_A_NODE, MOST_A_NODE + 1)


def test_a_node_sends_no_more_than_its_rate_through_all_its_ports() -> None:
    forwarder = made(rate=1_000_000)
    nodes = [Node(forwarder, session) for session in (1, 2, 3)]
    sources = [A, B, C]
    ports = [forwarder.allot(1, 2), forwarder.allot(1, 3)]
    for port, pair in zip(ports, ((0, 1), (0, 2)), strict=True):
        for index in pair:
            nodes[index].prove(sources[index], port)
    sent = sum(50_000 for step in range(400) if forwarder.way(ports[step % 2], A, 50_000, 40, step / 100))
    assert 3_900_000 <= sent <= 4_250_000  # four seconds, and a quarter of one at once
    assert forwarder.dropped["rate"] > 0
    assert forwarder.way(ports[0], B, 50_000, 40, 4.0) == A  # the other node's rate is its own
    answers = [forwarder.answer(sealed(Where(2, 100 + n), nodes[1].key), B, 7443, 4.0) for n in range(10_000)]
    assert answers.count(None) > 0  # questions count, too


@given(st.integers(0, 2**32))
def test_only_who_receives_at_an_address_ever_gets_it_bound(seed: int) -> None:
    """Nodes move, ask, forge and repeat at random; a datagram goes only where its receiver was, and came from its peer."""
    random = Random(seed)
    forwarder = made()
    nodes = {session: Node(forwarder, session) for session in (1, 2)}
    port = forwarder.allot(1, 2)
    addresses = [Address("192.0.2.9", number) for number in range(1, 6)]
    held: dict[int, set[Address]] = {1: set(), 2: set()}  # where each session ever received an answer
    cookies: dict[int, list[bytes]] = {1: [NO_COOKIE], 2: [NO_COOKIE]}
    asked: list[tuple[bytes, int]] = []
    steps: list[Callable[[], None]] = []

    def ask(receives: bool) -> None:
        session, source = random.choice((1, 2)), random.choice(addresses)
        here = nodes[session].ask(source, random.choice((*QUESTIONS, port)), 0.0, random.choice(cookies[session]))
        asked.append((nodes[session].last, session))
        if receives:
            held[session].add(source)
            cookies[session].append(here.cookie)
        assert not here.bound or source in held[session]

    def repeat() -> None:
        if asked:
            data, session = random.choice(asked)
            answer = forwarder.answer(data, random.choice(addresses), port, 0.0)
            assert answer is not None
            here = opened(answer, nodes[session].key)
            assert isinstance(here, Here)
            assert not here.bound or here.seen in held[session]

    steps = [lambda: ask(receives=True), lambda: ask(receives=False), repeat]
    for _ in range(40):
        random.choice(steps)()
        for source in addresses:
            to = passed(forwarder, port, source)
            assert to is None or (to in held[1] and source in held[2]) or (to in held[2] and source in held[1])


@pytest.mark.parametrize("size", [SIZE, 1350])
def test_figures_count_what_passed(size: int) -> None:
    forwarder = made()
    one, other = Node(forwarder, 1), Node(forwarder, 2)
    port = forwarder.allot(1, 2)
    one.prove(A, port)
    other.prove(B, port)
    assert forwarder.way(port, A, 44 * size, 44, 1.0) == B
    assert (forwarder.datagrams, forwarder.bytes) == (44, 44 * size)
