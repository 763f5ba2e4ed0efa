import math
from collections.abc import Sequence
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.hub.relayudp import (
    AGAIN_FIRST_S,
    AGAIN_LAST_S,
    ALLOT_FIRST_S,
    FRESH_S,
    MOST_UNANSWERED,
    PATIENCE_S,
    RETRY_CAP_S,
    RETRY_FIRST_S,
    Event,
    Forwards,
    Observed,
    RelayUdp,
)
from edged.kit.address import Address
from edged.wire.relayudp import NO_COOKIE, Here, Where, opened, sealed
from relay.forwarder import Forwarder

RELAY = "203.0.113.10"
QUESTIONS = [7443, 7444]
PORT = 20001
HOME = Address("192.0.2.1", 7400)
HERE = Address(RELAY, PORT)


class World:
    """A node's side, a real forwarder, and a NAT between them: `home` for all destinations, or another port for each."""

    def __init__(self, *, hard: bool = False) -> None:
        self.node = RelayUdp(Random(1))
        self.hard, self.blocked, self.home = hard, False, HOME
        self.now = 1000.0
        self.events: list[Event] = []
        self.asked: list[tuple[float, int]] = []
        self.allots: list[tuple[float, str]] = []
        ports = iter(range(PORT, 60000))
        self.relay = Forwarder(
            bytes(32),
            questions=QUESTIONS,
            open_port=lambda: next(ports),
            close_port=lambda _: None,
            rate=1e9,
            most=100,
        )
        self.relay.join(2)

    def mapped(self, port: int) -> Address:
        return Address(self.home.host, self.home.port + port) if self.hard else self.home

    def welcome(self, session: int = 1, ports: Sequence[int] = QUESTIONS) -> None:
        self.relay.leave(session)
        self.events += self.node.welcomed(RELAY, session, ports, self.relay.join(session), self.now)

    def want(self, *nodes: str) -> None:
        self.node.want(nodes, self.now)
        self.pump()

    def allot(self) -> None:
        self.events += self.node.allotted("gw-b", self.relay.allot(1, 2), self.now)
        self.pump()

    def pump(self) -> None:
        """All that is due now, with a relay that answers at once."""
        for _ in range(100):
            if self.node.deadline() <= self.now:
                self.events += self.node.tick(self.now)
            self.allots += [(self.now, node) for node in self.node.allots()]
            out = self.node.outgoing()
            if not out:
                return
            for to, data in out:
                assert to.host == RELAY
                self.asked.append((self.now, to.port))
                answer = None if self.blocked else self.relay.answer(data, self.mapped(to.port), to.port, self.now)
                if answer is not None:
                    self.events += self.node.receive(answer, to, self.now)
        raise AssertionError("it asks for ever")

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := self.node.deadline()) <= until:
            assert due > self.now or due <= self.now
            self.now = max(self.now, due)
            self.pump()
        self.now = until

    def taken(self) -> list[Event]:
        events, self.events = self.events, []
        return events


def test_a_node_that_wants_nothing_asks_nothing() -> None:
    world = World()
    world.welcome()
    assert world.node.deadline() == math.inf
    world.allot()
    world.run(1000)
    assert world.asked == []
    world.want("gw-b")
    assert world.asked
    world.want()
    del world.asked[:]
    assert world.node.deadline() == math.inf
    world.run(1000)
    assert world.asked == []


def test_an_easy_nat_shows_one_address_and_a_hard_one_two() -> None:
    for hard, addresses in ((False, (HOME,)), (True, (world_port(7443), world_port(7444)))):
        world = World(hard=hard)
        world.welcome()
        world.want("gw-b")
        assert world.taken()[-1] == Observed(addresses)
        assert world.node.observed == addresses
        assert [port for _, port in world.asked] == QUESTIONS


def world_port(port: int) -> Address:
    return Address(HOME.host, HOME.port + port)


@pytest.mark.parametrize(("hard", "questions"), [(False, 1), (True, 2)])
def test_a_forwarding_port_is_proved_at_once(hard: bool, questions: int) -> None:
    world = World(hard=hard)
    world.welcome()
    world.want("gw-b")
    assert world.allots == []
    world.run(PATIENCE_S)
    assert world.allots == [(world.now, "gw-b")]
    world.taken(), world.asked.clear()
    world.allot()
    assert world.taken() == [Forwards("gw-b", HERE)]
    assert world.node.forwarding("gw-b") == HERE
    assert world.asked == [(world.now, PORT)] * questions
    assert world.relay.way(PORT, world.mapped(PORT), 10, 1, world.now) is None
    assert world.relay.dropped == {"unproved": 1}  # the other node's turn; ours is known
    world.allot()  # told again, since the other node asked for it, too
    assert world.taken() == []


