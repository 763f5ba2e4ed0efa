import itertools
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.hub.path import (
    HEARTBEAT_S,
    IDLE_S,
    LEAVE_CAP_S,
    LEAVE_S,
    LOOK_S,
    MAX_ADDRESSES,
    OPEN_TTL,
    OPEN_TTLS,
    PLAIN_ROUNDS,
    ROUND_FIRST_S,
    SILENCE_S,
    Path,
    Probe,
)
from edged.hub.portsearch import AGAIN_S, SEARCH_S
from edged.hub.probe import NARROW_SIZE, PING_SIZE, PONG_SIZE, Ping, Probes
from edged.hub.ways import DIRECT, LAN, RELAY, RELAY_UDP, TRIES, From
from edged.kit.address import Address
from tests.hub.nats import KEY, Kind, World

A = Address("10.0.0.1", 7400)
B = Address("10.0.0.2", 7400)
C = Address("10.0.0.3", 7400)
FAR = Address("198.51.100.3", 7400)
OTHER = Address("198.51.100.4", 7400)
FORWARD = Address("203.0.113.10", 40_000)
PEER = Probes(KEY, dialler=False)


def tokens() -> Callable[[int], bytes]:
    counter = itertools.count(1)
    return lambda n: next(counter).to_bytes(n, "big")


def made(*, relay: bool = True, configured: Sequence[Address] = (), dialler: bool = True, now: float = 0.0) -> Path:
    path = Path(relay=relay, configured=configured, token=tokens())
    path.authenticate(Probes(KEY, dialler=dialler), now)
    return path


def pings(probes: Sequence[Probe], peer: Probes = PEER) -> list[Probe]:
    return [probe for probe in probes if isinstance(peer.open(probe.data), Ping)]


def answer(
    path: Path, now: float, *, addresses: Sequence[Address] | None = None, after: float = 0.01, peer: Probes = PEER
) -> list[Address]:
    """Answer the pings to `addresses` (all when None) until none come any more; returns where pings went."""
    asked: list[Address] = []
    while found := pings(path.outgoing(), peer):
        now += after
        for probe in found:
            asked.append(probe.spot)
            if probe.ttl is None and (addresses is None or probe.spot in addresses):
                path.receive(peer.pong(peer.open(probe.data).transaction, A), probe.spot, now)
    return asked


def test_the_relay_carries_until_an_address_answers_small_and_full() -> None:
    path = made(configured=[B])
    assert (path.routes, path.kind, path.address) == ((RELAY,), RELAY, None)
    (small,) = path.outgoing()
    assert len(small.data) == PONG_SIZE
    path.receive(PEER.pong(PEER.open(small.data).transaction, A), B, 0.01)
    assert path.kind == RELAY
    (full,) = path.outgoing()
    assert len(full.data) == PING_SIZE
    path.receive(PEER.pong(PEER.open(full.data).transaction, A), B, 0.02)
    assert (path.routes, path.kind, path.address, path.seen) == ((B,), LAN, B, A)
    assert path.rtt == pytest.approx(0.01)


def test_a_path_whose_datagrams_are_answered_costs_no_probes() -> None:
    path = made(configured=[B])
    answer(path, 0.0)
    now = 0.1
    for _ in range(100):
        path.sent(1000, True, now)
        assert path.deadline() > now
        path.tick(now + 0.05)
        path.heard(B, 30, now + 0.05)
        now += 3.0
        path.tick(now)
    assert path.deadline() == math.inf
    assert path.outgoing() == []
    assert (path.sent_bytes[LAN], path.received_bytes[LAN]) == (100_000, 3000)


def settled(*, configured: Sequence[Address], used: Address) -> Path:
    """At 0.1 s, the peer uses it too."""
    path = made(configured=configured)
    answer(path, 0.0, addresses=[used])
    path.heard(used, 100, 0.1)
    assert path.routes == (used,)
    return path


