"""Leases alone: several of them, and a messenger that tells pulses to whom a test says."""

import math
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.sync.leases import LONGEST_S, MAX_MEMBERS, RENEWALS, Leases
from edged.wire.sync import Pulse

LEASE = 10.0


class Site:
    """Nodes that hear each other at once, unless they are on different sides."""

    def __init__(self, *names: str, limited: tuple[str, ...] = ()) -> None:
        self.now = 0.0
        self._stamps = count(1)
        self._limited = limited
        self.nodes: dict[str, Leases] = {}
        self.sides: list[set[str]] = [set(names)]
        for name in names:
            self.start(name)

    def start(self, name: str) -> Leases:
        made = self.nodes[name] = Leases(
            name,
            next(self._stamps),
            lease=LEASE,
            limited=name in self._limited,
            stamp=lambda: next(self._stamps),
            wall=lambda: self.now,
            now=self.now,
        )
        return made

    def run(self, seconds: float) -> None:
        """Time passes, a tenth of a second at a time."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.1
            for node in self.nodes.values():
                if node.deadline() <= self.now:
                    node.tick(self.now)
                    node.beat(self.now, lambda data: b"sealed")
            self.talk()

    def talk(self) -> None:
        for side in self.sides:
            there = [self.nodes[name] for name in sorted(side) if name in self.nodes]
            for one in there:
                for other in there:
                    for pulse in one.pulses:
                        other.receive(pulse, limited=pulse.node in self._limited, now=self.now)

    def holders(self) -> set[str | None]:
        return {node.holder for node in self.nodes.values()}


def test_all_are_members_and_one_holds_the_lease() -> None:
    site = Site("gw-a", "gw-b", "gw-c")
    site.run(LEASE + 1)
    assert site.holders() == {"gw-a"}, "the one that has run longest"
    assert all(node.members == {"gw-a", "gw-b", "gw-c"} for node in site.nodes.values())


def test_nobody_takes_it_before_it_could_have_heard_who_has_it() -> None:
    site = Site("gw-a")
    site.run(LEASE - 0.2)
    assert site.holders() == {None}
    site.run(0.4)
    assert site.holders() == {"gw-a"}
    site.start("gw-b").informed(site.now)
    site.sides[0].add("gw-b")
    site.run(0.2)
    assert site.holders() == {"gw-a"}


def test_one_that_knows_that_it_is_alone_takes_it_at_once() -> None:
    site = Site("gw-a")
    site.nodes["gw-a"].informed(site.now)
    site.run(0.2)
    assert site.holders() == {"gw-a"}


def test_another_takes_it_within_a_lease_and_a_bit_of_its_loss() -> None:
    site = Site("gw-a", "gw-b", "gw-c")
    site.run(60)
    del site.nodes["gw-a"]
    site.run(LEASE - LEASE / RENEWALS - 0.5)
    assert site.holders() == {"gw-a"}, "its lease has not run out"
    site.run(LEASE / RENEWALS + 1)
    assert site.holders() == {"gw-b"}
    assert all(node.members == {"gw-b", "gw-c"} for node in site.nodes.values())


def test_a_planned_stop_hands_over_at_once_and_is_no_death() -> None:
    site = Site("gw-a", "gw-b", "gw-c")
    site.run(60)
    leaving = site.nodes["gw-a"]
    leaving.leave(site.now)
    leaving.tick(site.now)
    leaving.beat(site.now, lambda data: b"")
    site.talk()
    del site.nodes["gw-a"]
    site.run(0.3)
    assert site.holders() == {"gw-b"}
    assert all("gw-a" in node.members for node in site.nodes.values()), "its pods go on: it is not gone yet"
    site.run(LEASE)
    assert all("gw-a" not in node.members for node in site.nodes.values())


def test_who_comes_back_does_not_take_it_from_who_has_it() -> None:
    site = Site("gw-a", "gw-b")
    site.run(60)
    del site.nodes["gw-a"]
    site.run(30)
    site.start("gw-a")
    site.run(60)
    assert site.holders() == {"gw-b"}


def test_two_sides_have_one_each_and_the_earlier_stays_when_they_meet() -> None:
    site = Site("gw-a", "gw-b", "gw-c", "gw-d")
    site.run(60)
    site.sides = [{"gw-a", "gw-b"}, {"gw-c", "gw-d"}]
    site.run(60)
    assert (site.nodes["gw-b"].holder, site.nodes["gw-d"].holder) == ("gw-a", "gw-c")
    site.sides = [{"gw-a", "gw-b", "gw-c", "gw-d"}]
    site.run(0.3)
    assert site.holders() == {"gw-a"}


def test_limited_nodes_never_hold_it() -> None:
    site = Site("gw-a", "gw-b", limited=("gw-a",))
    site.run(60)
    assert site.holders() == {"gw-b"}
    assert site.nodes["gw-b"].limited == site.nodes["gw-a"].limited == {"gw-a"}
    del site.nodes["gw-b"]
    site.run(600)
    assert site.holders() == {None}
    assert site.nodes["gw-a"].deadline() < math.inf


def test_a_first_candidate_that_does_nothing_is_passed_over_a_lease_later() -> None:
    site = Site("gw-b", "gw-c")
    site.run(60)
    idle = Pulse("gw-a", 0, 1, 0.0, LONGEST_S)  # runs longest, and never claims
    for node in site.nodes.values():
        node.receive(idle, limited=False, now=site.now)
    del site.nodes["gw-b"]
    site.run(LEASE + 1)
    assert site.holders() == {None}
    site.run(LEASE)
    assert site.holders() == {"gw-c"}


def test_a_holder_that_was_stopped_for_longer_than_its_lease_gives_it_up() -> None:
    site = Site("gw-a")
    site.run(30)
    node = site.nodes["gw-a"]
    node.tick(site.now + 2 * LEASE)
    assert node.holder is None
    assert node.beat(site.now + 2 * LEASE, lambda data: b"")
    assert node.pulses[0].claim == 0


def test_old_pulses_own_pulses_and_unbelievable_leases_are_no_news() -> None:
    node = Site("gw-a").nodes["gw-a"]
    assert node.receive(Pulse("gw-b", 5, 2, 0.0, LEASE), limited=False, now=0.0)
    for boot, number in ((5, 2), (5, 1), (4, 9)):
        assert not node.receive(Pulse("gw-b", boot, number, 0.0, LEASE), limited=False, now=1.0)
    assert not node.receive(Pulse("gw-a", 99, 9, 0.0, LEASE), limited=False, now=1.0)
    for lease in (0.0, -1.0, 1e9, math.inf, math.nan):
        assert not node.receive(Pulse("gw-c", 5, 2, 0.0, lease), limited=False, now=1.0)
    assert node.receive(Pulse("gw-b", 6, 1, 0.0, LEASE), limited=False, now=1.0)


def test_an_old_pulse_does_not_raise_the_dead() -> None:
    node = Site("gw-a").nodes["gw-a"]
    old = Pulse("gw-b", 5, 2, 0.0, LEASE)
    node.receive(old, limited=False, now=0.0)
    node.tick(600.0)
    assert not node.receive(old, limited=False, now=601.0)
    assert node.members == {"gw-a"}


def test_there_is_a_limit_to_who_is_remembered() -> None:
    node = Site("gw-a").nodes["gw-a"]
    for number in range(MAX_MEMBERS + 10):
        node.receive(Pulse(f"n{number}", 1, 1, 0.0, LEASE), limited=False, now=0.0)
    assert len(node.members) == MAX_MEMBERS + 1


@pytest.mark.parametrize("names", [("gw-a",), ("gw-a", "gw-b", "gw-c")])
def test_nothing_is_to_be_done_more_often_than_a_pulse(names: tuple[str, ...]) -> None:
    site = Site(*names)
    site.run(60)
    for node in site.nodes.values():
        node.tick(site.now)
        node.beat(site.now, lambda data: b"")
        assert node.deadline() > site.now


@given(st.lists(st.tuples(st.sampled_from(["split", "heal", "kill", "start", "run"]), st.integers(0, 4)), max_size=25))
def test_no_connected_side_has_two_holders_for_longer_than_a_lease(steps: list[tuple[str, int]]) -> None:
    names = [f"gw-{letter}" for letter in "abcde"]
    site = Site(*names)
    for what, which in steps:
        if what == "split":
            site.sides = [set(names[: which + 1]), set(names[which + 1 :])]
        elif what == "heal":
            site.sides = [set(names)]
        elif what == "kill":
            site.nodes.pop(names[which], None)
        elif what == "start" and names[which] not in site.nodes:
            site.start(names[which])
        site.run(1 + which * 3)
        for side in site.sides:
            claims = [name for name in side if name in site.nodes and site.nodes[name].holder == name]
            assert len(claims) <= 1
    site.run(3 * LEASE)
    for side in site.sides:
        living = [site.nodes[name] for name in side if name in site.nodes]
        assert len({node.holder for node in living}) <= 1
        assert all(node.holder in side for node in living)