def test_questions_are_repeated_every_20_to_26_s_while_a_link_wants_it() -> None:
    world = World()
    world.welcome()
    world.want("gw-b")
    world.run(PATIENCE_S)
    world.allot()
    world.run(600)
    for port in (*QUESTIONS, PORT):
        times = [at for at, asked in world.asked if asked == port]
        pauses = [later - at for at, later in pairwise(times)]
        assert all(AGAIN_FIRST_S <= pause <= AGAIN_LAST_S for pause in pauses)
        assert len(set(pauses)) > 10
        assert len(times) >= 600 / AGAIN_LAST_S
    assert len(world.allots) == 1
    assert world.node.forwarding("gw-b") == HERE


def test_a_nat_that_gives_another_address_is_noticed_and_proved_anew() -> None:
    world = World()
    world.welcome()
    world.want("gw-b")
    world.allot()
    world.taken()
    world.home = Address("192.0.2.1", 50000)
    world.run(AGAIN_LAST_S)
    assert world.taken() == [Observed((world.home,))]
    assert world.relay._pairs[PORT].ways.keys() == {world.home}
    world.home = Address("192.0.2.1", 50001)
    world.now += 2
    world.node.check("gw-b", world.now)  # nothing comes through it any more
    world.node.check("gw-c", world.now)
    world.pump()
    assert world.relay._pairs[PORT].ways.keys() == {world.home}
    asked = len(world.asked)
    world.node.check("gw-b", world.now)  # it has just answered
    world.pump()
    assert len(world.asked) == asked
    world.home = Address("198.51.100.7", 1)
    world.node.moved(world.now)  # the node has another address of its own
    world.pump()
    assert world.taken()[-1] == Observed((world.home,))
    assert world.relay._pairs[PORT].ways.keys() == {world.home}


def test_where_udp_is_blocked_it_is_tried_ever_more_seldom_and_found_when_it_is_open() -> None:
    world = World()
    world.blocked = True
    world.welcome()
    world.want("gw-b")
    assert not world.node.blocked
    world.run(15)
    assert world.node.blocked
    assert len(world.asked) == 2 * (MOST_UNANSWERED + 1)
    world.asked.clear()
    allots = len(world.allots)
    world.run(86400)
    assert len(world.asked) <= 2 * (86400 / RETRY_CAP_S + 10)
    assert len(world.allots) == allots  # a port is of no use
    world.want()
    world.want("gw-b")  # a link that came and went does not hurry it
    assert world.now - world.asked[-1][0] > 0
    world.blocked = False
    world.run(RETRY_CAP_S)
    assert not world.node.blocked
    assert world.taken() == [Observed((HOME,))]
    assert len(world.allots) > allots


def test_a_port_that_falls_silent_is_gone_and_comes_back() -> None:
    world = World()
    world.welcome()
    world.want("gw-b")
    world.allot()
    world.taken()
    world.blocked = True
    world.run(40)
    assert sorted(map(repr, world.taken())) == sorted(map(repr, [Forwards("gw-b", None), Observed(())]))
    assert world.node.forwarding("gw-b") is None
    world.blocked = False
    world.run(60)
    assert sorted(map(repr, world.taken())) == sorted(map(repr, [Forwards("gw-b", HERE), Observed((HOME,))]))


def test_a_lost_answer_is_made_good_soon() -> None:
    world = World()
    world.welcome()
    world.blocked = True
    world.want("gw-b")
    world.blocked = False
    world.run(RETRY_FIRST_S)
    assert world.taken() == [Observed((HOME,))]


def test_what_a_lost_relay_told_is_gone() -> None:
    world = World()
    world.welcome()
    world.want("gw-b")
    world.allot()
    world.taken()
    assert world.node.lost() == [Forwards("gw-b", None), Observed(())]
    assert world.node.deadline() == math.inf
    assert world.node.lost() == []
    world.welcome(session=3)
    world.pump()
    assert world.taken() == [Observed((HOME,))]
    world.run(PATIENCE_S)
    assert world.allots[-1] == (world.now, "gw-b")


def test_a_relay_without_udp_or_out_of_reach_of_our_socket_is_asked_nothing() -> None:
    world = World()
    world.welcome(ports=[])
    world.want("gw-b")
    world.run(1000)
    assert world.node.welcomed(None, 1, QUESTIONS, bytes(32), world.now) == []
    world.run(1000)
    assert world.node.allotted("gw-b", 0, world.now) == []
    assert (world.asked, world.allots, world.node.blocked) == ([], [], False)


