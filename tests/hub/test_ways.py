import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.hub.ways import DIRECT, FAST_S, LAN, RELAY_UDP, TRUST_S, Kind, Way, kind_of
from edged.kit.address import Address

A = Address("198.51.100.1", 7400)
LOCAL = ["10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.1.1", "127.0.0.1", "fd00::1", "fe80::1", "::1"]
GLOBAL = ["172.32.0.1", "100.64.0.1", "203.0.113.1", "8.8.8.8", "2001:db8::1", "2a00::1"]


@pytest.mark.parametrize("host", [*LOCAL, *GLOBAL])
def test_private_addresses_are_of_a_lan(host: str) -> None:
    assert kind_of(Address(host, 1)) == (LAN if host in LOCAL else DIRECT)


def way(kind: Kind, rtt: float) -> Way:
    return Way(A, kind, kept=False, rtt=rtt)


def test_a_better_kind_beats_a_quicker_way() -> None:
    assert way(LAN, 0.2).beats(way(DIRECT, 0.01))
    assert way(DIRECT, 0.2).beats(way(RELAY_UDP, 0.01))
    assert not way(RELAY_UDP, 0.001).beats(way(DIRECT, 0.2))


def test_a_small_gain_is_noise() -> None:
    assert way(DIRECT, 0.020).beats(way(DIRECT, 0.025))
    assert not way(DIRECT, 0.024).beats(way(DIRECT, 0.025))
    assert not way(LAN, 0.0002).beats(way(LAN, 0.0009))


@given(st.sampled_from([LAN, DIRECT, RELAY_UDP]), st.sampled_from([LAN, DIRECT, RELAY_UDP]), st.floats(0, 1), st.floats(0, 1))
def test_no_two_ways_beat_each_other(one: Kind, other: Kind, rtt: float, other_rtt: float) -> None:
    assert not (way(one, rtt).beats(way(other, other_rtt)) and way(other, other_rtt).beats(way(one, rtt)))


def test_trust_is_for_a_while_and_only_quick_or_local_ways_are_good_enough() -> None:
    unknown = way(DIRECT, math.inf)
    assert not unknown.trusted(0.0)
    unknown.answered = 1.0
    assert unknown.trusted(TRUST_S)
    assert not unknown.trusted(1.0 + TRUST_S)
    assert way(LAN, 1.0).fast
    assert way(DIRECT, FAST_S).fast
    assert not way(DIRECT, 2 * FAST_S).fast
    assert not way(RELAY_UDP, 0.001).fast
