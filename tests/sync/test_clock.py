from hypothesis import given
from hypothesis import strategies as st

from edged.sync.clock import MAX_SKEW_S, Clock, at


@given(st.lists(st.tuples(st.floats(0, 4e9), st.integers(0, 1 << 61)), min_size=1, max_size=50))
def test_stamps_only_grow_whatever_the_wall_clock_does(steps: list[tuple[float, int]]) -> None:
    wall = [0.0]
    clock = Clock(lambda: wall[0])
    last = 0
    for now, seen in steps:
        wall[0] = now
        clock.observe(seen)
        stamp = clock.stamp()
        assert stamp > last
        assert stamp > seen
        assert stamp >= at(now)
        last = stamp


def test_a_restart_with_the_clock_set_back_goes_on_after_the_latest() -> None:
    assert Clock(lambda: 1.0, latest=at(5000.0)).stamp() == at(5000.0) + 1


def test_a_stamp_from_the_future_is_not_allowed() -> None:
    clock = Clock(lambda: 1000.0)
    assert clock.allows(at(1000.0 + MAX_SKEW_S))
    assert not clock.allows(at(1001.0 + MAX_SKEW_S))