def test_a_silent_path_is_doubled_and_then_left_within_a_second() -> None:
    path = settled(configured=[B, C], used=B)
    path.sent(1000, True, 1.0)
    assert path.deadline() == pytest.approx(1.0 + SILENCE_S)
    path.tick(path.deadline())
    assert path.routes == (B, RELAY)
    assert sorted(answer(path, 1.3, addresses=[])) == [B, C]  # look everywhere, at once
    while path.kind == LAN:
        path.tick(path.deadline())
        answer(path, path.deadline(), addresses=[])
    assert path.deadline() < 1.0 + SILENCE_S + LEAVE_S + 1.0
    assert (path.routes, path.kind) == ((RELAY,), RELAY)
    while C not in answer(path, path.deadline(), addresses=[C]):
        path.tick(path.deadline())
    assert path.routes == (C,)


def test_acknowledgements_that_nobody_acknowledges_are_no_reason_to_doubt() -> None:
    path = settled(configured=[B], used=B)
    path.sent(50, False, 1.0)
    assert path.deadline() == math.inf


def test_what_is_forged_in_the_peers_name_holds_nobody_on_a_dead_path() -> None:
    path = settled(configured=[B], used=B)
    for now in (1.0, 2.0, 4.0):
        path.sent(1000, True, now)
        path.heard(B, 100, now + 0.1)  # but QUIC finds no acknowledgement in it
        path.suspect(now + 0.2)
    assert path.routes == (B, RELAY)
    while path.kind == LAN:
        path.heard(B, 100, path.deadline())
        path.tick(path.deadline())
        path.outgoing()
    assert path.routes == (RELAY,)
    path.suspect(10.0)


def test_a_pong_ends_the_doubt() -> None:
    path = settled(configured=[B], used=B)
    path.sent(1000, True, 1.0)
    path.tick(path.deadline())
    assert path.routes == (B, RELAY)
    answer(path, 1.31)
    assert path.routes == (B,)
    assert path.deadline() == math.inf


def test_a_peer_that_speaks_by_the_relay_may_not_hear_us_here() -> None:
    path = settled(configured=[B], used=B)
    path.heard(RELAY, 100, 5.0)
    assert path.deadline() == pytest.approx(5.0 + SILENCE_S)
    path.tick(path.deadline())
    answer(path, 5.4)
    path.heard(RELAY, 100, 5.5)  # it does hear us, and goes on by the relay: no need to ask it all the time
    assert path.deadline() == pytest.approx(5.5 + HEARTBEAT_S)


def test_while_in_doubt_the_relays_forwarding_is_better_than_its_websocket() -> None:
    path = settled(configured=[B], used=B)
    path.forward(FORWARD, 0.5)
    assert path.outgoing() == []  # nothing is asked while the path is good
    path.sent(1000, True, 1.0)
    path.tick(path.deadline())
    assert FORWARD in answer(path, 1.3, addresses=[FORWARD])
    assert path.routes == (B, FORWARD)
    path.tick(path.deadline())
    while path.kind == LAN:
        path.tick(path.deadline())
    assert (path.routes, path.kind, path.address) == ((FORWARD,), RELAY_UDP, None)


def test_the_relays_forwarding_is_used_and_something_better_looked_for() -> None:
    path = made(configured=[B])
    answer(path, 0.0, addresses=[])
    path.forward(FORWARD, 0.2)
    assert answer(path, 0.2, addresses=[FORWARD]) == [FORWARD]
    assert (path.kind, path.seen) == (RELAY_UDP, None)  # what is seen there is the relay
    path.heard(FORWARD, 10, 0.3)
    path.tick(path.deadline())
    assert B in answer(path, 1.0)
    assert path.kind == LAN
    path.forward(None, 2.0)
    assert path.kind == LAN