def test_a_port_that_is_not_to_be_had_is_asked_for_ever_more_seldom() -> None:
    world = World()
    world.welcome()
    world.want("gw-b")
    for _ in range(3):
        world.run(3600)
        assert world.node.allotted("gw-b", 0, world.now) == []
    times = [at for at, _ in world.allots]
    pauses = [later - at for at, later in pairwise(times)]
    assert pauses[0] == pytest.approx(ALLOT_FIRST_S)
    assert 300 <= max(pauses) <= 600
    assert len(times) < 60


def test_a_port_goes_with_the_other_node_and_another_is_asked_for_when_it_is_back() -> None:
    world = World()
    world.welcome()
    world.want("gw-b")
    world.run(PATIENCE_S)
    world.allot()
    world.taken()
    assert world.node.parted("gw-b", world.now) == [Forwards("gw-b", None)]
    assert world.node.parted("gw-b", world.now) == []
    assert world.node.forwarding("gw-b") is None
    world.run(PATIENCE_S)
    assert len(world.allots) == 2
    world.relay.part(1, 2)
    world.allot()
    assert world.taken() == [Forwards("gw-b", Address(RELAY, PORT + 1))]
    assert world.node.allotted("gw-b", 0, world.now) == [Forwards("gw-b", None)]  # taken back as nobody used it


def test_old_addresses_are_asked_for_anew_when_they_are_wanted_again() -> None:
    world = World()
    world.welcome()
    world.want("gw-b")
    world.allot()
    world.want()
    world.now += FRESH_S / 2
    world.asked.clear()
    world.want("gw-b")
    assert world.asked == []
    world.want()
    world.now += FRESH_S
    world.want("gw-b")
    assert sorted(port for _, port in world.asked) == [*QUESTIONS, PORT]


def test_what_is_no_answer_to_a_question_of_ours_is_refused() -> None:
    world = World()
    world.welcome()
    world.want("gw-b")
    key = world.relay.join(1)
    to = Address(RELAY, QUESTIONS[0])
    answer = Here(1, 1, HOME, bytes(16), bound=False)
    world.blocked = True
    world.run(AGAIN_LAST_S)
    number = world.node._number
    for data, source in (
        (sealed(answer, key), to),  # it was answered already
        (sealed(answer._replace(transaction=number), key), Address(RELAY, 9)),
        (sealed(answer._replace(transaction=number, session=2), key), to),
        (sealed(answer._replace(transaction=number), bytes(32)), to),
        (sealed(Where(1, number), key), to),
        (b"", to),
    ):
        with pytest.raises(ProtocolError):
            world.node.receive(data, source, world.now)


@given(st.integers(0, 2**32))
def test_whatever_happens_it_comes_to_rest_and_finds_its_way_again(seed: int) -> None:
    random = Random(seed)
    world = World(hard=random.random() < 0.5)
    session = 1
    world.welcome()
    for _ in range(30):
        step = random.randrange(8)
        if step == 0:
            world.want(*random.sample(["gw-b", "gw-c"], random.randrange(3)))
        elif step == 1:
            world.blocked = not world.blocked
        elif step == 2:
            world.events += world.node.lost()
        elif step == 3:
            world.welcome()
        elif step == 4:
            world.allot()
        elif step == 5:
            world.events += world.node.parted("gw-b", world.now)
            world.relay.part(session, 2)
        elif step == 6:
            world.home = Address("192.0.2.1", random.randrange(1024, 40000))
        world.run(random.choice([0.1, 1, 30, 100]))
    world.blocked = False
    world.welcome()
    world.want("gw-b")
    world.run(PATIENCE_S)
    world.allot()
    port = world.relay.allot(session, 2)
    assert world.node.forwarding("gw-b") == Address(RELAY, port)
    assert world.node.observed == tuple(dict.fromkeys(world.mapped(question) for question in QUESTIONS))
    told = {}
    for event in world.events:
        if isinstance(event, Forwards):
            assert told.get(event.node) != event.address  # only news
            told[event.node] = event.address
    assert told["gw-b"] == Address(RELAY, port)


def test_a_question_carries_the_newest_cookie() -> None:
    world = World()
    world.welcome()
    world.node.want(("gw-b",), world.now)
    world.node.tick(world.now)
    key = world.relay.join(1)
    cookies = [opened(data, key).cookie for _, data in world.node.outgoing()]
    assert cookies == [NO_COOKIE] * 2
