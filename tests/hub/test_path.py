import itertools
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.errors import ProtocolError
from edged.hub.path import DOUBT_S, HEARTBEAT_S, MAX_ADDRESSES, RELAY, TRUST_S, Path
from edged.hub.probe import PING_SIZE, Probes
from edged.kit.address import Address

KEY = bytes(range(32))
A = Address("192.0.2.1", 7400)
B = Address("192.0.2.2", 7400)
C = Address("198.51.100.3", 7400)


def tokens() -> Callable[[int], bytes]:
    counter = itertools.count(1)
    return lambda n: next(counter).to_bytes(n, "big")


def made(*, relay: bool = True, configured: Sequence[Address] = (), dialler: bool = True, now: float = 0.0) -> Path:
    path = Path(relay=relay, configured=configured, token=tokens())
    path.authenticate(Probes(KEY, dialler=dialler), now)
    return path


def answer(
    path: Path, now: float, *, addresses: Sequence[Address] | None = None, after: float = 0.01, dialler: bool = True
) -> list[Address]:
    """Answer the pings that wait to be sent to `addresses` (all when None); returns where pings went."""
    other = Probes(KEY, dialler=not dialler)
    asked = path.outgoing()
    for address, data in asked:
        if len(data) == PING_SIZE and (addresses is None or address in addresses):
            probe = other.open(data)
            path.receive(other.pong(probe.transaction, A), address, now + after)
    return [address for address, data in asked if len(data) == PING_SIZE]


def test_the_relay_carries_until_an_address_answers() -> None:
    path = made(configured=[B])
    assert (path.routes, path.kind, path.address) == ((RELAY,), RELAY, None)
    assert answer(path, 0.0) == [B]
    assert (path.routes, path.kind, path.address) == ((B,), "lan", B)
    assert path.rtt == pytest.approx(0.01)
    assert path.seen == A


def test_heartbeats_keep_the_path() -> None:
    path = made(configured=[B])
    answer(path, 0.0)
    now = 0.01
    for _ in range(20):
        assert now < path.deadline() <= now + HEARTBEAT_S
        now = path.deadline()
        path.tick(now)
        assert answer(path, now) == [B]
        assert path.routes == (B,)


def test_a_doubtful_path_is_used_beside_the_relay_and_then_left() -> None:
    path = made(configured=[B, C])
    answer(path, 0.0, addresses=[B])
    ping = path.deadline()
    path.tick(ping)
    assert answer(path, ping, addresses=[]) == [B]
    assert path.deadline() == ping + DOUBT_S
    path.tick(ping + DOUBT_S)
    assert path.routes == (B, RELAY)
    assert sorted(answer(path, ping + DOUBT_S, addresses=[])) == [B, C]  # look everywhere, at once
    path.tick(TRUST_S)
    assert (path.routes, path.kind) == ((RELAY,), RELAY)
    while C not in answer(path, path.deadline(), addresses=[C]):
        path.tick(path.deadline())
    assert path.routes == (C,)


def test_a_late_pong_ends_the_doubt() -> None:
    path = made(configured=[B, C])
    answer(path, 0.0, addresses=[B])
    ping = path.deadline()
    path.tick(ping)
    asked = path.outgoing()
    path.tick(ping + DOUBT_S)
    assert path.routes == (B, RELAY)
    path.outgoing()
    probe = Probes(KEY, dialler=False).open(asked[0][1])
    path.receive(Probes(KEY, dialler=False).pong(probe.transaction, A), B, ping + DOUBT_S + 0.1)
    assert path.routes == (B,)
    assert path.deadline() >= ping + DOUBT_S


def test_without_a_relay_a_lost_path_goes_on_where_it_last_worked() -> None:
    path = made(relay=False, configured=[B])
    assert path.routes == ()
    answer(path, 0.0)
    path.tick(TRUST_S)
    assert (path.routes, path.kind) == ((B,), "none")
    path.relay(True)
    assert path.routes == (RELAY,)


def test_before_it_is_authenticated_answers_go_back_the_way_they_came() -> None:
    path = Path(relay=True, configured=[B, C], token=tokens())
    assert path.routes == (RELAY, B, C)
    assert path.deadline() == math.inf
    path.heard(B)
    assert path.routes == (B,)
    path.heard(RELAY)
    assert path.routes == (RELAY,)
    with pytest.raises(ProtocolError):
        path.receive(Probes(KEY, dialler=False).ping(b"12345678"), B, 0.0)


def test_an_address_from_which_the_peer_proved_itself_is_tried() -> None:
    path = made()
    path.receive(Probes(KEY, dialler=False).ping(b"12345678"), C, 1.0)
    assert answer(path, 1.0) == [C]
    assert path.routes == (C,)


def test_pongs_count_from_the_address_that_was_asked_and_once() -> None:
    path = made(configured=[B])
    (_, ping), *_ = path.outgoing()
    pong = Probes(KEY, dialler=False).pong(Probes(KEY, dialler=False).open(ping).transaction, A)
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


@given(st.lists(st.tuples(st.sampled_from(["tick", "answer", "lose", "ping", "relay"]), st.floats(0.0, 8.0)), max_size=40))
def test_it_never_trusts_a_silent_address_and_never_stalls(steps: list[tuple[str, float]]) -> None:
    path = made(configured=[B])
    now, answered = 0.0, -math.inf
    for what, wait in steps:
        now += wait
        if what == "answer":
            path.tick(now)
            if answer(path, now, addresses=[B], after=0.0):
                answered = now
        elif what == "lose":
            path.outgoing()
        elif what == "ping":
            path.receive(Probes(KEY, dialler=False).ping(b"12345678"), C, now)
        elif what == "relay":
            path.relay(wait > 4)
        path.tick(now)
        assert path.deadline() > now
        if path.kind == "lan":
            assert now < answered + TRUST_S