def test_who_proves_itself_second_at_the_relay_brings_both_there_at_once() -> None:
    path = made()
    path.forward(FORWARD, 0.2)
    assert len(pings(path.outgoing())) == 1  # lost: the peer had not proved itself there
    path.receive(PEER.ping(b"87654321"), FORWARD, 0.21)
    (back,) = pings(path.outgoing())
    path.receive(PEER.pong(PEER.open(back.data).transaction, A), FORWARD, 0.22)
    assert path.kind == RELAY_UDP
    path.receive(PEER.ping(b"87654322"), FORWARD, 0.23)
    assert pings(path.outgoing()) == []


def test_forwarding_that_is_gone_is_left() -> None:
    path = made()
    path.forward(FORWARD, 0.2)
    answer(path, 0.2)
    other = Address(FORWARD.host, FORWARD.port + 1)
    path.forward(other, 1.0)
    assert path.routes == (RELAY,)
    answer(path, 1.0)
    assert path.routes == (other,)
    path.forward(None, 2.0)
    assert path.routes == (RELAY,)


def test_a_stranger_far_away_is_called_before_it_is_pinged() -> None:
    path = made()
    path.outgoing()
    path.calls()
    path.learn([FAR], 1.0)
    (opening,) = path.outgoing()
    assert (opening.spot, opening.ttl, len(opening.data)) == (FAR, OPEN_TTL, PONG_SIZE)
    assert path.calls() == 0
    assert path.calls() is None
    ttls = set()
    while len(ttls) < OPEN_TTLS:
        path.tick(path.deadline())
        ttls |= {probe.ttl for probe in path.outgoing() if probe.ttl is not None}
    assert ttls == set(range(OPEN_TTL, OPEN_TTL + OPEN_TTLS))


def test_who_is_called_pings_at_once() -> None:
    path = made()
    path.learn([FAR], 1.0)
    path.outgoing()
    path.called(1.1)
    assert answer(path, 1.1) == [FAR, FAR]
    assert (path.kind, path.address) == (DIRECT, FAR)


def test_rounds_grow_rare_and_an_idle_link_has_none() -> None:
    path = made(configured=[B])
    rounds = 0
    for now in range(3600):
        path.carried(now)
        path.tick(now)
        rounds += bool(pings(path.outgoing()))
    assert rounds < 60 + 60
    while path.deadline() < math.inf:
        assert path.deadline() < 3600 + IDLE_S
        path.tick(path.deadline())
    path.outgoing()
    path.carried(5000)
    path.tick(5000)
    assert answer(path, 5000) == [B, B]  # at once


def test_a_slow_direct_path_is_not_the_last_word() -> None:
    path = made()
    path.learn([FAR, OTHER], 0.0)
    path.called(0.1)
    answer(path, 0.1, addresses=[FAR], after=0.05)
    assert path.address == FAR
    path.carried(40.0)
    assert path.deadline() == pytest.approx(0.2 + LOOK_S)
    path.calls()
    path.tick(path.deadline())
    assert path.calls() == 0
    path.called(60.3)
    answer(path, 60.3, addresses=[OTHER], after=0.047)
    assert path.address == FAR  # hardly quicker
    path.called(70.0)
    answer(path, 70.0, addresses=[OTHER], after=0.02)
    assert path.address == OTHER


def test_the_other_end_follows_the_dialler() -> None:
    peer = Probes(KEY, dialler=True)
    path = made(configured=[B, C], dialler=False)
    answer(path, 0.0, peer=peer)
    assert path.address == B
    path.heard(C, 100, 0.5)
    assert path.routes == (C,)
    path.heard(RELAY, 100, 0.6)
    assert path.routes == (C,)
    path = made(configured=[B, C])
    answer(path, 0.0)
    path.heard(C, 100, 0.5)
    assert path.routes == (B,)


