"""When the flash is written: not while every way keeps up, and within a second of what one did not acknowledge."""

import math

from hypothesis import given
from hypothesis import strategies as st

from edged.device.history.reports import BLOCK_BYTES, Report
from edged.device.history.tail import CHECKPOINT_S, GAP_S, MAX_TAIL, UNSENT_S, Tail
from edged.device.readings import Reading


def report(id_: int, size: int = 4) -> Report:
    return Report(id_, "default", "meter", (Reading("power", "float", "1" * size, id_),))


def filled(*times: float) -> Tail:
    tail = Tail()
    for number, now in enumerate(times):
        tail.append(report(number + 1), now)
    return tail


def test_nothing_is_due_when_there_is_nothing() -> None:
    assert Tail().due({"mqtt": 0}) == math.inf
    assert Tail().cursors_due({"mqtt": 0}, {"mqtt": 0}, 0) == math.inf


def test_history_alone_waits_for_the_checkpoint() -> None:
    assert filled(10.0).due({}) == 10.0 + CHECKPOINT_S


def test_what_a_way_has_not_acknowledged_is_due_soon() -> None:
    assert filled(10.0, 20.0).due({"a": 1, "b": 2}) == 20.0 + UNSENT_S
    assert filled(10.0, 20.0).due({"a": 2, "b": 2}) == 10.0 + CHECKPOINT_S


def test_commits_keep_their_distance() -> None:
    tail = filled(10.0, 10.1)
    tail.saved(1, 10.6)
    assert len(tail) == 1
    assert tail.due({"a": 0}) == 10.6 + GAP_S
    assert tail.cursors_due({"a": 1}, {"a": 0}, 1) == 10.6 + GAP_S


def test_a_disk_that_refuses_is_left_alone_for_a_while() -> None:
    tail = filled(10.0)
    tail.refused(30.0)
    assert tail.due({"a": 0}) == 30.0


def test_cursors_are_written_when_a_crash_would_send_again_what_is_in_the_file() -> None:
    tail = Tail()
    tail.saved(0, 8.0)
    assert tail.cursors_due({"a": 5}, {"a": 3}, 5) == 8.0 + GAP_S
    assert tail.cursors_due({"a": 9}, {"a": 5}, 5) == math.inf  # what it has beyond is not in the file
    assert tail.cursors_due({"a": 5}, {}, 5) == 8.0 + GAP_S
    assert tail.cursors_due({}, {"a": 5}, 5) == 8.0 + GAP_S


def test_a_block_is_due_at_once() -> None:
    tail = Tail()
    tail.append(report(1, BLOCK_BYTES), 5.0)
    assert tail.full
    assert tail.due({}) == -math.inf


def test_reports_are_found_by_their_id() -> None:
    tail = filled(*range(10))
    assert [each.id for each in tail.after(3, 4)] == [4, 5, 6, 7]
    assert [each.id for each in tail.after(0, 2)] == [1, 2]
    assert tail.after(10, 4) == []


@given(st.lists(st.integers(1, MAX_TAIL // 3), max_size=30))
def test_it_is_bounded_and_keeps_the_newest(sizes: list[int]) -> None:
    tail, dropped = Tail(), 0
    for number, size in enumerate(sizes):
        dropped += tail.append(report(number + 1, size), 0.0)
    kept = [each.id for each in tail.reports()]
    assert kept == list(range(dropped + 1, len(sizes) + 1))
    assert tail.size == sum(each.size for each in tail.reports()) <= MAX_TAIL
    tail.saved(len(sizes), 1.0)
    assert (len(tail), tail.size) == (0, 0)
