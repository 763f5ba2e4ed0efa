import math

from hypothesis import given
from hypothesis import strategies as st

from edged.hub.portsearch import (
    AGAIN_S,
    AGREE_S,
    FIRST_PORT,
    PORTS,
    PORTS_PER_S,
    SEARCH_S,
    STEP,
    PortSearch,
    Searches,
    hard_host,
)
from edged.hub.ways import From
from edged.kit.address import Address


def test_a_host_with_several_ports_is_a_hard_nat() -> None:
    own = [Address("10.0.0.1", 7400), Address("10.0.0.1", 7401), Address("198.51.100.1", 7400), Address("198.51.100.2", 7400)]
    assert hard_host(own) is None
    assert hard_host([*own, Address("198.51.100.2", 7401)]) == "198.51.100.2"


def test_every_port_has_its_turn() -> None:
    assert math.gcd(STEP, PORTS) == 1


@given(st.integers(0, 2**64), st.lists(st.floats(0, 3), max_size=40))
def test_pings_are_paced_bounded_and_never_repeated(start: int, waits: list[float]) -> None:
    search, now = PortSearch("198.51.100.1", start, 50.0), 50.0
    pinged = search.due(now)
    assert len(pinged) == 1
    for wait in waits:
        now += wait
        pinged += search.due(now)
        assert search.over(now) or search.deadline() > now
        assert len(pinged) <= (now - 50.0) * PORTS_PER_S + 2
    assert len(set(pinged)) == len(pinged) <= SEARCH_S * PORTS_PER_S + 1
    assert all(address.host == "198.51.100.1" and FIRST_PORT <= address.port < 65536 for address in pinged)
    assert search.over(now) == (now >= 50.0 + SEARCH_S)


def test_a_peer_has_us_ping_its_nat_twice_and_not_again_so_soon() -> None:
    searches = Searches()
    searches.called(256, 1, 0.0)
    assert searches.search is None  # it never told of such a NAT
    searches.host = "198.51.100.1"
    pinged, now = 0, 0.0
    while now < AGAIN_S:
        searches.called(256, 1, now)
        pinged += len(searches.due(now))
        now += 0.5
    assert 2 * SEARCH_S * PORTS_PER_S - 100 <= pinged <= 2 * SEARCH_S * PORTS_PER_S + 2
    assert searches.deadline(now) == math.inf
    searches.called(256, 1, now)
    assert searches.search is not None
    searches.found(now)
    assert searches.due(now) == []


def test_two_hard_nats_do_not_try() -> None:
    searches = Searches()
    searches.hard, searches.host = True, "198.51.100.1"
    searches.called(256, 1, 0.0)
    assert searches.search is None
    assert not searches.takes_on(0.0)


def test_sockets_stay_for_a_search_then_until_both_agree_then_the_one_in_use() -> None:
    searches = Searches()
    searches.hard = True
    assert searches.takes_on(0.0)
    assert not searches.takes_on(1.0)
    assert searches.opened([1, 2, 3], 0.0)
    assert searches.needed(None, 10.0) == {1, 2, 3}
    assert searches.ports(10.0) == 3
    searches.found(10.0)
    used = From("198.51.100.1", 7400, 2)
    assert searches.deadline(10.0) == 10.0 + AGREE_S
    assert searches.needed(used, 10.0) == {1, 2, 3}
    assert searches.needed(used, 10.0 + AGREE_S) == {2}
    assert searches.needed(Address("198.51.100.1", 7400), 10.0 + AGREE_S) == frozenset()
    assert searches.takes_on(SEARCH_S)
    assert not searches.opened([4], SEARCH_S)