def test_without_a_relay_a_lost_path_goes_on_where_it_last_worked() -> None:
    path = made(relay=False, configured=[B])
    assert path.routes == ()
    answer(path, 0.0)
    path.heard(B, 10, 0.1)
    path.sent(100, True, 0.2)
    while path.kind == LAN:
        path.tick(path.deadline())
    assert (path.routes, path.kind) == ((B,), "none")
    path.relay(True)
    assert path.routes == (RELAY,)


def test_before_it_is_authenticated_answers_go_back_the_way_they_came() -> None:
    path = Path(relay=True, configured=[B, C], token=tokens())
    assert path.routes == (RELAY, B, C)
    assert path.deadline() == math.inf
    path.heard(B, 1, 0.0)
    assert path.routes == (B,)
    path.heard(RELAY, 1, 0.0)
    assert path.routes == (RELAY,)
    with pytest.raises(ProtocolError):
        path.receive(PEER.ping(b"12345678"), B, 0.0)


def test_an_address_from_which_the_peer_proved_itself_is_tried() -> None:
    path = made()
    path.receive(PEER.ping(b"12345678"), FAR, 0.5)
    assert answer(path, 0.5) == [FAR, FAR]
    assert path.routes == (FAR,)


def test_pongs_count_from_the_address_that_was_asked_and_once() -> None:
    path = made(configured=[B])
    (ping,) = path.outgoing()
    pong = PEER.pong(PEER.open(ping.data).transaction, A)
    with pytest.raises(ProtocolError):
        path.receive(pong, C, 0.1)
    with pytest.raises(ProtocolError):
        path.receive(pong, B, 0.1)  # the transaction is used up
    assert path.routes == (RELAY,)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 65535)), max_size=80))
def test_addresses_are_bounded_and_configured_ones_stay(told: list[tuple[int, int]]) -> None:
    path = made(configured=[B])
    path.learn([Address(f"10.0.0.{host}", port) for host, port in told], 0.0)
    assert len(path._ways) <= MAX_ADDRESSES
    assert B in path._ways


def act(path: Path, what: str, wait: float, now: float) -> None:
    actions: dict[str, Callable[[], object]] = {
        "lose": path.outgoing,
        "ping": lambda: path.receive(PEER.ping(b"12345678"), FAR, now),
        "relay": lambda: path.relay(wait > 4),
        "forward": lambda: path.forward(FORWARD if wait > 4 else None, now),
        "send": lambda: path.sent(100, True, now),
        "hear": lambda: path.heard(B, 100, now),
        "hear relay": lambda: path.heard(RELAY, 100, now),
        "carry": lambda: path.carried(now),
        "called": lambda: path.called(now),
    }
    actions.get(what, lambda: None)()


STEPS = ["answer", "lose", "ping", "relay", "forward", "send", "hear", "hear relay", "carry", "called"]


@example([("answer", 8.0)] * 4 + [("send", 8.0), ("answer", 8.0), ("send", 0.0), ("lose", 7.0)])
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.floats(0.0, 8.0)), max_size=60))
def test_it_never_trusts_a_silent_address_and_never_stalls(steps: list[tuple[str, float]]) -> None:
    path = made(configured=[B])
    now, answered, silent = 0.0, False, math.inf
    for what, wait in steps:
        now += wait
        while path.deadline() <= now:
            path.tick(path.deadline())
        act(path, what, wait, now)
        if what == "send":
            silent = min(silent, now)
        elif (what == "hear" and path.address == B) or (what == "answer" and answer(path, now, addresses=[B], after=0.0)):
            answered, silent = answered or what == "answer", math.inf
        path.tick(now)
        assert path.deadline() > now
        if path.kind == LAN:
            assert answered
            assert now < silent + HEARTBEAT_S + LEAVE_CAP_S


EASY: list[Kind] = ["open", "dropping", "tracking"]


