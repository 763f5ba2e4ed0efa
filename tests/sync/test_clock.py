import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.sync.clock import HEARD_S, MAX_HEARD, MAX_SKEW_S, Clock, at

NOW = 1_000_000.0
DAY = 86_400.0


class Wall:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.one_of(st.floats(-1e9, 1e9), st.none(), st.integers(0, 1 << 60)), max_size=50))
def test_a_stamp_is_later_than_all_before_and_all_observed(steps: list[float | int | None]) -> None:
    wall = Wall()
    clock, latest = Clock(wall), 0
    for step in steps:
        if step is None:
            stamp = clock.stamp()
            assert stamp > latest
            latest = stamp
        elif isinstance(step, float):
            wall.now = max(0.0, NOW + step)
        else:
            clock.observe(step)
            latest = max(latest, step)


def test_a_stamp_is_wall_time_when_it_can_be() -> None:
    clock = Clock(lambda: NOW)
    assert clock.stamp() == at(NOW)
    assert clock.stamp() == at(NOW) + 1
    assert Clock(lambda: NOW, latest=at(NOW + 5)).stamp() == at(NOW + 5) + 1


def test_a_clock_too_far_ahead_is_refused_with_words() -> None:
    clock = Clock(lambda: NOW)
    assert clock.hear("gw-b", NOW + MAX_SKEW_S) == ""
    assert clock.hear("gw-c", NOW - 3650 * DAY) == ""
    assert "gw-d is 20 min ahead of the others', at most 10 min" in Clock(lambda: NOW).hear("gw-d", NOW + 1200)
    assert "is 5 h ahead" in Clock(lambda: NOW).hear("gw-d", NOW + 5 * 3600)
    assert "is 3650 days ahead" in Clock(lambda: NOW).hear("gw-d", NOW + 3650 * DAY)
    alone = Clock(lambda: NOW)
    assert alone.allows(at(NOW + MAX_SKEW_S))
    assert not alone.allows(at(NOW + MAX_SKEW_S) + 1)


@pytest.mark.parametrize("offset", [-3650 * DAY, -DAY, DAY, 3650 * DAY])
def test_a_machine_whose_own_clock_is_wrong_comes_to_believe_the_others(offset: float) -> None:
    clock = Clock(Wall(NOW + offset))
    nodes = ("gw-b", "gw-c", "gw-d")
    for node in nodes:
        clock.hear(node, NOW)
    assert clock.ahead == pytest.approx(offset)
    assert [clock.hear(node, NOW) for node in nodes] == ["", "", ""]
    assert clock.agreed() == pytest.approx(NOW)
    assert clock.hear("gw-x", NOW + DAY) != ""


@pytest.mark.parametrize("jump", [-3650 * DAY, -DAY, DAY, 3650 * DAY])
def test_who_was_believed_is_not_blamed_when_our_own_clock_jumps(jump: float) -> None:
    wall, steady = Wall(), Wall(0.0)
    clock = Clock(wall, steady=steady)
    assert clock.hear("gw-b", NOW) == ""
    wall.now, steady.now = NOW + jump + 3, 3.0
    assert clock.hear("gw-b", NOW + 3) == ""
    assert clock.ahead == pytest.approx(jump)


def test_who_was_believed_and_jumps_ahead_is_refused_until_it_is_right_again() -> None:
    wall, steady = Wall(), Wall(0.0)
    clock = Clock(wall, steady=steady)
    for said, refused in ((NOW, False), (NOW + DAY, True), (NOW + DAY + 3, True), (NOW + 6, False)):
        assert bool(clock.hear("gw-b", said)) is refused
        assert clock.hear("gw-c", wall.now) == ""
        steady.now += 3
        wall.now += 3


@given(st.floats(700, 1e8), st.integers(2, 20))
def test_one_wrong_clock_among_others_does_not_count(ahead: float, others: int) -> None:
    steady = Wall(0.0)
    clock = Clock(lambda: NOW, steady=steady)
    for number in range(others):
        clock.hear(f"gw-{number}", NOW + number % 3)
    assert clock.hear("gw-wrong", NOW + ahead) != ""
    assert abs(clock.agreed() - NOW) <= 2
    steady.now = HEARD_S + 1
    assert clock.agreed() == NOW, "what was heard long ago does not count"


def test_there_is_a_limit_to_who_is_heard() -> None:
    clock = Clock(lambda: NOW)
    for number in range(MAX_HEARD + 10):
        clock.hear(f"gw-{number}", NOW)
    assert len(clock._heard) == MAX_HEARD


def test_alone_a_machine_has_only_its_own_clock() -> None:
    clock = Clock(lambda: NOW)
    assert (clock.ahead, clock.agreed()) == (0.0, NOW)