@pytest.mark.parametrize(("a", "b"), [*itertools.product(EASY, EASY)])
@pytest.mark.parametrize("seed", range(3))
def test_easy_nats_are_passed_at_once(a: Kind, b: Kind, seed: int) -> None:
    world = World(a, b, seed=seed).meet()
    assert world.run(60, lambda: world.kinds() == (DIRECT, DIRECT)) < 0.7
    world.a.hurry(True)
    world.b.hurry(True)
    world.run(100)
    assert world.kinds() == (DIRECT, DIRECT)


@pytest.mark.parametrize("seed", range(5))
def test_easy_nats_are_passed_when_packets_are_lost(seed: int) -> None:
    world = World(seed=seed, loss=0.2).meet()
    assert world.run(60, lambda: world.kinds() == (DIRECT, DIRECT)) < 15


@pytest.mark.parametrize(("a", "b"), [("hard", "hard")])
def test_what_cannot_be_passed_stays_with_the_relay(a: Kind, b: Kind) -> None:
    world = World(a, b).meet()
    world.a.hurry(True)
    world.run(300)
    assert world.kinds() == (RELAY, RELAY)
    assert world.b.got > 0.95 * 300 / 0.05


@pytest.mark.parametrize(("a", "b"), [("hard", "dropping"), ("open", "hard"), ("tracking", "hard")])
@pytest.mark.parametrize("seed", range(3))
def test_one_hard_nat_is_passed_by_a_search(a: Kind, b: Kind, seed: int) -> None:
    world = World(a, b, seed=seed).meet()
    assert world.run(100, lambda: world.kinds() == (DIRECT, DIRECT)) < PLAIN_ROUNDS * ROUND_FIRST_S + 2 * SEARCH_S
    world.a.hurry(True)
    world.run(100)
    assert world.kinds() == (DIRECT, DIRECT)
    hard = world.a if a == "hard" else world.b
    assert len(hard.path.sockets) <= 1  # all others are closed


def wanted(path: Path, now: float) -> float:
    """When it wants sockets next, while it is busy."""
    while not path.wants():
        now += 0.1
        path.carried(now)
        path.tick(now)
        path.outgoing()
    return now


def test_the_hard_side_opens_ports_and_calls_until_it_gives_up() -> None:
    path = made()
    path.mapped(hard=True)
    path.learn([FAR], 0.0)
    now = wanted(path, 0.0)
    assert now > PLAIN_ROUNDS * ROUND_FIRST_S
    path.opened(range(1, 9), now)
    assert path.calls() == 8
    assert {(probe.spot, probe.ttl) for probe in path.outgoing()} == {(From(*FAR, number), OPEN_TTL) for number in range(1, 9)}
    path.tick(now)
    assert path.sockets == frozenset(range(1, 9))
    again = wanted(path, now)
    assert SEARCH_S <= again - now < SEARCH_S + 5
    assert path.sockets == frozenset()
    path.calls()
    path.opened((), again)  # others have them all
    assert path.outgoing() == []
    path.opened(range(9, 11), again)
    assert {(probe.spot, probe.ttl) for probe in path.outgoing()} == {(From(*FAR, number), None) for number in range(9, 11)}
    assert wanted(path, again) - now >= AGAIN_S


@pytest.mark.parametrize("lasts", [2.0, 10.0, 35.0, 200.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_cut_path_is_left_and_found_again(lasts: float, seed: int) -> None:
    world = World("tracking", "dropping", seed=seed).meet()
    world.a.hurry(True)  # b only answers
    world.run(10)
    assert world.kinds() == (DIRECT, DIRECT)
    world.cut, got = True, world.b.got
    assert world.run(60, lambda: world.b.got > got) < 0.5
    assert world.run(60, lambda: world.kinds() == (RELAY, RELAY)) < 1.6
    world.run(lasts)
    world.cut = False
    assert world.run(100, lambda: world.kinds() == (DIRECT, DIRECT)) < max(2.5, lasts / 5)


@example([(False, 0.109375, False), (True, 3.0, False)], 1)  # cut when only pongs have come on the new path
@example([(False, 1.0, False), (True, 2.0, True)], 114288)  # and when b, which is busy, still speaks by the relay
@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 30.0), st.booleans()), max_size=6), st.integers(0, 2**32))
def test_whatever_is_cut_nothing_is_lost_for_a_second_and_both_are_direct_in_the_end(
    cuts: list[tuple[bool, float, bool]], seed: int
) -> None:
    world = World(seed=seed, loss=0.02).meet()
    world.a.hurry(True)
    for cut, lasts, busy in cuts:
        world.cut = cut
        world.b.hurry(busy)
        ends = world.now + lasts
        while world.now < ends:
            got = world.b.got
            assert world.run(ends - world.now, lambda got=got: world.b.got > got) < 1.0
    world.cut = False
    assert world.run(200, lambda: world.kinds() == (DIRECT, DIRECT)) < 100


def narrow(world: World) -> tuple[bool, bool]:
    return tuple(end.path.narrow(end.path.routes[0]) for end in (world.a, world.b))  # type: ignore[return-value]


def test_a_narrow_way_is_used_as_such_and_full_again_when_it_is_wide() -> None:
    world = World()
    world.mtu = NARROW_SIZE
    world.meet()
    assert world.run(10, lambda: world.kinds() == (DIRECT, DIRECT)) < 3
    assert narrow(world) == (True, True)
    for end in (world.a, world.b):
        end.hurry(True)
    got = world.b.got
    world.run(LOOK_S + 5)
    assert world.b.got > got + 1000, "nothing is lost"
    assert (narrow(world), world.kinds()) == ((True, True), (DIRECT, DIRECT))
    world.mtu = PING_SIZE
    world.run(LOOK_S + 5, lambda: narrow(world) == (False, False))
    assert narrow(world) == (False, False)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("relay", [True, False])
def test_a_path_that_becomes_narrow_does_not_swallow_what_is_sent(relay: bool, seed: int) -> None:
    world = World(seed=seed).meet()
    for end in (world.a, world.b):
        end.path.relay(True)
        end.hurry(True)
    world.run(10, lambda: world.kinds() == (DIRECT, DIRECT))
    for end in (world.a, world.b):
        end.path.relay(relay)
    world.mtu = NARROW_SIZE
    assert world.run(10, lambda: narrow(world) == (True, True)) < HEARTBEAT_S + 3
    got = world.a.got, world.b.got
    world.run(5)
    assert min(world.a.got - got[0], world.b.got - got[1]) > 80
    assert world.kinds() == (DIRECT, DIRECT)


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_or_a_loss_is_not_taken_for_narrow(seed: int) -> None:
    world = World(seed=seed, loss=0.1).meet()
    world.a.hurry(True)
    world.run(20, lambda: world.kinds() == (DIRECT, DIRECT))
    world.cut = True
    world.run(world.random.uniform(0.3, 6.0))
    world.cut = False
    world.run(LOOK_S + 10)
    assert narrow(world) == (False, False)
    assert world.kinds() == (DIRECT, DIRECT)


def test_an_address_that_answers_small_pings_only_is_never_used() -> None:
    path = made(configured=[B])
    sizes: list[int] = []
    for tick in range(300):
        now = tick / 10
        path.carried(now)
        path.tick(now)
        for probe in pings(path.outgoing()):
            sizes.append(len(probe.data))
            if len(probe.data) == PONG_SIZE:
                path.receive(PEER.pong(PEER.open(probe.data).transaction, A), B, now + 0.01)
    assert path.routes == (RELAY,)
    assert sizes[: 2 * TRIES + 1] == [PONG_SIZE, *[PING_SIZE] * TRIES, *[NARROW_SIZE] * TRIES]
    assert len(sizes) < 150


def test_slow_answers_do_not_make_a_way_narrow() -> None:
    path = made(configured=[B])
    assert answer(path, 0.0, after=0.6) == [B, B]
    assert (path.routes, path.narrow(B)) == ((B,), False)
